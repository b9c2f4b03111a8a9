"""Loading and running tables in the transient lane: what a table moves, what it may not, and who may run it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from protocol.actions import action_hash, encode_action
from protocol.constants import MAX_ACTION_DATA
from protocol.contracts.artifacts import call_data
from protocol.load import (
    encode_expects,
)
from protocol.table import Entry, core_id, encode_core, triggers_hash
from protocol.types import ZERO_HASH, Address
from tests.support.rollupworld import (
    OTHER,
    PROGRAM,
    Setup,
    answer,
    call_out,
    direct,
    error_selector,
    expect_revert,
    l1_call,
    load_step,
    proxy_of,
    root_of,
    send,
    word,
)

# -- what happens ------------------------------------------------------------------------------------------------------


def test_oracle_round_trip_moves_the_root_twice_and_logs_both(made: Setup) -> None:
    core = made.oracle_table()
    receipt = made.run(core)
    assert receipt.value == (word(1),)
    assert made.root(1) == 1002
    consumed = [e.values for e in receipt.events if e.name == "ExecutionConsumed"]
    assert [(c["index"], c["rollupId"], int.from_bytes(c["newRoot"], "big"), c["epoch"]) for c in consumed] == [
        (0, 1, 1001, 1),
        (1, 1, 1002, 1),
    ]
    (loaded,) = [e.values for e in receipt.events if e.name == "TableLoaded"]
    assert (loaded["coreId"], loaded["core"], loaded["lane"]) == (core_id(encode_core(core)), encode_core(core), 0)


def test_an_answer_that_the_table_does_not_expect_is_execution_not_found_with_the_whole_action(made: Setup) -> None:
    core = made.oracle_table(price=2500)
    made.oracle.send("setPrice", 2600, sender=made.stranger)
    with expect_revert("ExecutionNotFound") as caught:
        made.run(core)
    missing = answer(core.entries[0].next_action, word(2600))
    values = caught.value.revert.values
    assert values["action"] == encode_action(missing)
    assert values["actionHash"] == action_hash(missing, action_hash(core.entries[0].next_action))
    assert made.root(1) == root_of(1)


def test_planner_finds_the_first_missing_call_of_a_nested_dapp(made: Setup) -> None:
    """L1 -> 1 -> L1 dapp -> proxy of 2: the missing entry deep down comes through the dapp's frame."""
    puppet = made.world.deploy("Puppet")
    proxy = proxy_of(made, OTHER, 2)
    puppet.send("instruct", proxy.hex, 0, b"\x99\x88\x77\x66", sender=made.stranger)
    trigger = l1_call(made.user, 1)
    asked = call_out(1, 0, puppet.address, b"\x01\x02\x03\x04")
    core = made.core([Entry(mid=True, new_root=1001, trigger=trigger, next_action=asked)], members=(1, 2))
    with expect_revert("ExecutionNotFound") as caught:
        made.run(core)
    assert caught.value.revert.values["action"] == encode_action(l1_call(puppet.address, 2, OTHER, b"\x99\x88\x77\x66"))


def nested_entries(made: Setup, puppet: bytes) -> list[Entry]:
    """L1 -> 1 -> L1 dapp -> 2 -> L1 dapp -> 1 -> L1."""
    trigger = l1_call(made.user, 1)
    asked = call_out(1, 0, puppet, b"\x01\x02\x03\x04")
    inner = l1_call(puppet, 2, OTHER, b"\x99\x88\x77\x66")
    return [
        Entry(mid=True, new_root=1001, trigger=trigger, next_action=asked),
        Entry(parent=0, mid=False, new_root=2001, trigger=inner, next_action=answer(inner, word(7))),
        Entry(
            parent=1,
            reply_to=0,
            mid=False,
            new_root=1002,
            trigger=answer(asked, word(7)),
            next_action=answer(trigger, b"done"),
        ),
    ]


def test_l1_rollup_l1_other_rollup_and_back(made: Setup) -> None:
    puppet = made.world.deploy("Puppet")
    proxy = proxy_of(made, OTHER, 2)
    puppet.send("instruct", proxy.hex, 0, b"\x99\x88\x77\x66", sender=made.stranger)
    assert made.run(made.core(nested_entries(made, puppet.address), members=(1, 2))).value == (b"done",)
    assert (made.root(1), made.root(2)) == (1002, 2001)
    assert puppet.view("lastCaller") == proxy_of(made, PROGRAM, 1).hex


