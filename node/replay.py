"""Rebuilds table-VM rollups from the logs of Rollups, each rollup by itself (SPEC §3.4, §8.1).

Synchronous and without I/O. `RollupLog.note` sorts the events of a block into one lane for each rollup; `turn` gives
the next event of a lane, `Turn.run` replays it (in any thread, it changes nothing), `finish` keeps what came out. So a
rollup whose entries take minutes delays nobody else. Any recent block can be taken back. States are persistent values:
keeping those of the last blocks costs little.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from node.chain.records import Log
from node.l1 import ExecutionConsumed, RollupCreated, TableLoaded, event_from_log
from protocol.constants import MAX_TABLE_BLOCKS
from protocol.errors import ProtocolError
from protocol.table import Core, decode_core
from protocol.types import Hash32
from protocol.vm.genesis import decode_genesis, state_from_genesis
from protocol.vm.rollup import apply_entry
from protocol.vm.state import VmState

MAX_ROLLBACK_BLOCKS: Final = 256  # a deeper reorganisation starts the replay again
MAX_WAITING: Final = 1 << 16
"""Turns noted and not replayed yet, over all rollups, beyond which no further block is read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """One rollup as replayed."""

    state: VmState | None
    """None once the rollup cannot be followed."""
    fault: str | None = None
    """Why it cannot: a coded reason. A rollup with a fault must not be used."""
    entries: int = 0
    """Consumed entries so far."""


NOTHING_KNOWN: Final[Mapping[int, Followed]] = MappingProxyType({})
_NOT_REPLAYED: Final = Followed(state=None)
"""Stands below a genesis whose turn has not come."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What is known after one block. A rollup whose turns still wait is shown as far as it is replayed."""

    number: int
    block_hash: bytes
    rollups: Mapping[int, Followed]


@dataclass(frozen=True, slots=True)
class Loaded:
    """A core that entries of this or a later block may consume."""

    event: TableLoaded
    core: Core | None
    """None if it does not decode: then what it moves cannot be followed; everything else still can."""


Read = RollupCreated | Loaded | ExecutionConsumed


def read_events(logs: Sequence[Log]) -> tuple[Read, ...]:
    """The events of one block that move rollups. Decodes cores, so it belongs in a thread."""
    found: list[Read] = []
    for log in logs:
        event = event_from_log(log)
        if isinstance(event, TableLoaded):
            core = None
            with suppress(ProtocolError):
                core = decode_core(event.core)
            found.append(Loaded(event, core))
        elif isinstance(event, RollupCreated | ExecutionConsumed):
            found.append(event)
    return tuple(found)


@dataclass(frozen=True, slots=True, eq=False)
class Turn:
    """One event to replay on a rollup. Compared by identity."""

    rollup_id: int
    number: int
    """Block."""
    event: RollupCreated | ExecutionConsumed
    core: Core | None
    """That the entry belongs to; None if unknown."""
    before: Followed

    def run(self) -> Followed:
        """The rollup after it. Pure; may take as long as a hostile program can make it."""
        if isinstance(self.event, RollupCreated):
            return _created(self.event)
        return _consumed(self.before, self.event, self.core)


@dataclass(slots=True)
class _Lane:
    """One rollup: what it was after recent blocks, and the events that wait."""

    history: deque[tuple[int, Followed]]
    """(block, after it), ascending; not empty."""
    waiting: deque[tuple[int, RollupCreated | ExecutionConsumed, Core | None]]
    spent_s: float = 0.0
    """Replay time so far: who used least goes first."""

    @property
    def latest(self) -> Followed:
        return self.history[-1][1]


