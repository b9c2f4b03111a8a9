"""The user's one transaction: signed, kept for whoever wants to land it, shown to proposers, sent, followed until it is
paid (SPEC §9.7). Everything that is signed here is stored before it is sent."""

from __future__ import annotations

import logging
import secrets
from dataclasses import dataclass
from typing import Final

from market.lifecycle import Event, Order, Role, State
from node import market_state as kept
from node.broker import Resender
from node.engagement import Engagement
from node.keptfile import KeptFiles, KeptTransaction
from node.l1port import WOULD_FAIL
from node.landing import INCLUSION_LIST_BYTES, landing_data
from node.market_state import unpack_request
from node.ports import Chain, ChainCall, Clock, InThread, Landing, Prepared, Refused, TryAgain, try_again
from node.ready import ReadyTables
from node.store.orders import OrderStore
from protocol.codec import decode_body
from protocol.hashing import keccak256
from protocol.messages import ProofDelivery
from protocol.table import decode_core

log = logging.getLogger("unveto.requester")

LOOK_MS: Final = 2_000  # between two looks whether a proposer has landed it, while it waits to be sent


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmissionTerms:
    """As configured."""

    ready_wait_ms: int
    """How long proposers have to pull the ready table before the transaction is sent."""
    is_submitted: bool
    """Whether it is signed and sent when the proof is verified; else that waits for `submit`."""
    publish_after_ms: int | None = None
    """How long after it was signed it is announced to everybody as a public ready table; None: never."""


