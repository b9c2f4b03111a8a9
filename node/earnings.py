"""What a prover does with a proof that it has made: delivery, and its price or at least its bond.

Everything that is signed here is stored before it is sent.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from market.lifecycle import Event, Order, State
from node import market_state as kept
from node.frames import FrameWriter
from node.l1 import claim_with_proof
from node.landing import packed_proofs
from node.market_state import Deal, settlement_of
from node.order_part import OrderCall, OrderPart
from node.ports import Chain, Clock, Direct, Landing, Peer, Refused, TryAgain
from protocol.agreement import Receipt, agreement_of, by_key, claim_window, pack_dated
from protocol.codec import decode_body, encode_body
from protocol.constants import MAX_CLOCK_SKEW_MS
from protocol.errors import Ignore, Reject
from protocol.messages import DeliveryReceipt, ProofDelivery, ReceiptVerdict
from protocol.payload import decode_payload, payload_core_id
from protocol.reqresp import PROOF_EXCHANGE
from protocol.signing import agreement_digest, receipt_digest, recover_signer
from protocol.table import encode_core
from protocol.verdicts import WireCode

WATCHED: Final = frozenset(
    {State.ACKED, State.AT_WORK, State.PROVED, State.RECEIPTED, State.OWED, State.CLAIMING, State.MISSED}
)
"""States in which the chain may say something."""


Unpaid = Callable[[Order, Deal], Awaitable[None]]


class Earnings(OrderPart):
    """The proofs of one prover. The orders move in the loop that it is attached to."""

    def __init__(self, *, chain: Chain, clock: Clock, direct: Direct, frames: FrameWriter, unpaid: Unpaid) -> None:
        """
        Args:
            unpaid: ends an order whose proof L1 has and did not pay for.
        """
        super().__init__()
        self._unpaid = unpaid
        self._chain = chain
        self._clock = clock
        self._direct = direct
        self._frames = frames
        self._call = OrderCall("claim", chain=chain, clock=clock, to=frames.market.contract)

    async def deliver(self, order: Order) -> None:
        """Hands the proofs to the requester and keeps its receipt."""
        deal = await self._loop.deal(order)
        delivery = decode_body(ProofDelivery, await self._loop.needed(order, kept.DELIVERY))
        peer = Peer(peer_id=deal.request.peer_id, addresses=deal.request.addresses)
        try:
            raw = await self._direct.ask(peer, PROOF_EXCHANGE, await self._frames.frame(delivery))
        except Refused as error:
            raise TryAgain(error.code, str(error)) from error  # for example: our Ack has not reached it yet
        try:
            receipt = self._frames.read(raw, DeliveryReceipt, signer=deal.requester).message
        except (Reject, Ignore) as error:
            raise Refused(error.reason, "a malformed receipt") from error
        assert isinstance(receipt, DeliveryReceipt)
        if receipt.verdict != ReceiptVerdict.VALID:
            raise Refused("RECEIPT_REFUSED", f"verdict {receipt.verdict}")  # the claim on L1 remains
        market = self._frames.market
        digest = receipt_digest(
            market.chain_id,
            market.contract,
            Receipt(agreement_hash=deal.agreement_hash, core_id=receipt.core_id, received_at=receipt.received_at),
        )
        try:
            if recover_signer(digest, receipt.receipt_signature) != deal.requester:
                raise Refused(WireCode.WRONG_SIGNER, "a receipt signed by somebody else")
        except Reject as error:
            raise Refused(error.reason, "a receipt without a signature") from error
        await self._loop.happen(order.order_id, Event.RECEIPT_RECEIVED, document={kept.RECEIPT: encode_body(receipt)})

    async def build_claim(self, order: Order) -> None:
        """Signs the claim once its window is open; `claimBy` ends it."""
        deal = await self._loop.deal(order)
        stored = await self._loop.document(order.order_id, kept.RECEIPT)
        first, _ = claim_window(deal.agreement, has_receipt=stored is not None)
        await self._clock.sleep_until(first * 1000 + MAX_CLOCK_SKEW_MS)
        payload = decode_payload(await self._loop.needed_secret(order, kept.PAYLOAD))
        delivery = decode_body(ProofDelivery, await self._loop.needed(order, kept.DELIVERY))
        settlement = settlement_of(
            deal,
            payload.salt,
            await self._loop.needed(order, kept.ACCEPT),
            await self._loop.document(order.order_id, kept.AMEND),
        )
        receipt = b""
        if stored is not None:
            given = decode_body(DeliveryReceipt, stored)
            receipt = pack_dated(given.received_at, by_key(given.receipt_signature))
        data = claim_with_proof(
            encode_core(payload.core),
            packed_proofs(deal, delivery),
            settlement,
            receipt,
        )
        await self._call.prepare(order, data)  # claimBy ends it
        await self._loop.happen(order.order_id, Event.CLAIM_SIGNED)

    async def send_claim(self, order: Order) -> None:
        """Sends it."""
        await self._call.send(order)

    async def observe(self, order: Order) -> None:
        """What L1 says about an order that waits for it."""
        deal = await self._loop.deal(order)
        if order.state is State.MISSED and await self._chain.is_slashed(deal.agreement_hash):
            await self._loop.happen(order.order_id, Event.SLASH_SEEN)
            return
        is_alone = len(deal.award.openings[: 1 + deal.request.standbys]) == 1
        if is_alone and order.state in (State.ACKED, State.AT_WORK, State.MISSED):
            return  # nobody else can be paid
        core = payload_core_id(await self._loop.needed_secret(order, kept.PAYLOAD))
        if await self._was_outrun(deal, core):
            await self._loop.happen(order.order_id, Event.OUTRUN, reason="OUTRUN")
        elif order.state not in (State.MISSED, State.ACKED, State.AT_WORK) and await self._chain.is_paid(
            deal.agreement, deal.agreement_hash, core
        ):
            await self._loop.happen(order.order_id, Event.PAYMENT_SEEN)
        elif order.state is State.CLAIMING:
            landing = await self._call.landing(order)
            if landing is Landing.FAILED:
                await self._loop.happen(order.order_id, Event.CLAIM_FAILED, reason="CLAIM_REVERTED")
            elif landing is Landing.UNKNOWN:
                await self._call.send_again(order)
            elif not await self._chain.is_paid(deal.agreement, deal.agreement_hash, core):
                # Delivered: a later rank was paid, or the ticket is gone. The bond is safe, which the claim was for.
                await self._unpaid(order, deal)

    async def _was_outrun(self, deal: Deal, core: bytes) -> bool:
        """Whether another rank was paid and nothing is owed under ours: an earlier one, or any while we had time.

        A later rank that was paid after our deliverBy is evidence against us: then only our own claim saves the bond.
        """
        market = self._frames.market
        engaged = deal.award.openings[: 1 + deal.request.standbys]
        in_time = self._clock.now_ms() < deal.agreement.deliver_by * 1000
        for rank, bid in enumerate(engaged, start=1):
            if rank < deal.award.rank or (rank > deal.award.rank and in_time):
                other = agreement_of(deal.requester, deal.request, rank, bid)
                digest = agreement_digest(market.chain_id, market.contract, other)
                if await self._chain.is_paid(other, digest, core):
                    return True
        return False
