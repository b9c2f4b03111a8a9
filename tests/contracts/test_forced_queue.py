"""Forced transactions: queued on L1 for a bounty, taken in order, before all else once overdue.

What the bytes do is for the proof to say (SPEC §8.5), so the proof system here accepts all; the tests say who can
be made to wait, who is paid, and that nothing queued brings a rollup to a halt.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from protocol.actions import Action, ActionKind, encode_action
from protocol.constants import BOND_PER_ENTRY, FORCE_BOUNTY, FORCED_GAP, MAX_FORCED_BYTES
from protocol.contracts.artifacts import call_data
from protocol.table import Core, Entry, core_id, encode_core, encode_header
from protocol.types import ZERO_ADDRESS, Address, RollupId
from tests.support.evmworld import Receipt
from tests.support.rollupworld import (
    DELAY,
    FAMILY,
    GENESIS,
    PROGRAM,
    Setup,
    abi_executions,
    answer,
    call_out,
    direct,
    error_selector,
    expect_revert,
    l1_call,
    load_header,
    load_step,
    word,
)

WAIT = 10
TX = b"signed bytes, or not"
PAYEE = b"\x9a" * 20


@pytest.fixture
def queued(made: Setup) -> Setup:
    """Rollup 3 has a queue."""
    config = ([made.accept_all.hex], [FAMILY], 1)
    arguments = (config, made.world.account("owner"), DELAY, word(3000), GENESIS, WAIT)
    receipt = made.rollups.send("createRollupWithQueue", *arguments, sender=made.stranger)
    assert (receipt.value, [e.name for e in receipt.events]) == (3, ["RollupCreated", "ForcedQueueOpened"])
    return made


def force(made: Setup, data: bytes = TX, value: int = FORCE_BOUNTY, rollup_id: int = 3) -> Receipt:
    """A user queues a transaction."""
    return made.rollups.send("forceL2TX", rollup_id, data, sender=made.user, value=value)


def forced(index: int = 0, data: bytes = TX, rollup_id: int = 3) -> Action:
    """The action that takes one."""
    return Action(
        kind=ActionKind.L2TX,
        rollup_id=RollupId(rollup_id),
        destination=ZERO_ADDRESS,
        gas=1 + index,
        source_rollup=RollupId(0),
        source_address=ZERO_ADDRESS,
        data=data,
    )


def takes(index: int = 0, data: bytes = TX, new_root: int = 3001, failed: bool = False, **changes: Any) -> Entry:
    """An entry that takes one, well or as a skip."""
    trigger = forced(index, data)
    reply = answer(trigger, b"", failed=failed)
    return Entry(**({"mid": False, "new_root": new_root, "trigger": trigger, "next_action": reply} | changes))


def only(made: Setup, index: int = 0, data: bytes = TX, new_root: int = 3001, **changes: Any) -> Core:
    """A table that does only this."""
    return made.open_core([takes(index, data, new_root)], members=(3,), **changes)


def ordinary(made: Setup, new_root: int = 3500) -> Core:
    """A table that does something else with rollup 3."""
    return made.open_core([direct(made, 3, new_root)], members=(3,))


def state(made: Setup) -> tuple[int, int, int]:
    """Head, tail, blocks until the head is overdue (0: nothing is queued)."""
    _, head, tail, due = made.rollups.view("forcedQueue", 3)
    return head, tail, due and due - made.world.number


def credit(made: Setup, account: bytes) -> int:
    """What an account can claim."""
    return int(made.rollups.view("claimableOf", account))


def overdue(made: Setup) -> None:
    """The head is due in the next transaction's block."""
    made.world.pass_blocks(WAIT)


# -- the story ---------------------------------------------------------------------------------------------------------


