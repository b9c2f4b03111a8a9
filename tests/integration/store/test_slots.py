"""A proposer's slots on disk: chosen once, remembered with what became of each transaction, forgotten in time."""

from __future__ import annotations

from dataclasses import replace

import pytest

from node.store.errors import SlotTaken, VaultLocked
from node.store.slots import Injection, InjectionState, SlotStore
from node.store.vault import Vault
from tests.support.disks import Disk

TXS = [(b"\x01" * 32, b"\x02 the first secret transaction"), (b"\x02" * 32, b"\x02 the second")]
GREAT_WEI = 2**80


def store(disk: Disk) -> SlotStore:
    """Of a process that has just started."""
    return SlotStore(disk.database(), Vault(disk.folder / "vault.key"))


def test_a_slot_is_chosen_once_over_all_restarts(disk: Disk) -> None:
    """The second choice changes nothing; amounts beyond 64 bits are kept."""
    store(disk).choose(7, TXS, fee_wei=GREAT_WEI, now_ms=1)
    again = store(disk)
    with pytest.raises(SlotTaken):
        again.choose(7, [(b"\x03" * 32, b"\x02other")], fee_wei=1, now_ms=2)
    plan = again.plan(7)

    assert plan is not None
    assert (GREAT_WEI, False) == (plan.fee_wei, plan.is_reported)
    assert TXS == [(each.tx_hash, each.raw) for each in plan.injections]
    assert [InjectionState.CHOSEN] * 2 == [each.state for each in plan.injections]
    assert (plan,) == again.unreported()


def test_a_report_keeps_what_happened_and_forgets_the_bytes(disk: Disk) -> None:
    """A report is final: it is not among those that wait for one."""
    made = store(disk)
    made.choose(7, TXS, fee_wei=5, now_ms=1)
    made.sent(7, 1, InjectionState.REFUSED, "nonce too low")
    plan = made.plan(7)
    assert plan is not None
    included = replace(
        plan.injections[0], state=InjectionState.INCLUDED, block_number=9, gas_used=10, tip_wei=GREAT_WEI
    )
    made.report(7, [included, plan.injections[1]], now_ms=2)
    plan = store(disk).plan(7)

    assert plan is not None
    assert plan.is_reported
    assert (
        replace(included, raw=b""),
        Injection(place=1, tx_hash=TXS[1][0], raw=b"", state=InjectionState.REFUSED, reason="nonce too low"),
    ) == plan.injections
    assert () == store(disk).unreported()


def test_old_reported_slots_are_forgotten(disk: Disk) -> None:
    """One that was never reported stays: its report is still owed."""
    made = store(disk)
    for slot in (1, 2, 9):
        made.choose(slot, TXS, fee_wei=0, now_ms=slot)
    made.report(1, [], now_ms=10)
    made.report(9, [], now_ms=11, kept=3)

    assert [9, 2] == [plan.slot for plan in made.recent(10)]
    assert [9] == [plan.slot for plan in made.recent(1)]


def test_a_sealed_transaction_is_not_readable_on_disk(sqlite_disk: Disk) -> None:
    """Before the slot it is somebody's secret; a row that was moved to another slot does not open."""
    made = store(sqlite_disk)
    made.choose(7, TXS, fee_wei=0, now_ms=1)
    held = sqlite_disk.all_bytes()

    assert TXS[0][1] not in held
    assert TXS[0][0] in held  # the search looks at the right bytes
    other = SlotStore(sqlite_disk.database(), Vault(sqlite_disk.folder / "other.key"))
    with pytest.raises(VaultLocked):
        other.plan(7)
