"""A payload that breaks its envelope: the prover asks for the fee of a countersigned decline, and collects it (SPEC
§10)."""

from __future__ import annotations

import logging
from typing import Final

from market.lifecycle import Event, Order, State
from node import market_state as kept
from node.frames import FrameWriter
from node.l1 import decline
from node.market_state import settlement_of
from node.order_part import OrderCall, OrderPart
from node.ports import Chain, Clock, Direct, Landing, Peer, Refused
from protocol.agreement import Decline, by_key, decline_fee, pack_decline
from protocol.codec import decode_body
from protocol.errors import Ignore, Reject
from protocol.messages import DeclineReply, DeclineRequest, ProverAck
from protocol.payload import PAYLOAD_SALT
from protocol.reqresp import DECLINE_EXCHANGE
from protocol.signing import decline_digest, recover_signer

log = logging.getLogger("unveto.disputes")

WATCHED: Final = frozenset({State.FEE_SENT})


class Disputes(OrderPart):
    """The disputes of one prover. The orders move in the loop that it is attached to."""

    def __init__(self, *, chain: Chain, clock: Clock, direct: Direct, frames: FrameWriter, worth_wei: int) -> None:
        """
        Args:
            worth_wei: what collecting costs; a smaller fee is not asked for.
        """
        super().__init__()
        self._direct = direct
        self._frames = frames
        self._worth_wei = worth_wei
        self._call = OrderCall("decline", chain=chain, clock=clock, to=frames.market.contract)

    async def ask_fee(self, order: Order) -> None:
        """Asks the requester to sign that its payload was not what it said."""
        deal = await self._loop.deal(order)
        said = decode_body(ProverAck, await self._loop.needed(order, kept.ACK))
        fee_wei = decline_fee(deal.agreement)
        if fee_wei < self._worth_wei:
            await self._loop.happen(order.order_id, Event.FEE_REFUSED, reason="FEE_TOO_SMALL")
            return
        market = self._frames.market
        agreed = Decline(agreement_hash=deal.agreement_hash, verdict=said.verdict, fee_wei=fee_wei)
        digest = decline_digest(market.chain_id, market.contract, agreed)
        message = DeclineRequest(
            request_id=order.order_id,
            agreement_hash=deal.agreement_hash,
            verdict=said.verdict,
            fee_wei=fee_wei,
            prover_signature=self._frames.key.sign_digest(digest),
        )
        peer = Peer(peer_id=deal.request.peer_id, addresses=deal.request.addresses)
        raw = await self._direct.ask(peer, DECLINE_EXCHANGE, await self._frames.frame(message))
        try:
            reply = self._frames.read(raw, DeclineReply, signer=deal.requester).message
            assert isinstance(reply, DeclineReply)
            is_signed = reply.requester_signature != b"" and (
                recover_signer(digest, reply.requester_signature) == deal.requester
            )
        except (Reject, Ignore) as error:
            raise Refused(error.reason, "a malformed answer") from error
        if not is_signed:
            await self._loop.happen(order.order_id, Event.FEE_REFUSED, reason="NO_FEE")
            return
        packed = pack_decline(agreed, by_key(reply.requester_signature), by_key(message.prover_signature))
        await self._loop.happen(order.order_id, Event.FEE_GRANTED, document={kept.DECLINE: packed})

    async def build_decline(self, order: Order) -> None:
        """Signs the transaction that collects the fee."""
        deal = await self._loop.deal(order)
        payload = await self._loop.needed_secret(order, kept.PAYLOAD)
        settlement = settlement_of(deal, payload[PAYLOAD_SALT], await self._loop.needed(order, kept.ACCEPT), None)
        # claimBy ends it
        await self._call.prepare(order, decline(settlement, await self._loop.needed(order, kept.DECLINE)))
        await self._loop.happen(order.order_id, Event.DECLINE_SIGNED)

    async def send(self, order: Order) -> None:
        """Sends it."""
        await self._call.send(order)

    async def observe(self, order: Order) -> None:
        """What L1 says about a decline that was sent."""
        landing = await self._call.landing(order)
        if landing is Landing.SUCCEEDED:
            await self._loop.happen(order.order_id, Event.FEE_SEEN)
        elif landing is Landing.FAILED:
            await self._loop.happen(order.order_id, Event.FEE_FAILED, reason="DECLINE_REVERTED")
        else:
            await self._call.send_again(order)