def test_the_called_rollup_is_re_entered_mid_flow(made: Setup) -> None:
    """L1 -> 1 -> L1 dapp -> 1 -> L1 dapp -> 1: the second frame runs on the mid root of the first."""
    puppet = made.world.deploy("Puppet")
    puppet.send("instruct", proxy_of(made, PROGRAM, 1).hex, 0, b"\x55\x55\x55\x55", sender=made.stranger)
    trigger = l1_call(made.user, 1)
    asked = call_out(1, 0, puppet.address, b"\x01\x02\x03\x04")
    inner = l1_call(puppet.address, 1, PROGRAM, b"\x55\x55\x55\x55")
    entries = [
        Entry(mid=True, new_root=1001, trigger=trigger, next_action=asked),
        Entry(parent=0, mid=True, new_root=1002, trigger=inner, next_action=answer(inner, b"in")),
        Entry(
            parent=1,
            reply_to=0,
            mid=False,
            new_root=1003,
            trigger=answer(asked, b"in"),
            next_action=answer(trigger, b"out"),
        ),
    ]
    assert made.run(made.core(entries)).value == (b"out",)
    assert made.root(1) == 1003


def rollup_to_rollup(made: Setup, failed: bool = False) -> list[Entry]:
    """L1 -> 1 -> 2 -> 1 -> L1."""
    trigger = l1_call(made.user, 1)
    asked = call_out(1, 2, OTHER, b"\x0a\x0b\x0c\x0d")
    return [
        Entry(mid=True, new_root=1001, trigger=trigger, next_action=asked),
        Entry(parent=0, mid=False, new_root=2001, trigger=asked, next_action=answer(asked, word(5), failed)),
        Entry(
            parent=1,
            reply_to=0,
            mid=False,
            new_root=1002,
            trigger=answer(asked, word(5)),
            next_action=answer(trigger, word(6)),
        ),
    ]


def test_rollup_calls_rollup_and_resumes(made: Setup) -> None:
    assert made.run(made.core(rollup_to_rollup(made), members=(1, 2))).value == (word(6),)
    assert (made.root(1), made.root(2)) == (1002, 2001)


def test_a_failed_plain_call_between_rollups_reverts_everything(made: Setup) -> None:
    with expect_revert("CallReverted") as caught:
        made.run(made.core(rollup_to_rollup(made, failed=True), members=(1, 2)))
    assert caught.value.revert.values["data"] == word(5)
    assert (made.root(1), made.root(2)) == (root_of(1), root_of(2))


def test_a_call_to_a_rollup_outside_the_lockset_resolves_in_the_table_loaded_for_it(made: Setup) -> None:
    """Two tables of two provers compose in one transaction: the second is entered by the first one's L1 dapp."""
    puppet = made.world.deploy("Puppet")
    bundle = made.world.deploy("Bundle")
    puppet.send("instruct", proxy_of(made, OTHER, 2).hex, 0, b"\x99\x88\x77\x66", sender=made.stranger)
    inner = l1_call(puppet.address, 2, OTHER, b"\x99\x88\x77\x66")
    second = made.open_core(
        [Entry(mid=False, new_root=2001, trigger=inner, next_action=answer(inner, b"B"))], members=(2,)
    )
    trigger = l1_call(bundle.address, 1)
    asked = call_out(1, 0, puppet.address, b"\x01\x02\x03\x04")
    first = made.open_core(
        [
            Entry(mid=True, new_root=1001, trigger=trigger, next_action=asked),
            Entry(
                parent=0,
                reply_to=0,
                mid=False,
                new_root=1002,
                trigger=answer(asked, b"B"),
                next_action=answer(trigger, b"A"),
            ),
        ]
    )
    steps = [load_step(made, second, ()), load_step(made, first, (0,))]
    bundle.send("run", steps, sender=made.user)
    assert (made.root(1), made.root(2)) == (1002, 2001)


def test_two_triggers_fire_in_order(made: Setup) -> None:
    first = direct(made, 1, 1001, b"aaaa")
    second = replace(direct(made, 1, 1002, b"bbbb"), parent=0)
    core = made.core([first, second], triggers_hash=triggers_hash((0, 1)))
    assert made.run(core, (0, 1)).value == (b"aaaa!", b"bbbb!")
    assert made.root(1) == 1002


