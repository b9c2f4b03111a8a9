"""Scopes: what is undone with one, what is left, and what follows at the roots from before it (SPEC §8.4)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from protocol.actions import action_hash, encode_action
from protocol.table import continue_link
from tests.support.cores import l2tx
from tests.support.evmworld import Contract
from tests.support.playing import call_l2, execute, give_ether, names, play, seen
from tests.support.rollupworld import (
    OTHER,
    PROGRAM,
    Setup,
    error_selector,
    expect_revert,
    l1_call,
    load_step,
    proxy_of,
    word,
)
from tests.support.script import REVERT, Script, script, teach

ACT, BACK = b"\x0a\xc7\x00\x01", b"\xba\xcc\x00\x02"


def played(actor: Contract, selector: bytes = ACT) -> int:
    """How often the actor was called, as far as it was not undone."""
    return int(actor.view("played", selector))


def reverted_with_calls(made: Setup, actor: Contract) -> Script:
    """A transaction of rollup 1 calls L1 with ether and rollup 2 with ether in scope [0], and reverts the scope."""
    s = script(made, 1, 2)
    s.begins(l2tx())
    s.calls(0, actor.address, ACT, scope=(0,), value=3)
    s.answered(b"")
    s.calls(2, OTHER, b"b", scope=(0,), value=4)
    s.enters()
    s.returns(b"B")
    s.answered(b"B")
    s.reverts(0)
    s.continues()
    s.returns(b"no", failed=True)
    return s


def test_a_reverted_scope_leaves_only_what_continues_it(made: Setup, bundle: Contract, actor: Contract) -> None:
    """S5, V13: L1 effects, the other rollup's root, ether, entries, proxies are gone: only that is left."""
    give_ether(made, 1, 100)
    before = seen(made, actor)
    s = reverted_with_calls(made, actor)
    receipt = play(made, bundle, s.core(), execute(made))
    after = seen(made, actor)
    assert after == before | {"roots": {1: s.root(), 2: 2000}}
    assert played(actor) == 0
    assert names(receipt) == [0, ("ScopeReverted", 3), 4]
    assert made.world.code(bytes.fromhex(made.rollups.view("computeProxyAddress", PROGRAM, 1)[2:])) == b""


def test_without_the_revert_the_same_calls_stay(made: Setup, bundle: Contract, actor: Contract) -> None:
    """K `NewScope_WhileLoopContinuesWithMultipleCalls`: what a scope does is kept when it ends without REVERT."""
    give_ether(made, 1, 100)
    s = script(made, 1, 2)
    s.begins(l2tx())
    s.calls(0, actor.address, ACT, scope=(0,), value=3)
    s.answered(b"")
    s.calls(2, OTHER, b"b", scope=(0,), value=4)
    s.enters()
    s.returns(b"B")
    s.answered(b"B")
    s.returns(b"yes")
    receipt = play(made, bundle, s.core(), execute(made))
    after = seen(made, actor)
    assert (after["roots"], after["ether"]) == ({1: s.root(), 2: s.root(2)}, {1: 93, 2: 4})
    assert (played(actor), actor.view("received"), names(receipt)) == (1, 3, [0, 1, 2, 3])


def test_a_reverted_scope_equals_the_flow_without_it(made: Setup, bundle: Contract, actor: Contract) -> None:
    """I9: calls before and after, with a reverted scope between them or without it, end in the same state."""
    give_ether(made, 1, 100)
    ends = []
    for reverted in (False, True):
        point = made.world.snapshot()
        s = script(made, 1, 2)
        s.begins(l2tx())
        s.calls(0, actor.address, ACT, value=1)
        s.answered(b"")
        if reverted:
            s.calls(0, actor.address, ACT, scope=(0,), value=5)
            s.answered(b"")
            s.calls(2, OTHER, b"b", scope=(0,), value=6)
            s.enters()
            s.returns()
            s.answered()
            s.reverts(0)
            s.continues()
        s.calls(2, OTHER, b"c", value=2)
        s.enters()
        s.returns(b"")
        s.answered(b"")
        s.returns(b"end")
        made_up = {1: 7001, 2: 7002}  # the last root of each rollup is the same in both tables
        last = {e.owner: i for i, e in enumerate(s.entries)}
        s.entries = [
            replace(e, new_root=made_up[e.owner]) if last[e.owner] == i else e for i, e in enumerate(s.entries)
        ]
        play(made, bundle, s.core(), execute(made))
        ends.append((seen(made, actor), played(actor)))
        made.world.restore(point)
    assert ends[0] == ends[1]


