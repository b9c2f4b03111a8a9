"""What a relay keeps of gossip: every frame that reached its validators, as it came, in one bounded file."""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final

from node.store.database import OnCommit, nothing

log = logging.getLogger("unveto.evidence")

MAX_LOG_BYTES: Final = 64 << 20  # then the oldest half makes room
LOG_NAME: Final = "gossip.log"


class FrameLog:
    """Appends `topic length u16 | frame length u32 | topic | frame`. A tap of `node.p2p.gossip.Gossip`.

    It begins with a file of whole records, whatever a crash has left. On a full disk frames go unrecorded; a relay
    relays all the same.
    """

    def __init__(self, folder: Path, on_write: OnCommit = nothing) -> None:
        """
        Args:
            on_write: as `Database`'s, around each record.
        """
        self._path = folder / LOG_NAME
        self._on_write = on_write
        self._file: BinaryIO | None = None
        self._size = sum(len(_record(topic, frame)) for topic, frame in read_frames(folder))

    def __call__(self, topic: str, frame: bytes) -> None:
        """Record one frame."""
        self._on_write("before gossip log")
        try:
            file = self._file if self._file is not None else self._open()
            record = _record(topic, frame)
            if file.write(record) != len(record):
                raise OSError(errno.ENOSPC, "no room for the whole record")
            self._size += len(record)
            if self._size > MAX_LOG_BYTES:
                self._halve()
        except OSError as error:
            log.warning("a frame is not recorded: %s", error.strerror)
            self.close()  # opened again, and cut to whole records, at the next one
        self._on_write("after gossip log")

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            file, self._file = self._file, None
            with suppress(OSError):  # what could not be written before cannot be written now
                file.close()

    def _open(self) -> BinaryIO:
        # Unbuffered: a record that found no room must not come later, behind what was cut.
        self._file = self._path.open("r+b" if self._path.exists() else "w+b", buffering=0)
        self._file.truncate(self._size)
        self._file.seek(self._size)
        return self._file

    def _halve(self) -> None:
        self.close()
        records = list(read_frames(self._path.parent))
        scratch = self._path.with_suffix(".tmp")
        with scratch.open("wb") as file:
            self._size = sum(file.write(_record(*each)) for each in records[len(records) // 2 :])
        scratch.replace(self._path)
        self._open()


def _record(topic: str, frame: bytes) -> bytes:
    name = topic.encode()
    return len(name).to_bytes(2, "big") + len(frame).to_bytes(4, "big") + name + frame


def read_frames(folder: Path) -> Iterator[tuple[str, bytes]]:
    """(topic, frame) of a relay's log, oldest first; a record cut by a crash ends it."""
    try:
        data = (folder / LOG_NAME).read_bytes()
    except FileNotFoundError:
        return
    at = 0
    while at + 6 <= len(data):
        name_bytes, frame_bytes = int.from_bytes(data[at : at + 2], "big"), int.from_bytes(data[at + 2 : at + 6], "big")
        end = at + 6 + name_bytes + frame_bytes
        if end > len(data):
            return
        yield data[at + 6 : at + 6 + name_bytes].decode(), data[at + 6 + name_bytes : end]
        at = end
