"""A plan that went stale while it is being proven: planned again, and agreed anew with the same prover at the same
price (SPEC §10)."""

from __future__ import annotations

import logging
from typing import Final

from market.lanes import AMENDS, Lane
from market.lifecycle import Event, Order
from market.pricing import PERMILLE
from node import market_state as kept
from node.broker import OrderLoop
from node.engagement import Engagement
from node.frames import FrameWriter
from node.l1 import record
from node.market_state import pack_plan, unpack_plan
from node.ports import Chain, ChainCall, Clock, Direct, Refused
from node.rounds import Replan
from node.statements import countersigned, digest_of, fitted, signed_offer
from protocol.codec import decode_body, encode_body
from protocol.messages import AckVerdict, Amend, AmendReply
from protocol.reqresp import AMEND_EXCHANGE
from protocol.sealing import SealError, payload_info, seal
from protocol.signing import recover_signer

log = logging.getLogger("unveto.amending")

LOOK_EVERY_MS: Final = 1_000  # at one order: each look reads a whole plan, and asks L1
MAX_LOOKED: Final = 1_024


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
        if await self._tried(order) >= await self._most(order):
            return
        if not await self._loop.secret(order.order_id, kept.INTENT):
            return
        plan = await self._engaged.plan(order)
        if not await self._chain.holds(plan.core):
            await self._loop.happen(order.order_id, Event.PLAN_STALE, reason="PLAN_STALE")
        elif not await self._chain.runs(plan):
            await self._loop.happen(order.order_id, Event.PLAN_STALE, reason="RESULT_MOVED")

    async def replan(self, order: Order) -> None:
        """Plans again, within what was agreed, and signs."""
        intent = await self._loop.secret(order.order_id, kept.INTENT)
        assert intent, "only orders with an intent are looked at"
        deal = await self._engaged.deal(order)
        counter = await self._tried(order) + 1
        try:
            plan = fitted(deal.request, await self._replan(intent))
            box = seal(plan.payload, deal.opening.seal_key, payload_info(deal.agreement_hash))
        except (Refused, SealError) as error:
            log.info("order %s: not amended: %s", order.order_id.hex()[:8], error)
            await self._give_up(order, getattr(error, "code", "BAD_SEAL_KEY"))
            return
        message = signed_offer(self._frames, deal, counter, plan, box)
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
        digest = digest_of(self._frames, deal, offer.counter, offer.statement_commit)
        if answer.verdict != AckVerdict.START or answer.agreement_hash != deal.agreement_hash:
            await self._give_up(order, "AMEND_REFUSED")
            return
        if recover_signer(digest, answer.prover_signature) != deal.winner.prover:
            raise Refused("WRONG_SIGNER", "an amend signed by somebody else")
        both = countersigned(offer, answer.prover_signature)
        plan = await self._engaged.secret(order, kept.NEXT_PLAN)
        await self._loop.happen(
            order.order_id,
            Event.AMEND_ACCEPTED,
            reason=f"AMENDED_{offer.counter}",
            document={kept.AMEND: both},
            secret={kept.PLAN: plan},
            due={"valid_until": unpack_plan(plan).valid_until},
        )

    async def record(self, order: Order, at_most_permille: int) -> None:
        """Makes L1 keep the amend, so that the table before it can be neither claimed nor drawn the ticket with.

        Best effort: the transaction is sent once, by a purpose of its own.
        """
        if not at_most_permille:
            return
        deal, plan = await self._engaged.deal(order), await self._engaged.plan(order)
        call = ChainCall(
            purpose=f"record {await self._tried(order)} {order.order_id.hex()}",
            to=self._frames.market.contract,
            data=record(await self._engaged.settlement(order, plan.salt)),
        )
        if await self._chain.cost_wei(call) * PERMILLE > deal.opening.price_wei * at_most_permille:
            return
        await self._chain.prepare(call)
        await self._chain.send(call.purpose)

    async def _give_up(self, order: Order, reason: str) -> None:
        """The agreed table it is: the prover finishes it and is owed its price."""
        await self._loop.happen(
            order.order_id, Event.AMEND_REFUSED, reason=reason, document={kept.TRIED: bytes((await self._most(order),))}
        )

    async def _tried(self, order: Order) -> int:
        stored = await self._engaged.optional(order, kept.TRIED)
        return 0 if stored is None else stored[0]

    async def _most(self, order: Order) -> int:
        stored = await self._engaged.optional(order, kept.LANE)
        return AMENDS[Lane.STANDARD if stored is None else Lane(stored.decode())]
