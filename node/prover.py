"""The prover's side of an order: bids from the envelope alone, proves what it won, delivers, and claims if it is not
paid.

The order moves in `node.broker`. Everything that is signed here is stored before it is sent. A bid that loses leaves
a prover with what
gossip showed everybody, and its own opening.
"""

from __future__ import annotations

import logging
import math

import trio
from trio_typing import TaskStatus  # the stubs of trio that libp2p brings along name it only here

from market.capacity import Capacity
from market.effects import Effect
from market.lifecycle import CLAIM_AFTER_S, GRACE_MS, Event, Order, Role, State
from market.payload_check import PayloadRefused, judge_payload
from node import market_state as kept
from node.accusing import WATCHED as ACCUSED
from node.accusing import Accusations, Accuse
from node.bidding import Able, Bidding, Offer
from node.broker import LAST_RETRY_MS, OrderLoop
from node.disputes import WATCHED as DISPUTED
from node.disputes import Disputes
from node.earnings import WATCHED, Earnings
from node.errors import NotNow
from node.frames import FrameWriter
from node.market_state import Deal, unpack_request
from node.ports import (
    Chain,
    Clock,
    Direct,
    Gossip,
    InThread,
    ProofWork,
    Prover,
    Refused,
    RunningProof,
    TryAgain,
)
from node.releases import Releases
from node.rework import Rework
from node.standings import Standings
from node.store.faults import FaultStore
from node.store.orders import OrderStore
from node.voiding import WATCHED as VOIDED
from node.voiding import Voiding
from protocol.agreement import (
    Ack,
    agreement_of,
    claim_window,
)
from protocol.codec import decode_body, encode_body
from protocol.commitments import unpack_opening
from protocol.errors import Ignore, Reject
from protocol.gossip import check_award, check_award_signature
from protocol.gossip_memory import KnownRequest
from protocol.messages import (
    AckVerdict,
    Award,
    AwardAccept,
    BidReveal,
    Cancel,
    KeyRelease,
    MessageId,
    ProofDelivery,
    ProverAck,
    RollupProof,
    StandDown,
)
from protocol.reqresp import AMEND_EXCHANGE, AWARD_EXCHANGE, KEY_EXCHANGE, MAX_SEALED_PAYLOAD
from protocol.sealing import SealError, SealKeyPair, payload_info
from protocol.signing import ack_digest
from protocol.verdicts import WireCode

