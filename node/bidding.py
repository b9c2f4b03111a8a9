"""Bids of a prover: from the envelope of a request alone, for what the machine has left.

A bid keeps a slot, memory and a bond ticket. It is stored before it is sent.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from typing import Protocol

import trio

from market.admission import Capability, admit
from market.capacity import HOLDING, Capacity
from market.errors import Skip
from market.lifecycle import Event, Order, Role, State
from market.pricing import Curve, quote
from node import market_state as kept
from node.frames import FrameWriter
from node.market_state import pack_request, unpack_request
from node.order_part import OrderPart
from node.ports import Chain, Clock, Direct, Gossip, InThread, TryAgain
from node.standings import Standings
from node.store.errors import OrderExists
from node.store.orders import OrderStore
from protocol.codec import decode_body, encode_body
from protocol.commitments import bid_hash, pack_opening
from protocol.messages import BidCommit, BidOpening, RequestCommit
from protocol.sealing import SealError, SealKeyPair, bid_info, seal_opening


class Able(Protocol):
    """What the prover can do at the moment."""

    def __call__(self, bond_wei: int, free_slots: int, free_memory_mib: int) -> Capability:
        """`bond_wei`: what the free bond ticket holds; the others as in `Capability`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A prover's conditions, as configured."""

    curve: Curve
    payee: bytes
    """Account that is paid, 20 bytes."""
    tickets: tuple[int, ...]
    """Numbers of the bond tickets, at least one; each stands for one order at a time."""
    collect_wei: int
    """What collecting a payment costs; smaller fees are not collected."""
    bid_delay_ms: int
    """Time between seeing a request and bidding."""


class Bidding(OrderPart):
    """Looks at requests and bids. The orders move in the loop that it is attached to."""

    def __init__(
        self,
        *,
        store: OrderStore,
        in_thread: InThread,
        clock: Clock,
        gossip: Gossip,
        direct: Direct,
        chain: Chain,
        frames: FrameWriter,
        standings: Standings,
        able: Able,
        capacity: Capacity,
        offer: Offer,
    ) -> None:
        """
        Args:
            able: tells families, tiers and sizes.
            capacity: what nobody holds yet; this part alone holds and frees.
        """
        super().__init__()
        self._store = store
        self._in_thread = in_thread
        self._clock = clock
        self._gossip = gossip
        self._direct = direct
        self._chain = chain
        self._frames = frames
        self._standings = standings
        self._able = able
        self._capacity = capacity
        self._chosen: dict[bytes, int] = {}
        """Tickets of requests that are being priced."""
        self.offer = offer
        """Conditions for the next bid."""

    def adopt(self, offer: Offer) -> None:
        """Takes new conditions; tickets and payee are those of the start."""
        self.offer = replace(offer, tickets=self.offer.tickets, payee=self.offer.payee)

    async def hold_again(self) -> None:
        """What was promised before a restart. A bid that was being made then is made again, and holds then."""
        for order in self._loop.orders():
            if order.state in HOLDING and order.state is not State.SEEN:
                _, request = unpack_request(await self._loop.needed(order, kept.REQUEST))
                cost = self.offer.curve.costs.get(request.tier)
                ticket = await self._ticket_of(order)
                self._capacity.hold(order.order_id, cost.memory_mib * request.proof_count if cost else 0, ticket)

    async def read_requests(self, nursery: trio.Nursery) -> None:
        """Looks at every request that comes, until cancelled."""
        async for frame in self._gossip.frames("req"):
            request = decode_body(RequestCommit, frame[80:-65])
            if self._loop.order(request.request_id) is None:
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
            await self._loop.open(
                order, ticket=await self._choose(order), document={kept.REQUEST: pack_request(requester, request)}
            )
            await self.price(order)
        except OrderExists:
            pass  # seen before a restart; what is open of it goes on
        finally:
            self._chosen.pop(order.order_id, None)

    async def _choose(self, order: Order) -> int:
        """A bond ticket that nothing stands on yet; the first one if there is none, which pricing then refuses."""
        staked = await self._staked(order)
        free = [each for each in self.offer.tickets if each not in staked | set(self._chosen.values())]
        self._chosen[order.order_id] = free[0] if free else self.offer.tickets[0]
        return self._chosen[order.order_id]

    async def _staked(self, order: Order) -> frozenset[int]:
        """Bond tickets of other orders: those that are not over, and those whose bids are being made."""
        stored = await self._in_thread(lambda: self._store.tickets_in_use(Role.PROVER, order.order_id))
        self._capacity.settle(self._loop.orders())
        return stored | self._capacity.tickets()

    async def _ticket_of(self, order: Order) -> int:
        return await self._in_thread(lambda: self._store.ticket(order.order_id, Role.PROVER))

    async def price(self, order: Order) -> None:
        """Bids for a request that was seen, or says why not."""
        requester, request = unpack_request(await self._loop.needed(order, kept.REQUEST))
        try:
            ticket_wei = await self._chain.promise_wei(requester, request.requester_ticket)
            ticket = await self._ticket_of(order)
            bond_wei = await self._chain.promise_wei(self._frames.key.address, ticket)
            staked = await self._staked(order)
            refused = await self._standings.refused(Role.PROVER, frozenset({requester}))
            ahead = self._capacity.settle(self._loop.orders())
            is_staked = ticket in staked | self._capacity.tickets()
            able = self._able(0 if bond_wei is None or is_staked else bond_wei, *self._capacity.free())
            offered = quote(request, self.offer.curve, queued=ahead, requester=requester)
            admit(
                request,
                able,
                offered,
                ticket_wei=ticket_wei,
                now_ms=self._clock.now_ms(),
                is_refused=requester in refused,
            )
            # Nothing was awaited since `settle`: two bids cannot take one slot.
            self._capacity.hold(order.order_id, offered.memory_mib, ticket)
        except Skip as skipped:
            await self._loop.happen(order.order_id, Event.SKIP, reason=skipped.reason)
            return
        except TryAgain as error:
            await self._loop.happen(order.order_id, Event.SKIP, reason=error.code)
            return
        key_secret = secrets.token_bytes(32)
        opening = BidOpening(
            price_wei=offered.price_wei,
            eta_ms=offered.eta_ms,
            prover_ticket=ticket,
            bond_wei=request.bond_min_wei,  # uniform per request: a bond that followed the price would leak it
            payee=self.offer.payee,
            seal_key=SealKeyPair(key_secret).public,
            salt=secrets.token_bytes(32),
        )
        us = self._frames.key.address
        hashed = bid_hash(request.request_id, us, opening)
        try:
            info = bid_info(request.request_id, us, hashed)
            box = seal_opening(pack_opening(opening), opening.salt, request.seal_key, info)
        except SealError:
            await self._loop.happen(order.order_id, Event.SKIP, reason="BAD_SEAL_KEY")
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
        await self._clock.sleep_until(self._clock.now_ms() + self.offer.bid_delay_ms)
        await self._loop.happen(
            order.order_id,
            Event.BID_MADE,
            document={kept.BID: encode_body(bid)},
            secret={kept.OPENING: pack_opening(opening), kept.SEAL: key_secret},
        )

    async def publish(self, order: Order) -> None:
        """Tells it to everybody; again is harmless."""
        bid = decode_body(BidCommit, await self._loop.needed(order, kept.BID))
        await self._gossip.publish("bid", await self._frames.frame(bid))