def test_a_queued_transaction_is_logged_taken_and_paid_to_who_proved_it(queued: Setup) -> None:
    made = queued
    (event,) = force(made, value=FORCE_BOUNTY + 5).events
    assert (event.name, event.values["index"], event.values["transaction"]) == ("ForcedQueued", 0, TX)
    assert state(made)[:2] == (0, 1)
    receipt = made.run(only(made), payee=PAYEE)
    names = [e.name for e in receipt.events]
    assert names == ["TableLoaded", "ForcedTaken", "ExecutionConsumed"]
    assert (made.root(3), state(made)) == (3001, (1, 1, 0))
    assert credit(made, PAYEE) == FORCE_BOUNTY + 5 == made.world.balance(made.rollups.address)
    made.rollups.send("claim", PAYEE, sender=made.stranger)
    assert (made.world.balance(PAYEE), made.world.balance(made.rollups.address)) == (FORCE_BOUNTY + 5, 0)


def test_anybody_fires_it_and_a_failed_one_commits(queued: Setup) -> None:
    """A skip is an entry like any other: the root moves, the queue moves, the answer says failed."""
    made = queued
    force(made)
    core = made.open_core([takes(failed=True)], members=(3,))
    made.rollups.send(
        "loadL2Executions",
        abi_executions(core),
        load_header(core) + made.proofs(core, PAYEE),
        sender=made.stranger,
        value=BOND_PER_ENTRY,
    )
    with expect_revert("ExecutionNotFound"):
        made.rollups.send("executeForcedL2TX", bytes(32), 3, TX, sender=made.user)  # no session, and never an offer
    receipt = made.rollups.send("executeForcedL2TX", core_id(encode_core(core)), 3, TX, sender=made.user)
    assert receipt.value == (False, b"")
    assert (made.root(3), state(made)[:2], credit(made, PAYEE)) == (3001, (1, 1), FORCE_BOUNTY)
    assert credit(made, made.stranger) == BOND_PER_ENTRY


def test_they_are_taken_in_order_early_or_late(queued: Setup) -> None:
    made = queued
    for i in range(3):
        force(made, TX + bytes((i,)))
    for i in range(3):
        with expect_revert("NotQueued"):
            made.run(only(made, i + 1, TX + bytes((i + 1,)), 3100))
        made.run(only(made, i, TX + bytes((i,)), 3001 + i))
    assert (made.root(3), state(made)) == (3003, (3, 3, 0))


# -- queueing ----------------------------------------------------------------------------------------------------------


def test_what_can_be_queued_is_bounded_and_paid(queued: Setup) -> None:
    made = queued
    samples: list[tuple[str, dict[str, Any]]] = [
        ("ForcedLength", {"data": b""}),
        ("ForcedLength", {"data": bytes(MAX_FORCED_BYTES + 1)}),
        ("BountyTooLow", {"value": FORCE_BOUNTY - 1}),
        ("NoForcedQueue", {"rollup_id": 1}),
        ("UnknownRollup", {"rollup_id": 9}),
    ]
    for error, change in samples:
        with expect_revert(error):
            force(made, **change)
    force(made, b"\x00")
    force(made, bytes(MAX_FORCED_BYTES))
    assert (state(made)[:2], made.world.balance(made.rollups.address)) == ((0, 2), 2 * FORCE_BOUNTY)


def test_a_queue_is_opened_at_creation_or_never(made: Setup) -> None:
    config = ([made.accept_all.hex], [FAMILY], 1)
    with expect_revert("NoForcedQueue"):
        made.rollups.send("createRollupWithQueue", config, made.user, 0, word(3000), GENESIS, 0, sender=made.user)
    assert made.rollups.view("forcedQueue", 1) == (0, 0, 0, 0)
    with expect_revert("NotQueued"):
        trigger = forced(rollup_id=1)
        made.run(made.open_core([Entry(mid=False, new_root=1, trigger=trigger, next_action=answer(trigger))]))


@pytest.mark.parametrize("data", [b"\x00", b"\xff" * 512, b"\xc0", b"\xf9\xff\xff", bytes(64), b"\x02" + bytes(31)])
def test_junk_stops_nothing(queued: Setup, data: bytes) -> None:
    made = queued
    force(made, data)
    overdue(made)
    made.run(made.open_core([takes(0, data, failed=True)], members=(3,)))
    made.run(ordinary(made))
    assert made.root(3) == 3500


# -- which one, and how ------------------------------------------------------------------------------------------------