class Submission:
    """The landing transactions of a requester's orders. `attach` comes first."""

    def __init__(
        self,
        *,
        store: OrderStore,
        in_thread: InThread,
        chain: Chain,
        clock: Clock,
        ready: ReadyTables,
        rollups: bytes,
        terms: SubmissionTerms,
        files: KeptFiles,
    ) -> None:
        """
        Args:
            rollups: address of the Rollups contract.
            files: where what is signed is kept for others.
        """
        self._store = store
        self._in_thread = in_thread
        self._chain = chain
        self._clock = clock
        self._ready = ready
        self._rollups = rollups
        self._terms = terms
        self._files = files
        self._resend = Resender(chain, clock)
        self._submitted: set[bytes] = set()
        self._announced: dict[bytes, bytes] = {}  # order id -> hash of the transaction that was announced last
        self._attached: Engagement | None = None

    def attach(self, engaged: Engagement) -> None:
        """Whose orders they are."""
        self._attached = engaged

    def submit(self, order_id: bytes) -> None:
        """Lets an order's transaction be sent where configuration keeps it back."""
        self._submitted.add(order_id)
        self._engaged.loop.notice()

    async def _is_let_go(self, order: Order) -> bool:
        """Waits for the owner's word where configuration wants it; False if the order has moved on meanwhile."""

        def is_decided(now: Order) -> bool:
            return self._terms.is_submitted or now.order_id in self._submitted or now.state is not order.state

        now = await self._engaged.loop.wait_for(order.order_id, is_decided)
        return now is not None and now.state is order.state

    # -- effects ---------------------------------------------------------------------------------------------------

    async def build(self, order: Order) -> None:
        """BUILD_TRANSACTION."""
        await self.sweep()
        if not self._terms.is_submitted and order.order_id not in self._submitted:
            # Signed with a nonce that is not taken: whoever has the file can land it, and nothing waits for it.
            await self._keep_aside(order)
        if not await self._is_let_go(order):
            return  # withdrawn or too late meanwhile: a signed transaction would hold its nonce
        try:
            prepared = await self._chain.prepare(await self._call(order))
        except Refused as error:
            if error.code != WOULD_FAIL:
                raise TryAgain(error.code, str(error)) from error  # a fee above the limit, for one, falls again
            # A root or a result on L1 has moved since planning. The prover is still owed its price.
            log.warning("order %s: its transaction is not signed: %s", order.order_id.hex()[:8], error)
            await self._engaged.loop.happen(order.order_id, Event.TABLE_EXPIRED, reason=error.code)
            return
        await self._keep(order, prepared)
        if len(prepared.raw) > INCLUSION_LIST_BYTES:
            log.warning("order %s: INCLUSION_LIST: %d bytes", order.order_id.hex()[:8], len(prepared.raw))
        secret = {kept.TABLE: _table(secrets.token_bytes(32), prepared.raw)}
        await self._engaged.loop.happen(order.order_id, Event.TX_SIGNED, secret=secret)

    async def announce(self, order: Order) -> None:
        """ANNOUNCE_READY."""
        table = await self._engaged.secret(order, kept.TABLE)
        if order.order_id not in self._announced:  # a beacon node that is away asks for this effect again and again
            await self._show(order, table)
            self._announced[order.order_id] = keccak256(table[36:])
        _, request = unpack_request(await self._engaged.document(order, kept.REQUEST))
        public_ms: int | None = None
        if self._terms.publish_after_ms is not None:
            public_ms = await self._signed_ms(order) + self._terms.publish_after_ms
        sealed_until = order.valid_until if public_ms is None else min(order.valid_until, public_ms // 1000)

        async def current() -> bytes | None:
            return await self._current(order, table)

        await self._ready.announce_by_slot(current, ticket=request.requester_ticket, valid_until=sealed_until)
        if public_ms is not None:
            await self._clock.sleep_until(public_ms)
            newest = await current()
            if newest is not None:
                await self._publish(order, newest)

    async def send(self, order: Order) -> None:
        """SEND_TRANSACTION."""
        until_ms = await self._signed_ms(order) + self._ready.wait_ms(self._terms.ready_wait_ms)
        while (now_ms := self._clock.now_ms()) < until_ms:
            if await self._landing(order) is not Landing.UNKNOWN:
                break  # a proposer was faster
            await self._clock.sleep_until(min(until_ms, now_ms + LOOK_MS))
        with try_again():  # the table's end decides, not one client's opinion
            await self._chain.send(landing_of(order))
        await self._engaged.loop.happen(order.order_id, Event.TX_ACCEPTED)

    # -- what L1 says ----------------------------------------------------------------------------------------------

    async def look_sent(self, order: Order) -> None:
        """TX_SENT: has it landed?"""
        landing = await self._landing(order)
        if landing is Landing.SUCCEEDED:
            await self._engaged.loop.happen(order.order_id, Event.TX_LANDED)
        elif landing is Landing.FAILED:
            await self._engaged.loop.happen(order.order_id, Event.TX_FAILED, reason="TX_REVERTED")
        else:
            await self._resend.send(landing_of(order))
            await self._announce_again(order)

    async def look_landed(self, order: Order) -> None:
        """LANDED, and not paid yet: perhaps its block is gone."""
        if await self._landing(order) is Landing.UNKNOWN:
            await self._resend.send(landing_of(order))

    # -- inside ----------------------------------------------------------------------------------------------------

    @property
    def _engaged(self) -> Engagement:
        assert self._attached is not None, "attach comes first"
        return self._attached

    async def _landing(self, order: Order) -> Landing:
        return await self._chain.landing(landing_of(order))

    async def _call(self, order: Order) -> ChainCall:
        deal = await self._engaged.deal(order)
        plan = await self._engaged.plan(order)
        delivery = decode_body(ProofDelivery, await self._engaged.document(order, kept.DELIVERY))
        data = landing_data(deal, plan, delivery, await self._engaged.settlement(order, plan.salt))
        return ChainCall(purpose=landing_of(order), to=self._rollups, data=data, value_wei=plan.value_wei)

    async def _announce_again(self, order: Order) -> None:
        """A replacement is another transaction: proposers get it too. Its salt follows from the first one's."""
        newest = self._chain.latest(landing_of(order))
        announced = self._announced.get(order.order_id)
        if newest is None or announced is None or newest.tx_hash == announced:
            return
        table = self._table_of(await self._engaged.secret(order, kept.TABLE), newest)
        await self._show(order, table)
        if self._terms.publish_after_ms is not None:
            await self._publish(order, table)
        await self._keep(order, newest)
        self._announced[order.order_id] = newest.tx_hash

    async def _show(self, order: Order, table: bytes) -> None:
        _, request = unpack_request(await self._engaged.document(order, kept.REQUEST))
        await self._ready.announce(table, ticket=request.requester_ticket, valid_until=order.valid_until)

    async def _current(self, order: Order, first: bytes) -> bytes | None:
        """The ready table at the moment; None once there is nothing left to land."""
        now = self._engaged.loop.order(order.order_id)
        if now is None or now.state not in (State.TX_STORED, State.TX_SENT):
            return None
        newest = self._chain.latest(landing_of(order))
        if newest is None or await self._landing(order) is not Landing.UNKNOWN:
            return None
        return self._table_of(first, newest)

    @staticmethod
    def _table_of(first: bytes, newest: Prepared) -> bytes:
        """The first table, or that of a replacement: its salt follows from the first one's."""
        return first if first[36:] == newest.raw else _table(keccak256(first[:32] + newest.tx_hash), newest.raw)

    async def _publish(self, order: Order, table: bytes) -> None:
        _, request = unpack_request(await self._engaged.document(order, kept.REQUEST))
        plan = await self._engaged.plan(order)
        await self._ready.publish(table, decode_core(plan.core), ticket=request.requester_ticket)

    async def _signed_ms(self, order: Order) -> int:
        history = await self._in_thread(lambda: self._store.history(order.order_id, Role.REQUESTER))
        return next(line.at_ms for line in reversed(history) if line.target is State.TX_STORED)

    async def _keep_aside(self, order: Order) -> None:
        try:
            await self._keep(order, await self._chain.sign_aside(await self._call(order)))
        except (Refused, TryAgain) as error:
            log.warning("order %s: nothing is kept for others: %s", order.order_id.hex()[:8], error)

    async def _keep(self, order: Order, prepared: Prepared) -> None:
        plan = await self._engaged.plan(order)
        transaction = KeptTransaction(
            request_id=order.order_id, raw=prepared.raw, core=plan.core, valid_until=order.valid_until
        )
        await self._in_thread(lambda: self._files.write(transaction))

    async def sweep(self) -> None:
        """What is over leaves the disk: the table in it may be nobody's business."""
        live = await self._in_thread(lambda: self._store.live(Role.REQUESTER))
        await self._in_thread(lambda: self._files.sweep({order.order_id for order in live}))


def landing_of(order: Order) -> str:
    """Purpose of an order's landing transaction."""
    return f"land {order.order_id.hex()}"


def _table(salt: bytes, raw: bytes) -> bytes:
    return salt + len(raw).to_bytes(4, "big") + raw
