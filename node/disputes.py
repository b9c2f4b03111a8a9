"""A payload that breaks its envelope: the prover asks for the fee of a countersigned decline, and collects it (SPEC
§10)."""

from __future__ import annotations

import logging
from typing import Final

from market.lifecycle import Event, Order, State
from node import market_state as kept
from node.broker import OrderLoop, Resender
from node.frames import FrameWriter
from node.l1 import decline
from node.market_state import settlement_of, unpack_deal
from node.ports import Chain, ChainCall, Direct, Landing, Peer, Refused, try_again
from protocol.agreement import Decline, by_key, decline_fee, pack_decline
from protocol.codec import decode_body
from protocol.errors import Ignore, Reject
from protocol.messages import DeclineReply, DeclineRequest, ProverAck
from protocol.payload import PAYLOAD_SALT
from protocol.reqresp import DECLINE_EXCHANGE
from protocol.signing import decline_digest, recover_signer

log = logging.getLogger("unveto.disputes")

WATCHED: Final = frozenset({State.FEE_SENT})


class Disputes:
    """The disputes of one prover. The orders move in the loop that it is attached to."""

    def __init__(self, *, chain: Chain, resend: Resender, direct: Direct, frames: FrameWriter, worth_wei: int) -> None:
        """
        Args:
            worth_wei: what collecting costs; a smaller fee is not asked for.
        """
        self._chain = chain
        self._resend = resend
        self._direct = direct
        self._frames = frames
        self._worth_wei = worth_wei
        self._attached: OrderLoop | None = None

    def attach(self, loop: OrderLoop) -> None:
        """`loop` moves the orders."""
        self._attached = loop

    @property
    def _loop(self) -> OrderLoop:
        assert self._attached is not None, "attach comes first"
        return self._attached

    async def ask_fee(self, order: Order) -> None:
        """Asks the requester to sign that its payload was not what it said."""
        deal = unpack_deal(await self._loop.needed(order, kept.REQUEST), await self._loop.needed(order, kept.AWARD))
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
        deal = unpack_deal(await self._loop.needed(order, kept.REQUEST), await self._loop.needed(order, kept.AWARD))
        payload = await self._loop.secret(order.order_id, kept.PAYLOAD)
        assert payload is not None, "the payload is stored before it is judged"
        settlement = settlement_of(deal, payload[PAYLOAD_SALT], await self._loop.needed(order, kept.ACCEPT), None)
        data = decline(settlement, await self._loop.needed(order, kept.DECLINE))
        call = ChainCall(purpose=_decline_of(order), to=self._frames.market.contract, data=data)
        with try_again():  # claimBy ends it
            await self._chain.prepare(call)
        await self._loop.happen(order.order_id, Event.DECLINE_SIGNED)

    async def send(self, order: Order) -> None:
        """Sends it."""
        with try_again():
            await self._chain.send(_decline_of(order))

    async def observe(self, order: Order) -> None:
        """What L1 says about a decline that was sent."""
        landing = await self._chain.landing(_decline_of(order))
        if landing is Landing.SUCCEEDED:
            await self._loop.happen(order.order_id, Event.FEE_SEEN)
        elif landing is Landing.FAILED:
            await self._loop.happen(order.order_id, Event.FEE_FAILED, reason="DECLINE_REVERTED")
        else:
            await self._resend.send(_decline_of(order))


def _decline_of(order: Order) -> str:
    return f"decline {order.order_id.hex()}"
