"""Transactions of a rollup (L2TX), and flows that cross several rollups, tables and provers (SPEC §8)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from protocol.constants import BOND_PER_ENTRY
from protocol.contracts.artifacts import artifact, call_data
from protocol.load import encode_expects
from protocol.table import Core, core_id, encode_core, encode_triggers, triggers_hash
from protocol.types import Address, RollupId
from tests.support.cores import l2tx
from tests.support.evmworld import Contract
from tests.support.playing import TX, call_l2, execute, give_ether, names, play, seen
from tests.support.rollupworld import (
    OTHER,
    PROGRAM,
    Setup,
    abi_executions,
    expect_revert,
    l1_call,
    load_header,
    load_step,
    proxy_of,
)
from tests.support.script import Script, script, teach

ACT = b"\x0a\xc7\x00\x01"


def one_transaction(made: Setup, failed: bool = False) -> Script:
    """A transaction of rollup 1 that touches nothing else."""
    s = script(made, 1)
    s.begins(l2tx())
    s.returns(b"said", failed=failed)
    return s


@pytest.mark.parametrize("failed", [False, True])
def test_a_transaction_is_done_whether_it_succeeds_or_fails(made: Setup, failed: bool) -> None:
    """S21: a failing one is includable; it moves the root that pays its fee."""
    s = one_transaction(made, failed)
    core = s.core(executor=Address(made.user), triggers_hash=triggers_hash((0,)))
    receipt = made.run(core, sender=made.user)
    assert (receipt.value, made.root(1)) == ((b"said",), s.root())


@pytest.mark.parametrize("failed", [False, True])
def test_execute_says_whether_it_succeeded(made: Setup, actor: Contract, failed: bool) -> None:
    s = one_transaction(made, failed)
    teach(made, actor, ACT, [load_step(made, s.core(), ()), execute(made)])
    made.world.send_raw(actor.address, ACT, sender=made.user)
    assert (actor.view("lastAnswer")[31], made.root(1)) == (int(not failed), s.root())


def test_a_stored_transaction_is_met_by_its_table_only(made: Setup) -> None:
    """It waits under its core's id: an open lookup never finds it."""
    s = one_transaction(made)
    core = s.core()
    made.rollups.send(
        "loadL2Executions",
        abi_executions(core),
        load_header(core) + made.proofs(core),
        sender=made.stranger,
        value=BOND_PER_ENTRY,
    )
    with expect_revert("ExecutionNotFound"):
        made.rollups.send("executeL2TX", 1, TX, sender=made.user)
    receipt = made.rollups.send("executeL2TXPinned", core_id(encode_core(core)), 1, TX, sender=made.user)
    assert (receipt.value, made.root(1)) == ((True, b"said"), s.root())
    assert made.rollups.view("claimableOf", made.stranger) == BOND_PER_ENTRY


def test_only_the_executor_sends_it(made: Setup, bundle: Contract) -> None:
    """Trap 36: of a table that names one; in the same transaction another contract is not he."""
    other = made.world.deploy("Bundle")
    core = one_transaction(made).core(executor=Address(bundle.address))
    inner = call_data("Bundle", "run", [execute(made)])
    with expect_revert("NotExecutor"):
        play(made, bundle, core, (other.address, 0, inner))
    play(made, bundle, core, execute(made))
    assert made.root(1) == 1001


def test_nobody_slips_a_transaction_into_a_running_flow(made: Setup, bundle: Contract, actor: Contract) -> None:
    theirs = script(made, 2)
    theirs.begins(l2tx(2))
    theirs.returns()
    teach(made, actor, ACT, [execute(made, 2)])
    s = script(made, 1)
    s.begins(l2tx())
    s.calls(0, actor.address, ACT)
    with expect_revert("CallFailed"):
        play(made, bundle, theirs.core(), s.incomplete(), execute(made))


