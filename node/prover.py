"""The prover's side of an order: bids from the envelope alone, proves what it won, delivers, and claims if it is not
paid.

The order moves in `node.broker`. Everything that is signed here is stored before it is sent. A bid that loses leaves
a prover with what
gossip showed everybody, and its own opening.
"""

from __future__ import annotations

import logging
import math
import secrets
from dataclasses import dataclass
from typing import Final, Protocol

import trio
from trio_typing import TaskStatus  # the stubs of trio that libp2p brings along name it only here

from market.admission import Capability, admit
from market.effects import Effect
from market.errors import Skip
from market.lifecycle import GRACE_MS, Event, Order, Role, State
from market.payload_check import PayloadRefused, judge_payload
from market.pricing import Curve, quote
from node import market_state as kept
from node.broker import LAST_RETRY_MS, OrderLoop, Resender
from node.frames import FrameWriter
from node.l1 import claim_with_proof
from node.market_state import Deal, pack_request, unpack_deal, unpack_request
from node.ports import (
    Chain,
    ChainCall,
    Clock,
    Direct,
    Gossip,
    InThread,
    Landing,
    Peer,
    ProofWork,
    Prover,
    Refused,
    TryAgain,
)
from node.store.errors import OrderExists
from node.store.orders import OrderStore
from protocol.agreement import Ack, Receipt, Settlement, by_key, pack_dated, pack_settlement
from protocol.codec import decode_body, encode_body
from protocol.commitments import bid_hash, pack_opening, unpack_opening
from protocol.errors import Ignore, Reject
from protocol.gossip import check_award, check_award_signature
from protocol.gossip_memory import KnownRequest
from protocol.load import ProofItem, Proofs, encode_proofs
from protocol.messages import (
    AckVerdict,
    Award,
    AwardAccept,
    BidCommit,
    BidOpening,
    Cancel,
    DeliveryReceipt,
    KeyRelease,
    MessageId,
    ProofDelivery,
    ProverAck,
    ReceiptVerdict,
    RequestCommit,
)
from protocol.payload import decode_payload, payload_core_id
from protocol.reqresp import AWARD_EXCHANGE, KEY_EXCHANGE, MAX_SEALED_PAYLOAD, PROOF_EXCHANGE
from protocol.sealing import SealError, SealKeyPair, bid_info, payload_info, seal
from protocol.signing import ack_digest, receipt_digest, recover_signer
from protocol.table import encode_core
from protocol.types import Address, Hash32
from protocol.verdicts import WireCode

log = logging.getLogger("unveto.prover")

WATCHED: Final = frozenset({State.PROVED, State.RECEIPTED, State.OWED, State.CLAIMING, State.MISSED})
"""States in which the chain may say something."""


class Able(Protocol):
    """What the prover can do at the moment."""

    def __call__(self, bond_wei: int) -> Capability:
        """`bond_wei`: what the free bond ticket holds."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A prover's conditions, as configured."""

    curve: Curve
    payee: bytes
    """Account that is paid, 20 bytes."""
    ticket: int
    """Number of the bond ticket."""
    bid_delay_ms: int
    """Time between seeing a request and bidding."""


