"""Calls that may fail: TRY_CALL to L1 and to rollups, tryCallL2; nobody but the callee chooses the branch (SPEC §8)."""

from __future__ import annotations

from typing import Any

import pytest

from node.chain.evm import Call
from protocol.constants import MAX_ACTION_DATA
from protocol.contracts.artifacts import call_data
from protocol.table import Core
from tests.support.cores import l2tx
from tests.support.evmworld import Contract
from tests.support.playing import execute, give_ether, names, play, seen
from tests.support.rollupworld import (
    OTHER,
    PROGRAM,
    Setup,
    abi,
    answer,
    error_selector,
    expect_revert,
    l1_call,
    load_step,
    proxy_of,
    word,
)
from tests.support.script import BOMB, BURN, RETURN, REVERT, REVERT_BOMB, Script, script, teach

ACT = b"\x0a\xc7\x00\x01"


def both_ways(made: Setup, actor: Contract, said: bytes, failure: bytes, **changes: Any) -> tuple[Core, int, int]:
    """A transaction that tries an L1 call, with both outcomes; the roots after success and after failure."""
    s = script(made, 1)
    s.begins(l2tx())
    s.tries(0, actor.address, ACT, **changes)
    fork = s.mark()
    s.answered(said)
    s.returns(b"yes")
    good = s.root()
    s.back_to(fork)
    s.answered(failure, failed=True)
    s.returns(b"no")
    return s.core(), good, s.root()


def test_one_table_holds_both_outcomes(made: Setup, bundle: Contract, actor: Contract) -> None:
    """S4, V13: success keeps the value there; failure brings the ether home and undoes the effects."""
    give_ether(made, 1, 50)
    core, good, bad = both_ways(made, actor, b"ok", b"why", value=20)
    for ending, said, root, ether, received in ((RETURN, b"ok", good, 30, 20), (REVERT, b"why", bad, 50, 0)):
        point = made.world.snapshot()
        teach(made, actor, ACT, answer=said, ending=ending)
        receipt = play(made, bundle, core, execute(made))
        after = seen(made, actor)
        assert (after["roots"][1], after["ether"][1], after["held"]) == (root, ether, ether)
        assert actor.view("received") == received
        assert names(receipt)[0] == 0 and len(names(receipt)) == 2
        made.world.restore(point)


@pytest.mark.parametrize("opaque", [False, True])
def test_an_opaque_try_hides_why(made: Setup, bundle: Contract, actor: Contract, opaque: bool) -> None:
    core, _good, bad = both_ways(made, actor, b"ok", b"" if opaque else b"secret", opaque=opaque)
    teach(made, actor, ACT, answer=b"secret", ending=REVERT)
    play(made, bundle, core, execute(made))
    assert made.root(1) == bad


def test_revert_data_is_cut(made: Setup, bundle: Contract, actor: Contract) -> None:
    """S19: of a long reason the first 1024 bytes are the answer."""
    long = bytes(range(256)) * 6
    core, _good, bad = both_ways(made, actor, b"ok", long[:MAX_ACTION_DATA])
    teach(made, actor, ACT, answer=long, ending=REVERT)
    play(made, bundle, core, execute(made))
    assert made.root(1) == bad


@pytest.mark.parametrize(("ending", "opaque"), [(REVERT_BOMB, True), (BURN, False)])
@pytest.mark.parametrize("gas", [100_000, 3_000_000])
def test_a_bomb_is_a_failure_like_any_other(
    made: Setup, bundle: Contract, actor: Contract, ending: int, opaque: bool, gas: int
) -> None:
    """S19: as much revert data as the callee's gas allows, or all of its gas burnt; what follows has enough left."""
    core, _good, bad = both_ways(made, actor, b"ok", b"", gas=gas, opaque=opaque)
    teach(made, actor, ACT, ending=ending)
    play(made, bundle, core, execute(made))
    assert made.root(1) == bad


