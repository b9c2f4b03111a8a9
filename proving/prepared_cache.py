"""Prepared keys in the user's cache directory, so that a .zkey is converted once and mapped from then on.

A prepared key is named by the SHA-256 of its .zkey, its radix and the format's version. Hashing a large file takes
longer than opening a prepared one, so the hash is remembered under what the system says of the file: device, inode,
size and times of change. A file that is changed in place gets another time of change and is hashed again.

Together they take at most `MAX_CACHED_BYTES`: see `pruning`.
"""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import os
import re
from pathlib import Path
from typing import Final

from proving.build import cache_dir
from proving.errors import PreparedKeyDamaged, ZkeyMalformed
from proving.native import DEFAULT_OPTIONS, Options
from proving.prepared import VERSION, PreparedKey, prepare, radix_bits, seal, write_sections
from proving.pruning import hold, prune
from proving.zkey import read_zkey

MIN_CACHED_BYTES: Final = 1 << 20
"""Smaller keys are converted for each call, in a few milliseconds."""
MAX_CACHED_BYTES: Final = 4 << 30
"""All prepared keys together, about a dozen of 2^20 constraints; the latest one stays whatever its size."""


def cached_prepared_key(zkey: Path, options: Options = DEFAULT_OPTIONS) -> PreparedKey:
    """The prepared form of a key file, from the cache or made and kept there.

    Several processes may ask at once: one converts, the others wait for it. A damaged file is made again. Where
    the cache cannot be written the key is prepared in memory.

    Raises:
        ZkeyMalformed: see `read_zkey` and `prepare`.
        OSError: the key file cannot be read.
    """
    if zkey.stat().st_size < MIN_CACHED_BYTES:
        return prepare(read_zkey(zkey), options)
    folder = cache_dir() / "keys"
    name = f"{_content_hash(zkey, folder)}-{radix_bits(options)}-{VERSION}.prepared"
    path = folder / name
    found = _open(path, options)
    if found is not None:
        return found
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        with path.with_suffix(".lock").open("a") as lock:
            os.lockf(lock.fileno(), os.F_LOCK, 0)
            found = _open(path, options)
            if found is None:
                _store(zkey, path, options)
                found = _open(path, options)
                prune(folder, "*.prepared", MAX_CACHED_BYTES)
    return found or prepare(read_zkey(zkey), options)


def _open(path: Path, options: Options) -> PreparedKey | None:
    try:
        with path.open("rb") as file:
            hold(file)
            image = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError):  # ValueError: an empty file cannot be mapped
        return None
    try:
        return PreparedKey.from_image(memoryview(image), options)
    except PreparedKeyDamaged:
        return None


def _store(zkey: Path, path: Path, options: Options) -> None:
    """Writes beside the final name and renames; the lock is held, so nobody else writes there."""
    key = read_zkey(zkey)
    partial = path.with_suffix(".partial")
    try:
        with partial.open("w+b") as file:
            entries = write_sections(key, file, options)
            file.flush()
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as image, memoryview(image) as whole:
                header = seal(key, entries, whole, options)
            file.seek(0)
            file.write(header)
        if not path.name.startswith(_content_hash(zkey, path.parent)):
            raise ZkeyMalformed("the file was changed while it was read")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _content_hash(zkey: Path, folder: Path) -> str:
    """SHA-256 of a key file in hexadecimal, remembered for as long as the file stays as it is."""
    with zkey.open("rb") as file:
        identity = _identity(file.fileno())
        known = folder / f"{hashlib.sha256(identity).hexdigest()[:32]}.content"
        with contextlib.suppress(OSError, UnicodeDecodeError):
            text = known.read_text()
            if re.fullmatch("[0-9a-f]{64}", text):
                return text
        found = hashlib.file_digest(file, "sha256").hexdigest()
        if _identity(file.fileno()) != identity:
            raise ZkeyMalformed("the file was changed while it was read")
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        partial = known.with_suffix(f".{os.getpid()}")
        partial.write_text(found)
        partial.replace(known)
    return found


def _identity(file: int) -> bytes:
    stat = os.fstat(file)
    return repr((stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)).encode()