def test_a_revert_inside_a_revert(made: Setup, bundle: Contract, actor: Contract) -> None:
    """S6: [0,0] is undone and continued in [0], then [0] is undone with it and continued at the top."""
    s = script(made, 1)
    s.begins(l2tx())
    s.calls(0, actor.address, ACT, scope=(0,))
    s.answered()
    s.calls(0, actor.address, ACT, scope=(0, 0))
    s.answered()
    s.reverts(0, 0)
    s.continues()
    s.calls(0, actor.address, ACT, scope=(0,))
    s.answered()
    s.reverts(0)
    s.continues()
    s.calls(0, actor.address, BACK)
    s.answered()
    s.returns(b"x")
    receipt = play(made, bundle, s.core(), execute(made))
    assert names(receipt) == [0, ("ScopeReverted", 4), 5, 6]
    assert (played(actor), played(actor, BACK), made.root(1)) == (0, 1, s.root())


def test_an_inner_revert_leaves_the_outer_scope(made: Setup, bundle: Contract, actor: Contract) -> None:
    """K `Scope_RevertAtMatchingScope`, C deep-scope: only [0,0] is undone."""
    s = script(made, 1)
    s.begins(l2tx())
    s.calls(0, actor.address, ACT, scope=(0,))
    s.answered()
    s.calls(0, actor.address, BACK, scope=(0, 0))
    s.answered()
    s.reverts(0, 0)
    s.continues()
    s.returns(b"x")
    receipt = play(made, bundle, s.core(), execute(made))
    assert names(receipt) == [0, 1, ("ScopeReverted", 2), 3]
    assert (played(actor), played(actor, BACK), made.root(1)) == (1, 0, s.root())


def test_two_levels_opened_by_one_call_are_undone_together(made: Setup, bundle: Contract, actor: Contract) -> None:
    """K `NewScope_TwoLevelsDeep`: the first call lies at [0,0]; [0] is reverted."""
    s = script(made, 1)
    s.begins(l2tx())
    s.calls(0, actor.address, ACT, scope=(0, 0))
    s.answered()
    s.reverts(0)
    s.continues()
    s.returns()
    assert names(play(made, bundle, s.core(), execute(made))) == [0, ("ScopeReverted", 1), 2]
    assert (played(actor), made.root(1)) == (0, s.root())


@pytest.mark.parametrize("reverted", [0, 1])
def test_sibling_scopes_are_undone_apart(made: Setup, bundle: Contract, actor: Contract, reverted: int) -> None:
    """C sibling-scopes, K `Scope_CallAtSiblingScope_Breaks`: [0] and [1]; one of them is reverted."""
    s = script(made, 1)
    s.begins(l2tx())
    for sibling, selector in enumerate((ACT, BACK)):
        s.calls(0, actor.address, selector, scope=(sibling,))
        s.answered()
        if sibling == reverted:
            s.reverts(sibling)
            s.continues()
    s.returns()
    play(made, bundle, s.core(), execute(made))
    assert (played(actor), played(actor, BACK)) == ((0, 1), (1, 0))[reverted]
    assert made.root(1) == s.root()


def test_a_revert_of_a_scope_that_nothing_opened_undoes_nothing(made: Setup, bundle: Contract, actor: Contract) -> None:
    """It opens the scope itself; what was done around it stays."""
    s = script(made, 1)
    s.begins(l2tx())
    s.calls(0, actor.address, ACT)
    s.answered()
    s.reverts(3)
    s.continues()
    s.returns()
    assert names(play(made, bundle, s.core(), execute(made))) == [0, 1, ("ScopeReverted", 1), 2]
    assert (played(actor), made.root(1)) == (1, s.root())


