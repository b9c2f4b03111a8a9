"""The requester's orders: auction, and the one transaction that lands and pays. What is done with an awarded prover is
in `node.engagement`, runners-up in `node.standby`; the order moves in `node.broker`.

Everything that is signed here is stored before it is sent.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import trio
from trio_typing import TaskStatus  # the stubs of trio that libp2p brings along name it only here

from market.auction import Outcome, ReceivedBid, choose
from market.cancelling import PRICES, CancelPrice
from market.effects import Effect
from market.lanes import HEADROOM_LOG2, Lane, Windows, choose_lane, due_times
from market.lifecycle import Event, Order, Role, State
from market.pricing import ceiling
from market.tickets import highest_payable
from node import market_state as kept
from node.amending import Amending
from node.churn import ChurnOf
from node.engagement import Engagement
from node.errors import NotNow
from node.forcing import Force
from node.frames import FrameWriter
from node.keptfile import KeptFiles
from node.market_state import Deal, pack_plan, pack_request, unpack_request
from node.ports import (
    Chain,
    Clock,
    Direct,
    Gossip,
    InThread,
    PlannedTable,
    Refused,
    Verifier,
)
from node.prices import ClearingPrices, class_of
from node.ready import ReadyTables
from node.rounds import Replan, Round, Rounds, pack_round, unpack_round
from node.standby import Standbys
from node.standings import Standings
from node.statements import fitted
from node.store.faults import FaultStore
from node.store.orders import OrderStore
from node.submission import Submission, SubmissionTerms
from protocol.agreement import agreement_of, awarded_agreement
from protocol.codec import decode_body, encode_body
from protocol.commitments import identified
from protocol.constants import MAX_PAYLOAD_LOG2
from protocol.errors import Ignore, Reject
from protocol.gossip import MAX_WORK_LOG2
from protocol.messages import Award, BidCommit, Cancel, DeclineRequest, MessageId, ProofDelivery, RequestCommit
from protocol.payload import payload_commit
from protocol.reqresp import DECLINE_EXCHANGE, PROOF_EXCHANGE
from protocol.sealing import SealKeyPair
from protocol.signing import agreement_digest
from protocol.table import statement_commit
from protocol.types import Hash32
from protocol.verdicts import WireCode

log = logging.getLogger("unveto.requester")

WATCHED: Final = frozenset(
    {
        State.PROVING,
        State.TX_SENT,
        State.LANDED,
        State.OWING,
        State.LAPSED,
        State.DEFAULTED,
        State.WITHDRAWN,
        State.GIVEN_UP,
        State.SLASH_DUE,
        State.SLASHING,
    }
)
"""States in which the chain may say something."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Windows and limits of one auction, as configured."""

    lane: Lane | None
    """None: chosen for each table by how often its roots move."""
    windows: Mapping[Lane, Windows]
    standbys: int
    """How many runners-up are engaged in the same award, at most 2."""
    rounds: int
    """How many auctions may follow the first, if it ends without a proof."""
    bump_permille: int
    """How much higher the limit is each time; 500 is half more."""
    spare_tickets: tuple[int, ...]
    """Pay for a further auction while the first ticket is still promised."""
    max_price_wei: int
    bond_min_wei: int
    force: Force
    """Whether a silent winner's payload is published on L1, for it to answer or pay."""
    record_permille: int
    """An amend is recorded on L1 if that costs at most this part of the price; 0 for never."""
    ready_wait_ms: int
    """How long proposers have to pull the ready table before the transaction is sent."""
    is_submitted: bool
    """Whether the transaction is signed and sent when the proof is verified; else that waits for `submit`."""
    publish_after_ms: int | None = None
    """How long after signing it is announced to everybody; None: never."""