def test_another_transaction_is_not_found(made: Setup, bundle: Contract) -> None:
    for data, rollup_id in ((TX + b"x", 1), (b"", 1), (TX, 2)):
        with expect_revert("ExecutionNotFound"):
            play(made, bundle, one_transaction(made).core(), execute(made, rollup_id, data))
    with expect_revert("DataTooLong"):
        made.rollups.send("executeL2TX", 1, bytes(1025), sender=made.user)
    with expect_revert("UnknownRollup"):
        made.rollups.send("executeL2TX", 9, TX, sender=made.user)


# -- across rollups ----------------------------------------------------------------------------------------------------


def test_l1_changes_what_the_other_rollup_told_it_and_the_result_moves_the_first(
    made: Setup, bundle: Contract, actor: Contract
) -> None:
    """S1, S2: A -> L1 -> B -> L1 -> A (re-entered mid-flow) and back through all of them."""
    second = made.world.deploy("Player")
    teach(made, actor, ACT, [(proxy_of(made, OTHER, 2).address, 0, b"toB")], answer=b"from L1")
    teach(made, second, ACT, [(proxy_of(made, PROGRAM, 1).address, 0, b"toA")], answer=b"again")
    s = script(made, 1, 2)
    s.begins(l2tx())
    s.calls(0, actor.address, ACT)
    s.begins(l1_call(actor.address, 2, OTHER, b"toB"))
    s.calls(0, second.address, ACT)
    s.begins(l1_call(second.address, 1, PROGRAM, b"toA"))
    s.returns(b"A")
    s.answered(b"again")
    s.returns(b"B")
    s.answered(b"from L1")
    s.returns(b"end")
    assert [e.mid for e in s.entries] == [True, True, True, False, False]
    receipt = play(made, bundle, s.core(), execute(made))
    assert names(receipt) == [0, 1, 2, 3, 4]
    assert (made.root(1), made.root(2)) == (s.root(), s.root(3))


def test_three_rollups_two_tables_one_transaction(made: Setup, bundle: Contract, actor: Contract) -> None:
    """S3: the first table's call enters the second, which another prover made and which spans two rollups."""
    made.create_rollup(3)
    theirs = script(made, 2, 3)
    s = script(made, 1)
    s.begins(l2tx())
    call = s.calls(2, OTHER, b"b")
    theirs.begins(call)
    theirs.calls(3, PROGRAM, b"c")
    theirs.enters()
    theirs.calls(0, actor.address, ACT)
    theirs.answered()
    theirs.returns(b"C")
    theirs.answered(b"C")
    theirs.returns(b"B")
    s.answered(b"B")
    s.returns(b"A")
    play(made, bundle, theirs.core(), s.core(), execute(made))
    assert [made.root(r) for r in (1, 2, 3)] == [s.root(), theirs.root(), theirs.root(2)]


def test_eight_rollups_call_each_other_in_a_chain(made: Setup, bundle: Contract) -> None:
    """The largest lockset, each member one level deeper; the ether passes through all of them."""
    for rollup_id in range(3, 9):
        made.create_rollup(rollup_id)
    give_ether(made, 1, 100)
    s = script(made, *range(1, 9))
    s.begins(l2tx())
    for rollup_id in range(2, 9):
        s.calls(rollup_id, PROGRAM, b"next", value=100 - rollup_id)
        s.enters()
    s.returns(b"deep")
    for _ in range(7):
        s.answered(b"deep")
        s.returns(b"deep")
    play(made, bundle, s.core(), execute(made))
    assert [made.rollup(r)["ether"] for r in range(1, 9)] == [2, 1, 1, 1, 1, 1, 1, 92]
    assert made.world.balance(made.rollups.address) == 100


def test_the_same_call_twice_with_different_answers(made: Setup, bundle: Contract) -> None:
    """S7, E multi-call-twice: equal actions, told apart by the roots"""
    s = script(made, 1, 2)
    s.begins(l2tx())
    for said in (b"one", b"two"):
        s.calls(2, OTHER, b"count")
        s.enters()
        s.returns(said)
        s.answered(said)
    s.returns(b"both")
    s.entries = [replace(e, new_root=2000) if e.owner == 2 else e for e in s.entries]  # the callee does not move
    play(made, bundle, s.core(), execute(made))
    assert (made.root(1), made.root(2)) == (s.root(), 2000)


