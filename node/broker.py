"""The loop that moves orders: event -> `market.lifecycle.advance` -> one transaction (order and effects) -> perform
the effects.

Nothing here knows what an effect does. What it guarantees: an order changes only through the table; what a change
asks for is on disk
with it; effects are performed again after a restart, until done or moot; every deadline fires, after one more look at
the chain where the
chain could contradict it. A restart is nothing but this loop, started on the same database: look at the chain, then
do what is open.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Final

import trio
from trio_typing import TaskStatus  # the stubs of trio that libp2p brings along name it only here

from market.effects import Effect
from market.errors import InvalidTransition
from market.lifecycle import TRANSITIONS, Event, Order, Role, State, deadline
from node.market_state import AWARD, REQUEST, Deal, unpack_deal
from node.ports import Chain, Clock, InThread, Refused, TryAgain
from node.store.orders import NO_CHANGE, NOTHING, OrderStore, Pending

log = logging.getLogger("unveto.broker")

Perform = Callable[[Order], Awaitable[None]]
"""Performs one effect of an order; idempotent. Raises TryAgain or Refused."""
Observe = Callable[[Order], Awaitable[None]]
"""Looks at the chain for an order and reports what it saw with `happen`. Raises TryAgain."""

FIRST_RETRY_MS: Final = 100
LAST_RETRY_MS: Final = 2_000
WIPE_EVERY_MS: Final = 60_000
RESEND_MS: Final = 15_000  # more than a block's time: most transactions land before

OUTLIVES_ITS_STATE: Final = frozenset(
    {Effect.PUBLISH_CANCEL, Effect.PUBLISH_AWARD, Effect.ANNOUNCE_READY, Effect.STAND_DOWN}
)
"""Effects that are worth performing when the order has moved on meanwhile."""

ASKED_ON_ENTERING: Final[Mapping[State, frozenset[Effect]]] = MappingProxyType(
    {
        state: frozenset(effect for step in TRANSITIONS.values() if step.target is state for effect in step.effects)
        for state in State
    }
)


class OrderLoop:
    """All orders of one role. Made without side effects; `serve` runs it."""

    def __init__(
        self,
        role: Role,
        *,
        store: OrderStore,
        in_thread: InThread,
        clock: Clock,
        perform: Mapping[Effect, Perform],
        observe: Observe,
        watched: frozenset[State],
        poll_ms: int,
    ) -> None:
        """
        Args:
            perform: one entry for every effect that this role's transitions ask for.
            observe: asked every `poll_ms` for each live order in a watched state, and before its deadline fires.
        """
        self.role = role
        self._store = store
        self._in_thread = in_thread
        self._clock = clock
        self._perform = perform
        self._observe = observe
        self._watched = watched
        self._poll_ms = poll_ms
        self._orders: dict[bytes, Order] = {}
        self._locks: dict[bytes, trio.Lock] = {}
        self._ended: set[bytes] = set()
        self._changed = trio.Event()
        self._nursery: trio.Nursery | None = None

    def order(self, order_id: bytes) -> Order | None:
        """An order that was live since the start of this process, as it is now."""
        return self._orders.get(order_id)

    def orders(self) -> tuple[Order, ...]:
        """All of them."""
        return tuple(self._orders.values())

    async def open(
        self, order: Order, *, ticket: int, document: Mapping[str, bytes], secret: Mapping[str, bytes] = NOTHING
    ) -> None:
        """Stores a new order. Raises OrderExists."""
        now_ms = self._clock.now_ms()
        await self._in_thread(
            lambda: self._store.create(order, ticket=ticket, now_ms=now_ms, document=document, secret=secret)
        )
        self._put(order)

    async def happen(
        self,
        order_id: bytes,
        event: Event,
        *,
        reason: str = "",
        document: Mapping[str, bytes] = NOTHING,
        secret: Mapping[str, bytes] = NOTHING,
        due: Mapping[str, int] = NO_CHANGE,
    ) -> Order | None:
        """Applies an event. When this returns, change, documents and secrets are durable and the effects are under way.

        Args:
            due: new times by their names in Order, if the event brings them.

        Returns:
            The order after it; None if the event cannot happen to the order (any more), which changes nothing.
        """
        async with self._locks.setdefault(order_id, trio.Lock()):
            order = self._orders.get(order_id)
            if order is None:
                return None
            now_ms = self._clock.now_ms()
            try:
                after, effects = await self._in_thread(
                    lambda: self._store.advance(
                        order, event, now_ms=now_ms, reason=reason, document=document, secret=secret, due=due
                    )
                )
            except InvalidTransition as refused:
                log.debug("order %s: %s", order_id.hex()[:8], refused)
                return None
            log.info("order %s: %s -> %s %s", order_id.hex()[:8], event.value, after.state.value, after.reason)
            self._put(after)
            for effect in effects:
                self._begin(effect, after.state)
            return after

    async def wait_for(self, order_id: bytes, is_reached: Callable[[Order], bool]) -> Order | None:
        """Returns the order once the condition holds; None if the order is not known. Bounded by the caller."""
        while (order := self._orders.get(order_id)) is not None and not is_reached(order):
            await self._changed.wait()
        return order

    def notice(self) -> None:
        """Lets everybody who waits look again."""
        self._changed.set()
        self._changed = trio.Event()

    async def document(self, order_id: bytes, name: str) -> bytes | None:
        """A stored document of an order."""
        return await self._in_thread(lambda: self._store.document(order_id, self.role, name))

    async def needed(self, order: Order, name: str) -> bytes:
        """A document that was stored with the state that needs it."""
        found = await self.document(order.order_id, name)
        assert found is not None, f"{name} is stored with the state that needs it"
        return found

    async def secret(self, order_id: bytes, name: str) -> bytes | None:
        """A stored secret of an order."""
        return await self._in_thread(lambda: self._store.secret(order_id, self.role, name))

    async def needed_secret(self, order: Order, name: str) -> bytes:
        """A secret that was stored with the state that needs it."""
        found = await self.secret(order.order_id, name)
        assert found is not None, f"{name} is stored with the state that needs it"
        return found

    async def deal(self, order: Order) -> Deal:
        """Request and award of an order."""
        return unpack_deal(await self.needed(order, REQUEST), await self.needed(order, AWARD))

    async def serve(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Runs until cancelled. First the chain, then open effects, then time."""
        for order in await self._in_thread(lambda: self._store.live(self.role)):
            self._put(order)
        for order in self.orders():
            await self._look(order)
        pending = await self._in_thread(lambda: self._store.pending(self.role))
        for effect in pending:
            if effect.order_id not in self._orders:  # an order that has ended and still owes somebody a word
                self._put(await self._in_thread(partial(self._store.order, effect.order_id, self.role)))
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            for effect in pending:
                current = self._orders.get(effect.order_id)
                self._begin(effect, None if current is None else current.state)
            nursery.start_soon(self._fire_deadlines)
            nursery.start_soon(self._poll)
            nursery.start_soon(self._wipe)
            task_status.started()

    def _put(self, order: Order) -> None:
        self._orders[order.order_id] = order
        self.notice()

    def _begin(self, pending: Pending, state: State | None) -> None:
        if self._nursery is not None:  # else `serve` finds it in the outbox
            self._nursery.start_soon(self._run_effect, pending, state)

    async def _run_effect(self, pending: Pending, state: State | None) -> None:
        wait_ms = FIRST_RETRY_MS
        while True:
            order = self._orders.get(pending.order_id)
            if not self._is_due(pending, order, state):
                break
            assert order is not None
            try:
                await self._perform[pending.effect](order)
                break
            except TryAgain as error:
                log.debug("order %s: %s: %s", pending.order_id.hex()[:8], pending.effect.value, error)
            except Refused as error:
                log.warning("order %s: %s refused: %s", pending.order_id.hex()[:8], pending.effect.value, error)
                break
            await self._clock.sleep_until(self._clock.now_ms() + wait_ms)
            wait_ms = min(2 * wait_ms, LAST_RETRY_MS)
        await self._in_thread(lambda: self._store.done(pending))

    @staticmethod
    def _is_due(pending: Pending, order: Order | None, state: State | None) -> bool:
        if order is None:
            return False
        if pending.effect in OUTLIVES_ITS_STATE:
            return True
        return order.state is state and pending.effect in ASKED_ON_ENTERING[order.state]

    async def _fire_deadlines(self) -> None:
        while True:
            changed = self._changed
            due = sorted(
                ((found[0], order.order_id) for order in self.orders() if (found := deadline(order)) is not None),
            )
            if due and due[0][0] <= self._clock.now_ms():
                await self._fire(due[0][1])
            else:
                await self._sleep(due[0][0] if due else None, changed)

    async def _fire(self, order_id: bytes) -> None:
        seen = self._orders[order_id]
        if seen.state in self._watched and not await self._look(seen):
            # What silence means can only be said by a chain that answers.
            await self._clock.sleep_until(self._clock.now_ms() + self._poll_ms)
            return
        current = self._orders[order_id]
        found = deadline(current)
        if current.state is seen.state and found is not None:
            await self.happen(order_id, found[1], reason=found[2])

    async def _sleep(self, until_ms: int | None, changed: trio.Event) -> None:
        async with trio.open_nursery() as nursery:

            async def wake() -> None:
                await changed.wait()
                nursery.cancel_scope.cancel()

            nursery.start_soon(wake)
            if until_ms is not None:
                await self._clock.sleep_until(until_ms)
                nursery.cancel_scope.cancel()

    async def _poll(self) -> None:
        while True:
            await self._clock.sleep_until(self._clock.now_ms() + self._poll_ms)
            for order in self.orders():
                if order.state in self._watched:
                    await self._look(order)

    async def _look(self, order: Order) -> bool:
        if order.state not in self._watched:
            return True
        try:
            await self._observe(order)
        except TryAgain as error:
            log.debug("order %s: the chain cannot be asked: %s", order.order_id.hex()[:8], error)
            return False
        return True

    async def _wipe(self) -> None:
        while True:
            now_ms = self._clock.now_ms()
            await self._in_thread(partial(self._store.wipe, now_ms))
            for order in self.orders():
                if order.is_over:
                    self._forget(order)
            await self._clock.sleep_until(now_ms + WIPE_EVERY_MS)

    def _forget(self, order: Order) -> None:
        # One round of grace: whoever waits for the end of an order must still find it.
        if order.order_id in self._ended:
            self._ended.discard(order.order_id)
            del self._orders[order.order_id]
            self._locks.pop(order.order_id, None)
        else:
            self._ended.add(order.order_id)


class Resender:
    """Sends a stored transaction again while it has not landed: execution clients forget, and restart.

    A process that has just started sends at once.
    """

    def __init__(self, chain: Chain, clock: Clock) -> None:
        self._chain = chain
        self._clock = clock
        self._next_ms: dict[str, int] = {}

    async def send(self, purpose: str) -> None:
        """Sends if RESEND_MS have passed since the last time. Raises TryAgain if L1 cannot be asked."""
        now_ms = self._clock.now_ms()
        if now_ms < self._next_ms.get(purpose, 0):
            return
        self._next_ms[purpose] = now_ms + RESEND_MS
        try:
            await self._chain.send(purpose)
        except Refused as error:
            log.warning("%s: not taken: %s", purpose, error)