class Requester:
    """Runs the auctions of one account. Made without side effects; `serve` runs it."""

    def __init__(
        self,
        *,
        store: OrderStore,
        in_thread: InThread,
        clock: Clock,
        gossip: Gossip,
        direct: Direct,
        chain: Chain,
        verifier: Verifier,
        frames: FrameWriter,
        ready: ReadyTables,
        terms: Terms,
        prices: ClearingPrices,
        replan: Replan,
        churn: ChurnOf,
        rollups: bytes,
        faults: FaultStore,
        files: KeptFiles,
        poll_ms: int,
    ) -> None:
        """
        Args:
            churn: how often the roots of a table have moved.
            prices: what others paid; `serve` runs it.
            replan: plans a stored intent again.
            rollups: address of the Rollups contract.
            faults: what is proven of provers.
            files: keeps what is signed for whoever lands it.
            poll_ms: time between two looks at the chain for one order.
        """
        self._store = store
        self._in_thread = in_thread
        self._clock = clock
        self._gossip = gossip
        self._direct = direct
        self._chain = chain
        self._verifier = verifier
        self._frames = frames
        self._ready = ready
        self._terms = terms
        self._prices = prices
        self._churn = churn
        self._replan = replan
        self._standings = Standings(store, faults, in_thread, clock)
        self._landing = Submission(
            store=store,
            in_thread=in_thread,
            chain=chain,
            clock=clock,
            ready=ready,
            rollups=rollups,
            terms=SubmissionTerms(
                ready_wait_ms=terms.ready_wait_ms,
                is_submitted=terms.is_submitted,
                publish_after_ms=terms.publish_after_ms,
            ),
            files=files,
        )
        engage = partial(
            Engagement,
            store=store,
            in_thread=in_thread,
            clock=clock,
            direct=direct,
            chain=chain,
            verifier=verifier,
            frames=frames,
            poll_ms=poll_ms,
        )
        self._standbys = Standbys(
            store=store,
            in_thread=in_thread,
            gossip=gossip,
            chain=chain,
            frames=frames,
            engage=engage,
            clock=clock,
            force=terms.force,
        )
        self._engaged = engage(
            Role.REQUESTER,
            first_table=self._first_table,
            perform={
                Effect.PUBLISH_REQUEST: self._publish_request,
                Effect.CHOOSE_WINNER: self._choose_winner,
                Effect.PUBLISH_AWARD: self._publish_award,
                Effect.BUILD_TRANSACTION: self._landing.build,
                Effect.ANNOUNCE_READY: self._landing.announce,
                Effect.SEND_TRANSACTION: self._send_transaction,
                Effect.BUILD_SLASH: self._build_slash,
                Effect.PUBLISH_CANCEL: self._publish_cancel,
                Effect.REAUCTION: self._reauction,
                Effect.CHASE: self._standbys.chase,
                Effect.RECORD_AMEND: self._record_amend,
                Effect.REPLAN: self._replan_order,
                Effect.SEND_AMEND: self._send_amend,
            },
            observe=self._observe,
            watched=WATCHED,
        )
        self._standbys.attach(self._engaged)
        self._landing.attach(self._engaged)
        self._amending = Amending(
            engaged=self._engaged, clock=clock, chain=chain, direct=direct, frames=frames, replan=replan
        )
        self._rounds = Rounds(
            store=store,
            in_thread=in_thread,
            clock=clock,
            standbys=self._standbys,
            start=self.request,
            replan=replan,
            most=terms.rounds,
            spare_tickets=terms.spare_tickets,
        )
        self.loop = self._engaged.loop

    async def serve(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Runs until cancelled."""
        async with trio.open_nursery() as nursery:
            await self._landing.sweep()
            await nursery.start(self.loop.serve)
            await nursery.start(self._standbys.serve)
            self._direct.serve(PROOF_EXCHANGE, self._answer_delivery)
            self._direct.serve(DECLINE_EXCHANGE, self._answer_decline)
            self._ready.serve()
            nursery.start_soon(self._read_bids)
            nursery.start_soon(self._prices.serve)
            task_status.started()

    # -- what a user asks for --------------------------------------------------------------------------------------

    async def request(
        self, plan: PlannedTable, *, ticket: int, origin: bytes = b"", intent: bytes = b"", attempt: int = 1
    ) -> Order:
        """Stores an order for a planned table and starts its auction.

        Args:
            ticket: our escrow ticket that will pay.
            origin: what the user's wish is called; stored with the order, so that one wish is one order.
            intent: the wish itself, if it can be planned again.
            attempt: which auction of the wish this is, from 1.

        Raises:
            Refused: TICKET_BUSY, another live order has taken it; NO_TICKET, it is not free on L1.
            TryAgain: L1 cannot be asked.
        """
        if ticket in await self._in_thread(lambda: self._store.tickets_in_use(Role.REQUESTER)):
            raise Refused("TICKET_BUSY", f"ticket {ticket} pays for another order that has not ended")
        if await self._chain.ticket_wei(self._frames.key.address, ticket) is None:
            raise Refused("NO_TICKET", f"ticket {ticket} is spent, withdrawn or was never deposited")
        now_ms = self._clock.now_ms()
        terms = self._terms
        key_secret = secrets.token_bytes(32)
        key = SealKeyPair(key_secret)
        lane = terms.lane or choose_lane(self._churn(plan.core), terms.windows)
        due = due_times(terms.windows[lane], now_ms=now_ms, standbys=terms.standbys)
        statement = statement_commit(Hash32(plan.salt), Hash32(plan.core_id))
        payload = payload_commit(plan.payload)
        headroom = 0
        if lane is Lane.CAPACITY:
            statement, payload, headroom = Hash32(bytes(32)), Hash32(bytes(32)), HEADROOM_LOG2
        us = self._frames.key.address
        unnamed = RequestCommit(
            request_id=bytes(32),
            statement_commit=statement,
            payload_commit=payload,
            seal_key=key.public,
            systems_hash=plan.systems_hash,
            tier=plan.tier,
            proof_count=plan.proof_count,
            work_log2=min(plan.work_log2 + headroom, MAX_WORK_LOG2),
            size_log2=min(plan.size_log2 + headroom, MAX_PAYLOAD_LOG2),
            bid_close_ms=due.bid_close_ms,
            award_by_ms=due.award_by_ms,
            accept_by_ms=due.accept_by_ms,
            ack_by=due.ack_by,
            deliver_by=due.deliver_by,
            claim_by=due.claim_by,
            standbys=terms.standbys,
            standby_step_s=due.standby_step_s,
            requester_ticket=ticket,
            bond_min_wei=terms.bond_min_wei,
            privacy=0,
            peer_id=self._direct.own.peer_id,
            addresses=self._direct.own.addresses,
        )
        message = identified(us, unnamed)
        limit_wei = ceiling(
            self._prices.seen(class_of(message)),
            max_price_wei=terms.max_price_wei,
            attempt=attempt,
            last=1 + terms.rounds,
            bump_permille=terms.bump_permille,
        )
        order = Order(
            order_id=message.request_id,
            role=Role.REQUESTER,
            state=State.DRAFT,
            reason="" if attempt == 1 else f"AUCTION_{attempt}",
            bid_close_ms=due.bid_close_ms,
            award_by_ms=due.award_by_ms,
            accept_by_ms=due.accept_by_ms,
            ack_by=due.ack_by,
            deliver_by=due.deliver_by,
            claim_by=due.claim_by,
            valid_until=plan.valid_until,
        )
        await self.loop.open(
            order,
            ticket=ticket,
            document={
                kept.REQUEST: pack_request(us, message),
                kept.ORIGIN: origin,
                kept.LANE: lane.value.encode(),
            },
            secret={
                kept.PLAN: pack_plan(plan),
                kept.SEAL: key_secret,
                kept.INTENT: intent,
                kept.ROUND: pack_round(Round(attempt=attempt, limit_wei=limit_wei)),
            },
        )
        started = await self.loop.happen(order.order_id, Event.COMMIT)
        assert started is not None  # nobody else knows the order yet
        return started

    def price_limits(self, plan: PlannedTable) -> tuple[int, int]:
        """What a first auction of a table would pay at most, by the prices seen lately, and what the last one would."""
        seen = self._prices.seen((plan.tier, plan.proof_count, plan.work_log2))
        terms = self._terms
        first = ceiling(
            seen,
            max_price_wei=terms.max_price_wei,
            attempt=1,
            last=1 + terms.rounds,
            bump_permille=terms.bump_permille,
        )
        return first, terms.max_price_wei

    async def cancel(self, order_id: bytes) -> CancelPrice | None:
        """Withdraws an order, at the price of its stage; None if it is too late for that.

        A delivery that is being judged is waited for: what the order then costs is known.
        """
        order = await self.loop.wait_for(order_id, lambda now: now.state is not State.DELIVERED)
        if order is None or order.state not in PRICES:
            return None
        after = await self.loop.happen(order_id, Event.CANCEL, reason="CANCELLED")
        return None if after is None else PRICES[order.state]

    async def slash(self, order_id: bytes) -> State:
        """Takes the bond of whoever gave its Ack and no proof, of an order whose claims are over; the state after it.

        Raises:
            NotNow: NO_ACK, NOT_DUE or OVER.
            TryAgain: L1 cannot be asked.
        """
        order = self.loop.order(order_id)
        if order is None or order.is_over:
            raise NotNow(what="slash", reason="OVER", why="no live order of this id; `status` says how it ended")
        if order.state in (State.SLASH_DUE, State.SLASHING):
            return order.state
        if order.state not in (State.DEFAULTED, State.GIVEN_UP):
            raise NotNow(what="slash", reason="NO_ACK", why=f"nobody owes a bond in state {order.state.value}")
        left_s = order.claim_by + 1 - self._clock.now_ms() // 1000
        if left_s > 0:
            raise NotNow(what="slash", reason="NOT_DUE", why=f"the prover can claim for another {left_s} s")
        await self._observe(order)  # only a chain that answers can say that nobody was paid
        after = await self.loop.happen(order_id, Event.CLAIMS_OVER)
        if after is None:
            raise NotNow(what="slash", reason="OVER", why="it was paid")
        return after.state

    def submit(self, order_id: bytes) -> None:
        """Lets an order's transaction be sent where configuration keeps it back."""
        self._landing.submit(order_id)

    # -- auction ---------------------------------------------------------------------------------------------------

    async def _publish_request(self, order: Order) -> None:
        _, message = unpack_request(await self._engaged.document(order, kept.REQUEST))
        await self._gossip.publish("req", await self._frames.frame(message))

    async def _publish_cancel(self, order: Order) -> None:
        await self._gossip.publish("award", await self._frames.frame(Cancel(request_id=order.order_id, reason=0)))

    async def _reauction(self, order: Order) -> None:
        _, request = unpack_request(await self._engaged.document(order, kept.REQUEST))
        await self._rounds.go_on(order, self._engaged, request.requester_ticket)

    async def _read_bids(self) -> None:
        async for frame in self._gossip.frames("bid"):
            if frame[4] != MessageId.BID_COMMIT:
                continue
            prover, body = frame[52:72], frame[80:-65]
            bid = decode_body(BidCommit, body)
            order = self.loop.order(bid.request_id)
            if order is not None and order.state is State.COMMITTED:
                received_ms = self._clock.now_ms()
                if received_ms < order.bid_close_ms:
                    await self._in_thread(partial(self._store.add_bid, bid.request_id, prover, body, received_ms))

    async def _choose_winner(self, order: Order) -> None:
        us, request = unpack_request(await self._engaged.document(order, kept.REQUEST))
        key = SealKeyPair(await self._engaged.secret(order, kept.SEAL))
        stored = await self._in_thread(lambda: self._store.bids(order.order_id))
        refused = await self._standings.refused(Role.REQUESTER, frozenset(bid.prover for bid in stored))
        received = [ReceivedBid(prover=bid.prover, bid=decode_body(BidCommit, bid.body)) for bid in stored]
        promised_wei = await self._chain.promise_wei(us, request.requester_ticket)
        if promised_wei is None:
            await self.loop.happen(order.order_id, Event.NO_BIDS, reason="NO_TICKET")
            return
        allowed_wei = unpack_round(await self._engaged.secret(order, kept.ROUND)).limit_wei
        limit_wei = highest_payable(promised_wei, allowed_wei)
        outcome = choose(request, received, key, limit_wei, refused)
        unbacked: frozenset[bytes] = frozenset()
        while new := await self._unbacked(outcome, 1 + request.standbys):
            unbacked |= new
            outcome = choose(request, received, key, limit_wei, refused, unbacked)
        for prover, reason in outcome.void:
            log.info("order %s: bid of 0x%s is void: %s", order.order_id.hex()[:8], prover.hex(), reason)
        if not outcome.ranked:
            await self.loop.happen(
                order.order_id, Event.NO_BIDS, reason="NO_VALID_BIDS" if outcome.bid_count else "NO_BIDS"
            )
            return
        award = self._award(us, request, outcome, 1)
        self._prices.add(class_of(request), outcome.ranked[0].opening.price_wei)
        await self.loop.happen(order.order_id, Event.WINNER_CHOSEN, document={kept.AWARD: encode_body(award)})

    async def _unbacked(self, outcome: Outcome, engaged: int) -> frozenset[bytes]:
        """Those of the best bids whose ticket is gone, or whose class is less than twice the bond that they name."""
        found = set()
        for bid in outcome.ranked[:engaged]:
            worth_wei = await self._chain.promise_wei(bid.prover, bid.opening.prover_ticket)
            if worth_wei is None or worth_wei < bid.opening.bond_wei:
                found.add(bid.prover)
        return frozenset(found)

    def _award(self, us: bytes, request: RequestCommit, outcome: Outcome, rank: int) -> Award:
        unsigned = Award(
            request_id=request.request_id,
            rank=rank,
            bids_root=outcome.bids_root,
            bid_count=outcome.bid_count,
            openings=outcome.ranked,
            agreement_hash=bytes(32),
            requester_signature=bytes(65),
        )
        return self._signed(us, request, unsigned)

    def _signed(self, us: bytes, request: RequestCommit, award: Award) -> Award:
        market = self._frames.market
        digest = agreement_digest(market.chain_id, market.contract, awarded_agreement(us, request, award))
        return replace(award, agreement_hash=digest, requester_signature=self._frames.key.sign_digest(digest))

    async def _publish_award(self, order: Order) -> None:
        deal = await self._engaged.deal(order)
        if deal.award.rank == 1:  # else a runner-up has taken over meanwhile, and all are engaged
            await self._gossip.publish("award", await self._frames.frame(deal.award))
            for rank in range(2, min(1 + deal.request.standbys, len(deal.award.openings)) + 1):
                award = self._signed(deal.requester, deal.request, replace(deal.award, rank=rank))
                await self._standbys.engage(order, deal, award)

    # -- delivery --------------------------------------------------------------------------------------------------

    async def _answer_delivery(self, data: bytes) -> bytes:
        received = self._frames.read(data, ProofDelivery, signer=None)
        delivery = received.message
        assert isinstance(delivery, ProofDelivery)
        of_a_rank = await self._standbys.answer_delivery(delivery.request_id, delivery, received.signer)
        if of_a_rank is not None:
            return of_a_rank
        order = await self._awarded(delivery.request_id)
        return await self._engaged.answer_delivery(order, delivery, received.signer)

    async def _answer_decline(self, data: bytes) -> bytes:
        received = self._frames.read(data, DeclineRequest, signer=None)
        message = received.message
        assert isinstance(message, DeclineRequest)
        of_a_rank = await self._standbys.answer_decline(message, received.signer)
        if of_a_rank is not None:
            return of_a_rank
        order = await self._awarded(message.request_id)
        return await self._engaged.answer_decline(order, message, received.signer)

    async def _awarded(self, request_id: bytes) -> Order:
        order = self.loop.order(request_id)
        if order is None:
            raise Ignore(WireCode.UNKNOWN_REQUEST, request_id=request_id)
        if await self._engaged.optional(order, kept.AWARD) is None:
            raise Reject(WireCode.WRONG_AGREEMENT)
        return order

    # -- landing ---------------------------------------------------------------------------------------------------

    async def _send_transaction(self, order: Order) -> None:
        if order.state is State.SLASHING:
            await self._engaged.send_slash(order)
        else:
            await self._landing.send(order)

    async def _observe(self, order: Order) -> None:
        """What L1 says about an order that waits for it."""
        match order.state:
            case State.PROVING:
                await self._amending.look(order)
            case State.TX_SENT:
                await self._landing.look_sent(order)
            case State.LANDED | State.OWING | State.LAPSED | State.DEFAULTED | State.WITHDRAWN | State.GIVEN_UP:
                await self._look_for_payment(order)
                if order.state is State.LANDED:
                    await self._landing.look_landed(order)
            case State.SLASH_DUE | State.SLASHING:
                await self._engaged.observe_slash(order)
            case _:
                pass

    async def _first_table(self, order: Order, deal: Deal) -> PlannedTable:
        """The table of the moment, if the wish can be planned again; else the one that it was asked with."""
        intent = await self.loop.secret(order.order_id, kept.INTENT)
        plan = await (self._replan(intent) if intent else self._engaged.plan(order))
        return fitted(deal.request, plan)

    async def _record_amend(self, order: Order) -> None:
        await self._amending.record(order, self._terms.record_permille)

    async def _replan_order(self, order: Order) -> None:
        await self._amending.replan(order)

    async def _send_amend(self, order: Order) -> None:
        await self._amending.send(order)

    async def _build_slash(self, order: Order) -> None:
        await self._engaged.build_slash(order)

    async def _look_for_payment(self, order: Order) -> None:
        """Each engaged rank may have been paid by its own claim, whichever the order stands at."""
        deal, plan = await self._engaged.deal(order), await self._engaged.plan(order)
        market = self._frames.market
        for rank, bid in enumerate(deal.award.openings[: 1 + deal.request.standbys], start=1):
            agreement = agreement_of(deal.requester, deal.request, rank, bid)
            digest = agreement_digest(market.chain_id, market.contract, agreement)
            if await self._chain.is_paid(agreement, digest, plan.core_id):
                reason = "" if rank == deal.award.rank else f"PAID_RANK_{rank}"
                await self.loop.happen(order.order_id, Event.PAYMENT_SEEN, reason=reason)
                return