def test_only_the_head_with_its_own_bytes_is_taken(queued: Setup) -> None:
    made = queued
    force(made)
    force(made, TX + b"2")
    wrong = [
        only(made, 1, TX + b"2"),
        only(made, 0, TX + b"2"),
        only(made, 0, TX[:-1]),
        only(made, 7),
        only(made, 2, TX),
    ]
    for core in wrong:
        with expect_revert("NotQueued"):
            made.run(core)
    with expect_revert("ExecutionNotFound"):  # bytes of the caller's own meet no entry
        made.rollups.send("executeForcedL2TX", bytes(32), 3, b"other", sender=made.user)
    assert (made.root(3), state(made)[:2]) == (3000, (0, 2))


def test_a_forced_entry_stands_alone_and_calls_nobody(queued: Setup) -> None:
    made = queued
    force(made)
    force(made)
    two = [takes(0), takes(1, new_root=3002, parent=0)]
    with expect_revert("TwoForced"):
        made.rollups.send("loadAndRun", *_raw(made, two), sender=made.user)
    calls = takes(next_action=call_out(3, 0, made.oracle.address))
    with expect_revert("BadNext"):
        made.rollups.send("loadAndRun", *_raw(made, [calls]), sender=made.user)


def _raw(made: Setup, entries: list[Entry]) -> tuple[bytes, ...]:
    """loadAndRun of a core that Python refuses to encode."""
    core = made.open_core(entries, members=(3,))
    parts = [encode_header(core), len(entries).to_bytes(2, "big")]
    for e in entries:
        parts += [x.to_bytes(2, "big") for x in (e.parent, e.reply_to, e.revert_of)]
        parts += [bytes((e.mid,)), word(e.new_root), encode_action(e.trigger), encode_action(e.next_action)]
    return b"".join(parts), made.proofs(core), b"\x00", b"\x00\x00", b""


def test_one_table_may_take_the_heads_of_two_rollups(queued: Setup) -> None:
    made = queued
    config = ([made.accept_all.hex], [FAMILY], 1)
    created = (config, made.user, 0, word(4000), GENESIS, WAIT)
    made.rollups.send("createRollupWithQueue", *created, sender=made.stranger)
    force(made)
    force(made, rollup_id=4)
    other = forced(rollup_id=4)
    entries = [takes(), Entry(parent=0, mid=False, new_root=4001, trigger=other, next_action=answer(other))]
    made.run(made.open_core(entries, members=(3, 4)), (0, 1), payee=PAYEE)
    assert (made.root(3), made.root(4), credit(made, PAYEE)) == (3001, 4001, 2 * FORCE_BOUNTY)


# -- overdue -----------------------------------------------------------------------------------------------------------


def test_once_overdue_nothing_but_the_head_moves_the_rollup(queued: Setup) -> None:
    made = queued
    force(made)
    point = made.world.snapshot()
    made.world.pass_blocks(WAIT - 1)
    made.run(ordinary(made))  # the last block before
    made.world.restore(point)
    overdue(made)
    with expect_revert("ForcedFirst") as caught:
        made.run(ordinary(made))
    assert dict(caught.value.revert.values) == {"rollupId": 3, "index": 0}
    reading = ordinary(made, new_root=3000)
    with expect_revert("ForcedFirst"):  # nor is it read
        made.run(reading)
    made.run(only(made))
    made.run(ordinary(made))
    assert made.root(3) == 3500


def test_one_table_takes_the_overdue_head_and_goes_on(queued: Setup) -> None:
    made = queued
    force(made)
    overdue(made)
    after = replace(direct(made, 3, 3002), parent=0)
    made.run(made.open_core([takes(), after], members=(3,)), (0, 1))
    assert made.root(3) == 3002


def test_a_table_that_takes_the_head_second_is_refused(queued: Setup) -> None:
    made = queued
    force(made)
    overdue(made)
    entries = [direct(made, 3, 3002), takes(new_root=3003, parent=0)]
    with expect_revert("ForcedFirst"):
        made.run(made.open_core(entries, members=(3,)), (0, 1))


def test_naming_an_overdue_rollup_obliges_to_nothing(queued: Setup) -> None:
    """A table that only pins its root moves others."""
    made = queued
    force(made)
    overdue(made)
    made.run(made.open_core([direct(made, 1, 1001)], members=(1, 3)))
    assert (made.root(1), made.root(3)) == (1001, 3000)


