"""Valid frames of the last minutes, kept so that peers which missed them can catch up."""

import itertools
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol


class FrameStore(Protocol):
    """What catch-up needs of a store. Sync: it is written where a frame is judged.

    Each accepted frame gets the next position, counted from 1 per topic. Positions are meaningful within one `epoch`
    only: a store that forgets its positions on restart must start with a new epoch.
    """

    epoch: int
    """Random u64 naming the sequence of positions."""

    def add(self, topic: str, frame_id: bytes, frame: bytes) -> None:
        """Keep a frame; a frame kept already keeps its position."""

    def ids_after(self, topic: str, position: int, limit: int) -> Sequence[tuple[int, bytes]]:
        """Up to `limit` pairs (position, frame id) above `position`, ascending, of frames that are still kept."""

    def last(self, topic: str) -> int:
        """Position of the frame kept last, whether or not it is still kept; 0 before the first."""

    def get(self, topic: str, frame_id: bytes) -> bytes | None:
        """The frame, or None if it is not kept (any more)."""


@dataclass(slots=True)
class _Entry:
    topic: str
    frame_id: bytes
    stored: float


class MemoryFrameStore:
    """Frames in memory, bounded in age, number and bytes. Nothing survives a restart, hence a random epoch."""

    def __init__(
        self, *, epoch: int, now: Callable[[], float], max_age_s: float, max_frames: int, max_bytes: int
    ) -> None:
        """
        Args:
            epoch: Random u64.
            now: Monotonic seconds.
            max_age_s: Frames older than this are dropped.
            max_frames: Frames in all topics, at most.
            max_bytes: Bytes of frames in all topics, at most.
        """
        self.epoch = epoch
        self._now = now
        self._max_age_s = max_age_s
        self._max_frames = max_frames
        self._max_bytes = max_bytes
        self._order: deque[_Entry] = deque()
        self._frames: dict[tuple[str, bytes], bytes] = {}
        self._ids: dict[str, deque[bytes]] = {}
        self._next: dict[str, int] = {}  # position of the next frame of a topic; the oldest kept has next - count
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def size_bytes(self) -> int:
        """Bytes of all frames kept."""
        return self._bytes

    def add(self, topic: str, frame_id: bytes, frame: bytes) -> None:
        self.put(topic, frame_id, frame, age_s=0.0)

    def put(self, topic: str, frame_id: bytes, frame: bytes, *, age_s: float) -> bool:
        """Keep a frame that was accepted a while ago, none older than those kept already. Returns whether it is new."""
        if (topic, frame_id) in self._frames or len(frame) > self._max_bytes:
            return False
        self._next[topic] = self._next.get(topic, 1) + 1
        self._ids.setdefault(topic, deque()).append(frame_id)
        self._frames[topic, frame_id] = frame
        self._order.append(_Entry(topic, frame_id, self._now() - age_s))
        self._bytes += len(frame)
        self._drop_excess()
        return True

    def ids_after(self, topic: str, position: int, limit: int) -> Sequence[tuple[int, bytes]]:
        self._drop_excess()
        known = self._ids.get(topic, deque())
        first = self._next.get(topic, 1) - len(known)
        skip = max(0, position + 1 - first)
        return tuple((first + skip + i, name) for i, name in enumerate(itertools.islice(known, skip, skip + limit)))

    def last(self, topic: str) -> int:
        return self._next.get(topic, 1) - 1

    def get(self, topic: str, frame_id: bytes) -> bytes | None:
        self._drop_excess()
        return self._frames.get((topic, frame_id))

    def _drop_excess(self) -> None:
        horizon = self._now() - self._max_age_s
        while self._order and (
            self._order[0].stored < horizon or len(self._order) > self._max_frames or self._bytes > self._max_bytes
        ):
            oldest = self._order.popleft()
            self._bytes -= len(self._frames.pop((oldest.topic, oldest.frame_id)))
            self._ids[oldest.topic].popleft()  # entries of a topic leave in the order they came
