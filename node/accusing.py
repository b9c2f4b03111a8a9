"""A ticket that paid another promise: the prover that was promised it too takes part of its bond (SPEC §8.2)."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

from market.lifecycle import Event, Order, State
from node import market_state as kept
from node.frames import FrameWriter
from node.l1 import slash_equivocation
from node.market_state import Deal, settlement_of
from node.order_part import OrderCall, OrderPart
from node.ports import Chain, Clock, Landing
from protocol.agreement import pack_settlement, unpack_settlement
from protocol.errors import Reject
from protocol.faults import FaultKind, promised_twice
from protocol.messages import Fault
from protocol.payload import PAYLOAD_SALT

log = logging.getLogger("unveto.accusing")

WATCHED: Final = frozenset({State.ACCUSING})
CORE_BYTES: Final = 32

Accuse = Callable[[Fault], Awaitable[None]]
"""Tells evidence to everybody."""


class Accusations(OrderPart):
    """The accusations of one prover. The orders move in the loop that it is attached to."""

    def __init__(self, *, chain: Chain, clock: Clock, frames: FrameWriter, accuse: Accuse) -> None:
        super().__init__()
        self._chain = chain
        self._accuse = accuse
        self._call = OrderCall("accuse", chain=chain, clock=clock, to=frames.market.contract)

    async def look(self, order: Order, deal: Deal) -> None:
        """Ends an order whose proof L1 has and did not pay for, as unpaid or as wronged.

        Raises:
            TryAgain: L1 cannot be asked.
        """
        spent = await self._chain.spent_for(deal.requester, deal.request.requester_ticket)
        if spent is not None:
            core, settlement = spent
            try:
                is_broken = promised_twice(unpack_settlement(settlement).agreement, deal.agreement)
            except Reject:
                is_broken = False
            if is_broken:
                await self._loop.happen(
                    order.order_id,
                    Event.PROMISE_BROKEN,
                    reason="TICKET_TWICE",
                    document={kept.BROKEN: core + settlement},
                )
                return
        await self._loop.happen(order.order_id, Event.CLAIM_FAILED, reason="DELIVERED_UNPAID")

    async def build(self, order: Order) -> None:
        """Signs the transaction that takes the bond, and tells everybody why."""
        deal = await self._loop.deal(order)
        broken = await self._loop.needed(order, kept.BROKEN)
        paid_core, first = broken[:CORE_BYTES], broken[CORE_BYTES:]
        payload = await self._loop.needed_secret(order, kept.PAYLOAD)
        amend = await self._loop.document(order.order_id, kept.AMEND)
        second = settlement_of(deal, payload[PAYLOAD_SALT], await self._loop.needed(order, kept.ACCEPT), amend)
        await self._call.prepare(order, slash_equivocation(first, second, paid_core))  # the bond's time ends it
        await self._accuse(
            Fault(kind=int(FaultKind.TICKET_TWICE), pieces=(_without_salt(first), _without_salt(second)))
        )
        await self._loop.happen(order.order_id, Event.EQUIVOCATION_SIGNED)

    async def send(self, order: Order) -> None:
        """Sends it."""
        await self._call.send(order)

    async def observe(self, order: Order) -> None:
        """What L1 says about it."""
        landing = await self._call.landing(order)
        if landing is Landing.SUCCEEDED:
            await self._loop.happen(order.order_id, Event.EQUIVOCATION_SEEN)
        elif landing is Landing.FAILED:
            await self._loop.happen(order.order_id, Event.EQUIVOCATION_FAILED, reason="ACCUSATION_REVERTED")
        else:
            await self._call.send_again(order)


def _without_salt(settlement: bytes) -> bytes:
    """What everybody may see: the salt opens the statement, and says nothing about the promise."""
    packed = unpack_settlement(settlement)
    return pack_settlement(replace(packed, salt=bytes(32), amend=None))
