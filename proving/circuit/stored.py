"""Circuits of tiers kept in the user's cache directory, named by a hash of all sources that they follow from.

API:
    stored_r1cs(tier) -> bytes      the `.r1cs` file of a tier, recorded first where the cache has none or a damaged one
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from functools import cache
from pathlib import Path
from typing import Final

import protocol
from proving.build import cache_dir
from proving.circuit.table_vm import circuit_for
from proving.circuit.tiers import SHAPES
from proving.pruning import hold, prune

KEPT_BYTES: Final = 1 << 31
_DIGEST: Final = hashlib.sha256().digest_size


@cache
def sources_hash() -> str:
    """SHA-256 over the sources of `protocol` and of this package, hex."""
    digest = hashlib.sha256()
    for package in (Path(protocol.__file__).parent, Path(__file__).parent):
        for path in sorted(package.rglob("*.py")):
            name, text = str(path.relative_to(package)).encode(), path.read_bytes()
            digest.update(len(name).to_bytes(4, "big") + name + len(text).to_bytes(8, "big") + text)
    return digest.hexdigest()


def stored_path(tier: int) -> Path:
    """Where a tier's circuit is kept: its SHA-256, then the `.r1cs` file."""
    return cache_dir() / "circuits" / f"{SHAPES[tier].tier.name}-{sources_hash()}.r1cs"


def stored_r1cs(tier: int) -> bytes:
    """The `.r1cs` file of a tier.

    Raises:
        KeyError: no such tier.
    """
    path = stored_path(tier)
    with contextlib.suppress(OSError), path.open("rb") as file:
        hold(file)
        raw = file.read()
        if hashlib.sha256(raw[_DIGEST:]).digest() == raw[:_DIGEST]:
            return raw[_DIGEST:]
    made = circuit_for(tier).r1cs_bytes
    # A cache that cannot be written is no reason to prove nothing.
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(f".{os.getpid()}.draft")
        draft.write_bytes(hashlib.sha256(made).digest() + made)
        draft.replace(path)
        prune(path.parent, "*.r1cs", KEPT_BYTES)
    return made
