"""The persistent lane as a registry of proven responses: what `registerIncomingCall` and `processSingleTxOnL2` offer.

A response to a call from L1 is a table of one entry, registered by anybody with a proof and found by any later call
that knows nothing of it: bound to rollup, state, caller, callee, value and data, used once, deletable, and without
effect on other responses. A rollup's call out with its expected answers is a table of several entries, met by name.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from protocol.actions import Action
from protocol.constants import BOND_PER_ENTRY
from protocol.table import Core, Entry, core_id, encode_core, entry_key, stamp
from tests.support.evmworld import Contract, Receipt
from tests.support.rollupworld import (
    ORACLE_PRICE,
    OTHER,
    PROGRAM,
    Setup,
    abi_executions,
    answer,
    call_out,
    expect_revert,
    l1_call,
    load_header,
    proxy_of,
    word,
)

ASKS = b"\x60\x5e\x00\x01question"
RESPONSE = b"the response"


def register(made: Setup, core: Core, sender: bytes | None = None) -> Receipt:
    """registerIncomingCall, by a stranger who has a proof: loadL2Executions."""
    return made.rollups.send(
        "loadL2Executions",
        abi_executions(core),
        load_header(core) + made.proofs(core),
        sender=sender or made.stranger,
        value=BOND_PER_ENTRY * len(core.entries),
    )


def response(made: Setup, call: Action, new_root: int = 1001, data: bytes = RESPONSE, **changes: int) -> Core:
    """A table that answers this call in the live state."""
    entry = Entry(mid=False, new_root=new_root, trigger=call, next_action=answer(call, data))
    return made.open_core([entry], members=(int(call.rollup_id),), **changes)


def dapp(made: Setup) -> Contract:
    """An L1 contract that knows nothing of tables."""
    return made.world.deploy("Consumer")


def ask(made: Setup, consumer: Contract, data: bytes = ASKS, value: int = 0, destination: bytes = PROGRAM) -> bytes:
    """A user makes the dapp call rollup 1's program."""
    proxy = proxy_of(made, destination, 1)
    return bytes(consumer.send("ask", proxy.hex, data, sender=made.user, value=value).value)


# -- registerIncomingCall, handleIncomingCall --------------------------------------------------------------------------


def test_anybody_with_a_proof_registers_a_response_that_an_unsuspecting_dapp_gets_later(made: Setup) -> None:
    consumer = dapp(made)
    register(made, response(made, l1_call(consumer.address, 1, data=ASKS)))
    made.world.pass_time(60)
    assert ask(made, consumer) == RESPONSE
    assert made.root(1) == 1001


def test_a_response_without_a_valid_proof_is_not_registered(made: Setup) -> None:
    odd = made.world.deploy("OddProofSystem")
    made.create_rollup(3, system=odd)
    core = response(made, l1_call(made.user, 3, data=ASKS))
    setup_of_odd = replace(made, accept_all=odd)
    with expect_revert("InvalidProof"):
        register(setup_of_odd, core)
    with expect_revert("ThresholdNotMet"):
        made.rollups.send(
            "loadL2Executions",
            abi_executions(core),
            load_header(core) + bytes(53),
            sender=made.stranger,
            value=BOND_PER_ENTRY,
        )
    odd.send("set", 1, sender=made.stranger)
    register(setup_of_odd, core)


def test_a_response_meant_for_one_caller_answers_no_other(made: Setup) -> None:
    """V12: a key without the caller lets another contract trigger it."""
    meant, other = dapp(made), dapp(made)
    register(made, response(made, l1_call(meant.address, 1, data=ASKS)))
    with expect_revert("ExecutionNotFound"):
        ask(made, other)
    with expect_revert("ExecutionNotFound"):
        made.rollups.send("callL2", 1, PROGRAM, ASKS, sender=made.user)
    assert ask(made, meant) == RESPONSE


def test_a_response_to_a_call_with_value_needs_exactly_that_value_and_books_it(made: Setup) -> None:
    """V12: neither free, nor cheaper, nor for more; what the rollup is credited is what was paid (V6)."""
    consumer = dapp(made)
    register(made, response(made, l1_call(consumer.address, 1, data=ASKS, value=70)))
    for value in (0, 69, 71):
        with expect_revert("ExecutionNotFound"):
            ask(made, consumer, value=value)
    assert made.rollup(1)["ether"] == 0
    assert ask(made, consumer, value=70) == RESPONSE
    assert (made.rollup(1)["ether"], made.world.balance(made.rollups.address)) == (70, 70 + BOND_PER_ENTRY)


