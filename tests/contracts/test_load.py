"""What may be loaded: times, roots, destinations, proofs, expectations."""

from __future__ import annotations

from dataclasses import replace

import pytest

from protocol.contracts.artifacts import call_data
from protocol.load import (
    Expectation,
    ProofItem,
    Proofs,
    config_hash,
    encode_expects,
    encode_proofs,
    lockset_systems_hash,
)
from protocol.table import Entry, core_id, encode_core, encode_triggers
from protocol.types import Address, Hash32
from tests.support.rollupworld import (
    FAMILY,
    Setup,
    answer,
    call_out,
    direct,
    error_selector,
    expect_revert,
    l1_call,
    load_step,
    root_of,
    send,
    word,
)

# -- what may be loaded ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"not_before": 1}, "NotYetValid"),
        ({"valid_until": -1}, "TableExpired"),
        ({"l2_time": 1}, "TimeSkew"),
        ({"l2_time": -3601}, "TimeSkew"),
    ],
)
def test_times_are_checked(made: Setup, change: dict[str, int], error: str) -> None:
    core = made.oracle_table(**{key: made.world.time + offset for key, offset in change.items()})
    with expect_revert(error):
        made.run(core)


def test_l2_time_never_falls_but_only_a_moved_root_moves_it(made: Setup) -> None:
    unchanged = Entry(
        mid=False, new_root=root_of(1), trigger=l1_call(made.user, 1), next_action=answer(l1_call(made.user, 1))
    )
    made.run(made.core([unchanged]))
    assert made.rollup(1)["last_l2_time"] == 0
    made.run(made.oracle_table())
    assert made.rollup(1)["last_l2_time"] == made.world.time
    with expect_revert("TimeSkew"):
        made.run(made.core([direct(made, 1, 1003)], l2_time=made.world.time - 1))


def test_a_table_on_an_invented_pre_state_is_refused(made: Setup) -> None:
    """Proofs can start from anything; what is loaded must stand on the live root."""
    core = made.oracle_table()
    stale = replace(core, lockset=(replace(core.lockset[0], pre_root=4242),))
    with expect_revert("StaleTable") as caught:
        made.run(stale)
    values = caught.value.revert.values
    assert (values["rollupId"], int.from_bytes(values["actual"], "big")) == (1, root_of(1))


def test_a_spoiled_root_makes_the_table_stale_and_costs_the_user_nothing_else(made: Setup) -> None:
    core = made.oracle_table()
    spoiler = made.core([direct(made, 1, 1777, source=made.stranger)], executor=Address(made.stranger))
    made.run(spoiler, sender=made.stranger)
    with expect_revert("StaleTable"):
        made.run(core)


@pytest.mark.parametrize("name", ["rollups", "market"])
def test_a_rollup_cannot_call_rollups_or_the_market(made: Setup, name: str) -> None:
    target = getattr(made, name).address
    trigger = l1_call(made.user, 1)
    entry = Entry(mid=True, new_root=1001, trigger=trigger, next_action=call_out(1, 0, target))
    with expect_revert("ForbiddenDestination"):
        made.run(made.core([entry]))


def test_loading_and_cleaning_inside_a_flow_is_refused(made: Setup) -> None:
    puppet = made.world.deploy("Puppet")
    load = load_step(made, made.open_core([direct(made, 2, 2001)], members=(2,)), ())[2]
    calls = [load, call_data("IRollups", "cleanup", bytes(32), [])]
    for data in calls:
        puppet.send("instruct", made.rollups.hex, 0, data, sender=made.stranger)
        trigger = l1_call(made.user, 1)
        entry = Entry(
            mid=True, new_root=1001, trigger=trigger, next_action=call_out(1, 0, puppet.address, b"\x01\x02\x03\x04")
        )
        with expect_revert("CallFailed") as caught:
            made.run(made.core([entry]))
        assert caught.value.revert.values["data"] == error_selector("InFlow()")


# -- proofs ------------------------------------------------------------------------------------------------------------


def proofs_of(*items: tuple[int, bytes], head: bytes = bytes(52)) -> bytes:
    """Packed proofs, in whatever order and number."""
    body = b"".join(r.to_bytes(8, "big") + system + b"\x00\x00" for r, system in items)
    return head + bytes((len(items),)) + body


def test_malformed_proofs_are_refused_by_name(made: Setup) -> None:
    core, system = encode_core(made.oracle_table()), made.accept_all.address
    good = proofs_of((1, system))
    cases = {
        "MalformedProofs": [good[:40], good[:-1], good + b"\x00", proofs_of((1, system), (2, system))],
        "NotActiveSystem": [proofs_of((1, made.oracle.address)), proofs_of((1, system), (1, system))],
        "ThresholdNotMet": [proofs_of(), proofs_of((2, system))],
    }
    for error, samples in cases.items():
        for sample in samples:
            with expect_revert(error):
                send(made, core, sample, encode_expects(()), encode_triggers((0,)))
    send(made, core, good, encode_expects(()), encode_triggers((0,)))