def test_proxy_and_call_l2_and_listed_trigger_agree(made: Setup) -> None:
    """One trigger, three ways in: the same entry is met."""
    bundle = made.world.deploy("Bundle")
    trigger = l1_call(bundle.address, 1, data=b"\x01\x02\x03\x04")
    entry = Entry(mid=False, new_root=1001, trigger=trigger, next_action=answer(trigger, b"x"))
    core = made.open_core([entry])
    ways = {
        "listed": [load_step(made, core, (0,))],
        "callL2": [
            load_step(made, core, ()),
            (made.rollups.address, 0, call_data("IRollups", "callL2", 1, PROGRAM, b"\x01\x02\x03\x04")),
        ],
        "proxy": [load_step(made, core, ()), (proxy_of(made, PROGRAM, 1).address, 0, b"\x01\x02\x03\x04")],
    }
    for way, steps in ways.items():
        point = made.world.snapshot()
        bundle.send("run", steps, sender=made.user)
        assert made.root(1) == 1001, way
        made.world.restore(point)


def test_nothing_of_a_transient_table_is_left_for_the_next_transaction(made: Setup) -> None:
    core = made.open_core([direct(made, 1, 1001)])
    made.run(core, ())
    with expect_revert("ExecutionNotFound"):
        made.rollups.send("callL2", 1, PROGRAM, b"", sender=made.user)
    assert made.root(1) == root_of(1)


def test_the_same_core_loaded_twice_in_one_transaction_is_stored_once(made: Setup) -> None:
    bundle = made.world.deploy("Bundle")
    core = made.open_core([direct(made, 1, 1001, source=bundle.address)])
    steps = [load_step(made, core, ()), load_step(made, core, (0,))]
    receipt = bundle.send("run", steps, sender=made.user)
    assert [e.name for e in receipt.events] == ["TableLoaded", "ExecutionConsumed"]


# -- who may run it ----------------------------------------------------------------------------------------------------


def test_a_copy_sent_by_somebody_else_reverts_and_the_original_still_runs(made: Setup) -> None:
    core = made.oracle_table()
    with expect_revert("NotExecutor"):
        made.run(core, sender=made.stranger)
    made.run(core)
    assert made.root(1) == 1002


def test_a_stranger_cannot_fire_the_users_trigger_even_of_an_open_table(made: Setup) -> None:
    core = made.open_core([direct(made, 1, 1001)])
    with expect_revert("NotTriggerSource"):
        made.run(core, sender=made.stranger)


@pytest.mark.parametrize("triggers", [(), (0, 0), (1,)])
def test_another_list_of_triggers_than_the_fixed_one_is_refused(made: Setup, triggers: tuple[int, ...]) -> None:
    core = made.core([direct(made, 1, 1001, b"aaaa"), direct(made, 1, 1002, b"bbbb")])
    with expect_revert("WrongTriggers"):
        made.run(core, triggers)


def test_fixed_triggers_cannot_be_fired_one_by_one(made: Setup) -> None:
    """The executor is a bundle that loads without firing: not possible, and so is no other branch."""
    bundle = made.world.deploy("Bundle")
    core = made.core(
        [direct(made, 1, 1001, source=bundle.address)],
        executor=Address(bundle.address),
        triggers_hash=triggers_hash(()),
    )
    call = (made.rollups.address, 0, call_data("IRollups", "callL2", 1, PROGRAM, b""))
    with expect_revert("TriggersFixed"):
        bundle.send("run", [load_step(made, core, ()), call], sender=made.user)


def test_a_trigger_index_without_an_l1_call_is_refused(made: Setup) -> None:
    core = made.oracle_table(triggers_hash=ZERO_HASH)
    for index in (1, 2, 0xFFFF):
        with expect_revert("NotATrigger"):
            made.run(core, (index,), value=0)


def test_an_odd_trigger_list_is_refused(made: Setup) -> None:
    core = made.oracle_table(triggers_hash=ZERO_HASH)
    with expect_revert("MalformedTriggers"):
        send(made, encode_core(core), made.proofs(core), encode_expects(()), b"\x00")


# -- ends of a flow ----------------------------------------------------------------------------------------------------


def test_a_flow_that_ends_at_a_mid_root_is_refused(made: Setup) -> None:
    with expect_revert("FlowNotFinal"):
        made.run(made.core([replace(direct(made, 1, 1001), mid=True)]))


