"""A rollup's state at a root of L1, in parts from several peers, each part checked by itself (SPEC §3.5, §9.5).

A peer whose part does not check is struck and not asked again in this download; one that does not answer is left out
after a few tries; the others go on. What was checked is on disk, so that a download that was cut, or whose root moved,
asks only for what it lacks.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Final, Generic, Protocol, TypeVar

import trio

from node.chunkstore import ChunkStore
from node.errors import StateUnavailable
from node.ports import Refused, TryAgain
from node.rollupserver import MAX_PART_BYTES
from protocol.errors import ProtocolError
from protocol.vm.isa import Instruction, Program
from protocol.vm.state import VmState
from protocol.vm.state_tree import Leaf
from protocol.vm.sync import (
    CHUNK_LEAVES,
    LEAF_BYTES,
    MAX_SNAPSHOT_LEAVES,
    Chunk,
    Outline,
    Part,
    Question,
    encode_question,
    needed_drafts,
    needed_programs,
    read_chunk,
    read_draft,
    read_outline,
    read_program,
    state_of_chunks,
)

T = TypeVar("T")
log = logging.getLogger("unveto.rollupsync")

MAX_PEERS: Final = 8  # asked for one state
PER_PEER: Final = 2  # questions in flight
MAX_FAILURES: Final = 3  # unanswered questions after which the last peer is given up; others are at the first
RETRY_S: Final = 0.2
PATIENCE: Final = 3
MAX_PROGRAMS: Final = 1 << 12  # of one rollup that is taken over; 512 MiB at most
LARGEST: Final = {Part.OUTLINE: 8 + 32 * MAX_SNAPSHOT_LEAVES // CHUNK_LEAVES, Part.CHUNK: CHUNK_LEAVES * LEAF_BYTES}
"""Bytes of an answer, where that is less than any part may have."""

Draft = tuple[int, tuple[Instruction, ...]]


class Unusable(Exception):
    """A peer's answer is not what was asked for; the text says which rule it breaks."""


class StatePeers(Protocol):
    """Those who may have states (`node.network.RollupPeers`)."""

    def connected(self) -> Sequence[str]:
        """Peer ids, in the order in which they shall be asked."""

    async def ask(self, peer_id: str, question: bytes, max_answer: int) -> bytes:
        """Raises TryAgain if there is no answer, Refused if the peer has none or misbehaves."""

    def blame(self, peer_id: str) -> None:
        """It gave a wrong part."""


@dataclass(frozen=True, slots=True)
class Wanted(Generic[T]):
    """A part, and how its bytes are checked."""

    question: Question
    check: Callable[[bytes], T]
    """Blocks; raises ProtocolError."""


async def patiently(ask: Callable[[], Awaitable[T]]) -> T:
    """Ask again after a moment if nobody had it: peers may see a block a little later than this node.

    Raises:
        StateUnavailable: still nobody.
    """
    for _ in range(PATIENCE):
        with suppress(StateUnavailable):
            return await ask()
        await trio.sleep(RETRY_S)
    return await ask()