@pytest.mark.parametrize("change", ["data", "callee", "rollup", "state"])
def test_a_response_is_bound_to_all_of_its_call_and_to_the_state(made: Setup, change: str) -> None:
    consumer = dapp(made)
    call = l1_call(consumer.address, 1, data=ASKS)
    if change == "rollup":
        call = replace(call, rollup_id=type(call.rollup_id)(2))
    register(made, response(made, call))
    if change == "state":
        register(made, response(made, l1_call(made.user, 1, data=b"moves the root"), 1500))
        made.rollups.send("callL2", 1, PROGRAM, b"moves the root", sender=made.user)
    with expect_revert("ExecutionNotFound"):
        ask(
            made,
            consumer,
            data=ASKS + b"!" if change == "data" else ASKS,
            destination=OTHER if change == "callee" else PROGRAM,
        )


def test_a_response_is_good_again_when_the_state_returns(made: Setup) -> None:
    consumer = dapp(made)
    register(made, response(made, l1_call(consumer.address, 1, data=ASKS), 1002))
    there = l1_call(made.user, 1, data=b"there")
    register(made, response(made, there, 1500))
    made.rollups.send("callL2", 1, PROGRAM, b"there", sender=made.user)
    back = l1_call(made.user, 1, data=b"back")
    register(made, response(made, back, 1000))
    made.rollups.send("callL2", 1, PROGRAM, b"back", sender=made.user)
    assert ask(made, consumer) == RESPONSE


def test_a_response_is_given_once(made: Setup) -> None:
    consumer = dapp(made)
    reading = response(made, l1_call(consumer.address, 1, data=ASKS), new_root=1000)  # moves nothing
    register(made, reading)
    assert ask(made, consumer) == RESPONSE
    with expect_revert("ExecutionNotFound"):
        ask(made, consumer)
    register(made, reading)
    assert ask(made, consumer) == RESPONSE


def test_a_duplicate_registration_changes_nothing_and_costs_nothing(made: Setup) -> None:
    consumer = dapp(made)
    core = response(made, l1_call(consumer.address, 1, data=ASKS))
    register(made, core)
    again = register(made, core, sender=made.user)
    assert (again.value, again.events) == (core_id(encode_core(core)), ())
    assert made.rollups.view("claimableOf", made.user) == BOND_PER_ENTRY
    assert made.rollups.view("table", again.value)[2:4] == (1, "0x" + made.stranger.hex())


def test_a_second_response_to_the_same_call_waits_behind_the_first(made: Setup) -> None:
    """Nobody can push a registered response aside; both are proven, the first is given."""
    consumer = dapp(made)
    call = l1_call(consumer.address, 1, data=ASKS)
    register(made, response(made, call, data=b"first"))
    register(made, response(made, call, data=b"second"), sender=made.user)
    assert ask(made, consumer) == b"first"


def test_giving_one_response_leaves_the_others_as_they_are(made: Setup) -> None:
    """No shared queue that a later load could shift or wipe (V10), no scan that others make dearer (V7)."""
    first, second, elsewhere = dapp(made), dapp(made), dapp(made)
    calls = [l1_call(first.address, 1, data=ASKS), l1_call(second.address, 1, data=ASKS)]
    cores = [response(made, call, 1000) for call in calls]  # reading responses: the state stays
    cores.append(response(made, l1_call(elsewhere.address, 2, data=ASKS), 2001))
    for core in cores:
        register(made, core)
    assert ask(made, second) == RESPONSE
    remaining = [made.rollups.view("table", core_id(encode_core(core)))[2] for core in cores]
    assert remaining == [1, 0, 1]
    assert ask(made, first) == RESPONSE


def key_of(core: Core) -> bytes:
    """Where its one entry lies."""
    root = core.lockset[0].pre_root
    return entry_key(core_id(encode_core(core)), core.trigger_hash(0), [stamp(root, 1)])


def test_a_response_can_be_deleted_by_who_registered_it_and_later_by_anybody(made: Setup) -> None:
    consumer = dapp(made)
    core = response(made, l1_call(consumer.address, 1, data=ASKS))
    identity = register(made, core).value
    with expect_revert("NotCleanable"):
        made.rollups.send("cleanup", identity, [key_of(core)], sender=made.user)
    made.rollups.send("cleanup", identity, [key_of(core)], sender=made.stranger)
    with expect_revert("ExecutionNotFound"):
        ask(made, consumer)
    assert made.rollups.view("claimableOf", made.stranger) == BOND_PER_ENTRY

    expired = response(made, l1_call(consumer.address, 1, data=ASKS))
    identity = register(made, expired).value
    made.world.pass_time(121)
    with expect_revert("ExecutionNotFound"):
        ask(made, consumer)
    made.rollups.send("cleanup", identity, [key_of(expired)], sender=made.user)
    assert made.rollups.view("claimableOf", made.user) == BOND_PER_ENTRY // 2
    with expect_revert("NoSuchTable"):
        made.rollups.send("cleanup", identity, [key_of(expired)], sender=made.user)


