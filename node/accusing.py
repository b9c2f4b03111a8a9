"""A ticket that paid another promise: the prover that was promised it too takes part of its bond (SPEC §8.2)."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

from market.lifecycle import Event, Order, State
from node import market_state as kept
from node.broker import OrderLoop, Resender
from node.frames import FrameWriter
from node.l1 import slash_equivocation
from node.market_state import Deal, settlement_of, unpack_deal
from node.ports import Chain, ChainCall, Landing, try_again
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


class Accusations:
    """The accusations of one prover. The orders move in the loop that it is attached to."""

    def __init__(self, *, chain: Chain, resend: Resender, frames: FrameWriter, accuse: Accuse) -> None:
        self._chain = chain
        self._resend = resend
        self._frames = frames
        self._accuse = accuse
        self._attached: OrderLoop | None = None

    def attach(self, loop: OrderLoop) -> None:
        """`loop` moves the orders."""
        self._attached = loop

    @property
    def _loop(self) -> OrderLoop:
        assert self._attached is not None, "attach comes first"
        return self._attached

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
        deal = unpack_deal(await self._loop.needed(order, kept.REQUEST), await self._loop.needed(order, kept.AWARD))
        broken = await self._loop.needed(order, kept.BROKEN)
        paid_core, first = broken[:CORE_BYTES], broken[CORE_BYTES:]
        payload = await self._loop.secret(order.order_id, kept.PAYLOAD)
        assert payload is not None, "the payload is stored before it is proven"
        amend = await self._loop.document(order.order_id, kept.AMEND)
        second = settlement_of(deal, payload[PAYLOAD_SALT], await self._loop.needed(order, kept.ACCEPT), amend)
        data = slash_equivocation(first, second, paid_core)
        call = ChainCall(purpose=_accusation_of(order), to=self._frames.market.contract, data=data)
        with try_again():  # the bond's time ends it
            await self._chain.prepare(call)
        await self._accuse(
            Fault(kind=int(FaultKind.TICKET_TWICE), first=_without_salt(first), second=_without_salt(second))
        )
        await self._loop.happen(order.order_id, Event.EQUIVOCATION_SIGNED)

    async def send(self, order: Order) -> None:
        """Sends it."""
        with try_again():
            await self._chain.send(_accusation_of(order))

    async def observe(self, order: Order) -> None:
        """What L1 says about it."""
        landing = await self._chain.landing(_accusation_of(order))
        if landing is Landing.SUCCEEDED:
            await self._loop.happen(order.order_id, Event.EQUIVOCATION_SEEN)
        elif landing is Landing.FAILED:
            await self._loop.happen(order.order_id, Event.EQUIVOCATION_FAILED, reason="ACCUSATION_REVERTED")
        else:
            await self._resend.send(_accusation_of(order))


def _without_salt(settlement: bytes) -> bytes:
    """What everybody may see: the salt opens the statement, and says nothing about the promise."""
    packed = unpack_settlement(settlement)
    return pack_settlement(replace(packed, salt=bytes(32), amend=None))


def _accusation_of(order: Order) -> str:
    return f"accuse {order.order_id.hex()}"
