"""Bounds what a cache folder keeps: the least recently used files go first, and none that is in use.

A file is in use while somebody holds a shared lock on it (`hold`). The lock belongs to the open file, so a mapping of
it keeps the lock, and the end of the process drops it. Use is remembered as time of change, since many file systems do
not keep the time of access.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path
from typing import IO


def hold(file: IO[bytes]) -> None:
    """Marks an open file as used now and in use until it and its mappings are closed."""
    with contextlib.suppress(OSError):  # a read-only cache is never pruned
        fcntl.flock(file.fileno(), fcntl.LOCK_SH)
        os.utime(file.fileno())


def prune(folder: Path, pattern: str, limit: int) -> list[Path]:
    """Removes files until the rest takes at most `limit` bytes; the latest one stays whatever its size.

    Returns:
        What was removed.
    """
    found = []
    for path in folder.glob(pattern):
        with contextlib.suppress(FileNotFoundError):  # another process prunes too
            stat = path.stat()
            found.append((stat.st_mtime_ns, stat.st_size, path))
    total = sum(size for _, size, _ in found)
    removed = []
    for _, size, path in sorted(found)[:-1]:
        if total <= limit:
            break
        if _removed(path):
            total -= size
            removed.append(path)
    return removed


def _removed(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
    except OSError:  # in use, gone already, or not ours
        return False
    return True