def test_a_failed_trigger_reverts_with_its_data(made: Setup) -> None:
    trigger = l1_call(made.user, 1)
    entry = Entry(mid=False, new_root=1001, trigger=trigger, next_action=answer(trigger, b"why", failed=True))
    with expect_revert("CallReverted") as caught:
        made.run(made.core([entry]))
    assert caught.value.revert.values["data"] == b"why"
    assert made.root(1) == root_of(1)


def test_a_failing_l1_call_reverts_the_flow_with_its_reason(made: Setup) -> None:
    puppet = made.world.deploy("Puppet")
    puppet.send("failAlways", True, sender=made.stranger)
    trigger = l1_call(made.user, 1)
    entry = Entry(
        mid=True, new_root=1001, trigger=trigger, next_action=call_out(1, 0, puppet.address, b"\x01\x02\x03\x04")
    )
    with expect_revert("CallFailed") as caught:
        made.run(made.core([entry]))
    assert caught.value.revert.values["data"][-1] == 42


@pytest.mark.parametrize(
    ("length", "error"), [(MAX_ACTION_DATA, "ExecutionNotFound"), (MAX_ACTION_DATA + 1, "AnswerTooLong")]
)
def test_a_long_answer_is_bounded(made: Setup, length: int, error: str) -> None:
    puppet = made.world.deploy("Puppet")
    puppet.send("answerWith", length, sender=made.stranger)
    trigger = l1_call(made.user, 1)
    entry = Entry(
        mid=True, new_root=1001, trigger=trigger, next_action=call_out(1, 0, puppet.address, b"\x01\x02\x03\x04")
    )
    with expect_revert(error):
        made.run(made.core([entry]))


def test_a_call_with_a_gas_limit_is_not_starved(made: Setup) -> None:
    core = made.oracle_table()
    entries = (
        replace(core.entries[0], next_action=replace(core.entries[0].next_action, gas=10**9)),
        replace(
            core.entries[1],
        ),
    )
    with expect_revert("CallFailed") as caught:
        made.run(replace(core, entries=entries))
    assert caught.value.revert.values["data"][:4] == error_selector("InsufficientGas(uint256,uint256)")


# -- proxies -----------------------------------------------------------------------------------------------------------


def test_a_proxy_is_created_once_at_the_computed_address(made: Setup) -> None:
    expected = made.rollups.view("computeProxyAddress", PROGRAM, 1)
    first = made.rollups.send("getOrCreateProxy", PROGRAM, 1, sender=made.stranger)
    again = made.rollups.send("getOrCreateProxy", PROGRAM, 1, sender=made.user)
    assert (first.value, again.value) == (expected, expected)
    assert [e.name for e in first.events] == ["ProxyCreated"] and not again.events
    assert len({made.rollups.view("computeProxyAddress", a, r) for a in (PROGRAM, OTHER) for r in (1, 2)}) == 4


def test_no_proxy_for_a_rollup_that_does_not_exist(made: Setup) -> None:
    with expect_revert("UnknownRollup"):
        made.rollups.send("getOrCreateProxy", PROGRAM, 99, sender=made.stranger)


def test_only_the_proxy_itself_speaks_for_its_callers(made: Setup) -> None:
    with expect_revert("NotProxy"):
        made.rollups.send("onProxyCall", 1, PROGRAM, made.user, b"", sender=made.stranger)


def test_call_to_a_rollup_that_does_not_exist(made: Setup) -> None:
    for rollup_id in (0, 3):
        with expect_revert("UnknownRollup"):
            made.rollups.send("callL2", rollup_id, PROGRAM, b"", sender=made.user)


def test_call_data_beyond_the_format_is_refused(made: Setup) -> None:
    with expect_revert("DataTooLong"):
        made.rollups.send("callL2", 1, PROGRAM, bytes(MAX_ACTION_DATA + 1), sender=made.user)


def test_the_example_dapp_reads_through_a_proxy(made: Setup) -> None:
    consumer = made.world.deploy("Consumer")
    bundle = made.world.deploy("Bundle")
    trigger = l1_call(consumer.address, 1, data=b"\xab\xcd\xef\x01")
    core = made.open_core([Entry(mid=False, new_root=1001, trigger=trigger, next_action=answer(trigger, word(99)))])
    ask = call_data("Consumer", "ask", proxy_of(made, PROGRAM, 1).hex, b"\xab\xcd\xef\x01")
    bundle.send("run", [load_step(made, core, ()), (consumer.address, 0, ask)], sender=made.user)
    assert consumer.view("lastAnswer") == word(99)
