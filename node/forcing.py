"""A prover that took a payload and is silent: the payload is published on L1, and it answers or pays (SPEC §8.2).

Publishing costs gas, so by default it happens only where the penalty is worth it.
"""

from __future__ import annotations

import logging
from typing import Final, Literal

from market.lanes import MILLI
from market.lifecycle import Event, Order, State
from node import market_state as kept
from node.engagement import Engagement
from node.l1 import force_release, take_peek_penalty
from node.market_state import Deal, settlement_of
from node.order_part import OrderCall
from node.ports import Chain, ChainCall, Clock, Landing, Refused
from protocol.codec import encode_body
from protocol.constants import MAX_BOX, PEEK_DIVISOR
from protocol.messages import AckVerdict, ProverAck

log = logging.getLogger("unveto.forcing")

Force = Literal["worth", "always", "never"]
WORTH_FACTOR: Final = 2
"""The penalty must be more than so often what publishing costs: taking it is a transaction too."""
CHASED: Final = frozenset(
    {State.S_SILENT, State.S_FORCE_DUE, State.S_FORCING, State.S_FORCED, State.S_PEEKED, State.S_FINING}
)
IN_FLIGHT: Final = frozenset({State.S_FORCING, State.S_FINING})
"""States whose transaction may be out: its outcome decides."""
NO_SALT: Final = bytes(32)
"""In place of what opens the statement: nobody needs it for this, and L1 shows it to everybody."""


class Forcing:
    """The forced releases of one requester. The orders move in the loop of the engagements."""

    def __init__(self, *, engaged: Engagement, chain: Chain, clock: Clock, market: bytes, force: Force) -> None:
        """
        Args:
            market: the market contract, 20 bytes.
            force: whether a payload is published: always, never, or if the penalty is worth more than that costs.
        """
        self._engaged = engaged
        self._chain = chain
        self._clock = clock
        self._force = force
        self._market = market
        self._release = OrderCall("force", chain=chain, clock=clock, to=market)
        self._penalty = OrderCall("peek", chain=chain, clock=clock, to=market)

    @property
    def is_off(self) -> bool:
        """Whether nothing is ever published."""
        return self._force == "never"

    async def build_release(self, order: Order) -> None:
        """Signs the transaction that publishes the payload, or leaves it."""
        deal = await self._engaged.deal(order)
        data = force_release(await self._settlement(order, deal), await self._engaged.document(order, kept.BOX))
        refused = await self._refusal(order, deal, data)
        if refused:
            await self._engaged.loop.happen(order.order_id, Event.NOT_FORCED, reason=refused)
            return
        await self._release.prepare(order, data)
        await self._engaged.loop.happen(order.order_id, Event.RELEASE_SIGNED)

    async def _refusal(self, order: Order, deal: Deal, data: bytes) -> str:
        if self.is_off:
            return "FORCE_OFF"
        if len(await self._engaged.document(order, kept.BOX)) > MAX_BOX:
            return "BOX_TOO_LONG"
        if self._clock.now_ms() > order.deliver_by * MILLI:
            return "FORCE_TOO_LATE"
        held_wei = await self._chain.ticket_wei(deal.winner.prover, deal.opening.prover_ticket)
        try:
            cost_wei = await self._chain.cost_wei(ChainCall(purpose="", to=self._market, data=data))
        except Refused as error:
            log.info("order %s: not forced: %s", order.order_id.hex()[:8], error)
            return error.code
        if self._force == "worth" and (held_wei or 0) // PEEK_DIVISOR <= WORTH_FACTOR * cost_wei:
            return "NOT_WORTH"
        return ""

    async def build_penalty(self, order: Order) -> None:
        """Signs the transaction that takes the penalty."""
        deal = await self._engaged.deal(order)
        await self._penalty.prepare(order, take_peek_penalty(await self._settlement(order, deal)))
        await self._engaged.loop.happen(order.order_id, Event.PENALTY_SIGNED)

    async def send(self, order: Order) -> None:
        """Sends what the order's state is about."""
        await (self._release if order.state is State.S_FORCING else self._penalty).send(order)

    async def observe(self, order: Order) -> None:
        """What L1 says about a chased prover."""
        deal = await self._engaged.deal(order)
        happen = self._engaged.loop.happen
        view = await self._chain.agreement(deal.agreement_hash)
        match order.state:
            case State.S_FORCING if view.respond_by:
                await happen(order.order_id, Event.RELEASE_SEEN, due={"ack_by": view.respond_by})
            case State.S_FORCING:
                if await self._release.landing(order) is Landing.FAILED:
                    await happen(order.order_id, Event.RELEASE_FAILED, reason="RELEASE_REVERTED")
                else:
                    await self._release.send_again(order)
            case State.S_FORCED if view.is_answered:
                # L1 keeps the Ack: a slash may leave it away.
                ack = ProverAck(
                    request_id=deal.request.request_id,
                    agreement_hash=deal.agreement_hash,
                    verdict=int(AckVerdict.START),
                    ack_at=0,
                    ack_signature=b"",
                    amend_signature=b"",
                )
                await happen(order.order_id, Event.ACK_RECEIVED, document={kept.ACK: encode_body(ack)})
            case State.S_FORCED if view.is_cancelled or view.is_relieved:
                await happen(order.order_id, Event.RELEASE_DECLINED, reason="GAVE_UP")
            case State.S_PEEKED | State.S_FINING if view.is_penalised:
                await happen(order.order_id, Event.PENALTY_SEEN, reason="PEEKED")
            case State.S_FINING:
                if await self._penalty.landing(order) is Landing.FAILED:
                    await happen(order.order_id, Event.PENALTY_FAILED, reason="PENALTY_REVERTED")
                else:
                    await self._penalty.send_again(order)
            case _:
                pass

    async def _settlement(self, order: Order, deal: Deal) -> bytes:
        return settlement_of(deal, NO_SALT, await self._engaged.document(order, kept.ACCEPT), None)
