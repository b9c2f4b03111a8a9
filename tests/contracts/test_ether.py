"""Ether: booked in one place, moved only with actions that carry value, never more than the contract holds."""

from __future__ import annotations

from dataclasses import replace

from protocol.actions import Action, encode_action
from protocol.constants import MAX_ACTION_DATA
from protocol.contracts.artifacts import call_data
from protocol.table import Core, Entry, encode_header
from protocol.types import Address
from tests.support.evmworld import Contract
from tests.support.rollupworld import (
    OTHER,
    PROGRAM,
    Setup,
    answer,
    call_out,
    direct,
    expect_revert,
    l1_call,
    load_step,
    proxy_of,
)

DATA = b"\x01\x02\x03\x04"


def deposit(made: Setup, rollup_id: int, value: int, new_root: int) -> None:
    """A user pays into a rollup."""
    trigger = l1_call(made.user, rollup_id, value=value)
    entry = Entry(mid=False, new_root=new_root, trigger=trigger, next_action=answer(trigger))
    made.run(made.core([entry], members=(rollup_id,)))


def assert_backed(made: Setup) -> None:
    """The contract holds what it says the rollups have."""
    booked = sum(made.rollup(r)["ether"] for r in (1, 2))
    assert made.world.balance(made.rollups.address) == booked


def withdrawal(made: Setup, to: bytes, value: int, first: int = 1101) -> Core:
    """L1 -> 1, which pays an L1 account -> back."""
    trigger = l1_call(made.user, 1)
    paid = call_out(1, 0, to, DATA, value=value)
    return made.core(
        [
            Entry(mid=True, new_root=first, trigger=trigger, next_action=paid),
            Entry(
                parent=0,
                reply_to=0,
                mid=False,
                new_root=first + 1,
                trigger=answer(paid),
                next_action=answer(trigger),
            ),
        ]
    )


def test_value_in_is_booked_and_value_out_is_paid_from_it(made: Setup) -> None:
    puppet = made.world.deploy("Puppet")
    deposit(made, 1, 70, 1001)
    assert made.rollup(1)["ether"] == 70
    made.run(withdrawal(made, puppet.address, 30))
    assert (made.rollup(1)["ether"], puppet.view("received")) == (40, 30)
    assert_backed(made)


def test_a_rollup_cannot_spend_more_than_it_has_though_others_have_more(made: Setup) -> None:
    puppet = made.world.deploy("Puppet")
    deposit(made, 1, 10, 1001)
    deposit(made, 2, 1000, 2001)
    with expect_revert("InsufficientRollupBalance") as caught:
        made.run(withdrawal(made, puppet.address, 11))
    assert dict(caught.value.revert.values) == {"rollupId": 1, "balance": 10, "value": 11}
    assert_backed(made)


def test_a_failed_payment_leaves_nothing_in_the_proxy(made: Setup) -> None:
    puppet = made.world.deploy("Puppet")
    deposit(made, 1, 70, 1001)
    puppet.send("failAlways", True, sender=made.stranger)
    with expect_revert("CallFailed"):
        made.run(withdrawal(made, puppet.address, 30))
    proxy = bytes.fromhex(made.rollups.view("computeProxyAddress", PROGRAM, 1)[2:])
    assert (made.world.balance(proxy), made.rollup(1)["ether"]) == (0, 70)
    assert_backed(made)


def test_the_value_must_be_the_triggers_sum(made: Setup) -> None:
    trigger = l1_call(made.user, 1, value=5)
    core = made.core([Entry(mid=False, new_root=1001, trigger=trigger, next_action=answer(trigger))])
    for value in (0, 4, 6):
        with expect_revert("WrongValue"):
            made.run(core, value=value)
    assert made.root(1) != 1001


def test_a_failed_deposit_gives_the_value_back(made: Setup) -> None:
    trigger = l1_call(made.user, 1, value=5)
    core = made.core([Entry(mid=False, new_root=1001, trigger=trigger, next_action=answer(trigger, failed=True))])
    before = made.world.balance(made.user)
    with expect_revert("CallReverted"):
        made.run(core)
    assert made.world.balance(made.user) == before
    assert_backed(made)


