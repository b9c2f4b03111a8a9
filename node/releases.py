"""A prover that finds its payload published on L1 answers in time: by its Ack, or by giving up (SPEC §8.2).

Nothing about it is stored but the transaction: what L1 says of an agreement is all there is to know, and every look
begins with that. It also answers for orders that have ended here without an Ack, as long as L1 may ask.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import Final

from market.lanes import is_capacity
from market.lifecycle import Event, Order, Role, State
from node import market_state as kept
from node.forcing import NO_SALT
from node.frames import FrameWriter
from node.l1 import answer_release, cancel_agreement
from node.market_state import settlement_of
from node.order_part import OrderCall, OrderPart
from node.ports import Chain, Clock, ForcedRelease, InThread, TryAgain
from node.store.orders import OrderStore
from protocol.agreement import by_key, pack_dated
from protocol.codec import decode_body
from protocol.messages import AckVerdict, ProverAck
from protocol.sealing import SealError, SealKeyPair, payload_info

log = logging.getLogger("unveto.releases")

LOOK_EVERY_MS: Final = 12_000  # a release is open for ten minutes


class Releases(OrderPart):
    """The answers of one prover. The orders move in the loop that it is attached to."""

    def __init__(
        self, *, store: OrderStore, in_thread: InThread, chain: Chain, clock: Clock, frames: FrameWriter
    ) -> None:
        super().__init__()
        self._store = store
        self._in_thread = in_thread
        self._chain = chain
        self._clock = clock
        self._frames = frames
        self._answer = OrderCall("answer", chain=chain, clock=clock, to=frames.market.contract)
        self._giving_up = OrderCall("give-up", chain=chain, clock=clock, to=frames.market.contract)

    async def serve(self) -> None:
        """Looks until cancelled."""
        while True:
            try:
                await self.look()
            except TryAgain as error:
                log.debug("L1 cannot be asked for forced releases: %s", error)
            await self._clock.sleep_until(self._clock.now_ms() + LOOK_EVERY_MS)

    async def look(self) -> None:
        """Answers every release that is open. Raises TryAgain."""
        for forced in await self._chain.forced_releases(self._frames.key.address):
            if forced.respond_by * 1000 <= self._clock.now_ms():
                continue
            view = await self._chain.agreement(forced.agreement_hash)
            if view.is_answered or view.is_cancelled or view.is_relieved or view.is_penalised:
                continue
            asked = partial(self._store.order_of_document, Role.PROVER, kept.AGREED, forced.agreement_hash)
            order_id = await self._in_thread(asked)
            if order_id is None:
                log.warning("an agreement is forced that this node does not know: %s", forced.agreement_hash.hex())
                continue
            order = await self._in_thread(partial(self._store.order, order_id, Role.PROVER))
            await self._respond(order, forced)

    async def _respond(self, order: Order, forced: ForcedRelease) -> None:
        deal = await self._loop.deal(order)
        accept = await self._loop.needed(order, kept.ACCEPT)
        settlement = settlement_of(deal, NO_SALT, accept, None)
        stored = await self._loop.document(order.order_id, kept.ACK)
        ack = None if stored is None else decode_body(ProverAck, stored)
        if ack is not None and ack.verdict == AckVerdict.START:
            data = answer_release(settlement, pack_dated(ack.ack_at, by_key(ack.ack_signature)))
            await self._answer.prepare(order, data)
            await self._answer.send_again(order)
        elif order.state is State.HOLDING:
            pass  # it is being checked; the next look knows more
        elif not await self._takes(order, forced):
            # Too late for an Ack, or the payload was declined: a release that is forced must not go unanswered.
            await self._giving_up.prepare(order, cancel_agreement(settlement))
            await self._giving_up.send_again(order)

    async def _takes(self, order: Order, forced: ForcedRelease) -> bool:
        """Whether the published payload is taken as if it had come by the direct way."""
        deal = await self._loop.deal(order)
        if order.state is not State.SIGNED or is_capacity(deal.request):
            return False  # a request for capacity is acknowledged with the signed table only, which L1 does not show
        key = SealKeyPair(await self._loop.needed_secret(order, kept.SEAL))
        try:
            payload = key.open(forced.box, payload_info(deal.agreement_hash))
        except SealError:
            return False
        taken = await self._loop.happen(order.order_id, Event.PAYLOAD_RECEIVED, secret={kept.PAYLOAD: payload})
        return taken is not None
