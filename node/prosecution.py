"""Turns what one's own orders came to into evidence for everybody (SPEC §9.4).

It reads what the loops stored, and never what they do: an order that ended while nobody looked is found at the next
look, also by the next life of the node. What was told once is in the store of faults.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import Final

import trio
from trio_typing import TaskStatus  # the stubs of trio that libp2p brings along name it only here

from market.lifecycle import Order, Role, State
from node import market_state as kept
from node.accusing import Accuse
from node.market_state import settlement_of, unpack_deal
from node.ports import Clock, InThread
from node.store.orders import OrderStore
from protocol.agreement import by_key, pack_dated
from protocol.codec import decode_body, read_frame
from protocol.errors import Reject
from protocol.faults import FaultKind
from protocol.gossip_memory import GossipMemory
from protocol.messages import MAX_DIRECT_BODY, Fault, KeyRelease, ProverAck
from protocol.sealing import SEAL_OVERHEAD

LOOK_EVERY_MS: Final = 5_000
LATEST: Final = 32  # orders that changed last; more do not end between two looks
NO_SALT: Final = bytes(32)  # the salt opens the statement, and says nothing about the promise

log = logging.getLogger("unveto.prosecution")


class Prosecution:
    """What one node's orders prove. `serve` runs it."""

    def __init__(
        self, *, store: OrderStore, in_thread: InThread, memory: GossipMemory, clock: Clock, accuse: Accuse
    ) -> None:
        self._store = store
        self._in_thread = in_thread
        self._memory = memory
        self._clock = clock
        self._accuse = accuse
        self._done: dict[tuple[bytes, Role, FaultKind], None] = {}

    async def serve(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Runs until cancelled."""
        task_status.started()
        while True:
            for order in await self._in_thread(partial(self._store.recent, LATEST)):
                for kind in _KINDS_OF.get(order.role, ()):
                    if (order.order_id, order.role, kind) not in self._done:
                        await self._prosecute(order, kind)
            await self._clock.sleep_until(self._clock.now_ms() + LOOK_EVERY_MS)

    async def _prosecute(self, order: Order, kind: FaultKind) -> None:
        fault = await self._in_thread(partial(self._evidence, order, kind))
        if fault is not None or order.is_over:
            self._done[order.order_id, order.role, kind] = None
            if len(self._done) > 8 * LATEST:
                del self._done[next(iter(self._done))]
        if fault is None:
            return
        try:
            await self._accuse(fault)
        except Reject as error:  # a contract account's signature, for one, which only L1 can check
            log.info("order %s proves nothing to others: %s", order.order_id.hex()[:8], error)

    def _evidence(self, order: Order, kind: FaultKind) -> Fault | None:
        match kind:
            case FaultKind.NO_PROOF:
                return self._no_proof(order)
            case FaultKind.BROKEN_ENVELOPE:
                return self._broken_envelope(order)
            case _:
                return self._wrong_size(order)

    def _no_proof(self, order: Order) -> Fault | None:
        """Once L1 has taken the bond: others ask it."""
        if order.state not in (State.SLASHED, State.S_SLASHED):
            return None
        ack_body = self._store.document(order.order_id, order.role, kept.ACK)
        settlement = self._settlement(order)
        if ack_body is None or settlement is None:
            return None
        ack = decode_body(ProverAck, ack_body)
        if not ack.ack_signature:
            return None  # only L1 was shown it, by `answerRelease`
        dated = pack_dated(ack.ack_at, by_key(ack.ack_signature))
        return Fault(kind=int(FaultKind.NO_PROOF), pieces=(settlement, dated))

    def _broken_envelope(self, order: Order) -> Fault | None:
        if order.state is not State.COMPENSATED:
            return None
        decline = self._store.document(order.order_id, order.role, kept.DECLINE)
        settlement = self._settlement(order)
        if decline is None or settlement is None:
            return None
        return Fault(kind=int(FaultKind.BROKEN_ENVELOPE), pieces=(settlement, decline))

    def _wrong_size(self, order: Order) -> Fault | None:
        known = self._memory.request(order.order_id)
        if known is None or not known.frame:
            return None  # long over, or never gossiped to us
        released = self._store.document(order.order_id, order.role, kept.RELEASE)
        if released is None:
            return None
        release = decode_body(KeyRelease, read_frame(released, max_body=MAX_DIRECT_BODY).body)
        if release.cipher_bytes == (1 << known.request.size_log2) + SEAL_OVERHEAD:
            return None
        return Fault(kind=int(FaultKind.WRONG_SIZE), pieces=(known.frame, released))

    def _settlement(self, order: Order) -> bytes | None:
        """The agreement with both signatures, and nothing that opens it."""
        found = [
            self._store.document(order.order_id, order.role, name) for name in (kept.REQUEST, kept.AWARD, kept.ACCEPT)
        ]
        request, award, accepted = found
        if request is None or award is None or accepted is None:
            return None
        return settlement_of(unpack_deal(request, award), NO_SALT, accepted, None)


_KINDS_OF: Final = {
    Role.REQUESTER: (FaultKind.NO_PROOF,),
    Role.STANDBY: (FaultKind.NO_PROOF,),
    Role.PROVER: (FaultKind.BROKEN_ENVELOPE, FaultKind.WRONG_SIZE),
}