def test_the_continuation_is_met_at_the_roots_before_the_scope(made: Setup, bundle: Contract, actor: Contract) -> None:
    """V4: missing, it is asked for with its scope and what was undone; nothing of the scope is left either."""
    s = script(made, 1)
    s.begins(l2tx())
    s.calls(0, actor.address, ACT, scope=(0,))
    s.answered()
    s.reverts(0)
    s.continues()
    s.returns()
    whole = s.core()
    with expect_revert("ExecutionNotFound") as caught:
        play(made, bundle, replace(whole, entries=whole.entries[:2]), execute(made))
    trigger = whole.entries[2].trigger
    link = continue_link(whole.next_hash(1), whole.entries[1].new_root)
    assert caught.value.revert.values["action"] == encode_action(trigger)
    assert caught.value.revert.values["actionHash"] == action_hash(trigger, link) == whole.trigger_hash(2)
    assert (made.root(1), played(actor)) == (1000, 0)


def test_two_branches_that_revert_one_scope_are_continued_apart(made: Setup, bundle: Contract, actor: Contract) -> None:
    """The continuation is bound to what was undone: the transaction may fail for two reasons."""
    s = script(made, 1)
    s.begins(l2tx())
    s.tries(0, actor.address, ACT, scope=(0,), opaque=True)
    fork = s.mark()
    ends = {}
    for failed in (False, True):
        s.back_to(fork)
        s.answered(b"", failed)
        s.reverts(0)
        s.continues()
        s.returns(word(failed), failed=True)
        ends[failed] = s.root()
    core = s.core()
    for failed in (False, True):
        point = made.world.snapshot()
        teach(made, actor, ACT, ending=REVERT if failed else 0)
        play(made, bundle, core, execute(made))
        assert made.root(1) == ends[failed]
        made.world.restore(point)


def test_entries_met_in_a_reverted_scope_can_be_met_again(made: Setup, bundle: Contract, actor: Contract) -> None:
    """c1 calls B and is undone, c2 calls B alike at the same root: one entry of B serves both (trap 4)."""
    theirs = script(made, 2)
    inner = l1_call(actor.address, 2, OTHER, b"\x99\x88\x77\x66")
    theirs.begins(inner)
    theirs.returns(b"B")
    teach(made, actor, ACT, [(proxy_of(made, OTHER, 2).address, 0, b"\x99\x88\x77\x66")])
    s = script(made, 1)
    s.begins(l2tx())
    s.calls(0, actor.address, ACT, scope=(0,))
    s.answered()
    s.reverts(0)
    s.continues()
    s.calls(0, actor.address, ACT)
    s.answered()
    s.returns()
    play(made, bundle, theirs.core(), s.core(), execute(made))
    assert (made.root(1), made.root(2), played(actor)) == (s.root(), theirs.root(), 1)


def test_a_rollup_re_entered_inside_a_scope_is_undone_with_it(made: Setup, bundle: Contract, actor: Contract) -> None:
    """1 -> [0] L1 -> 1 (in a scope [0] of its own) -> L1; then the outer [0] is reverted."""
    teach(made, actor, ACT, [(proxy_of(made, PROGRAM, 1).address, 0, b"again")])
    s = script(made, 1)
    s.begins(l2tx())
    s.calls(0, actor.address, ACT, scope=(0,))
    s.begins(l1_call(actor.address, 1, PROGRAM, b"again"))
    s.calls(0, actor.address, BACK, scope=(0,))
    s.answered()
    s.returns(b"in")
    s.answered(b"")
    s.reverts(0)
    s.continues()
    s.returns(failed=True)
    receipt = play(made, bundle, s.core(), execute(made))
    assert names(receipt) == [0, ("ScopeReverted", 3), 4]
    assert (made.root(1), played(actor), played(actor, BACK)) == (s.root(), 0, 0)


def test_a_scope_reverted_in_the_flow_of_a_called_rollup_is_its_own(
    made: Setup, bundle: Contract, actor: Contract
) -> None:
    """1 calls 2 in its scope [0]; 2 reverts a scope [0] of its own: nothing of 1 is undone."""
    s = script(made, 1, 2)
    s.begins(l2tx())
    s.calls(0, actor.address, ACT, scope=(0,))
    s.answered()
    s.calls(2, OTHER, b"b", scope=(0,))
    s.enters()
    s.calls(0, actor.address, BACK, scope=(0,))
    s.answered()
    s.reverts(0)
    s.continues()
    s.returns(b"B")
    s.answered(b"B")
    s.returns()
    receipt = play(made, bundle, s.core(), execute(made))
    assert names(receipt) == [0, 1, 2, ("ScopeReverted", 3), 4, 5]
    assert (played(actor), played(actor, BACK), made.root(2)) == (1, 0, s.root(4))