log = logging.getLogger("unveto.prover")


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
        capacity: Capacity,
        frames: FrameWriter,
        offer: Offer,
        faults: FaultStore,
        accuse: Accuse,
        poll_ms: int,
    ) -> None:
        """
        Args:
            accuse: tells evidence to everybody.
            able: tells families, tiers and sizes.
            capacity: what nobody holds yet.
            poll_ms: time between two looks at the chain for one order.
        """
        self._store = store
        self._in_thread = in_thread
        self._clock = clock
        self._gossip = gossip
        self._direct = direct
        self._chain = chain
        self._prover = prover
        self._retried: set[bytes] = set()
        self._frames = frames
        self._bidding = Bidding(
            store=store,
            in_thread=in_thread,
            clock=clock,
            gossip=gossip,
            direct=direct,
            chain=chain,
            frames=frames,
            standings=Standings(store, faults, in_thread, clock),
            able=able,
            capacity=capacity,
            offer=offer,
        )
        self._rework = Rework(in_thread=in_thread, clock=clock, frames=frames)
        self._accusations = Accusations(chain=chain, clock=clock, frames=frames, accuse=accuse)
        self._earnings = Earnings(chain=chain, clock=clock, direct=direct, frames=frames, unpaid=self._accusations.look)
        self._disputes = Disputes(chain=chain, clock=clock, direct=direct, frames=frames, worth_wei=offer.collect_wei)
        self._voiding = Voiding(chain=chain, clock=clock, market=frames.market.contract)
        self._releases = Releases(store=store, in_thread=in_thread, chain=chain, clock=clock, frames=frames)
        self._working: set[bytes] = set()
        self.loop = OrderLoop(
            Role.PROVER,
            store=store,
            in_thread=in_thread,
            clock=clock,
            perform={
                Effect.PUBLISH_BID: self._bidding.publish,
                Effect.SIGN_ACCEPTANCE: self._sign_acceptance,
                Effect.CHECK_PAYLOAD: self._work,
                Effect.START_PROOF: self._work,
                Effect.DELIVER_PROOF: self._earnings.deliver,
                Effect.BUILD_CLAIM: self._earnings.build_claim,
                Effect.SEND_TRANSACTION: self._send,
                Effect.ASK_FEE: self._disputes.ask_fee,
                Effect.BUILD_DECLINE: self._disputes.build_decline,
                Effect.BUILD_ACCUSATION: self._accusations.build,
                Effect.LOOK_FOR_VOID: self._voiding.look,
            },
            observe=self._observe,
            watched=WATCHED | DISPUTED | ACCUSED | VOIDED,
            poll_ms=poll_ms,
        )
        for part in (
            self._bidding,
            self._earnings,
            self._disputes,
            self._accusations,
            self._rework,
            self._voiding,
            self._releases,
        ):
            part.attach(self.loop)

    async def serve(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Runs until cancelled."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self.loop.serve)
            await self._bidding.hold_again()
            for order in self.loop.orders():
                if order.state in (State.ACKED, State.AT_WORK):  # its process ended with ours
                    nursery.start_soon(self._work_again, order)
                elif order.state is State.SEEN:  # ours ended before it was priced
                    nursery.start_soon(self._bidding.price, order)
            self._direct.serve(AWARD_EXCHANGE, self._answer_award)
            self._direct.serve(KEY_EXCHANGE, self._answer_key)
            self._direct.serve(AMEND_EXCHANGE, self._rework.answer)
            nursery.start_soon(self._bidding.read_requests, nursery)
            nursery.start_soon(self._read_awards)
            nursery.start_soon(self._releases.serve)
            task_status.started()

    async def claim(self, order_id: bytes) -> State:
        """Claims the price of a proof that nobody paid for, at once; the state after it.

        Raises:
            NotNow: NO_PROOF, NOT_DUE or OVER.
        """
        order = self.loop.order(order_id)
        if order is None or order.is_over:
            raise NotNow(what="claim", reason="OVER", why="no live order of this id; `status` says how it ended")
        if order.state in (State.OWED, State.CLAIMING):
            return order.state
        if order.state not in (State.PROVED, State.RECEIPTED):
            raise NotNow(what="claim", reason="NO_PROOF", why=f"there is nothing to claim in state {order.state.value}")
        left_s = order.deliver_by - self._clock.now_ms() // 1000
        if left_s >= 0:
            raise NotNow(what="claim", reason="NOT_DUE", why=f"a claim opens in {left_s + 1} s, and shows the table")
        after = await self.loop.happen(order_id, Event.CLAIM_DUE, reason="NOT_PAID")
        if after is None:
            raise NotNow(what="claim", reason="OVER", why="it was paid")
        return after.state

    def adopt(self, offer: Offer) -> None:
        """Takes new conditions, for bids from now on."""
        self._bidding.adopt(offer)

    @property
    def offer(self) -> Offer:
        """Its conditions for the next bid."""
        return self._bidding.offer

    async def _send(self, order: Order) -> None:
        if order.state in DISPUTED:
            await self._disputes.send(order)
        elif order.state in ACCUSED:
            await self._accusations.send(order)
        elif order.state in VOIDED:
            await self._voiding.send(order)
        else:
            await self._earnings.send_claim(order)

    async def _observe(self, order: Order) -> None:
        if order.state in DISPUTED:
            await self._disputes.observe(order)
        elif order.state in ACCUSED:
            await self._accusations.observe(order)
        elif order.state in VOIDED:
            await self._voiding.observe(order)
        else:
            await self._earnings.observe(order)

    # -- award -----------------------------------------------------------------------------------------------------

    async def _read_awards(self) -> None:
        async for frame in self._gossip.frames("award"):
            body = frame[80:-65]
            if frame[4] == MessageId.CANCEL:
                cancelled = decode_body(Cancel, body)
                await self.loop.happen(cancelled.request_id, Event.REQUEST_CANCELLED, reason="CANCELLED")
            elif frame[4] == MessageId.STAND_DOWN:
                await self._stand_down(decode_body(StandDown, body))
            else:
                await self._take_award(decode_body(Award, body))

    async def _take_award(self, award: Award) -> None:
        """An award whose signatures hold."""
        order = self.loop.order(award.request_id)
        if order is None or order.state is not State.BID:
            return
        winner = award.openings[award.rank - 1]
        us = self._frames.key.address
        requester, request = unpack_request(await self.loop.needed(order, kept.REQUEST))
        if winner.prover != us:
            engaged = award.openings[: 1 + request.standbys]
            if us not in [bid.prover for bid in engaged]:  # else our own award is under way
                await self.loop.happen(order.order_id, Event.AWARDED_OTHER)
                await self._reveal(order, award)
            return
        ours = unpack_opening(await self.loop.needed_secret(order, kept.OPENING))
        if winner.opening != ours:
            log.warning("order %s: an award in our name with terms that are not ours", order.order_id.hex()[:8])
            return
        agreement = agreement_of(requester, request, award.rank, winner)
        first, last = claim_window(agreement, has_receipt=False)
        if last - first < CLAIM_AFTER_S:
            # A runner-up's own claim opens late: without a window it would depend on the requester's receipt.
            await self.loop.happen(order.order_id, Event.NO_AWARD, reason="CLAIM_WINDOW")
            return
        document = {kept.AWARD: encode_body(award)}
        due = {"ack_by": agreement.ack_by, "deliver_by": agreement.deliver_by}
        await self.loop.happen(order.order_id, Event.AWARDED_US, document=document, due=due)

    async def _reveal(self, order: Order, award: Award) -> None:
        """Opens our bid if it was better than the awarded one: those who saw it in time then know what they deal with.

        Best effort, and stored nowhere: the bid is public the moment it is sent.
        """
        ours, theirs = unpack_opening(await self.loop.needed_secret(order, kept.OPENING)), award.openings[0].opening
        if (ours.price_wei, -ours.bond_wei) < (theirs.price_wei, -theirs.bond_wei):
            message = BidReveal(request_id=order.order_id, opening=ours)
            try:
                await self._gossip.publish("bid", await self._frames.frame(message))
            except (Refused, TryAgain) as error:
                log.info("order %s: our bid is not revealed: %s", order.order_id.hex()[:8], error)

    async def _stand_down(self, message: StandDown) -> None:
        """Believed only before our Ack: afterwards no word of the requester undoes what we owe."""
        order = self.loop.order(message.request_id)
        if order is not None and order.state in (State.WON, State.SIGNED):
            if (await self.loop.deal(order)).award.rank == message.rank:
                await self.loop.happen(order.order_id, Event.NOT_NEEDED, reason="NOT_NEEDED")

    async def _sign_acceptance(self, order: Order) -> None:
        deal = await self.loop.deal(order)
        held_wei = await self._chain.promise_wei(deal.requester, deal.request.requester_ticket)
        if held_wei is None or held_wei < deal.opening.price_wei:
            raise Refused("TICKET_GONE", "the requester's ticket does not cover the price any more")
        signature = self._frames.key.sign_digest(deal.agreement_hash)
        await self.loop.happen(
            order.order_id, Event.ACCEPT_SIGNED, document={kept.ACCEPT: signature, kept.AGREED: deal.agreement_hash}
        )

    async def _answer_award(self, data: bytes) -> bytes:
        received = self._frames.read(data, Award, signer=None)
        award = received.message
        assert isinstance(award, Award)
        order = self._ours(award.request_id)
        requester, request = unpack_request(await self.loop.needed(order, kept.REQUEST))
        known = KnownRequest(requester=requester, request=request)
        check_award(received.signer, award, known)
        check_award_signature(award, known, self._frames.market)
        await self._take_award(award)
        reached = await self.loop.wait_for(order.order_id, lambda now: now.state not in (State.BID, State.WON))
        signature = await self.loop.document(order.order_id, kept.ACCEPT)
        if reached is None or signature is None:
            raise Ignore(WireCode.LATE, state=order.state.value)
        deal = await self.loop.deal(order)
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
        deal = await self.loop.deal(order)
        if received.signer != deal.requester or release.agreement_hash != deal.agreement_hash:
            raise Reject(WireCode.WRONG_SIGNER, signer=received.signer)
        first = self._rework.first_table(deal, release)
        if order.state is State.SIGNED:
            key = SealKeyPair(await self.loop.needed_secret(order, kept.SEAL))
            try:
                payload = key.open(received.attachment, payload_info(deal.agreement_hash))
            except SealError as error:
                raise Reject(WireCode.ATTACHMENT, size=len(received.attachment)) from error
            document = {kept.RELEASE: received.frame.raw} | ({kept.AMEND_OFFER: first} if first else {})
            await self.loop.happen(
                order.order_id, Event.PAYLOAD_RECEIVED, document=document, secret={kept.PAYLOAD: payload}
            )
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
            while (now := self.loop.order(order.order_id)) is not None and now.state is State.ACKED:
                await self._check_and_prove(now)  # the table was amended meanwhile
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
        deal = await self.loop.deal(order)
        payload = await self.loop.needed_secret(order, kept.PAYLOAD)
        work = ProofWork(
            request=deal.request,
            agreement=deal.agreement,
            agreement_hash=deal.agreement_hash,
            payload=payload,
            acknowledged=order.state in (State.ACKED, State.AT_WORK),
        )
        try:
            request = await self._rework.request_of(order, deal, payload)
            await self._in_thread(lambda: judge_payload(request, payload))
            async with self._prover.start(work) as running:
                with trio.move_on_after(self._left_to_ack_s(order)) as waited:
                    await running.checked()
                if waited.cancelled_caught:
                    raise Refused("TOO_LATE", "the witness was not built before ackBy")
                await self._acknowledge(order, deal)
                await self.loop.happen(order.order_id, Event.PROOF_STARTED)
                made = await self._prove(order, running)
                if made is None:
                    return
                proofs, prove_ms = made
        except PayloadRefused as refused:
            await self._decline(order, deal, refused.verdict, refused.reason, Event.PAYLOAD_BREAKS)
            return
        except Refused as refused:
            now = self.loop.order(order.order_id)
            if refused.code == "DIED" and now is not None and self._may_retry(now, deal):
                log.warning("order %s: its process died; once more", order.order_id.hex()[:8])
                await self._check_and_prove(now)
            elif now is not None and now.state is State.HOLDING:
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

    def _may_retry(self, order: Order, deal: Deal) -> bool:
        """Once for an order whose process died, and only while a second one could be in time."""
        if order.order_id in self._retried or order.state not in (State.HOLDING, State.ACKED, State.AT_WORK):
            return False
        self._retried.add(order.order_id)
        cost = self.offer.curve.costs.get(deal.request.tier)
        takes_ms = cost.prove_ms * deal.request.proof_count if cost else 0
        due_s = order.ack_by if order.state is State.HOLDING else deal.agreement.claim_by
        return self._clock.now_ms() + takes_ms < due_s * 1000

    async def _prove(self, order: Order, running: RunningProof) -> tuple[tuple[RollupProof, ...], int] | None:
        """The proofs; None as soon as nobody waits for them any more."""
        made = failure = None
        async with trio.open_nursery() as nursery:

            async def give_up() -> None:
                await self.loop.wait_for(order.order_id, lambda now: now.state is not State.AT_WORK)
                nursery.cancel_scope.cancel()

            nursery.start_soon(give_up)
            try:
                made = await running.prove()
            except Refused as error:
                failure = error
            nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure
        return made

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
        signed, amend = await self._rework.sign_first(order, deal)
        message = ProverAck(
            request_id=order.order_id,
            agreement_hash=deal.agreement_hash,
            verdict=int(AckVerdict.START),
            ack_at=now_s,
            ack_signature=self._frames.key.sign_digest(ack_digest(market.chain_id, market.contract, ack)),
            amend_signature=signed,
        )
        document = {kept.ACK: encode_body(message)} | ({kept.AMEND: amend} if amend else {})
        await self.loop.happen(order.order_id, Event.PAYLOAD_GOOD, document=document)

    async def _decline(
        self, order: Order, deal: Deal, verdict: AckVerdict, reason: str, event: Event = Event.PAYLOAD_BAD
    ) -> None:
        message = ProverAck(
            request_id=order.order_id,
            agreement_hash=deal.agreement_hash,
            verdict=int(verdict),
            ack_at=self._clock.now_ms() // 1000,
            ack_signature=b"",
            amend_signature=b"",
        )
        await self.loop.happen(order.order_id, event, reason=reason, document={kept.ACK: encode_body(message)})

    # -- reading what is stored ------------------------------------------------------------------------------------

    def _ours(self, request_id: bytes) -> Order:
        order = self.loop.order(request_id)
        if order is None or order.state in (State.SEEN, State.SKIPPED):
            raise Ignore(WireCode.UNKNOWN_REQUEST, request_id=request_id)
        return order
