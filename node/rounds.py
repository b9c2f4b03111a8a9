"""Another auction for an order that ended without a proof: at most as often as configured, with a higher limit each
time (SPEC §10).

The next round is an order of its own. It is made once: its origin is derived from the order that it follows.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

from market.lifecycle import Order, Role, State
from node import market_state as kept
from node.engagement import Engagement
from node.market_state import unpack_plan
from node.ports import Clock, InThread, PlannedTable, TryAgain
from node.standby import Standbys
from node.store.orders import OrderStore
from protocol.hashing import keccak256

log = logging.getLogger("unveto.rounds")

PAUSE_MS: Final = 1_000  # for the CANCEL that frees the ticket at every peer
LIMIT_BYTES: Final = 12

Replan = Callable[[bytes], Awaitable[PlannedTable]]
"""Plans a stored intent for the head of the moment. Raises TryAgain or Refused."""


class Start(Protocol):
    """Starts an auction, see `node.requester.Requester.request`."""

    async def __call__(
        self, plan: PlannedTable, *, ticket: int, origin: bytes = b"", intent: bytes = b"", attempt: int = 1
    ) -> Order:
        """The order."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """Which auction of one wish an order is."""

    attempt: int
    """From 1."""
    limit_wei: int
    """Highest price that this one pays."""


def pack_round(value: Round) -> bytes:
    """For the vault."""
    return value.attempt.to_bytes(1, "big") + value.limit_wei.to_bytes(LIMIT_BYTES, "big")


def unpack_round(data: bytes) -> Round:
    """The reverse of `pack_round`."""
    return Round(attempt=data[0], limit_wei=int.from_bytes(data[1:], "big"))


def origin_of_next(order_id: bytes) -> bytes:
    """Origin of the order that follows an order."""
    return keccak256(b"next round" + order_id)


class Rounds:
    """Starts the next auction of an order."""

    def __init__(
        self,
        *,
        store: OrderStore,
        in_thread: InThread,
        clock: Clock,
        standbys: Standbys,
        start: Start,
        replan: Replan,
        most: int,
        spare_tickets: tuple[int, ...],
    ) -> None:
        """
        Args:
            most: how many auctions may follow the first.
            spare_tickets: for an order whose own ticket is promised until claimBy.
        """
        self._store = store
        self._in_thread = in_thread
        self._clock = clock
        self._standbys = standbys
        self._start = start
        self._replan = replan
        self._most = most
        self._spare_tickets = spare_tickets

    async def go_on(self, order: Order, engaged: Engagement, ticket: int) -> None:
        """Starts the auction that follows `order`, if there is to be one; again is harmless.

        Args:
            ticket: the order's own.

        Raises:
            TryAgain: a runner-up may still prove.
            Refused: the wish cannot be planned any more, or the ticket is gone.
        """
        origin = origin_of_next(order.order_id)
        if await self._in_thread(partial(self._store.order_of_origin, origin)) is not None:
            return
        stored = await engaged.loop.secret(order.order_id, kept.ROUND)
        if stored is None or unpack_round(stored).attempt > self._most or order.reason == "NO_TICKET":
            return
        attempt = unpack_round(stored).attempt + 1
        if order.state is not State.EXPIRED:
            if self._standbys.may_still_prove(order.order_id):
                raise TryAgain("STANDING_BY", "a runner-up may still prove")
            taken = await self._in_thread(partial(self._store.tickets_in_use, Role.REQUESTER))
            free = [spare for spare in self._spare_tickets if spare not in taken]
            if not free:
                log.info("order %s: no spare ticket for another auction", order.order_id.hex()[:8])
                return
            ticket = free[0]
        intent = await engaged.loop.secret(order.order_id, kept.INTENT)
        planned = await engaged.loop.secret(order.order_id, kept.PLAN)
        await self._clock.sleep_until(self._clock.now_ms() + PAUSE_MS)
        if intent:
            plan = await self._replan(intent)
        elif planned is not None:
            plan = unpack_plan(planned)
        else:
            return  # the order ended long ago, and this process was not there
        followed = await self._start(plan, ticket=ticket, origin=origin, intent=intent or b"", attempt=attempt)
        log.info("order %s: auction %d is %s", order.order_id.hex()[:8], attempt, followed.order_id.hex()[:8])