def test_waiting_tables_do_not_keep_the_head_waiting(queued: Setup) -> None:
    """The persistent lane: what was loaded before is not met while the head is overdue, and is stale after it."""
    made = queued
    waiting = ordinary(made)
    made.rollups.send(
        "loadL2Executions",
        abi_executions(waiting),
        load_header(waiting) + made.proofs(waiting),
        sender=made.stranger,
        value=BOND_PER_ENTRY,
    )
    force(made)
    overdue(made)
    with expect_revert("ForcedFirst"):
        made.rollups.send("callL2", 3, PROGRAM, b"", sender=made.user)
    made.run(only(made))
    with expect_revert("ExecutionNotFound"):
        made.rollups.send("callL2", 3, PROGRAM, b"", sender=made.user)


def test_the_table_for_an_overdue_head_stays_good_whatever_others_try(queued: Setup) -> None:
    """Its root cannot be moved from under it: not by calls, value, other rollups' calls, or more in the queue."""
    made = queued
    force(made)
    core = only(made, valid_until=made.world.time + 1000)
    overdue(made)
    force(made, b"more", value=10**18)
    trigger = l1_call(made.stranger, 1)
    across = call_out(1, 3, PROGRAM)
    entries = [
        Entry(mid=True, new_root=1001, trigger=trigger, next_action=across),
        Entry(parent=0, mid=False, new_root=3100, trigger=across, next_action=answer(across)),
        Entry(parent=1, reply_to=0, mid=False, new_root=1002, trigger=answer(across), next_action=answer(trigger)),
    ]
    with expect_revert("ForcedFirst"):
        made.run(made.open_core(entries, members=(1, 3)), sender=made.stranger)
    paying = replace(ordinary(made), entries=(replace(direct(made, 3, 3500), trigger=l1_call(made.user, 3, value=7)),))
    paying = replace(paying, entries=(replace(paying.entries[0], next_action=answer(paying.entries[0].trigger)),))
    with expect_revert("ForcedFirst"):
        made.run(paying)
    made.run(core)
    assert made.root(3) == 3001


def test_a_flood_slows_a_rollup_down_and_does_not_stop_it(queued: Setup) -> None:
    """After each one taken there are blocks for everything else, however many are overdue."""
    made = queued
    for i in range(4):
        force(made, bytes((i,)))
    overdue(made)
    root = 3001
    for i in range(4):
        with expect_revert("ForcedFirst"):
            made.run(ordinary(made))
        made.run(only(made, i, bytes((i,)), root))
        if i < 3:
            assert made.rollups.view("forcedQueue", 3)[3] - made.world.number in (FORCED_GAP - 1, FORCED_GAP)
        made.run(ordinary(made, root + 100))
        root += 200
        made.world.pass_blocks(FORCED_GAP)
    made.run(ordinary(made, root))
    assert made.root(3) == root


def test_one_that_is_not_yet_overdue_keeps_its_own_time(queued: Setup) -> None:
    made = queued
    force(made)
    made.world.pass_blocks(WAIT - 2)
    force(made, b"later")
    before = state(made)[2]
    made.run(only(made))
    assert before <= 2 < FORCED_GAP < state(made)[2] <= WAIT


# -- who is paid -------------------------------------------------------------------------------------------------------


def test_a_copied_load_pays_the_prover_and_not_the_copier(queued: Setup) -> None:
    made = queued
    force(made)
    core = only(made)
    for lane in ("transient", "persistent"):
        point = made.world.snapshot()
        if lane == "transient":
            made.run(core, sender=made.stranger, payee=PAYEE)
        else:
            arguments = (abi_executions(core), load_header(core) + made.proofs(core, PAYEE))
            made.rollups.send("loadL2Executions", *arguments, sender=made.stranger, value=BOND_PER_ENTRY)
            identity = core_id(encode_core(core))
            made.rollups.send("executeForcedL2TX", identity, 3, TX, sender=made.stranger)
        assert credit(made, PAYEE) == FORCE_BOUNTY
        made.world.restore(point)