def test_ping_pong_through_l1_goes_deep(made: Setup, bundle: Contract) -> None:
    """S19, E reentrant: eight hops L1 -> rollup -> L1 ..., each frame with 63/64 of the gas of the one around it."""
    hops = 8
    players = [made.world.deploy("Player") for _ in range(hops)]
    proxy = proxy_of(made, PROGRAM, 1).address
    s = script(made, 1)
    s.begins(l2tx())
    for place, player in enumerate(players):
        last = place == hops - 1
        teach(made, player, ACT, [] if last else [(proxy, 0, bytes((place,)))], answer=b"up")
        s.calls(0, player.address, ACT)
        if not last:
            s.begins(l1_call(player.address, 1, PROGRAM, bytes((place,))))
    for place in range(hops):
        s.answered(b"up")
        s.returns(bytes((place,)))
    play(made, bundle, s.core(), execute(made))
    assert made.root(1) == s.root()


WAYS = ("in", "out", "failed out", "nested out", "out in a reverted scope", "rollup to rollup")


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("way", WAYS)
def test_ether_is_counted_where_it_moves(made: Setup, bundle: Contract, actor: Contract, way: str, count: int) -> None:
    """S13, V5, V8: each way for ether to move, with one to three rollups; nothing is lost, nothing is made."""
    made.create_rollup(3)
    members = tuple(range(1, count + 1))
    for r in members:
        give_ether(made, r, 100)
    s = script(made, *members)
    s.begins(l2tx())
    last = count
    for r in members[1:]:  # the last rollup of the chain moves it
        s.calls(r, PROGRAM, b"on")
        s.enters()
    expected, received = {r: 100 for r in members}, 0
    if way == "in":
        teach(made, actor, ACT, [(made.rollups.address, 9, call_l2(made, last, b"in")[2])])
        s.calls(0, actor.address, ACT, value=9)
        s.begins(l1_call(actor.address, last, PROGRAM, b"in", value=9))
        s.returns()
        s.answered()
        received = 9
    elif way == "out":
        s.calls(0, actor.address, ACT, value=9)
        s.answered()
        expected[last], received = 91, 9
    elif way == "failed out":
        teach(made, actor, ACT, ending=1)
        s.tries(0, actor.address, ACT, value=9)
        s.answered(failed=True)
    elif way == "nested out":
        teach(made, actor, ACT, [(proxy_of(made, PROGRAM, last).address, 0, b"nested")])
        s.calls(0, actor.address, ACT, value=9)
        s.begins(l1_call(actor.address, last, PROGRAM, b"nested"))
        s.calls(0, actor.address, b"\0\0\0\1", value=91)
        s.answered()
        s.returns()
        s.answered()
        expected[last], received = 0, 100
    elif way == "out in a reverted scope":
        s.calls(0, actor.address, ACT, value=9, scope=(0,))
        s.answered()
        s.reverts(0)
        s.continues()
    else:
        made.create_rollup(4)
        target = 2 if count == 1 else 1
        if count > 1:
            s.calls(target, OTHER, b"back", value=9)
            s.enters()
            s.returns()
            s.answered()
            expected[last], expected[target] = 91, 109
    s.returns(b"x")
    for _ in members[1:]:
        s.answered(b"x")
        s.returns(b"x")
    play(made, bundle, s.core(), execute(made))
    assert {r: made.rollup(r)["ether"] for r in members} == expected
    assert actor.view("received") == received
    assert made.world.balance(made.rollups.address) == sum(expected.values())


