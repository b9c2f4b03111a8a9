"""Parts of rollup states from peers, so wide and with so many decoys that nobody learns which keys are meant.

With the bucket of a key come always the same decoys: buckets that a secret of this node picks for it. Who sees all that
is asked, and sees it again and again, learns that one of them is meant, and of that one only the prefix that some
hundred keys share (SPEC §3.5). A root that moves is asked about in the same buckets. Programs are asked for by all that
the leaves of all these buckets name. Each part is checked against the root that L1 has; decoys are not kept.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import trio

from node.chain.errors import ExecutionReverted
from node.errors import StateUnavailable
from node.l1 import Contracts
from node.replay import Followed
from node.rollupsync import MAX_PROGRAMS, Download, StatePeers, Wanted, patiently
from protocol.constants import FIELD_ORDER
from protocol.vm.isa import Program
from protocol.vm.openings import Bucket
from protocol.vm.partial import PartialState, prefix_of, read_bucket, read_frontier
from protocol.vm.state import VmState
from protocol.vm.state_tree import Leaf
from protocol.vm.sync import Part, Question, needed_programs, read_program

log = logging.getLogger("unveto.bucketsync")
MAX_BUCKETS: Final = 64
"""Of one state, decoys not counted: a table touches no more."""


@dataclass(slots=True)
class _Known:
    """What is there of one rollup, at one root."""

    root: int
    part: PartialState
    programs: dict[int, Program] = field(default_factory=dict)
    asked: int = 0
    """Buckets that were asked for, decoys included."""
    state: VmState | None = None
    """Of all that; its hashes are computed."""


class BucketRollups:
    """States of rollups for planning (`node.planning.Rollups`), of which only what is touched is there."""

    def __init__(
        self,
        contracts: Contracts,
        peers: StatePeers,
        *,
        secret: bytes,
        decoys: int,
        shuffle: Callable[[list[int]], None],
    ) -> None:
        """Nothing is asked yet.

        Args:
            secret: of this node and the same for ever; picks decoys.
            decoys: buckets that are asked for beside each one that is meant.
            shuffle: puts a list into a random order.
        """
        self._contracts = contracts
        self._peers = peers
        self._secret = secret
        self._decoys = decoys
        self._shuffle = shuffle
        self._known: dict[int, _Known] = {}
        self._asking = trio.Lock()

    async def rollup_at(self, rollup_id: int, number: int) -> Followed | None:
        """What is known of a rollup after a recent block; None if it does not exist.

        Raises:
            StateUnavailable: peers do not give it.
            ChainError: L1 does not answer.
        """
        block = await self._contracts.rpc.block(number)
        if block is None:
            return None
        try:
            root = (await self._contracts.rollup_on(self._contracts.evm(block), rollup_id)).root
        except ExecutionReverted:
            return None
        if not root:
            return None
        async with self._asking:
            known = self._known.get(rollup_id)
            if known is None or known.root != root:
                prefixes = frozenset[int]() if known is None else known.part.prefixes
                bits = None if known is None else known.part.bits
                known = _Known(root, await self._frontier(rollup_id, root))
                # What was touched before will be again, and nobody learns more by it.
                await self._ask_for(rollup_id, known, prefixes if known.part.bits == bits else ())
                self._known[rollup_id] = known
        return Followed(state=known.state)

    async def widen(self, rollup_id: int, state: VmState, key: int) -> VmState | None:
        """The same state with the bucket of a key that was missing; None if it is there, or that would be too much.

        Raises:
            StateUnavailable: peers do not give it.
        """
        async with self._asking:
            known = self._known.get(rollup_id)
            if known is None or known.root != state.root or known.part.has(key):
                return None
            if len(known.part.prefixes) >= MAX_BUCKETS:
                return None
            await self._ask_for(rollup_id, known, [prefix_of(key, known.part.bits)])
            return known.state

    def told_peers(self, rollup_ids: Sequence[int]) -> tuple[str, ...]:
        """How many buckets were asked for, and among how many keys those that are meant hide."""
        told = []
        for rollup_id in rollup_ids:
            known = self._known.get(rollup_id)
            if known is None:
                continue
            part, meant = known.part, len(known.part.prefixes)
            width = part.frontier.next_index >> part.bits
            told.append(
                f"those that gave parts: that this node uses rollup {rollup_id}, and {known.asked} prefixes of"
                f" {part.bits} bits, {meant} of them meant; about {width} keys have each"
            )
        return tuple(told)

    # -- asking ------------------------------------------------------------------------------------------------

    async def _frontier(self, rollup_id: int, root: int) -> PartialState:
        question = Question(part=Part.FRONTIER, rollup_id=rollup_id, root=root)
        wanted = [Wanted(question, partial(read_frontier, root))]
        (frontier,) = await patiently(lambda: Download(self._peers, rollup_id).gather(wanted))
        return PartialState(frontier=frontier)

    async def _ask_for(self, rollup_id: int, known: _Known, meant: Iterable[int]) -> None:
        """Buckets and their decoys, in one random order, and all programs that they name."""
        bits, meant = known.part.bits, frozenset(meant) - known.part.prefixes
        asked = list(meant.union(*(self.decoys_of(rollup_id, bits, prefix) for prefix in meant)))
        self._shuffle(asked)
        asking = Download(self._peers, rollup_id)
        ask = partial(Question, rollup_id=rollup_id, root=known.root)
        got: list[Bucket] = await asking.gather(
            [
                Wanted(ask(part=Part.BUCKET, bits=bits, which=each), partial(read_bucket, known.root, bits, each))
                for each in asked
            ]
        )
        leaves = [leaf for bucket in got for _, leaf in bucket.leaves]
        programs = await self._programs(asking, ask, leaves, known)
        for bucket in got:
            if bucket.prefix in meant:
                known.part = known.part.with_bucket(bucket)
        known.programs |= programs
        known.asked += len(asked)
        known.state = await trio.to_thread.run_sync(_hashed, known.part, dict(known.programs))

    async def _programs(
        self, asking: Download, ask: Callable[..., Question], leaves: Sequence[Leaf], known: _Known
    ) -> dict[int, Program]:
        hashes = sorted(needed_programs(leaves) - known.programs.keys())
        if len(hashes) + len(known.programs) > MAX_PROGRAMS:
            raise StateUnavailable(rollup_id=asking.rollup_id, why=f"more than {MAX_PROGRAMS} programs")
        wanted = [Wanted(ask(part=Part.PROGRAM, which=each), partial(read_program, each)) for each in hashes]
        return dict(zip(hashes, await asking.gather(wanted), strict=True))

    def decoys_of(self, rollup_id: int, bits: int, prefix: int) -> frozenset[int]:
        """Other buckets that are always asked for with one: as many as configured, or all there are."""
        count = 1 + prefix_of(FIELD_ORDER - 1, bits)  # no key lies beyond
        others: set[int] = set()
        place = 0
        while len(others) < min(self._decoys, count - 1):
            text = b"%d %d %d %d" % (rollup_id, bits, prefix, place)
            other = int.from_bytes(hmac.digest(self._secret, text, hashlib.sha256), "big") % count
            place += 1
            if other != prefix:
                others.add(other)
        return frozenset(others)


def _hashed(part: PartialState, programs: Mapping[int, Program]) -> VmState:
    """The state; hashing it takes a second for each bucket, so it is done in a thread and once."""
    state = part.state(programs)
    assert state.root
    return state