@pytest.mark.parametrize("mode", [0, 2, 3, 4, 5, 6, 7])
def test_only_a_clean_yes_of_a_proof_system_counts(made: Setup, mode: int) -> None:
    odd = made.world.deploy("OddProofSystem")
    made.create_rollup(3, system=odd)
    trigger = l1_call(made.user, 3)
    core = made.core([Entry(mid=False, new_root=3001, trigger=trigger, next_action=answer(trigger))], members=(3,))
    proofs = proofs_of((3, odd.address))
    odd.send("set", mode, sender=made.stranger)
    with expect_revert("InvalidProof") as caught:
        send(made, encode_core(core), proofs, encode_expects(()), encode_triggers((0,)))
    assert len(caught.value.revert.values["reason"]) == {4: 36, 7: 256}.get(mode, 0)
    odd.send("set", 1, sender=made.stranger)
    send(made, encode_core(core), proofs, encode_expects(()), encode_triggers((0,)))


def test_two_of_three_systems(made: Setup) -> None:
    systems = sorted((made.world.deploy("OddProofSystem") for _ in range(3)), key=lambda c: c.address)
    families = [Hash32(bytes((i,)) * 32) for i in (1, 2, 3)]
    made.rollups.send(
        "createRollup",
        ([s.hex for s in systems], families, 2),
        made.stranger,
        0,
        word(3000),
        b"\x01\x00\x00",
        sender=made.stranger,
    )
    for system in systems:
        system.send("set", 1, sender=made.stranger)
    trigger = l1_call(made.user, 3)
    core = encode_core(
        made.core([Entry(mid=False, new_root=3001, trigger=trigger, next_action=answer(trigger))], members=(3,))
    )
    addresses = [s.address for s in systems]
    for picked, error in (
        ((0,), "ThresholdNotMet"),
        ((1, 0), "NotActiveSystem"),
        ((1, 1), "NotActiveSystem"),
    ):
        with expect_revert(error):
            send(made, core, proofs_of(*((3, addresses[i]) for i in picked)), b"\x00", encode_triggers((0,)))
    systems[1].send("set", 0, sender=made.stranger)
    with expect_revert("InvalidProof"):  # one wrong proof spoils the load, even if enough others are right
        send(made, core, proofs_of(*((3, a) for a in addresses)), b"\x00", encode_triggers((0,)))
    send(made, core, proofs_of((3, addresses[0]), (3, addresses[2])), b"\x00", encode_triggers((0,)))


def test_the_market_learns_the_same_verdict_by_check_proofs(made: Setup) -> None:
    core = made.oracle_table()
    items = tuple(ProofItem(rollup_id=1, system=Address(made.accept_all.address), proof=b"") for _ in range(1))
    proofs = encode_proofs(Proofs(payee=Address(b"\x09" * 20), agreement_hash=Hash32(b"\x08" * 32), items=items))
    found, payee, agreement, systems = made.rollups.view("checkProofs", encode_core(core), proofs, made.world.time)
    assert (found, payee, agreement) == (core_id(encode_core(core)), "0x" + "09" * 20, b"\x08" * 32)
    assert systems == lockset_systems_hash([config_hash(1, [Address(made.accept_all.address)], [FAMILY])])


# -- precheck ----------------------------------------------------------------------------------------------------------


def test_precheck_pins_root_epoch_and_configuration(made: Setup) -> None:
    good = Expectation(
        rollup_id=1,
        root=root_of(1),
        epoch=1,
        config_hash=config_hash(1, [Address(made.accept_all.address)], [FAMILY]),
    )
    core = made.oracle_table()
    for change, what in (({"root": 5}, 1), ({"epoch": 2}, 2), ({"config_hash": Hash32(b"\x01" * 32)}, 3)):
        with expect_revert("PrecheckFailed") as caught:
            made.run(core, expects=[replace(good, **change)])
        assert caught.value.revert.values["what"] == what
    with expect_revert("UnknownRollup"):
        made.run(core, expects=[replace(good, rollup_id=77)])
    for malformed in (b"", b"\x01", encode_expects([good])[:-1], encode_expects([good]) + b"\x00"):
        with expect_revert("MalformedExpects"):
            send(made, encode_core(core), made.proofs(core), malformed, encode_triggers((0,)))
    made.run(core, expects=[good, Expectation(rollup_id=2, root=root_of(2), epoch=1)])


def test_settlement_without_agreement_and_agreement_without_settlement_are_refused(made: Setup) -> None:
    core = made.oracle_table()
    with expect_revert("SettlementMismatch"):
        made.run(core, settlement=b"\x01")
    with expect_revert("SettlementMismatch"):
        made.run(core, agreement=b"\x01" * 32)
