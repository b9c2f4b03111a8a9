"""What a prover has promised: a slot, memory and a bond ticket for each order, from the bid until it is lost, declined
or proven. The ticket is at stake until the order is over, which the store knows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from market.lifecycle import Order, State

HOLDING: Final = frozenset({State.SEEN, State.BID, State.WON, State.SIGNED, State.HOLDING, State.ACKED, State.AT_WORK})
"""States in which an order that holds something goes on holding it. SEEN: its bid is being made."""
AHEAD: Final = HOLDING - {State.SEEN, State.BID}
"""States of orders that are proven before a new one."""


@dataclass(slots=True, kw_only=True)
class Capacity:
    """Slots and memory of one machine, and who holds them."""

    slots: int
    """Orders that may hold something at a time."""
    memory_mib: int
    """Host memory for proving."""
    _held: dict[bytes, tuple[int, int]] = field(default_factory=dict)
    """Order -> (MiB, ticket)."""

    def hold(self, order_id: bytes, memory_mib: int, ticket: int) -> None:
        """Keeps a slot, memory and a ticket for an order; admission has looked at what is free."""
        self._held[order_id] = memory_mib, ticket

    def settle(self, orders: Iterable[Order]) -> int:
        """Frees what lost, declined, proven and unknown orders held.

        Args:
            orders: all that are open.

        Returns:
            Orders whose proofs come before a new one's.
        """
        states = {order.order_id: order.state for order in orders}
        self._held = {each: held for each, held in self._held.items() if states.get(each) in HOLDING}
        return sum(states[each] in AHEAD for each in self._held)

    def free(self) -> tuple[int, int]:
        """Slots and MiB that nobody holds; never less than 0."""
        return max(0, self.slots - len(self._held)), max(
            0, self.memory_mib - sum(mib for mib, _ in self._held.values())
        )

    def tickets(self) -> frozenset[int]:
        """Bond tickets that orders hold."""
        return frozenset(ticket for _, ticket in self._held.values())
