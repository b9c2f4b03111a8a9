"""What a relay keeps of gossip: every frame that reached its validators, as it came, in one bounded file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

MAX_LOG_BYTES: Final = 64 << 20  # then the oldest half makes room
LOG_NAME: Final = "gossip.log"


class FrameLog:
    """Appends `topic length u16 | frame length u32 | topic | frame`. A tap of `node.p2p.gossip.Gossip`."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / LOG_NAME
        self._file = self._path.open("ab")

    def __call__(self, topic: str, frame: bytes) -> None:
        """Record one frame."""
        name = topic.encode()
        self._file.write(len(name).to_bytes(2, "big") + len(frame).to_bytes(4, "big") + name + frame)
        self._file.flush()
        if self._file.tell() > MAX_LOG_BYTES:
            self._halve()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _halve(self) -> None:
        self._file.close()
        records = list(read_frames(self._path.parent))
        scratch = self._path.with_suffix(".tmp")
        with scratch.open("wb") as file:
            for topic, frame in records[len(records) // 2 :]:
                name = topic.encode()
                file.write(len(name).to_bytes(2, "big") + len(frame).to_bytes(4, "big") + name + frame)
        scratch.replace(self._path)
        self._file = self._path.open("ab")


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