def test_more_ether_than_the_rollup_has_is_not_sent(made: Setup, bundle: Contract, actor: Contract) -> None:
    """V2, V6: also not the ether that other rollups left in the same contract, and not inside a nested frame."""
    give_ether(made, 2, 1000)
    give_ether(made, 1, 5)
    s = script(made, 1)
    s.begins(l2tx())
    s.calls(0, actor.address, ACT, value=6)
    with expect_revert("InsufficientRollupBalance"):
        play(made, bundle, s.incomplete(), execute(made))


@pytest.mark.parametrize("tries", [False, True])
def test_a_rollup_speaks_for_nobody_else(made: Setup, bundle: Contract, actor: Contract, tries: bool) -> None:
    """V1, V9: the next action's source is the entry's owner, also for a TRY_CALL, in every proof system."""
    s = script(made, 1, 2)
    s.begins(l2tx())
    call = (s.tries if tries else s.calls)(0, actor.address, ACT)
    foreign = replace(s.entries[0], next_action=replace(call, source_rollup=RollupId(2)))
    core = replace(s.incomplete(), entries=(foreign,))
    raw = encode_core(s.incomplete()).replace(
        call.source_rollup.to_bytes(8, "big") + PROGRAM + b"\0\0\4", b"\0" * 7 + b"\2" + PROGRAM + b"\0\0\4"
    )
    assert core.entries[0].next_action.source_rollup == 2
    with expect_revert("BadSource"):
        made.rollups.send(
            "loadAndRun", raw, made.proofs(core), encode_expects(()), encode_triggers(()), b"", sender=made.user
        )


# -- a hostile destination ---------------------------------------------------------------------------------------------


def _functions(name: str) -> list[str]:
    return [i["name"] for i in artifact(name).abi if i["type"] == "function" and i["stateMutability"] != "view"]


ZEROS = {"uint8": 1, "uint32": 1, "uint64": 1, "uint256": 1, "bytes32": bytes(32), "bytes": b"", "address": bytes(20)}


def _zero(item: dict[str, object]) -> object:
    kind = str(item["type"])
    if kind.endswith("[]"):
        return []
    if kind == "tuple":
        return tuple(_zero(part) for part in item["components"])  # type: ignore[attr-defined]
    return ZEROS[kind]


@pytest.mark.parametrize(
    ("contract", "function"),
    [(name, f) for name in ("IRollups", "IProofMarket") for f in _functions(name)],
)
def test_re_entering_any_function_changes_nothing_of_the_flow(
    made: Setup, bundle: Contract, actor: Contract, contract: str, function: str
) -> None:
    """A destination re-enters and swallows what it gets: roots and ether are those of the table."""
    (item,) = (i for i in artifact(contract).abi if i["type"] == "function" and i["name"] == function)
    data = call_data(contract, function, *(_zero(each) for each in item["inputs"]))
    target = made.rollups.address if contract == "IRollups" else made.market.address
    teach(made, actor, ACT, [(target, 0, data, True)], answer=b"k")
    give_ether(made, 1, 10)
    s = script(made, 1)
    s.begins(l2tx())
    s.calls(0, actor.address, ACT, value=4)
    s.answered(b"k")
    s.returns()
    before = seen(made, actor)
    play(made, bundle, s.core(), execute(made))
    after = seen(made, actor)
    assert after["roots"] == {1: s.root(), 2: 2000}
    assert (after["ether"], after["held"], after["mid"]) == ({1: 6, 2: 0}, before["held"] - 4, [])


def test_a_core_cannot_be_larger_than_its_lockset_allows(made: Setup) -> None:
    """An entry owned by a rollup outside the lockset is refused whatever its kind."""
    s = script(made, 1, 2)
    s.begins(l2tx(2))
    s.returns()
    core: Core = s.core()
    raw = encode_core(core)
    cut = raw[:1] + b"\1" + raw[2:42] + raw[82:]
    one = replace(core, lockset=core.lockset[:1])
    with expect_revert("OwnerNotInLockset"):
        made.rollups.send(
            "loadAndRun", cut, made.proofs(one), encode_expects(()), encode_triggers(()), b"", sender=made.user
        )
