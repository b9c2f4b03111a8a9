"""A plan that went stale while it is being proven: planned again, and agreed anew with the same prover at the same
price (SPEC §10)."""

from __future__ import annotations

import logging
from typing import Final

from market.lifecycle import Event, Order
from node import market_state as kept
from node.broker import OrderLoop
from node.engagement import Engagement
from node.frames import FrameWriter
from node.market_state import Deal, pack_plan, unpack_plan
from node.ports import Chain, Clock, Direct, PlannedTable, Refused
from node.rounds import Replan
from protocol.agreement import SignedAmend, StatementAmend, by_key, pack_amend
from protocol.codec import decode_body, encode_body
from protocol.hashing import keccak256
from protocol.messages import AckVerdict, Amend, AmendReply
from protocol.reqresp import AMEND_EXCHANGE
from protocol.sealing import SealError, payload_info, seal
from protocol.signing import amend_digest, recover_signer
from protocol.table import statement_commit
from protocol.types import Hash32

log = logging.getLogger("unveto.amending")

LOOK_EVERY_MS: Final = 1_000  # at one order: each look reads a whole plan, and asks L1
MAX_LOOKED: Final = 1_024
MAX_AMENDS: Final = 2  # each costs the prover a proof that it has begun; then the agreed table is settled


class Amending:
    """The amends of one requester's orders."""

    def __init__(
        self, *, engaged: Engagement, clock: Clock, chain: Chain, direct: Direct, frames: FrameWriter, replan: Replan
    ) -> None:
        self._engaged = engaged
        self._clock = clock
        self._next_ms: dict[bytes, int] = {}
        self._chain = chain
        self._direct = direct
        self._frames = frames
        self._replan = replan

    @property
    def _loop(self) -> OrderLoop:
        return self._engaged.loop

    async def look(self, order: Order) -> None:
        """Reports an order in PROVING whose table cannot load any more, if that can still be mended.

        Raises:
            TryAgain: L1 cannot be asked.
        """
        now_ms = self._clock.now_ms()
        if now_ms < self._next_ms.get(order.order_id, 0):
            return
        if len(self._next_ms) >= MAX_LOOKED:
            self._next_ms.clear()
        self._next_ms[order.order_id] = now_ms + LOOK_EVERY_MS
        if await self._tried(order) >= MAX_AMENDS or not await self._loop.secret(order.order_id, kept.INTENT):
            return
        if not await self._chain.holds((await self._engaged.plan(order)).core):
            await self._loop.happen(order.order_id, Event.PLAN_STALE, reason="PLAN_STALE")

    async def replan(self, order: Order) -> None:
        """Plans again, within what was agreed, and signs."""
        intent = await self._loop.secret(order.order_id, kept.INTENT)
        assert intent, "only orders with an intent are looked at"
        deal = await self._engaged.deal(order)
        counter = await self._tried(order) + 1
        try:
            plan = _fitted(deal, await self._replan(intent))
            box = seal(plan.payload, deal.opening.seal_key, payload_info(deal.agreement_hash))
        except (Refused, SealError) as error:
            log.info("order %s: not amended: %s", order.order_id.hex()[:8], error)
            await self._give_up(order, getattr(error, "code", "BAD_SEAL_KEY"))
            return
        statement = statement_commit(Hash32(plan.salt), Hash32(plan.core_id))
        digest = self._digest(deal, counter, statement)
        message = Amend(
            request_id=order.order_id,
            agreement_hash=deal.agreement_hash,
            counter=counter,
            statement_commit=statement,
            requester_signature=self._frames.key.sign_digest(digest),
            cipher_bytes=len(box),
            cipher_hash=keccak256(box),
        )
        await self._loop.happen(
            order.order_id,
            Event.AMEND_SIGNED,
            document={kept.AMEND_OFFER: encode_body(message), kept.BOX: box, kept.TRIED: bytes((counter,))},
            secret={kept.NEXT_PLAN: pack_plan(plan)},
        )

    async def send(self, order: Order) -> None:
        """Asks the prover to sign too."""
        deal = await self._engaged.deal(order)
        offer = decode_body(Amend, await self._engaged.document(order, kept.AMEND_OFFER))
        box = await self._engaged.document(order, kept.BOX)
        raw = await self._direct.ask(
            await self._engaged.peer(deal), AMEND_EXCHANGE, await self._frames.frame(offer) + box
        )
        answer = self._engaged.read(raw, AmendReply, deal.winner.prover)
        digest = self._digest(deal, offer.counter, offer.statement_commit)
        if answer.verdict != AckVerdict.START or answer.agreement_hash != deal.agreement_hash:
            await self._give_up(order, "AMEND_REFUSED")
            return
        if recover_signer(digest, answer.prover_signature) != deal.winner.prover:
            raise Refused("WRONG_SIGNER", "an amend signed by somebody else")
        both = SignedAmend(
            counter=offer.counter,
            statement_commit=offer.statement_commit,
            requester_signature=by_key(offer.requester_signature),
            prover_signature=by_key(answer.prover_signature),
        )
        plan = await self._engaged.secret(order, kept.NEXT_PLAN)
        await self._loop.happen(
            order.order_id,
            Event.AMEND_ACCEPTED,
            reason=f"AMENDED_{offer.counter}",
            document={kept.AMEND: pack_amend(both)},
            secret={kept.PLAN: plan},
            due={"valid_until": unpack_plan(plan).valid_until},
        )

    async def _give_up(self, order: Order, reason: str) -> None:
        """The agreed table it is: the prover finishes it and is owed its price."""
        await self._loop.happen(
            order.order_id, Event.AMEND_REFUSED, reason=reason, document={kept.TRIED: bytes((MAX_AMENDS,))}
        )

    async def _tried(self, order: Order) -> int:
        stored = await self._engaged.optional(order, kept.TRIED)
        return 0 if stored is None else stored[0]

    def _digest(self, deal: Deal, counter: int, statement: bytes) -> bytes:
        market = self._frames.market
        amend = StatementAmend(agreement_hash=deal.agreement_hash, counter=counter, statement_commit=statement)
        return amend_digest(market.chain_id, market.contract, amend)


def _fitted(deal: Deal, plan: PlannedTable) -> PlannedTable:
    """The plan with its payload in the agreed size.

    Raises:
        Refused: OUTGROWN, it is more than was agreed.
    """
    request = deal.request
    if (
        plan.size_log2 > request.size_log2
        or plan.tier > request.tier
        or plan.proof_count != request.proof_count
        or plan.work_log2 > request.work_log2
        or plan.systems_hash != request.systems_hash
    ):
        raise Refused("OUTGROWN", "the new plan is more than was agreed")
    values = {name: getattr(plan, name) for name in PlannedTable.__slots__}
    values |= {"payload": plan.payload.ljust(1 << request.size_log2, b"\0"), "size_log2": request.size_log2}
    return PlannedTable(**values)