def test_without_a_payee_the_bounty_is_the_firers(queued: Setup) -> None:
    made = queued
    force(made)
    made.run(only(made), sender=made.stranger)
    assert credit(made, made.stranger) == FORCE_BOUNTY


def test_a_bounty_is_paid_once(queued: Setup) -> None:
    made = queued
    force(made)
    made.run(only(made), payee=PAYEE)
    with expect_revert("NotQueued"):
        made.run(only(made, new_root=3002), payee=PAYEE)
    force(made)
    with expect_revert("NotQueued"):  # the same bytes again have another place
        made.run(only(made, new_root=3002), payee=PAYEE)
    made.run(only(made, 1, new_root=3002), payee=PAYEE)
    assert credit(made, PAYEE) == 2 * FORCE_BOUNTY == made.world.balance(made.rollups.address)


# -- undone ------------------------------------------------------------------------------------------------------------


def test_a_reverting_transaction_leaves_the_queue_as_it_was(queued: Setup) -> None:
    made = queued
    force(made)
    before = (state(made)[:2], made.rollups.view("forcedAt", 3, 0))
    bundle, refuser = made.world.deploy("Bundle"), made.world.deploy("Puppet")
    refuser.send("failAlways", True, sender=made.user)
    steps = [
        load_step(made, only(made), ()),
        (made.rollups.address, 0, call_data("IRollups", "executeForcedL2TX", bytes(32), 3, TX)),
        (refuser.address, 0, b"\x01\x01\x01\x01"),
    ]
    with expect_revert("ToldToFail"):
        bundle.send("run", steps, sender=made.user)
    assert (state(made)[:2], made.rollups.view("forcedAt", 3, 0)) == before
    assert (made.root(3), credit(made, bundle.address)) == (3000, 0)
    bundle.send("run", steps[:2], sender=made.user)
    assert (made.root(3), credit(made, bundle.address)) == (3001, FORCE_BOUNTY)


def test_a_flow_cannot_take_the_head_in_passing(queued: Setup) -> None:
    """A transaction begins outside of any flow, so no scope of another rollup can undo a head that was taken in it."""
    made = queued
    force(made)
    overdue(made)
    puppet, bundle = made.world.deploy("Puppet"), made.world.deploy("Bundle")
    take = call_data("IRollups", "executeForcedL2TX", bytes(32), 3, TX)
    puppet.send("instruct", made.rollups.hex, 0, take, sender=made.user)
    entry = Entry(
        mid=True,
        new_root=1001,
        trigger=l1_call(bundle.address, 1),
        next_action=call_out(1, 0, puppet.address, b"\x01\x01\x01\x01"),
    )
    steps = [
        load_step(made, only(made), ()),
        load_step(made, made.open_core([entry]), ()),
        (made.rollups.address, 0, call_data("IRollups", "callL2", 1, PROGRAM, b"")),
    ]
    with expect_revert("CallFailed") as caught:
        bundle.send("run", steps, sender=made.user)
    assert caught.value.revert.values["data"] == error_selector("InFlow()")
    assert (made.root(3), state(made)[:2]) == (3000, (0, 1))


def test_the_payee_of_one_load_is_not_the_payee_of_another(queued: Setup) -> None:
    """Two cores of one transaction that could both take the head: who wins is paid what its own proofs say."""
    made = queued
    force(made)
    bundle = made.world.deploy("Bundle")
    mine, theirs = only(made), only(made, new_root=3002)
    data = [
        call_data("IRollups", "loadAndRun", encode_core(core), made.proofs(core, Address(payee)), b"\x00", b"", b"")
        for core, payee in ((theirs, b"\x77" * 20), (mine, PAYEE))
    ]
    steps = [(made.rollups.address, 0, each) for each in data]
    take = call_data("IRollups", "executeForcedL2TX", core_id(encode_core(mine)), 3, TX)
    bundle.send("run", [*steps, (made.rollups.address, 0, take)], sender=made.user)
    assert (made.root(3), credit(made, PAYEE), credit(made, b"\x77" * 20)) == (3001, FORCE_BOUNTY, 0)