def test_a_return_bomb_ends_the_flow_whatever_the_gas(made: Setup, bundle: Contract, actor: Contract) -> None:
    """Its size must not make it a failure for senders with little gas and a success for others."""
    core, _good, _bad = both_ways(made, actor, b"ok", b"", gas=3_000_000)
    teach(made, actor, ACT, ending=BOMB)
    for gas in (3_900_000, 6_000_000, 30_000_000):
        with expect_revert("AnswerTooLong"):
            play(made, bundle, core, execute(made), gas=gas)


def test_no_amount_of_gas_chooses_the_failure(made: Setup, bundle: Contract, actor: Contract) -> None:
    """S4, trap 10: with any gas the transaction either succeeds with the callee's success, or is not done at all."""
    busy = [(actor.address, 0, b"\x00\x00\x00\x01")] * 3  # a callee that needs most of what it is given
    teach(made, actor, ACT, busy, answer=b"ok")
    core, good, _bad = both_ways(made, actor, b"ok", b"", gas=400_000)
    step = execute(made)
    data = call_data("Bundle", "run", [load_of(made, core), step])
    outcomes = set()
    for gas in range(300_000, 1_400_000, 9_973):
        point = made.world.snapshot()
        outcome = made.world.run(Call(sender=made.user, to=bundle.address, data=data, gas=gas))
        if outcome.succeeded:
            assert made.root(1) == good, gas
        else:
            assert made.root(1) == 1000, gas
        outcomes.add(outcome.succeeded)
        made.world.restore(point)
    assert outcomes == {True, False}


def load_of(made: Setup, core: Core) -> tuple[bytes, int, bytes]:
    """The step that loads it."""
    return load_step(made, core, ())


def test_too_little_gas_for_the_limit_is_said_by_name(made: Setup, bundle: Contract, actor: Contract) -> None:
    core, _good, _bad = both_ways(made, actor, b"ok", b"", gas=10**9)
    with expect_revert("InsufficientGas"):
        play(made, bundle, core, execute(made))


def test_a_callee_that_says_insufficient_gas_just_failed(made: Setup, bundle: Contract, actor: Contract) -> None:
    forged = error_selector("InsufficientGas(uint256,uint256)") + word(1) + word(0)
    core, _good, bad = both_ways(made, actor, b"ok", forged)
    teach(made, actor, ACT, answer=forged, ending=REVERT)
    play(made, bundle, core, execute(made))
    assert made.root(1) == bad


def test_a_missing_entry_below_a_try_is_no_failure(made: Setup, bundle: Contract, actor: Contract) -> None:
    """Trap 13: the callee asks a rollup whose table nobody loaded."""
    teach(made, actor, ACT, [(proxy_of(made, OTHER, 2).address, 0, b"q")])
    core, _good, _bad = both_ways(made, actor, b"ok", b"")
    with expect_revert("ExecutionNotFound"):
        play(made, bundle, core, execute(made))


# -- tries between rollups ---------------------------------------------------------------------------------------------


def tries_rollup(made: Setup, actor: Contract, failed: bool) -> Script:
    """1 tries 2 with ether; 2 calls L1, then answers or fails."""
    s = script(made, 1, 2)
    s.begins(l2tx())
    s.tries(2, OTHER, b"b", value=7)
    fork = s.mark()
    s.enters()
    s.calls(0, actor.address, ACT, value=2)
    s.answered()
    s.returns(b"said", failed=failed)
    if failed:
        s.back_to(fork)
    s.answered(b"said", failed)
    s.returns(b"done")
    return s


@pytest.mark.parametrize("failed", [False, True])
def test_a_rollup_tries_a_rollup(made: Setup, bundle: Contract, actor: Contract, failed: bool) -> None:
    """The proven failure undoes the callee's root, entries, ether and L1 effects; a success keeps them."""
    give_ether(made, 1, 10)
    s = tries_rollup(made, actor, failed)
    receipt = play(made, bundle, s.core(), execute(made))
    after = seen(made, actor)
    assert after["ether"] == ({1: 10, 2: 0} if failed else {1: 3, 2: 5})
    assert after["roots"] == ({1: s.root(), 2: 2000} if failed else {1: s.root(), 2: s.root(2)})
    assert actor.view("played", ACT) == (0 if failed else 1)
    assert names(receipt) == ([0, 3] if failed else [0, 1, 2, 3])


