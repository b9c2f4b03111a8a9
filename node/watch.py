"""Keeps what this node can prove against others, and tells everybody (SPEC §9.4)."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import trio
from trio_typing import TaskStatus  # the stubs of trio that libp2p brings along name it only here

from market.standing import PASSED_OVER
from node.frames import FrameWriter
from node.ports import Clock, Gossip, InThread, Refused, TryAgain
from node.store.faults import FaultStore
from protocol.codec import decode_body, read_frame
from protocol.commitments import pack_opening
from protocol.errors import Reject
from protocol.faults import (
    WITNESSES_NEEDED,
    Accusation,
    Delivered,
    FaultKind,
    OpenTo,
    accusation_of,
    delivered_in,
    verify_accusation,
)
from protocol.gossip_memory import GossipMemory, PassedOver
from protocol.hashing import keccak256
from protocol.messages import BidsSeen, Fault

log = logging.getLogger("unveto.watch")

LOOK_EVERY_MS: Final = 1_000
ASK_AGAIN_MS: Final = 15_000
OPEN_FOR_MS: Final = 3_600_000  # how long somebody may take to say the rest of an accusation
MAX_OPEN: Final = 256

IsSlashed = Callable[[bytes], Awaitable[bool]]
"""`await is_slashed(agreement_hash)`: whether L1 took the bond. Raises TryAgain."""

IsBad = Callable[[Delivered], Awaitable[bool]]
"""`await is_bad(delivered)`: whether the proofs do not hold. Raises TryAgain."""


class Watch:
    """The evidence of one node. `serve` runs it."""

    def __init__(
        self,
        *,
        memory: GossipMemory,
        faults: FaultStore,
        in_thread: InThread,
        gossip: Gossip,
        frames: FrameWriter,
        clock: Clock,
        is_slashed: IsSlashed,
        is_bad: IsBad | None = None,
    ) -> None:
        """
        Args:
            memory: the validator's; what it saw is taken out of it.
            is_slashed: says whether an Ack came to nothing.
            is_bad: says whether a proof is none; a node without it believes no such accusation.
        """
        self._memory = memory
        self._faults = faults
        self._in_thread = in_thread
        self._gossip = gossip
        self._frames = frames
        self._clock = clock
        self._is_slashed = is_slashed
        self._is_bad = is_bad
        self._open: dict[tuple[int, bytes], tuple[Fault, Accusation, int, int]] = {}
        """(kind, subject) -> fault, what it says, when it came, when to ask next."""

    async def serve(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Runs until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._read)
            nursery.start_soon(self._look)
            task_status.started()

    async def accuse(self, fault: Fault) -> None:
        """Publishes and stores evidence that this node has, once; best effort, since others may have told it already.

        Raises:
            Reject: it is none, which no other node would have to say.
        """
        market = self._frames.market
        said = accusation_of(fault, chain_id=market.chain_id, market=market.contract)
        verify_accusation(fault, chain_id=market.chain_id, market=market.contract)
        if await self._in_thread(partial(self._faults.has, said.accused, said.kind, said.subject)):
            return
        try:
            await self._gossip.publish("fault", await self._frames.frame(fault))
        except (Refused, TryAgain) as error:
            log.info("evidence is not published: %s", error)
        # Stored last: if the process ends in between it is told again, and not forgotten.
        await self._keep(said.accused, said.kind, said.subject, b"".join(fault.pieces))

    async def _read(self) -> None:
        async for frame in self._gossip.frames("fault"):
            fault = decode_body(Fault, frame[80:-65])
            market = self._frames.market
            said = accusation_of(fault, chain_id=market.chain_id, market=market.contract)
            if said.open_to is OpenTo.NOBODY:
                await self._keep(said.accused, said.kind, said.subject, b"".join(fault.pieces))
            elif len(self._open) < MAX_OPEN:
                now_ms = self._clock.now_ms()
                self._open[said.kind, said.subject] = (fault, said, now_ms, now_ms)

    async def _look(self) -> None:
        while True:
            while self._memory.double_awards:
                await self._try_to_accuse(
                    Fault(kind=int(FaultKind.DOUBLE_AWARD), pieces=self._memory.double_awards.pop())
                )
            while self._memory.passed_over:
                await self._tell_passed_over(self._memory.passed_over.pop())
            await self._ask()
            await self._clock.sleep_until(self._clock.now_ms() + LOOK_EVERY_MS)

    async def _try_to_accuse(self, fault: Fault) -> None:
        try:
            await self.accuse(fault)
        except Reject as error:
            log.warning("evidence of kind %d does not hold: %s", fault.kind, error)

    async def _tell_passed_over(self, passed: PassedOver) -> None:
        """With receipts of enough relays everybody may know it, without them only we do."""
        known = passed.known
        fault = passed_over_fault(passed)
        if fault is None:
            await self._keep(known.requester, PASSED_OVER, known.request.request_id, b"")
        else:
            await self._try_to_accuse(fault)

    async def _ask(self) -> None:
        """Whoever knows the rest of what is open."""
        now_ms = self._clock.now_ms()
        for place, (fault, said, came_ms, due_ms) in list(self._open.items()):
            if due_ms > now_ms:
                continue
            if now_ms - came_ms > OPEN_FOR_MS:
                del self._open[place]
                continue
            self._open[place] = (fault, said, came_ms, now_ms + ASK_AGAIN_MS)
            try:
                holds = await self._rest_of(fault, said)
            except TryAgain as error:
                log.info("an accusation stays open: %s", error)
                continue
            if holds:
                await self._keep(said.accused, said.kind, said.subject, b"".join(fault.pieces))
            if holds or said.open_to is OpenTo.VERIFIER:
                del self._open[place]

    async def _rest_of(self, fault: Fault, said: Accusation) -> bool:
        if said.open_to is OpenTo.L1:
            return await self._is_slashed(said.subject)
        if self._is_bad is None:
            return False
        market = self._frames.market
        return await self._is_bad(delivered_in(fault, chain_id=market.chain_id, market=market.contract))

    async def _keep(self, account: bytes, kind: int, subject: bytes, evidence: bytes) -> None:
        now_ms = self._clock.now_ms()
        if await self._in_thread(partial(self._faults.add, account, kind, subject, evidence, now_ms)):
            log.warning("fault %d of 0x%s", kind, account.hex())


def passed_over_fault(passed: PassedOver) -> Fault | None:
    """The evidence that a better bid was passed over, if enough relays say that it was there in time."""
    known = passed.known
    body = known.bodies.get(passed.prover)
    if body is None or not known.frame or 1 not in known.awards:
        return None
    parties = {known.requester, passed.prover} | ({known.winner.prover} if known.winner is not None else set())
    receipts = [
        frame
        for relay, frame in known.witnesses.items()
        if relay not in parties and keccak256(body) in decode_body(BidsSeen, read_frame(frame).body).bids
    ]
    if len(receipts) < WITNESSES_NEEDED:
        return None
    opened = passed.prover + pack_opening(passed.opening)
    pieces = (known.frame, known.awards[1], body, opened, *receipts[:WITNESSES_NEEDED])
    return Fault(kind=int(FaultKind.BID_IGNORED), pieces=pieces)