class RollupSync:
    """Downloads states. One download of a rollup at a time."""

    def __init__(self, peers: StatePeers, store: ChunkStore) -> None:
        """Nothing is asked yet."""
        self._peers = peers
        self._store = store
        self.taken: Counter[str] = Counter()
        """Parts by where they came from: peer id, or "disk"."""

    async def fetch(self, rollup_id: int, root: int) -> VmState:
        """The whole state with a root.

        Args:
            root: as L1 has it.

        Raises:
            StateUnavailable: too few peers have it, or it is larger than what is taken over as a whole. What came is
                kept.
        """
        asking = Download(self._peers, rollup_id)
        ask = partial(Question, rollup_id=rollup_id, root=root)
        outline = (await asking.gather([Wanted(ask(part=Part.OUTLINE), partial(read_outline, root))]))[0]
        chunks = await self._chunks(asking, ask, outline)
        leaves = [leaf for chunk in chunks for leaf in chunk.leaves]
        programs = await self._programs(asking, ask, leaves)
        drafts = await self._drafts(asking, ask, needed_drafts(leaves))
        await trio.to_thread.run_sync(self._store.keep_only, rollup_id, outline.hashes)
        self.taken.update(asking.taken)
        return await trio.to_thread.run_sync(state_of_chunks, outline, chunks, programs, drafts)

    async def _chunks(self, asking: Download, ask: Callable[..., Question], outline: Outline) -> tuple[Chunk, ...]:
        found: dict[int, Chunk] = {}
        wanted = []
        for index, chunk_hash in enumerate(outline.hashes):
            kept = await trio.to_thread.run_sync(self._kept, asking.rollup_id, outline, index)
            if kept is not None:
                found[index] = kept
                self.taken["disk"] += 1
                continue
            check = partial(self._check_chunk, asking.rollup_id, chunk_hash, outline, index)
            wanted.append((index, Wanted(ask(part=Part.CHUNK, which=index), check)))
        got = await asking.gather([each for _, each in wanted])
        found |= {index: chunk for (index, _), chunk in zip(wanted, got, strict=True)}
        return tuple(found[index] for index in range(len(outline.hashes)))

    def _kept(self, rollup_id: int, outline: Outline, index: int) -> Chunk | None:
        raw = self._store.read(rollup_id, outline.hashes[index])
        if raw is None:
            return None
        try:
            return read_chunk(outline, index, raw)
        except ProtocolError:
            return None

    def _check_chunk(self, rollup_id: int, chunk_hash: int, outline: Outline, index: int, raw: bytes) -> Chunk:
        chunk = read_chunk(outline, index, raw)
        self._store.write(rollup_id, chunk_hash, raw)
        return chunk

    async def _programs(
        self, asking: Download, ask: Callable[..., Question], leaves: Sequence[Leaf]
    ) -> Mapping[int, Program]:
        hashes = sorted(needed_programs(leaves))
        if len(hashes) > MAX_PROGRAMS:
            raise StateUnavailable(rollup_id=asking.rollup_id, why=f"more than {MAX_PROGRAMS} programs")
        wanted = [Wanted(ask(part=Part.PROGRAM, which=each), partial(read_program, each)) for each in hashes]
        return dict(zip(hashes, await asking.gather(wanted), strict=True))

    async def _drafts(
        self, asking: Download, ask: Callable[..., Question], running: Mapping[int, int]
    ) -> Mapping[int, Draft]:
        """Back from each running hash until the instructions that it says are there are."""
        found: dict[int, Draft] = {}
        while running:
            hashes = sorted(running)
            wanted = [Wanted(ask(part=Part.DRAFT, which=each), partial(read_draft, each)) for each in hashes]
            got = dict(zip(hashes, await asking.gather(wanted), strict=True))
            found |= got
            left = {got[each][0]: running[each] - len(got[each][1]) for each in hashes}
            running = {before: count for before, count in left.items() if count > 0 and before not in found}
        return found


class Download:
    """Peers that are asked for one state, and how they do."""

    def __init__(self, peers: StatePeers, rollup_id: int) -> None:
        """Whoever is connected may be asked."""
        self._peers = peers
        self.rollup_id = rollup_id
        self._usable = list(peers.connected())[:MAX_PEERS]
        self._failures: Counter[str] = Counter()
        self.taken: Counter[str] = Counter()
        self._why = "no peer is connected"

    async def gather(self, wanted: Sequence[Wanted[T]]) -> list[T]:
        """The checked answers, in order.

        Raises:
            StateUnavailable: no usable peer is left.
        """
        todo = deque(range(len(wanted)))
        found: dict[int, T] = {}
        while todo:
            if not self._usable:
                raise StateUnavailable(rollup_id=self.rollup_id, why=self._why)
            async with trio.open_nursery() as nursery:
                for peer_id in tuple(self._usable):
                    for _ in range(PER_PEER):
                        nursery.start_soon(self._work, peer_id, wanted, todo, found)
        return [found[index] for index in range(len(wanted))]

    async def _work(self, peer_id: str, wanted: Sequence[Wanted[T]], todo: deque[int], found: dict[int, T]) -> None:
        """Ask one peer for one part after the other, while it does well and something is left."""
        while todo and peer_id in self._usable:
            index = todo.popleft()
            try:
                found[index] = await self._part(peer_id, wanted[index])
            except Unusable as problem:
                self._peers.blame(peer_id)
                self._leave_out(peer_id, f"{peer_id} gave a wrong part: {problem}")
            except Refused as refusal:
                self._leave_out(peer_id, f"{peer_id} has none: {refusal}")
            except TryAgain as failure:
                self._failures[peer_id] += 1
                if len(self._usable) > 1 or self._failures[peer_id] >= MAX_FAILURES:
                    self._leave_out(peer_id, f"{peer_id} does not answer: {failure}")
                else:
                    await trio.sleep(RETRY_S)
            else:
                self.taken[peer_id] += 1
                continue
            todo.append(index)

    async def _part(self, peer_id: str, wanted: Wanted[T]) -> T:
        limit = LARGEST.get(wanted.question.part, MAX_PART_BYTES)
        raw = await self._peers.ask(peer_id, encode_question(wanted.question), limit)
        try:
            return await trio.to_thread.run_sync(wanted.check, raw)
        except ProtocolError as error:
            raise Unusable(str(error)) from error

    def _leave_out(self, peer_id: str, why: str) -> None:
        if peer_id in self._usable:
            self._usable.remove(peer_id)
            self._why = why
            log.info("rollup %d: %s", self.rollup_id, why)