def test_value_between_rollups_moves_the_booking_only(made: Setup) -> None:
    deposit(made, 1, 70, 1001)
    trigger = l1_call(made.user, 1, data=b"pay!")
    paid = call_out(1, 2, OTHER, DATA, value=25)
    entries = [
        Entry(mid=True, new_root=1002, trigger=trigger, next_action=paid),
        Entry(parent=0, mid=False, new_root=2001, trigger=paid, next_action=answer(paid)),
        Entry(parent=1, reply_to=0, mid=False, new_root=1003, trigger=answer(paid), next_action=answer(trigger)),
    ]
    made.run(made.core(entries, members=(1, 2)))
    assert (made.rollup(1)["ether"], made.rollup(2)["ether"]) == (45, 25)
    assert_backed(made)


def test_ether_sent_inside_a_re_entrant_frame_is_counted(made: Setup) -> None:
    """1 pays an L1 dapp, which pays it into 1 again inside the same flow, which pays out once more."""
    outer, inner = made.world.deploy("Puppet"), made.world.deploy("Puppet")
    deposit(made, 1, 50, 1001)
    outer.send("instruct", proxy_of(made, OTHER, 1).hex, 20, b"\x0d\x0d\x0d\x0d", sender=made.stranger)
    trigger = l1_call(made.user, 1, data=b"go!!")
    first = call_out(1, 0, outer.address, DATA, value=20)
    back = l1_call(outer.address, 1, OTHER, b"\x0d\x0d\x0d\x0d", value=20)
    second = replace(call_out(1, 0, inner.address, DATA, value=45), source_address=OTHER)
    entries = [
        Entry(mid=True, new_root=1002, trigger=trigger, next_action=first),
        Entry(parent=0, mid=True, new_root=1003, trigger=back, next_action=second),
        Entry(parent=1, reply_to=1, mid=True, new_root=1004, trigger=answer(second), next_action=answer(back)),
        Entry(parent=2, reply_to=0, mid=False, new_root=1005, trigger=answer(first), next_action=answer(trigger)),
    ]
    made.run(made.core(entries))
    assert made.rollup(1)["ether"] == 50 - 20 + 20 - 45
    assert (outer.view("received"), inner.view("received")) == (20, 45)
    assert_backed(made)


def test_a_payment_is_debited_before_it_is_sent(made: Setup) -> None:
    """While the dapp holds the money, the rollup no longer has it: a nested payment beyond the rest fails."""
    outer, inner = made.world.deploy("Puppet"), made.world.deploy("Puppet")
    deposit(made, 1, 50, 1001)
    outer.send("instruct", proxy_of(made, OTHER, 1).hex, 0, b"\x0d\x0d\x0d\x0d", sender=made.stranger)
    trigger = l1_call(made.user, 1, data=b"go!!")
    first = call_out(1, 0, outer.address, DATA, value=20)
    back = l1_call(outer.address, 1, OTHER, b"\x0d\x0d\x0d\x0d")
    second = replace(call_out(1, 0, inner.address, DATA, value=31), source_address=OTHER)
    entries = [
        Entry(mid=True, new_root=1002, trigger=trigger, next_action=first),
        Entry(parent=0, mid=True, new_root=1003, trigger=back, next_action=second),
    ]
    with expect_revert("CallFailed"):
        made.run(made.core(entries))
    assert_backed(made)


def test_plain_ether_is_refused_and_forced_ether_is_nobodys(made: Setup) -> None:
    with expect_revert("PlainTransfer"):
        made.world.send_raw(made.rollups.address, b"", sender=made.user, value=1)
    made.world.fund(made.rollups.address, 10**18)
    assert made.rollup(1)["ether"] == 0


def test_ether_to_a_proxy_is_a_call_with_value(made: Setup) -> None:
    """A plain transfer to a proxy is a deposit with empty data, or nothing at all."""
    bundle = made.world.deploy("Bundle")
    proxy = proxy_of(made, PROGRAM, 1)
    with expect_revert("ExecutionNotFound"):
        made.world.send_raw(proxy.address, b"", sender=made.user, value=5)
    trigger = l1_call(bundle.address, 1, value=5)
    core = made.open_core([Entry(mid=False, new_root=1001, trigger=trigger, next_action=answer(trigger))])

    bundle.send("run", [load_step(made, core, ()), (proxy.address, 5, b"")], sender=made.user, value=5)
    assert made.rollup(1)["ether"] == 5
    assert_backed(made)


# -- identities --------------------------------------------------------------------------------------------------------