class RollupLog:
    """Replays logs of Rollups in block order."""

    def __init__(self, known: Mapping[int, Followed] = NOTHING_KNOWN, *, number: int = -1) -> None:
        """Start after a block, with what is known by other means.

        Args:
            number: that block; -1 is before any.
        """
        self._blocks: deque[tuple[int, bytes]] = deque([(number, b"")], maxlen=MAX_ROLLBACK_BLOCKS)
        self._lanes = {each: _Lane(deque([(number, known[each])]), deque()) for each in known}
        self._cores: dict[Hash32, tuple[int, Core | None]] = {}
        """Cores of the persistent lane that may still be consumed: block of the load, core."""
        self._turns: dict[int, Turn] = {}
        """Given out, by rollup."""
        self.waiting = 0
        """Events noted and not replayed yet."""

    @property
    def number(self) -> int:
        """The last block noted."""
        return self._blocks[-1][0]

    @property
    def last_block(self) -> tuple[int, bytes]:
        """Height and hash of the last block noted."""
        return self._blocks[-1]

    @property
    def latest(self) -> Snapshot:
        """After the last block that was noted."""
        number, block_hash = self._blocks[-1]
        return Snapshot(
            number=number,
            block_hash=block_hash,
            rollups=MappingProxyType({each: lane.latest for each, lane in self._lanes.items()}),
        )

    @property
    def core_count(self) -> int:
        """Cores that are kept for later blocks."""
        return len(self._cores)

    def unknown_cores(self, events: Sequence[Read]) -> frozenset[Hash32]:
        """Cores that entries of rollups followed here are of, and that were loaded before this log began."""
        here = {event.event.core_id for event in events if isinstance(event, Loaded)}
        return frozenset(
            event.core_id
            for event in events
            if isinstance(event, ExecutionConsumed)
            and event.rollup_id in self._lanes
            and event.core_id not in here
            and event.core_id not in self._cores
        )

    def supply(self, number: int, loaded: Loaded) -> None:
        """Take in a core that was loaded before this log began, at a block."""
        self._cores.setdefault(loaded.event.core_id, (number, loaded.core))

    def note(self, number: int, block_hash: bytes, events: Sequence[Read]) -> None:
        """Take in one block; nothing is replayed yet."""
        here: dict[Hash32, Core | None] = {}  # also of the transient lane, which ends with its transaction
        for event in events:
            if isinstance(event, Loaded):
                here[event.event.core_id] = event.core
                if event.event.is_persistent:
                    self._cores[event.event.core_id] = (number, event.core)
            elif isinstance(event, RollupCreated):
                lane = _Lane(deque([(number, _NOT_REPLAYED)]), deque())
                self._lanes[event.rollup_id] = lane
                self._wait(lane, number, event, None)
            else:
                known = self._lanes.get(event.rollup_id)
                if known is None or (known.latest.fault is not None and not known.waiting):
                    continue
                core = here.get(event.core_id) or self._cores.get(event.core_id, (0, None))[1]
                self._wait(known, number, event, core)
        self._blocks.append((number, block_hash))
        self._forget()

    def turn(self, rollup_id: int) -> Turn | None:
        """The next event of a rollup, None if none waits or one is out already."""
        lane = self._lanes.get(rollup_id)
        if lane is None or not lane.waiting or rollup_id in self._turns:
            return None
        number, event, core = lane.waiting[0]
        turn = Turn(rollup_id, number, event, core, lane.latest)
        self._turns[rollup_id] = turn
        return turn

    def finish(self, turn: Turn, after: Followed, spent_s: float = 0.0) -> bool:
        """Keep what a turn gave. False if its block was taken back meanwhile: then it counts for nothing."""
        if self._turns.get(turn.rollup_id) is not turn:
            return False
        del self._turns[turn.rollup_id]
        lane = self._lanes[turn.rollup_id]
        lane.waiting.popleft()
        self.waiting -= 1
        lane.spent_s += spent_s
        if lane.history[-1][0] == turn.number:
            lane.history.pop()
        lane.history.append((turn.number, after))
        if after.fault is not None:
            self.waiting -= len(lane.waiting)
            lane.waiting.clear()
        return True

    def ready(self) -> tuple[int, ...]:
        """Rollups with an event to replay, the one that used least time first."""
        found = [each for each, lane in self._lanes.items() if lane.waiting and each not in self._turns]
        return tuple(sorted(found, key=lambda each: self._lanes[each].spent_s))

    def is_replayed(self, rollup_id: int, number: int) -> bool:
        """Whether a rollup's events up to a block are replayed; the block must be noted."""
        lane = self._lanes.get(rollup_id)
        return lane is None or not lane.waiting or lane.waiting[0][0] > number

    def at(self, rollup_id: int, number: int) -> Followed | None:
        """A rollup after a recent block; None if it is not followed, or was not then."""
        lane = self._lanes.get(rollup_id)
        for after, followed in reversed(lane.history if lane is not None else ()):
            if after <= number:
                return followed
        return None

    def adopt(self, rollup_id: int, number: int, followed: Followed) -> None:
        """Follow a rollup from its state after the last noted block, known by other means.

        Raises:
            ValueError: that is another block.
        """
        if number != self.number:
            raise ValueError(f"the state is of block {number}, the log is at {self.number}")
        self._lanes[rollup_id] = _Lane(deque([(number, followed)]), deque())

    def apply(self, number: int, block_hash: bytes, logs: Sequence[Log]) -> Snapshot:
        """Note one block and replay it at once. A fault of one rollup ends that rollup only."""
        self.note(number, block_hash, read_events(logs))
        for rollup_id in self.ready():
            while (turn := self.turn(rollup_id)) is not None:
                self.finish(turn, turn.run())
        return self.latest

    def rollback(self, number: int) -> bool:
        """Forget the blocks above `number`; False if too few are kept, then the replay must start again."""
        kept = [block for block in self._blocks if block[0] <= number]
        if not kept:
            return False
        self._blocks = deque(kept, maxlen=MAX_ROLLBACK_BLOCKS)
        self._cores = {core_id: each for core_id, each in self._cores.items() if each[0] <= number}
        for rollup_id, lane in list(self._lanes.items()):
            self._take_back(rollup_id, lane, number)
        return True

    # -- inside ------------------------------------------------------------------------------------------------

    def _take_back(self, rollup_id: int, lane: _Lane, number: int) -> None:
        while lane.waiting and lane.waiting[-1][0] > number:
            lane.waiting.pop()
            self.waiting -= 1
        while lane.history and lane.history[-1][0] > number:
            lane.history.pop()
        turn = self._turns.get(rollup_id)
        if turn is not None and turn.number > number:
            del self._turns[rollup_id]
        if not lane.history:
            self.waiting -= len(lane.waiting)
            self._turns.pop(rollup_id, None)
            del self._lanes[rollup_id]

    def _wait(self, lane: _Lane, number: int, event: RollupCreated | ExecutionConsumed, core: Core | None) -> None:
        lane.waiting.append((number, event, core))
        self.waiting += 1

    def _forget(self) -> None:
        """Drop what no reorganisation that is survived can ask for: old states, and cores that are long over."""
        oldest, newest = self._blocks[0][0], self._blocks[-1][0]
        for lane in self._lanes.values():
            while len(lane.history) > 1 and lane.history[1][0] <= oldest:
                lane.history.popleft()
        over = newest - MAX_TABLE_BLOCKS - MAX_ROLLBACK_BLOCKS
        for core_id in [each for each, (loaded, _) in self._cores.items() if loaded < over]:
            del self._cores[core_id]


def _created(event: RollupCreated) -> Followed:
    try:
        state = state_from_genesis(decode_genesis(event.genesis))
    except ProtocolError as error:
        return Followed(state=None, fault=f"genesis: {error.code}")
    if state.root != event.genesis_root:
        return Followed(state=None, fault="genesis: ROOT_MISMATCH")
    return Followed(state=state)


def _consumed(known: Followed, event: ExecutionConsumed, core: Core | None) -> Followed:
    if known.state is None:
        return known
    if core is None or event.index >= len(core.entries):
        return replace(known, state=None, fault="entry: UNKNOWN_CORE")
    if core.owner(event.index) != event.rollup_id or core.entries[event.index].new_root != event.new_root:
        return replace(known, state=None, fault="entry: EVENT_MISMATCH")
    try:
        run = apply_entry(known.state, core, event.index)
    except ProtocolError as error:
        # Either the proof system is broken or this replay is: both must stop, not guess.
        return replace(known, state=None, fault=f"entry: {error}")
    return Followed(state=run.post, entries=known.entries + 1)
