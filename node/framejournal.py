"""Accepted gossip frames on disk, so that a node that starts again knows what it has accepted.

Without it a frame could be played to a restarted node as if it were new: a request that was cancelled would hold its
ticket again, a bid or an award of a known request would be about nothing. Two files take turns: when one is as old as a
frame can live, it becomes the previous one, and the one before is gone. A record is

    accepted, unix ms u64 | topic length u16 | frame length u32 | crc32 of all else u32 | topic | frame

and is handed to the system before its frame is passed on. It is not forced to the disk: a crash of the machine may cost
the last records, and with them some protection for the few minutes that their frames still live.
"""

from __future__ import annotations

import logging
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from node.p2p.framestore import MemoryFrameStore
from node.p2p.verdicts import frame_id
from protocol.constants import MAX_LIFETIME_MS

CURRENT: Final = "frames.journal"
PREVIOUS: Final = "frames.journal.1"
MAX_FILE_BYTES: Final = 64 << 20  # of each of the two; then the older half is given up before its time
_HEAD: Final = struct.Struct(">QHII")
_MAX_TOPIC: Final = 256
_MAX_FRAME: Final = 1 << 19

log = logging.getLogger("unveto.journal")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """One accepted frame."""

    accepted_ms: int
    topic: str
    frame: bytes


class FrameJournal:
    """The two files of one node. `load` first, then `append`."""

    def __init__(self, folder: Path, *, now_ms: Callable[[], int]) -> None:
        """
        Args:
            now_ms: unix milliseconds.
        """
        self._folder = folder
        self._now_ms = now_ms
        self._file: BinaryIO | None = None
        self._size = 0
        self._began_ms = now_ms()

    def load(self) -> tuple[Kept, ...]:
        """What was accepted lately, oldest first. What a crash cut off is removed from the file."""
        horizon_ms = self._now_ms() - 2 * MAX_LIFETIME_MS
        kept = [each for each in _read(self._folder / PREVIOUS) if each.accepted_ms > horizon_ms]
        current = list(_read(self._folder / CURRENT))
        self._open(sum(_length(each) for each in current))
        if current:
            self._began_ms = min(self._began_ms, current[0].accepted_ms)
        return (*kept, *(each for each in current if each.accepted_ms > horizon_ms))

    def append(self, topic: str, frame: bytes) -> None:
        """Record a frame that is accepted now. A full disk costs the record, not the node."""
        now_ms = self._now_ms()
        try:
            if now_ms - self._began_ms > MAX_LIFETIME_MS or self._size > MAX_FILE_BYTES:
                self._turn(now_ms)
            record = _pack(Kept(accepted_ms=now_ms, topic=topic, frame=frame))
            file = self._file if self._file is not None else self._open(self._size)
            file.write(record)
            file.flush()
            self._size += len(record)
        except OSError as error:
            log.warning("an accepted frame is not recorded: %s", error.strerror)
            self.close()  # reopened, and cut to whole records, at the next one

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            file, self._file = self._file, None
            try:
                file.close()
            except OSError as error:  # what could not be written before cannot be written now
                log.debug("closing the journal: %s", error.strerror)

    def _open(self, size: int) -> BinaryIO:
        path = self._folder / CURRENT
        self._file = path.open("r+b" if path.exists() else "w+b")
        self._file.truncate(size)
        self._file.seek(size)
        self._size = size
        return self._file

    def _turn(self, now_ms: int) -> None:
        self.close()
        path = self._folder / CURRENT
        if path.exists():
            os.replace(path, self._folder / PREVIOUS)
        self._size, self._began_ms = 0, now_ms


class JournaledStore(MemoryFrameStore):
    """Frames for catch-up that are also on disk. `recall` before the first `add`."""

    def __init__(
        self,
        journal: FrameJournal,
        *,
        epoch: int,
        now: Callable[[], float],
        max_age_s: float,
        max_frames: int,
        max_bytes: int,
    ) -> None:
        super().__init__(epoch=epoch, now=now, max_age_s=max_age_s, max_frames=max_frames, max_bytes=max_bytes)
        self._journal = journal

    def recall(self, kept: tuple[Kept, ...], now_ms: int) -> None:
        """Offer others again what was accepted before."""
        for each in kept:
            age_s = max(0, now_ms - each.accepted_ms) / 1000
            self.put(each.topic, frame_id(each.frame), each.frame, age_s=age_s)

    def add(self, topic: str, frame_id: bytes, frame: bytes) -> None:
        if self.put(topic, frame_id, frame, age_s=0.0):
            self._journal.append(topic, frame)


def _pack(kept: Kept) -> bytes:
    topic = kept.topic.encode()
    head = struct.pack(">QHI", kept.accepted_ms, len(topic), len(kept.frame))
    checksum = zlib.crc32(head + topic + kept.frame)
    return head + checksum.to_bytes(4, "big") + topic + kept.frame


def _length(kept: Kept) -> int:
    return _HEAD.size + len(kept.topic.encode()) + len(kept.frame)


def _read(path: Path) -> Iterator[Kept]:
    """Whole records from the beginning of a file; the first that is not one ends it."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return
    at = 0
    while at + _HEAD.size <= len(data):
        accepted_ms, topic_bytes, frame_bytes, checksum = _HEAD.unpack_from(data, at)
        start = at + _HEAD.size
        end = start + topic_bytes + frame_bytes
        if topic_bytes > _MAX_TOPIC or frame_bytes > _MAX_FRAME or end > len(data):
            return
        if zlib.crc32(data[at : at + _HEAD.size - 4] + data[start:end]) != checksum:
            return
        topic = data[start : start + topic_bytes].decode(errors="replace")
        yield Kept(accepted_ms=accepted_ms, topic=topic, frame=data[start + topic_bytes : end])
        at = end
