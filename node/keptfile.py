"""Signed landing transactions as files, so that anybody can land them: the bytes on disk need neither the node nor its
key (SPEC §9.7).

A file holds the whole table in plain text, like the transaction itself; it is the owner's alone until the owner gives
it away, and leaves the disk with its order.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from node.errors import UsageError

FOLDER: Final = "kept"
MAX_FILE_BYTES: Final = 1 << 20
_KEYS: Final = frozenset({"request_id", "raw", "core", "valid_until"})


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptTransaction:
    """What is in a file."""

    request_id: bytes
    """32 bytes."""
    raw: bytes
    """Signed transaction: table, proofs, settlement."""
    core: bytes
    """The table alone, for whoever wants to look."""
    valid_until: int
    """Unix seconds."""


class KeptFiles:
    """The files of one node. Synchronous."""

    def __init__(self, data_dir: Path) -> None:
        self._folder = data_dir / FOLDER

    def path(self, request_id: bytes) -> Path:
        """Where an order's file is."""
        return self._folder / f"{request_id.hex()}.json"

    def write(self, kept: KeptTransaction) -> None:
        """Whole or not at all; a newer one takes the place of an older one."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self.path(kept.request_id)
        scratch = path.with_suffix(".tmp")
        value = {
            "request_id": kept.request_id.hex(),
            "raw": "0x" + kept.raw.hex(),
            "core": "0x" + kept.core.hex(),
            "valid_until": kept.valid_until,
        }
        descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(value, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(path)

    def sweep(self, live: Collection[bytes]) -> None:
        """Removes the files of orders that are not live."""
        names = {self.path(request_id).name for request_id in live}
        for path in self._folder.glob("*") if self._folder.is_dir() else ():
            if path.name not in names:
                path.unlink(missing_ok=True)


def read_kept(path: Path) -> KeptTransaction:
    """Reads a file that somebody gave us.

    Raises:
        UsageError: it is no such file.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
        if len(data) > MAX_FILE_BYTES:
            raise UsageError(problem=f"{path} is larger than {MAX_FILE_BYTES} bytes")
        value = json.loads(data)
        if not isinstance(value, dict) or set(value) != _KEYS or type(value["valid_until"]) is not int:
            raise UsageError(problem=f"{path} is no kept transaction")
        return KeptTransaction(
            request_id=bytes.fromhex(value["request_id"]),
            raw=bytes.fromhex(value["raw"].removeprefix("0x")),
            core=bytes.fromhex(value["core"].removeprefix("0x")),
            valid_until=value["valid_until"],
        )
    except OSError as error:
        raise UsageError(problem=f"{path}: {error.strerror}") from error
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise UsageError(problem=f"{path} is no kept transaction") from error