def test_a_failure_deeper_down_is_not_the_tried_calls_failure(made: Setup, bundle: Contract) -> None:
    """1 tries 2; 2 plainly calls 3, which fails: that is no answer of 2."""
    made.create_rollup(3)
    s = script(made, 1, 2, 3)
    s.begins(l2tx())
    s.tries(2, OTHER, b"b")
    s.enters()
    s.calls(3, OTHER, b"c")
    s.enters()
    s.returns(b"bad", failed=True)
    with expect_revert("CallReverted"):
        play(made, bundle, s.incomplete(), execute(made))


def test_a_tried_rollup_without_a_table_is_no_failure(made: Setup, bundle: Contract) -> None:
    s = script(made, 1)
    s.begins(l2tx())
    s.tries(2, OTHER, b"b")
    s.answered(b"", failed=True)
    s.returns()
    with expect_revert("ExecutionNotFound"):
        play(made, bundle, s.core(), execute(made))


# -- tryCallL2 ---------------------------------------------------------------------------------------------------------


def try_call(made: Setup, value: int = 0, data: bytes = b"hi", min_gas: int = 0) -> tuple[bytes, int, bytes]:
    """tryCallL2 of rollup 1."""
    return made.rollups.address, value, call_data("IRollups", "tryCallL2", 1, PROGRAM, data, min_gas)


@pytest.mark.parametrize(("failed", "status"), [(False, 0), (True, 1), (None, 2)])
def test_an_l1_caller_learns_done_reverted_or_unavailable(
    made: Setup, actor: Contract, failed: bool | None, status: int
) -> None:
    """Value of a call that was not made can be claimed by the caller; roots move only for "done"."""
    trigger = l1_call(actor.address, 1, PROGRAM, b"hi", value=9)
    s = script(made, 1)
    s.begins(trigger if failed is not None else l1_call(actor.address, 1, PROGRAM, b"else"))
    s.returns(b"answer", failed=bool(failed))
    teach(made, actor, ACT, [load_of(made, s.core()), try_call(made, 9)])
    made.world.send_raw(actor.address, ACT, sender=made.user, value=9)
    raw = actor.view("lastAnswer")
    assert int.from_bytes(raw[:32], "big") == status
    if status < 2:
        assert raw == abi(("uint8", status), ("bytes", b"answer"))
    assert made.root(1) == (s.root() if status == 0 else 1000)
    assert made.rollup(1)["ether"] == (9 if status == 0 else 0)
    assert made.rollups.view("claimableOf", actor.hex) == (0 if status == 0 else 9)
    if status:
        made.rollups.send("claim", actor.hex, sender=made.stranger)
        assert made.world.balance(actor.address) == 9


def test_the_gas_that_a_try_from_l1_asks_for_is_there_or_it_reverts(made: Setup, bundle: Contract) -> None:
    with expect_revert("InsufficientGas"):
        bundle.send("run", [try_call(made, min_gas=10**9)], sender=made.user)


def test_a_refused_try_from_l1_moves_nothing_of_a_running_flow(made: Setup, bundle: Contract, actor: Contract) -> None:
    """1 -> L1, which tries 1 again (proven to fail) and goes on: the flow ends as if it had not asked (I11)."""
    teach(made, actor, ACT, [try_call(made)])
    s = script(made, 1)
    s.begins(l2tx())
    s.calls(0, actor.address, ACT)
    fork = s.mark()
    s.begins(l1_call(actor.address, 1, PROGRAM, b"hi"))
    s.returns(b"no", failed=True)
    s.back_to(fork)
    s.answered(b"")
    s.returns(b"end")
    receipt = play(made, bundle, s.core(), execute(made))
    assert (names(receipt), made.root(1)) == ([0, 2], s.root())
    assert actor.view("lastAnswer")[:32] == word(1)


def test_answers_of_tries_go_back_along_the_call(made: Setup, actor: Contract) -> None:
    """The entry that meets the failure names the call by hash: another call's failure does not fit."""
    core, _good, _bad = both_ways(made, actor, b"ok", b"why")
    call = core.entries[0].next_action
    assert core.entries[2].trigger == answer(call, b"why", failed=True)
    assert core.link(2) == core.next_hash(0)