def test_an_entry_whose_call_speaks_for_another_rollup_is_refused(made: Setup) -> None:
    """Rule 3: what rollup 1 proves cannot act as a contract of rollup 2, nor spend its ether."""
    deposit(made, 2, 1000, 2001)
    trigger = l1_call(made.user, 1)
    foreign = call_out(2, 0, made.oracle.address, DATA, value=1000)
    raw = raw_core_with_next(made, trigger, foreign)
    with expect_revert("BadSource"):
        send_raw_core(made, raw)
    assert made.rollup(2)["ether"] == 1000


def raw_core_with_next(made: Setup, trigger: Action, following: Action) -> bytes:
    """Bytes that Python's own encoder would refuse to make."""

    core = made.core([direct(made, 1, 1001)])
    entry = b"\xff\xff" * 3 + b"\x00" + (1001).to_bytes(32, "big")
    return encode_header(core) + b"\x00\x01" + entry + encode_action(trigger) + encode_action(following)


def send_raw_core(made: Setup, raw: bytes) -> None:
    """loadAndRun of raw bytes."""
    proofs = made.proofs(made.core([direct(made, 1, 1001)]))
    made.rollups.send("loadAndRun", raw, proofs, b"\x00", b"\x00\x00", b"", sender=made.user)


def test_a_proxy_obeys_nobody_but_rollups(made: Setup) -> None:
    """The admin form `destination | gas | data` from anybody else is just a call to the rollup."""
    puppet = made.world.deploy("Puppet")
    proxy = proxy_of(made, PROGRAM, 1)
    order = puppet.address + bytes(8) + DATA
    with expect_revert("ExecutionNotFound") as caught:
        made.world.send_raw(proxy.address, order, sender=made.stranger)
    assert caught.value.revert.values["action"].endswith(order)
    assert puppet.view("lastCaller") == "0x" + "00" * 20


def test_a_response_meant_for_one_caller_does_not_serve_another(made: Setup) -> None:
    bundle, thief = made.world.deploy("Bundle"), made.world.deploy("Bundle")

    trigger = l1_call(bundle.address, 1, data=DATA)
    core = made.open_core([Entry(mid=False, new_root=1001, trigger=trigger, next_action=answer(trigger))])
    call = (made.rollups.address, 0, call_data("IRollups", "callL2", 1, PROGRAM, DATA))
    with expect_revert("ExecutionNotFound"):
        thief.send("run", [load_step(made, core, ()), call], sender=made.stranger)
    bundle.send("run", [load_step(made, core, ()), call], sender=made.stranger)
    assert made.root(1) == 1001


def test_the_longest_action_survives_the_missing_entry_error(made: Setup) -> None:
    puppet: Contract = made.world.deploy("Puppet")
    longest = bytes(range(256)) * (MAX_ACTION_DATA // 256)
    puppet.send("instruct", proxy_of(made, OTHER, 2).hex, 0, longest, sender=made.stranger)
    trigger = l1_call(made.user, 1)
    entry = Entry(mid=True, new_root=1001, trigger=trigger, next_action=call_out(1, 0, puppet.address, DATA))
    with expect_revert("ExecutionNotFound") as caught:
        made.run(made.core([entry], members=(1, 2)))
    assert caught.value.revert.values["action"].endswith(longest)


def test_a_table_with_an_executor_is_entered_by_what_its_executor_runs(made: Setup) -> None:
    """Only the executor can have loaded it into this transaction; what his flow reaches may meet it."""
    bundle, puppet = made.world.deploy("Bundle"), made.world.deploy("Puppet")

    puppet.send("instruct", proxy_of(made, OTHER, 2).hex, 0, DATA, sender=made.stranger)
    inner = l1_call(puppet.address, 2, OTHER, DATA)
    theirs = made.open_core(
        [Entry(mid=False, new_root=2001, trigger=inner, next_action=answer(inner))],
        members=(2,),
        executor=Address(bundle.address),
    )
    trigger = l1_call(bundle.address, 1)
    asked = call_out(1, 0, puppet.address, DATA)
    mine = made.open_core(
        [
            Entry(mid=True, new_root=1001, trigger=trigger, next_action=asked),
            Entry(parent=0, reply_to=0, mid=False, new_root=1002, trigger=answer(asked), next_action=answer(trigger)),
        ]
    )
    bundle.send("run", [load_step(made, theirs, ()), load_step(made, mine, (0,))], sender=made.user)
    assert (made.root(1), made.root(2)) == (1002, 2001)
