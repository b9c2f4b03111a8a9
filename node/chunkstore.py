"""Chunks of rollup states on disk, by their hash, so that a download that was cut goes on (SPEC §3.5).

Nothing in it is believed: who reads a chunk checks it as if a peer had sent it. So a torn or changed file costs a
download, and a write needs no order with any other.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import Final

from protocol.vm.sync import CHUNK_LEAVES, LEAF_BYTES

MAX_CHUNK_BYTES: Final = CHUNK_LEAVES * LEAF_BYTES


class ChunkStore:
    """One folder; a subfolder for each rollup. Blocks: use it from a thread."""

    def __init__(self, folder: Path, *, on_write: Callable[[str], None]) -> None:
        """
        Args:
            on_write: called when a chunk is on disk under its name (fault tests end the process there).
        """
        self._folder = folder
        self._on_write = on_write

    def read(self, rollup_id: int, chunk_hash: int) -> bytes | None:
        """What is there under a hash, at most a chunk's length; None for nothing."""
        try:
            with self._path(rollup_id, chunk_hash).open("rb") as file:
                return file.read(MAX_CHUNK_BYTES + 1)
        except FileNotFoundError:
            return None

    def write(self, rollup_id: int, chunk_hash: int, raw: bytes) -> None:
        """Keep a checked chunk."""
        path = self._path(rollup_id, chunk_hash)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        torn = path.with_suffix(".part")
        torn.write_bytes(raw)
        os.replace(torn, path)
        self._on_write("chunk")

    def keep_only(self, rollup_id: int, hashes: Collection[int]) -> None:
        """Delete the chunks of a rollup that its state no longer has."""
        wanted = {self._path(rollup_id, each).name for each in hashes}
        with suppress(FileNotFoundError):
            for path in self._path(rollup_id, 0).parent.iterdir():
                if path.name not in wanted:
                    path.unlink(missing_ok=True)

    def _path(self, rollup_id: int, chunk_hash: int) -> Path:
        return self._folder / str(rollup_id) / f"{chunk_hash:064x}.chunk"