@pytest.mark.parametrize("signature", ["UndoScope(uint256,bytes32)", "TriedCallFailed(bytes)", "CallReverted(bytes)"])
def test_a_callee_cannot_speak_the_words_of_rollups(
    made: Setup, bundle: Contract, actor: Contract, signature: str
) -> None:
    """Revert data of an L1 contract never ends a scope and never is a rollup's answer (trap 12)."""
    forged = error_selector(signature) + (word(1) + word(5) if "32" in signature else word(32) + word(0))
    teach(made, actor, ACT, answer=forged, ending=REVERT)
    s = script(made, 1, 2)
    s.begins(l2tx())
    s.tries(2, OTHER, b"b", scope=(0,))
    s.enters()
    s.calls(0, actor.address, ACT)
    s.answered()
    s.returns()
    s.answered()
    s.reverts(0)
    s.continues()
    s.returns()
    with expect_revert("CallFailed") as caught:
        play(made, bundle, s.core(), execute(made))
    assert caught.value.revert.values["data"] == forged


def test_only_rollups_itself_opens_scopes_and_attempts(made: Setup) -> None:
    for function, arguments in (("newScope", (bytes(32), 0, bytes(200))), ("attempt", (bytes(200),))):
        for sender in (made.user, made.stranger):
            with expect_revert("NotSelf"):
                made.rollups.send(function, *arguments, sender=sender)


def test_a_missing_entry_inside_a_scope_comes_through_unchanged(made: Setup, bundle: Contract, actor: Contract) -> None:
    s = script(made, 1)
    s.begins(l2tx())
    call = s.calls(0, actor.address, ACT, scope=(0, 1, 2))
    teach(made, actor, ACT, answer=b"surprise")
    with expect_revert("ExecutionNotFound") as caught:
        play(made, bundle, s.incomplete(), execute(made))
    assert caught.value.revert.values["action"].endswith(b"surprise")
    assert caught.value.revert.values["action"][10:30] == call.source_address


def test_seven_levels_are_open_at_once(made: Setup, bundle: Contract, actor: Contract) -> None:
    """The deepest scope there is, undone from the inside level by level."""
    deepest = (0, 1, 2, 3, 4, 5, 0xFFFFFFFF)
    s = script(made, 1)
    s.begins(l2tx())
    s.calls(0, actor.address, ACT, scope=deepest)
    s.answered()
    for length in range(7, 0, -1):
        s.reverts(*deepest[:length])
        s.continues()
    s.returns()
    play(made, bundle, s.core(), execute(made))
    assert (made.root(1), played(actor)) == (s.root(), 0)


def test_a_call_from_l1_reverts_scopes_like_a_transaction(made: Setup, bundle: Contract, actor: Contract) -> None:
    """I10: callL2, proxy, listed trigger and L2TX: the same body ends in the same state."""
    ends = []
    proxy = proxy_of(made, PROGRAM, 1).address
    data = b"\x01\x02\x03\x04"
    ways = {
        "callL2": call_l2(made, 1, data, PROGRAM),
        "proxy": (proxy, 0, data),
        "listed": None,
        "L2TX": execute(made),
        "listed L2TX": None,
    }
    for way, step in ways.items():
        point = made.world.snapshot()
        s = script(made, 1, 2)
        s.begins(l2tx() if "L2TX" in way else l1_call(bundle.address, 1, PROGRAM, data))
        s.calls(0, actor.address, ACT, scope=(0,))
        s.answered()
        s.calls(2, OTHER, b"b", scope=(0,))
        s.enters()
        s.returns()
        s.answered()
        s.reverts(0)
        s.continues()
        s.calls(0, actor.address, BACK, scope=(1,))
        s.answered()
        s.returns(b"done")
        if step is None:
            receipt = play(made, bundle, load_step(made, s.core(), (0,)))
        else:
            receipt = play(made, bundle, s.core(), step)
        ends.append((seen(made, actor), played(actor), played(actor, BACK), names(receipt)))
        made.world.restore(point)
    assert all(end == ends[0] for end in ends)
    assert ends[0][1:] == (0, 1, [0, ("ScopeReverted", 3), 4, 5])