class ProvingNode:
    """Bids and proves for one account. Made without side effects; `serve` runs it."""

    def __init__(
        self,
        *,
        store: OrderStore,
        in_thread: InThread,
        clock: Clock,
        gossip: Gossip,
        direct: Direct,
        chain: Chain,
        prover: Prover,
        able: Able,
        frames: FrameWriter,
        offer: Offer,
        poll_ms: int,
    ) -> None:
        """
        Args:
            able: tells families, tiers, sizes and free slots.
            poll_ms: time between two looks at the chain for one order.
        """
        self._store = store
        self._in_thread = in_thread
        self._clock = clock
        self._gossip = gossip
        self._direct = direct
        self._chain = chain
        self._prover = prover
        self._able = able
        self._frames = frames
        self._offer = offer
        self._resend = Resender(chain, clock)
        self._working: set[bytes] = set()
        self.loop = OrderLoop(
            Role.PROVER,
            store=store,
            in_thread=in_thread,
            clock=clock,
            perform={
                Effect.PUBLISH_BID: self._publish_bid,
                Effect.SIGN_ACCEPTANCE: self._sign_acceptance,
                Effect.CHECK_PAYLOAD: self._work,
                Effect.START_PROOF: self._work,
                Effect.DELIVER_PROOF: self._deliver,
                Effect.BUILD_CLAIM: self._build_claim,
                Effect.SEND_TRANSACTION: self._send_claim,
            },
            observe=self._observe,
            watched=WATCHED,
            poll_ms=poll_ms,
        )

    async def serve(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Runs until cancelled."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self.loop.serve)
            for order in self.loop.orders():
                if order.state in (State.ACKED, State.AT_WORK):  # its process ended with ours
                    nursery.start_soon(self._work_again, order)
            self._direct.serve(AWARD_EXCHANGE, self._answer_award)
            self._direct.serve(KEY_EXCHANGE, self._answer_key)
            nursery.start_soon(self._read_requests, nursery)
            nursery.start_soon(self._read_awards)
            task_status.started()

    # -- bidding ---------------------------------------------------------------------------------------------------

    async def _read_requests(self, nursery: trio.Nursery) -> None:
        async for frame in self._gossip.frames("req"):
            request = decode_body(RequestCommit, frame[80:-65])
            if self.loop.order(request.request_id) is None:
                nursery.start_soon(self._consider, frame[52:72], request)

    async def _consider(self, requester: bytes, request: RequestCommit) -> None:
        order = Order(
            order_id=request.request_id,
            role=Role.PROVER,
            state=State.SEEN,
            bid_close_ms=request.bid_close_ms,
            award_by_ms=request.award_by_ms,
            accept_by_ms=request.accept_by_ms,
            ack_by=request.ack_by,
            deliver_by=request.deliver_by,
            claim_by=request.claim_by,
            valid_until=0,
        )
        try:
            await self.loop.open(
                order, ticket=self._offer.ticket, document={kept.REQUEST: pack_request(requester, request)}
            )
        except OrderExists:
            return  # seen before a restart; what is open of it goes on
        try:
            offered = quote(request, self._offer.curve, queued=len(self._working))
            ticket_wei = await self._chain.ticket_wei(requester, request.requester_ticket)
            bond_wei = await self._chain.ticket_wei(self._frames.key.address, self._offer.ticket)
            taken = await self._in_thread(lambda: self._store.tickets_in_use(Role.PROVER, order.order_id))
            able = self._able(0 if bond_wei is None or self._offer.ticket in taken else bond_wei)
            admit(request, able, offered, ticket_wei=ticket_wei, now_ms=self._clock.now_ms())
        except Skip as skipped:
            await self.loop.happen(order.order_id, Event.SKIP, reason=skipped.reason)
            return
        except TryAgain as error:
            await self.loop.happen(order.order_id, Event.SKIP, reason=error.code)
            return
        key_secret = secrets.token_bytes(32)
        opening = BidOpening(
            price_wei=offered.price_wei,
            eta_ms=offered.eta_ms,
            prover_ticket=self._offer.ticket,
            bond_wei=request.bond_min_wei,  # uniform per request: a bond that followed the price would leak it
            payee=self._offer.payee,
            seal_key=SealKeyPair(key_secret).public,
            salt=secrets.token_bytes(32),
        )
        us = self._frames.key.address
        hashed = bid_hash(request.request_id, us, opening)
        try:
            box = seal(pack_opening(opening), request.seal_key, bid_info(request.request_id, us, hashed))
        except SealError:
            await self.loop.happen(order.order_id, Event.SKIP, reason="BAD_SEAL_KEY")
            return
        bid = BidCommit(
            request_id=request.request_id,
            bid_hash=hashed,
            sealed_opening=box,
            prover_ticket=opening.prover_ticket,
            bond_wei=opening.bond_wei,
            peer_id=self._direct.own.peer_id,
            addresses=self._direct.own.addresses,
        )
        await self._clock.sleep_until(self._clock.now_ms() + self._offer.bid_delay_ms)
        await self.loop.happen(
            order.order_id,
            Event.BID_MADE,
            document={kept.BID: encode_body(bid)},
            secret={kept.OPENING: pack_opening(opening), kept.SEAL: key_secret},
        )

    async def _publish_bid(self, order: Order) -> None:
        bid = decode_body(BidCommit, await self._document(order, kept.BID))
        await self._gossip.publish("bid", await self._frames.frame(bid))

    # -- award -----------------------------------------------------------------------------------------------------

    async def _read_awards(self) -> None:
        async for frame in self._gossip.frames("award"):
            body = frame[80:-65]
            if frame[4] == MessageId.CANCEL:
                cancelled = decode_body(Cancel, body)
                await self.loop.happen(cancelled.request_id, Event.REQUEST_CANCELLED, reason="CANCELLED")
            else:
                await self._take_award(decode_body(Award, body))

    async def _take_award(self, award: Award) -> None:
        """An award whose signatures hold."""
        order = self.loop.order(award.request_id)
        if order is None or order.state is not State.BID:
            return
        winner = award.openings[award.rank - 1]
        if winner.prover != self._frames.key.address:
            await self.loop.happen(order.order_id, Event.AWARDED_OTHER)
            return
        ours = unpack_opening(await self._secret(order, kept.OPENING))
        if winner.opening != ours:
            log.warning("order %s: an award in our name with terms that are not ours", order.order_id.hex()[:8])
            return
        await self.loop.happen(order.order_id, Event.AWARDED_US, document={kept.AWARD: encode_body(award)})

    async def _sign_acceptance(self, order: Order) -> None:
        deal = await self._deal(order)
        held_wei = await self._chain.ticket_wei(deal.requester, deal.request.requester_ticket)
        if held_wei is None or held_wei < deal.opening.price_wei:
            raise Refused("TICKET_GONE", "the requester's ticket does not cover the price any more")
        signature = self._frames.key.sign_digest(deal.agreement_hash)
        await self.loop.happen(order.order_id, Event.ACCEPT_SIGNED, document={kept.ACCEPT: signature})

    async def _answer_award(self, data: bytes) -> bytes:
        received = self._frames.read(data, Award, signer=None)
        award = received.message
        assert isinstance(award, Award)
        order = self._ours(award.request_id)
        requester, request = unpack_request(await self._document(order, kept.REQUEST))
        known = KnownRequest(requester=requester, request=request)
        check_award(received.signer, award, known)
        check_award_signature(award, known, self._frames.market)
        await self._take_award(award)
        reached = await self.loop.wait_for(order.order_id, lambda now: now.state not in (State.BID, State.WON))
        signature = await self.loop.document(order.order_id, kept.ACCEPT)
        if reached is None or signature is None:
            raise Ignore(WireCode.LATE, state=order.state.value)
        deal = await self._deal(order)
        if deal.agreement_hash != award.agreement_hash:
            raise Reject(WireCode.WRONG_AGREEMENT)
        return await self._frames.frame(
            AwardAccept(request_id=order.order_id, agreement_hash=deal.agreement_hash, prover_signature=signature)
        )

    # -- payload and proof -----------------------------------------------------------------------------------------

    async def _answer_key(self, data: bytes) -> bytes:
        received = self._frames.read(data, KeyRelease, max_attachment=MAX_SEALED_PAYLOAD, signer=None)
        release = received.message
        assert isinstance(release, KeyRelease)
        order = self._ours(release.request_id)
        if await self.loop.document(order.order_id, kept.ACCEPT) is None:
            raise Ignore(WireCode.WRONG_AGREEMENT)
        deal = await self._deal(order)
        if received.signer != deal.requester or release.agreement_hash != deal.agreement_hash:
            raise Reject(WireCode.WRONG_SIGNER, signer=received.signer)
        if order.state is State.SIGNED:
            key = SealKeyPair(await self._secret(order, kept.SEAL))
            try:
                payload = key.open(received.attachment, payload_info(deal.agreement_hash))
            except SealError as error:
                raise Reject(WireCode.ATTACHMENT, size=len(received.attachment)) from error
            await self.loop.happen(order.order_id, Event.PAYLOAD_RECEIVED, secret={kept.PAYLOAD: payload})
        await self.loop.wait_for(order.order_id, lambda now: now.state not in (State.SIGNED, State.HOLDING))
        stored = await self.loop.document(order.order_id, kept.ACK)
        if stored is None:
            raise Ignore(WireCode.LATE, state=order.state.value)
        return await self._frames.frame(decode_body(ProverAck, stored))

    async def _work(self, order: Order) -> None:
        """Checks, acknowledges and proves in one go; begun again from the start if the process ended."""
        if order.order_id in self._working:
            return
        self._working.add(order.order_id)
        try:
            await self._check_and_prove(order)
        finally:
            self._working.discard(order.order_id)

    async def _work_again(self, order: Order) -> None:
        """`_work` after a restart, while L1 may not answer yet; no effect of the outbox begins it."""
        while (now := self.loop.order(order.order_id)) is not None and now.state in (State.ACKED, State.AT_WORK):
            try:
                await self._work(now)
                return
            except TryAgain as error:
                log.debug("order %s: %s", order.order_id.hex()[:8], error)
            await self._clock.sleep_until(self._clock.now_ms() + LAST_RETRY_MS)

    async def _check_and_prove(self, order: Order) -> None:
        deal = await self._deal(order)
        payload = await self._secret(order, kept.PAYLOAD)
        work = ProofWork(
            request=deal.request,
            agreement=deal.agreement,
            agreement_hash=deal.agreement_hash,
            payload=payload,
            acknowledged=order.state in (State.ACKED, State.AT_WORK),
        )
        try:
            await self._in_thread(lambda: judge_payload(deal.request, payload))
            async with self._prover.start(work) as running:
                with trio.move_on_after(self._left_to_ack_s(order)) as waited:
                    await running.checked()
                if waited.cancelled_caught:
                    raise Refused("TOO_LATE", "the witness was not built before ackBy")
                await self._acknowledge(order, deal)
                await self.loop.happen(order.order_id, Event.PROOF_STARTED)
                now = self.loop.order(order.order_id)
                if now is None or now.state is not State.AT_WORK:
                    return  # its time has passed while the witness was built: nobody waits for this proof
                proofs, prove_ms = await running.prove()
        except PayloadRefused as refused:
            await self._decline(order, deal, refused.verdict, refused.reason)
            return
        except Refused as refused:
            now = self.loop.order(order.order_id)
            if now is not None and now.state is State.HOLDING:
                verdict = AckVerdict[refused.code] if refused.code in AckVerdict.__members__ else AckVerdict.UNSUPPORTED
                await self._decline(order, deal, verdict, refused.code)
            else:
                await self.loop.happen(order.order_id, Event.PROOF_FAILED, reason=refused.code)
            return
        delivery = ProofDelivery(
            request_id=order.order_id,
            agreement_hash=deal.agreement_hash,
            proofs=proofs,
            prove_ms=prove_ms,
        )
        await self.loop.happen(order.order_id, Event.PROOF_MADE, document={kept.DELIVERY: encode_body(delivery)})

    def _left_to_ack_s(self, order: Order) -> float:
        """How long a check may hold a slot: who sends a long one pays nothing."""
        if order.state is not State.HOLDING:
            return math.inf
        return max(0.0, order.ack_by + 1 + (GRACE_MS - self._clock.now_ms()) / 1000)

    async def _acknowledge(self, order: Order, deal: Deal) -> None:
        """Signs and stores the Ack, unless that happened before a restart.

        Raises:
            Refused: TOO_LATE, L1 would not take an Ack of this moment.
        """
        now_s = self._clock.now_ms() // 1000
        if order.state is State.HOLDING and now_s > order.ack_by:
            raise Refused("TOO_LATE", f"ackBy was {order.ack_by}")
        ack = Ack(agreement_hash=deal.agreement_hash, payload_commit=deal.request.payload_commit, ack_at=now_s)
        market = self._frames.market
        message = ProverAck(
            request_id=order.order_id,
            agreement_hash=deal.agreement_hash,
            verdict=int(AckVerdict.START),
            ack_at=now_s,
            ack_signature=self._frames.key.sign_digest(ack_digest(market.chain_id, market.contract, ack)),
        )
        await self.loop.happen(order.order_id, Event.PAYLOAD_GOOD, document={kept.ACK: encode_body(message)})

    async def _decline(self, order: Order, deal: Deal, verdict: AckVerdict, reason: str) -> None:
        message = ProverAck(
            request_id=order.order_id,
            agreement_hash=deal.agreement_hash,
            verdict=int(verdict),
            ack_at=self._clock.now_ms() // 1000,
            ack_signature=b"",
        )
        await self.loop.happen(
            order.order_id, Event.PAYLOAD_BAD, reason=reason, document={kept.ACK: encode_body(message)}
        )

    # -- delivery and payment --------------------------------------------------------------------------------------

    async def _deliver(self, order: Order) -> None:
        deal = await self._deal(order)
        delivery = decode_body(ProofDelivery, await self._document(order, kept.DELIVERY))
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
        await self.loop.happen(order.order_id, Event.RECEIPT_RECEIVED, document={kept.RECEIPT: encode_body(receipt)})

    async def _build_claim(self, order: Order) -> None:
        deal = await self._deal(order)
        payload = decode_payload(await self._secret(order, kept.PAYLOAD))
        delivery = decode_body(ProofDelivery, await self._document(order, kept.DELIVERY))
        proofs = Proofs(
            payee=Address(deal.opening.payee),
            agreement_hash=Hash32(deal.agreement_hash),
            items=tuple(
                ProofItem(rollup_id=item.rollup_id, system=Address(item.system), proof=item.proof)
                for item in delivery.proofs
            ),
        )
        settlement = Settlement(
            agreement=deal.agreement,
            salt=payload.salt,
            requester_signature=by_key(deal.award.requester_signature),
            prover_signature=by_key(await self._document(order, kept.ACCEPT)),
        )
        stored = await self.loop.document(order.order_id, kept.RECEIPT)
        receipt = b""
        if stored is not None:
            given = decode_body(DeliveryReceipt, stored)
            receipt = pack_dated(given.received_at, by_key(given.receipt_signature))
        data = claim_with_proof(
            encode_core(payload.core),
            encode_proofs(proofs),
            pack_settlement(settlement),
            receipt,
        )
        call = ChainCall(purpose=_claim_of(order), to=self._frames.market.contract, data=data)
        try:
            await self._chain.prepare(call)
        except Refused as error:
            raise TryAgain(error.code, str(error)) from error  # claimBy ends it
        await self.loop.happen(order.order_id, Event.CLAIM_SIGNED)

    async def _send_claim(self, order: Order) -> None:
        try:
            await self._chain.send(_claim_of(order))
        except Refused as error:
            raise TryAgain(error.code, str(error)) from error

    async def _observe(self, order: Order) -> None:
        """What L1 says about an order that waits for it."""
        deal = await self._deal(order)
        if order.state is State.MISSED:
            if await self._chain.is_slashed(deal.agreement_hash):
                await self.loop.happen(order.order_id, Event.SLASH_SEEN)
            return
        core = payload_core_id(await self._secret(order, kept.PAYLOAD))
        if await self._chain.is_paid(deal.agreement, deal.agreement_hash, core):
            await self.loop.happen(order.order_id, Event.PAYMENT_SEEN)
        elif order.state is State.CLAIMING:
            if await self._chain.landing(_claim_of(order)) is Landing.FAILED:
                await self.loop.happen(order.order_id, Event.CLAIM_FAILED, reason="CLAIM_REVERTED")
            else:
                await self._resend.send(_claim_of(order))

    # -- reading what is stored ------------------------------------------------------------------------------------

    def _ours(self, request_id: bytes) -> Order:
        order = self.loop.order(request_id)
        if order is None or order.state in (State.SEEN, State.SKIPPED):
            raise Ignore(WireCode.UNKNOWN_REQUEST, request_id=request_id)
        return order

    async def _document(self, order: Order, name: str) -> bytes:
        found = await self.loop.document(order.order_id, name)
        assert found is not None, f"{name} is stored with the state that needs it"
        return found

    async def _secret(self, order: Order, name: str) -> bytes:
        found = await self.loop.secret(order.order_id, name)
        assert found is not None, f"{name} is stored with the state that needs it"
        return found

    async def _deal(self, order: Order) -> Deal:
        return unpack_deal(await self._document(order, kept.REQUEST), await self._document(order, kept.AWARD))


def _claim_of(order: Order) -> str:
    return f"claim {order.order_id.hex()}"