def test_a_response_that_is_a_failure_is_the_callers_revert_and_stays_registered(made: Setup) -> None:
    """The other half of a registry: that the rollup would refuse can be proven too, and moves nothing."""
    consumer = dapp(made)
    call = l1_call(consumer.address, 1, data=ASKS, value=70)
    entry = Entry(mid=False, new_root=1001, trigger=call, next_action=answer(call, b"no", failed=True))
    register(made, made.open_core([entry]))
    for _ in range(2):
        with expect_revert("CallReverted") as caught:
            ask(made, consumer, value=70)
        assert caught.value.revert.values["data"] == b"no"
    assert (made.root(1), made.rollup(1)["ether"]) == (1000, 0)


# -- a call with calls of its own: processSingleTxOnL2 and responses that call L1 --------------------------------------


def two_reads(made: Setup, second: int = 2500) -> Core:
    """A rollup's program asks L1's oracle twice and answers with both; every intermediate state is in the proof."""
    trigger = l1_call(made.user, 1, data=ASKS)
    asked = call_out(1, 0, made.oracle.address, ORACLE_PRICE, gas=100_000)
    entries = [
        Entry(mid=True, new_root=1001, trigger=trigger, next_action=asked),
        Entry(parent=0, reply_to=0, mid=True, new_root=1002, trigger=answer(asked, word(2500)), next_action=asked),
        Entry(
            parent=1,
            reply_to=1,
            mid=False,
            new_root=1003,
            trigger=answer(asked, word(second)),
            next_action=answer(trigger, word(2500) + word(second)),
        ),
    ]
    return made.open_core(entries)


def meet(made: Setup, core: Core, data: bytes = ASKS, value: int = 0) -> bytes:
    """The user names the table."""
    arguments = (core_id(encode_core(core)), 1, PROGRAM, data)
    return bytes(made.rollups.send("callL2Pinned", *arguments, sender=made.user, value=value).value)


def test_calls_with_expected_results_run_in_order_and_end_in_the_proven_state(made: Setup) -> None:
    core = two_reads(made)
    register(made, core)
    assert meet(made, core) == word(2500) * 2
    assert (made.root(1), made.rollups.view("isMid", 1)) == (1003, False)
    assert made.rollups.view("claimableOf", made.stranger) == 3 * BOND_PER_ENTRY


def test_a_result_that_is_not_the_expected_one_undoes_everything(made: Setup) -> None:
    core = two_reads(made, second=2600)
    identity = register(made, core).value
    with expect_revert("ExecutionNotFound"):
        meet(made, core)
    assert (made.root(1), made.rollups.view("table", identity)[2]) == (1000, 3)


def test_a_failing_call_undoes_everything(made: Setup) -> None:
    puppet = made.world.deploy("Puppet")
    puppet.send("failAlways", True, sender=made.stranger)
    trigger = l1_call(made.user, 1, data=ASKS)
    asked = call_out(1, 0, puppet.address, ORACLE_PRICE)
    entry = Entry(mid=True, new_root=1001, trigger=trigger, next_action=asked)
    core = made.open_core([entry])
    register(made, core)
    with expect_revert("CallFailed"):
        meet(made, core)
    assert made.root(1) == 1000


def test_the_state_before_the_first_call_is_committed_when_the_call_is_made(made: Setup) -> None:
    """L1 sees the rollup suspended in its call, and what L1 then calls it with is part of the same proof."""
    puppet = made.world.deploy("Puppet")
    puppet.send("instruct", proxy_of(made, PROGRAM, 1).hex, 0, b"\x0b\x0b\x0b\x0b", sender=made.stranger)
    trigger = l1_call(made.user, 1, data=ASKS)
    asked = call_out(1, 0, puppet.address, ORACLE_PRICE)
    back = l1_call(puppet.address, 1, data=b"\x0b\x0b\x0b\x0b")
    entries = [
        Entry(mid=True, new_root=1001, trigger=trigger, next_action=asked),
        Entry(parent=0, mid=True, new_root=1002, trigger=back, next_action=answer(back, b"in the middle")),
        Entry(
            parent=1,
            reply_to=0,
            mid=False,
            new_root=1003,
            trigger=answer(asked, b"in the middle"),
            next_action=answer(trigger, b"end"),
        ),
    ]
    core = made.open_core(entries)
    register(made, core)
    assert meet(made, core) == b"end"
    assert made.root(1) == 1003


def test_a_previous_state_that_is_not_the_live_one_is_refused(made: Setup) -> None:
    core = two_reads(made)
    made.run(made.open_core([_elsewhere(made)]))
    with expect_revert("StaleTable"):
        register(made, core)


def _elsewhere(made: Setup) -> Entry:
    call = l1_call(made.user, 1, data=b"elsewhere")
    return Entry(mid=False, new_root=1700, trigger=call, next_action=answer(call))
