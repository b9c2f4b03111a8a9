"""Runners-up that stand by: engaged in the same award as the winner, called before its time is over, used if they are
first (SPEC §10).

Each rank is an order of its own in the role STANDBY. A winner whose place a runner-up took goes on as one too, so that
its bond is neither forgotten nor taken from it when it delivers in time after all.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Final

import trio
from trio_typing import TaskStatus

from market.effects import Effect
from market.lifecycle import Event, Order, Role, State
from node import market_state as kept
from node.broker import OrderLoop
from node.engagement import SLASH_UNDER_WAY, Engagement
from node.forcing import CHASED, IN_FLIGHT, Force, Forcing
from node.frames import FrameWriter
from node.l1port import WOULD_FAIL
from node.market_state import Deal, pack_plan, pack_request
from node.ports import Chain, Clock, Gossip, InThread, PlannedTable, TryAgain
from node.store.errors import OrderExists
from node.store.orders import OrderStore
from protocol.agreement import rank_times
from protocol.codec import encode_body
from protocol.hashing import keccak256
from protocol.messages import MAX_OPENINGS, Award, DeclineRequest, ProofDelivery, ReceiptVerdict, StandDown

PROVEN: Final = frozenset({State.VERIFIED, State.TX_STORED, State.TX_SENT, State.LANDED, State.OWING, State.PAID})
"""States of an order that has a proof: whoever comes later is not needed."""
GONE: Final = frozenset({State.WITHDRAWN, State.GIVEN_UP})
"""States of an order that its owner gave up: nobody is called for it any more."""
NOT_AT_WORK: Final = frozenset({State.S_AWARDED, State.S_READY, State.S_CALLED, State.S_KEYED})
FAILED: Final = frozenset({State.LAPSED, State.DEFAULTED})
MISSED: Final = SLASH_UNDER_WAY | {State.S_MISSED}
WATCHED: Final = SLASH_UNDER_WAY | {
    State.S_AWARDED,
    State.S_READY,
    State.S_CALLED,
    State.S_KEYED,
    State.S_PROVING,
    State.S_MISSED,
    *CHASED,
}


def standby_id(request_id: bytes, rank: int) -> bytes:
    """Local id of the order that engages a rank; nobody else ever sees it."""
    return keccak256(request_id + rank.to_bytes(1, "big"))


class Standbys:
    """All runners-up of one account's requests. `serve` runs it, after `attach`."""

    def __init__(
        self,
        *,
        store: OrderStore,
        in_thread: InThread,
        gossip: Gossip,
        chain: Chain,
        frames: FrameWriter,
        engage: partial[Engagement],
        clock: Clock,
        force: Force,
    ) -> None:
        """
        Args:
            force: whether the payload of a silent prover is published (`node.forcing`).
            engage: makes an Engagement with all that does not depend on the role.
        """
        self._store = store
        self._in_thread = in_thread
        self._gossip = gossip
        self._chain = chain
        self._frames = frames
        self._main: Engagement | None = None
        self._engaged = engage(
            Role.STANDBY,
            first_table=self._first_table,
            perform={
                Effect.PUBLISH_AWARD: self._publish_award,
                Effect.TAKE_OVER: self._take_over,
                Effect.STAND_DOWN: self._stand_down,
                Effect.BUILD_SLASH: self._build_slash,
                Effect.BUILD_RELEASE: self._build_release,
                Effect.BUILD_PENALTY: self._build_penalty,
                Effect.SEND_TRANSACTION: self._engaged_send,
            },
            observe=self._observe,
            watched=WATCHED,
        )
        self._forcing = Forcing(
            engaged=self._engaged, chain=chain, clock=clock, market=frames.market.contract, force=force
        )

    @property
    def loop(self) -> OrderLoop:
        """The orders."""
        return self._engaged.loop

    def attach(self, main: Engagement) -> None:
        """`main` engages the winners of the same requests."""
        self._main = main

    async def serve(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Runs until cancelled."""
        await self.loop.serve(task_status=task_status)

    async def engage(self, order: Order, deal: Deal, award: Award) -> None:
        """Starts to engage the runner-up that `award` names for the request of `order`; again is harmless."""
        assert self._main is not None
        ack_by, deliver_by = rank_times(deal.request, award.rank)
        standby = Order(
            order_id=standby_id(order.order_id, award.rank),
            role=Role.STANDBY,
            state=State.S_DRAFT,
            bid_close_ms=order.bid_close_ms,
            award_by_ms=order.award_by_ms,
            accept_by_ms=order.accept_by_ms,
            ack_by=ack_by,
            deliver_by=deliver_by,
            claim_by=order.claim_by,
            valid_until=order.valid_until,
            call_ms=order.accept_by_ms + 1000 * (ack_by - deal.request.ack_by),
        )
        await self._open(standby, deal, award, {}, await self._main.secret(order, kept.PLAN))
        await self.loop.happen(standby.order_id, Event.COMMIT)

    def find(self, request_id: bytes, rank: int) -> Order | None:
        """The engagement of a rank, if there is one."""
        return self.loop.order(standby_id(request_id, rank))

    def may_still_prove(self, request_id: bytes) -> bool:
        """Whether a runner-up of a request is neither out nor over."""
        ranks = [self.find(request_id, rank) for rank in range(1, MAX_OPENINGS + 1)]
        return any(order is not None and not order.is_over and order.state not in MISSED | CHASED for order in ranks)

    async def answer_delivery(self, request_id: bytes, delivery: ProofDelivery, signer: bytes) -> bytes | None:
        """The receipt for a delivery under the agreement of one of our ranks; None if it is of none.

        Raises:
            Reject, Ignore: as `Engagement.answer_delivery`.
        """
        order = await self._under(request_id, delivery.agreement_hash)
        return None if order is None else await self._engaged.answer_delivery(order, delivery, signer)

    async def answer_decline(self, message: DeclineRequest, signer: bytes) -> bytes | None:
        """The answer to a decline under the agreement of one of our ranks; None if it is of none.

        Raises:
            Reject: as `Engagement.answer_decline`.
        """
        order = await self._under(message.request_id, message.agreement_hash)
        return None if order is None else await self._engaged.answer_decline(order, message, signer)

    async def _under(self, request_id: bytes, agreement_hash: bytes) -> Order | None:
        for rank in range(1, MAX_OPENINGS + 1):
            order = self.find(request_id, rank)
            if order is not None and (await self._engaged.deal(order)).agreement_hash == agreement_hash:
                return order
        return None

    # -- effects ---------------------------------------------------------------------------------------------------

    async def _publish_award(self, order: Order) -> None:
        deal = await self._engaged.deal(order)
        await self._gossip.publish("award", await self._frames.frame(deal.award))

    async def _stand_down(self, order: Order) -> None:
        deal = await self._engaged.deal(order)
        message = StandDown(request_id=deal.request.request_id, rank=deal.award.rank)
        await self._gossip.publish("award", await self._frames.frame(message))

    async def _take_over(self, order: Order) -> None:
        """This proof is the first: the request goes on with it, and with this prover's agreement."""
        assert self._main is not None
        deal, plan = await self._engaged.deal(order), await self._engaged.plan(order)
        request_id = deal.request.request_id
        main = await self._request(request_id)
        now = await self._main.deal(main)
        if main.state in GONE:
            await self._not_needed(order)  # it is owed by its own claim
            return
        if main.state is State.DELIVERED:
            raise TryAgain("BEING_JUDGED", "the proof of another rank is being verified")
        if main.state not in PROVEN:
            if main.state in (State.PROVING, State.DEFAULTED):
                await self._set_aside(main, now)
            receipt = self._engaged.receipt(deal, plan, ReceiptVerdict.VALID)
            documents = {
                kept.AWARD: encode_body(deal.award),
                kept.ACCEPT: await self._engaged.document(order, kept.ACCEPT),
                kept.DELIVERY: await self._engaged.document(order, kept.DELIVERY),
                kept.RECEIPT: receipt,
                # Another rank's amend is none of this one's: its table may be another.
                kept.AMEND: await self._engaged.optional(order, kept.AMEND) or b"",
            }
            await self._main.loop.happen(
                request_id,
                Event.TAKEN_OVER,
                reason=f"RANK_{deal.award.rank}",
                document=documents,
                secret={kept.PLAN: await self._engaged.secret(order, kept.PLAN)},
                due={"valid_until": plan.valid_until},
            )
            main = await self._request(request_id)
            if main.state not in PROVEN and not main.is_over:
                raise TryAgain("MOVED", "the order has moved meanwhile")
            now = await self._main.deal(main)
        if now.award.rank == deal.award.rank:
            given = await self._main.document(main, kept.RECEIPT)
            await self.loop.happen(order.order_id, Event.CHOSEN, document={kept.RECEIPT: given})
        else:
            await self._not_needed(order)

    async def _set_aside(self, main: Order, deal: Deal) -> None:
        """Whoever gave its Ack and is not the one whose proof is used keeps an order of its own."""
        assert self._main is not None
        ack = await self._main.document(main, kept.ACK)
        accept = await self._main.document(main, kept.ACCEPT)
        aside = self._aside(main, deal.award.rank, State.S_PROVING, "OUTRUN")
        amend = await self._main.optional(main, kept.AMEND) or b""
        documents = {kept.ACK: ack, kept.ACCEPT: accept, kept.AMEND: amend}
        await self._open(aside, deal, deal.award, documents, await self._main.secret(main, kept.PLAN))

    @staticmethod
    def _aside(main: Order, rank: int, state: State, reason: str) -> Order:
        return replace(
            main, order_id=standby_id(main.order_id, rank), role=Role.STANDBY, state=state, reason=reason, call_ms=0
        )

    async def _first_table(self, order: Order, deal: Deal) -> PlannedTable:
        """Of a request that named none: what a rank before this one was told, since all ranks answer for one table; if
        none was, the table of the moment."""
        assert self._main is not None
        main = await self._request(deal.request.request_id)
        ranks = [self.find(main.order_id, rank) for rank in range(2, deal.award.rank)]
        before = [(self._main, main), *((self._engaged, each) for each in ranks if each is not None)]
        for engaged, each in before:
            told = await engaged.told(each)
            if told is not None:
                return told
        return await self._main.first_table(main, deal)

    async def chase(self, main: Order) -> None:
        """The winner of `main` has the payload and was silent: an order of its own asks it on L1; again is harmless."""
        assert self._main is not None
        box, accept = await self._main.optional(main, kept.BOX), await self._main.optional(main, kept.ACCEPT)
        if self._forcing.is_off or box is None or accept is None:
            return
        deal = await self._main.deal(main)
        aside = self._aside(main, deal.award.rank, State.S_SILENT, "NO_ACK")
        plan = await self._main.told(main) or await self._main.plan(main)
        await self._open(aside, deal, deal.award, {kept.ACCEPT: accept, kept.BOX: box}, pack_plan(plan))

    async def _build_slash(self, order: Order) -> None:
        """A rank is slashable while nobody was paid, or when a later rank was after its time (SPEC §8.2)."""
        assert self._main is not None
        deal = await self._engaged.deal(order)
        main = await self._request(deal.request.request_id)
        failover = b""
        if main.state is State.PAID:
            plan = await self._engaged.plan(order)  # the request's own may be wiped by now
            failover = plan.core_id + await self._main.settlement(main, plan.salt)
        try:
            await self._engaged.build_slash(order, failover)
        except TryAgain as error:
            if not failover or error.code != WOULD_FAIL:
                raise
            # What L1 says of evidence does not change any more: it was overtaken in time, or has shown its proof.
            await self.loop.happen(order.order_id, Event.SLASH_FAILED, reason="OVERTAKEN")

    async def _build_release(self, order: Order) -> None:
        await self._forcing.build_release(order)

    async def _build_penalty(self, order: Order) -> None:
        await self._forcing.build_penalty(order)

    async def _engaged_send(self, order: Order) -> None:
        if order.state in IN_FLIGHT:
            await self._forcing.send(order)
        else:
            await self._engaged.send_slash(order)

    # -- what others do --------------------------------------------------------------------------------------------

    async def _observe(self, order: Order) -> None:
        """Looks at the request that the rank stands by for, and at L1 once its bond is due."""
        assert self._main is not None
        if order.state in SLASH_UNDER_WAY:
            await self._engaged.observe_slash(order)
            return
        deal = await self._engaged.deal(order)
        main = await self._request(deal.request.request_id)
        rank = deal.award.rank
        if order.state in CHASED:
            if main.state in PROVEN and order.state not in IN_FLIGHT:
                await self._not_needed(order)  # its ticket is about to pay, and then takes no penalty
            else:
                await self._forcing.observe(order)
        elif main.state in PROVEN and (await self._main.deal(main)).award.rank <= rank:
            await self._not_needed(order)
        elif order.state in NOT_AT_WORK and main.state in GONE:
            await self._not_needed(order)
        elif order.state is State.S_READY and main.state in FAILED and self._failed_below(main, rank):
            await self.loop.happen(order.order_id, Event.CALLED, reason=main.reason)

    def _failed_below(self, main: Order, rank: int) -> bool:
        """Whether every runner-up between the winner and this rank is out."""
        between = [self.find(main.order_id, lower) for lower in range(2, rank)]
        return all(each is None or each.is_over or each.state in CHASED | {State.S_MISSED} for each in between)

    async def _not_needed(self, order: Order) -> None:
        deal, plan = await self._engaged.deal(order), await self._engaged.plan(order)
        late = self._engaged.receipt(deal, plan, ReceiptVerdict.LATE)
        await self.loop.happen(order.order_id, Event.NOT_NEEDED, reason="NOT_NEEDED", document={kept.RECEIPT: late})

    async def _request(self, request_id: bytes) -> Order:
        assert self._main is not None
        known = self._main.loop.order(request_id)
        if known is not None:
            return known
        return await self._in_thread(partial(self._store.order, request_id, Role.REQUESTER))

    async def _open(self, order: Order, deal: Deal, award: Award, documents: dict[str, bytes], plan: bytes) -> None:
        document = {
            kept.REQUEST: pack_request(deal.requester, deal.request),
            kept.AWARD: encode_body(award),
            **documents,
        }
        try:
            await self.loop.open(
                order, ticket=deal.request.requester_ticket, document=document, secret={kept.PLAN: plan}
            )
        except OrderExists:
            pass  # this happened before a restart
