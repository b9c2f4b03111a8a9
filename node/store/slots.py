"""What a proposer has chosen for its slots: written before anything is sent, so that no slot is served twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Connection, Select, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from node.store.database import Database
from node.store.errors import SlotTaken
from node.store.schema import injections, slots
from node.store.vault import Vault

KEPT_SLOTS: Final = 1 << 15  # four and a half days of slots of 12 s


class InjectionState(StrEnum):
    """What became of one transaction."""

    CHOSEN = "chosen"
    """On disk, perhaps sent."""
    SENT = "sent"
    """The execution client has taken it."""
    REFUSED = "refused"
    """The execution client did not take it; the reason says why."""
    LATE = "late"
    """The slot had begun before it could be sent."""
    INCLUDED = "included"
    """In the slot's block, and it succeeded."""
    REVERTED = "reverted"
    """In the slot's block, and it failed."""
    ELSEWHERE = "elsewhere"
    """In another block."""
    MISSING = "missing"
    """In no block when the slot was reported."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Injection:
    """One transaction of a slot."""

    place: int
    """From 0, in the order in which it is sent."""
    tx_hash: bytes
    raw: bytes
    """Empty once the slot is reported."""
    state: InjectionState = InjectionState.CHOSEN
    reason: str = ""
    block_number: int = 0
    gas_used: int = 0
    tip_wei: int = 0
    """What the proposer got for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotPlan:
    """A slot."""

    slot: int
    fee_wei: int
    """Expected."""
    is_reported: bool
    injections: tuple[Injection, ...]


class SlotStore:
    """Slots and their transactions. Synchronous: call it from a worker thread."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault

    def choose(self, slot: int, txs: Sequence[tuple[bytes, bytes]], *, fee_wei: int, now_ms: int) -> None:
        """Records the choice for a slot: (hash, raw) in the order of sending.

        Raises:
            SlotTaken: there is one already.
        """
        boxes = [self._vault.seal(raw, _place(slot, place)) for place, (_, raw) in enumerate(txs)]

        def work(connection: Connection) -> None:
            try:
                with connection.begin_nested():
                    connection.execute(
                        insert(slots).values(slot=slot, chosen_ms=now_ms, fee_wei=str(fee_wei), reported_ms=0)
                    )
            except IntegrityError as error:
                raise SlotTaken(slot) from error
            for place, ((tx_hash, _), box) in enumerate(zip(txs, boxes, strict=True)):
                connection.execute(
                    insert(injections).values(
                        slot=slot,
                        place=place,
                        tx_hash=tx_hash,
                        box=box,
                        state=InjectionState.CHOSEN,
                        reason="",
                        block_number=0,
                        gas_used=0,
                        tip_wei="0",
                    )
                )

        self._database.write("slot chosen", work)

    def sent(self, slot: int, place: int, state: InjectionState, reason: str = "") -> None:
        """Records what the execution client said to one transaction."""
        self._database.write(
            "slot sent",
            lambda connection: connection.execute(
                update(injections)
                .where(injections.c.slot == slot, injections.c.place == place)
                .values(state=state, reason=reason)
            ),
        )

    def report(self, slot: int, found: Sequence[Injection], now_ms: int, *, kept: int = KEPT_SLOTS) -> None:
        """Records what was included, and forgets the bytes; also forgets reported slots from `kept` slots ago."""

        def work(connection: Connection) -> None:
            for each in found:
                connection.execute(
                    update(injections)
                    .where(injections.c.slot == slot, injections.c.place == each.place)
                    .values(
                        state=each.state,
                        reason=each.reason,
                        box=b"",
                        block_number=each.block_number,
                        gas_used=each.gas_used,
                        tip_wei=str(each.tip_wei),
                    )
                )
            connection.execute(update(slots).where(slots.c.slot == slot).values(reported_ms=now_ms))
            old = select(slots.c.slot).where(slots.c.slot < slot - kept, slots.c.reported_ms != 0)
            connection.execute(delete(injections).where(injections.c.slot.in_(old)))
            connection.execute(delete(slots).where(slots.c.slot < slot - kept, slots.c.reported_ms != 0))

        self._database.write("slot reported", work)

    def plan(self, slot: int) -> SlotPlan | None:
        """What was chosen for a slot, None before."""
        found = self._plans(select(slots).where(slots.c.slot == slot))
        return found[0] if found else None

    def unreported(self) -> tuple[SlotPlan, ...]:
        """Slots without a report, oldest first."""
        return self._plans(select(slots).where(slots.c.reported_ms == 0).order_by(slots.c.slot))

    def recent(self, limit: int) -> tuple[SlotPlan, ...]:
        """The newest slots, newest first."""
        return self._plans(select(slots).order_by(slots.c.slot.desc()).limit(limit))

    def _plans(self, wanted: Select[Any]) -> tuple[SlotPlan, ...]:
        def work(connection: Connection) -> tuple[SlotPlan, ...]:
            return tuple(
                SlotPlan(
                    slot=row.slot,
                    fee_wei=int(row.fee_wei),
                    is_reported=row.reported_ms != 0,
                    injections=self._injections(connection, row.slot),
                )
                for row in connection.execute(wanted).all()
            )

        return self._database.read(work)

    def _injections(self, connection: Connection, slot: int) -> tuple[Injection, ...]:
        rows = connection.execute(
            select(injections).where(injections.c.slot == slot).order_by(injections.c.place)
        ).all()
        return tuple(
            Injection(
                place=row.place,
                tx_hash=row.tx_hash,
                raw=self._vault.open(row.box, _place(slot, row.place)) if row.box else b"",
                state=InjectionState(row.state),
                reason=row.reason,
                block_number=row.block_number,
                gas_used=row.gas_used,
                tip_wei=int(row.tip_wei),
            )
            for row in rows
        )


def _place(slot: int, place: int) -> bytes:
    return b"slot" + slot.to_bytes(8, "big") + place.to_bytes(4, "big")
