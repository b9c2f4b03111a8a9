"""Developer keys kept in the user's cache directory, named by the hash of their circuit."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from proving.build import cache_dir
from proving.errors import ZkeyMalformed
from proving.native import DEFAULT_OPTIONS, Data, Options, Progress
from proving.points import VerifyingKey
from proving.r1cs import R1cs, read_r1cs
from proving.setup_dev import SEED, known_secrets, make_verifying_key, setup_dev
from proving.zkey import Zkey, read_zkey


def dev_key_path(circuit_hash: bytes) -> Path:
    """Where the developer key of a circuit is kept; the name also carries the version of the published secrets."""
    version = SEED.rpartition(b"/")[2].decode()
    return cache_dir() / "keys" / f"dev{version}-{circuit_hash.hex()}.zkey"


def cached_dev_key(
    r1cs: Path | Data | R1cs,
    *,
    notice: Callable[[str], None] | None = None,
    progress: Progress | None = None,
    options: Options = DEFAULT_OPTIONS,
) -> Path:
    """Path of the developer key of a circuit, made first when the cache has none or a damaged one.

    Several processes may ask at once: one makes the key, the others wait for it.

    Args:
        notice: called with one line of text when the key has to be made.
        progress: see `setup_dev`.

    Raises:
        R1csMalformed, CoreError, OSError.
    """
    system = r1cs if isinstance(r1cs, R1cs) else read_r1cs(r1cs)
    path = dev_key_path(system.circuit_hash())
    if _usable(path, system) is not None:
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("a") as lock:
        os.lockf(lock.fileno(), os.F_LOCK, 0)
        if _usable(path, system) is None:
            if notice is not None:
                notice(
                    f"making the developer key of a circuit with {system.n_constraints} constraints "
                    f"(known secrets, not for production; once, kept in {path.parent})"
                )
            setup_dev(system, path, progress=progress, options=options)
    return path


def cached_dev_verifying_key(r1cs: Path | Data | R1cs, *, options: Options = DEFAULT_OPTIONS) -> VerifyingKey:
    """The verifying half of `cached_dev_key`, found without making the other one.

    Raises:
        R1csMalformed, CoreError, OSError.
    """
    system = r1cs if isinstance(r1cs, R1cs) else read_r1cs(r1cs)
    path = dev_key_path(system.circuit_hash())
    key = _usable(path, system)
    if key is not None:
        return key.verifying_key()
    return make_verifying_key(system, known_secrets(system.circuit_hash()), options=options)


def _usable(path: Path, system: R1cs) -> Zkey | None:
    """The cached key when the file is whole and has the circuit's sizes. What is inside is checked by every proof."""
    try:
        key = read_zkey(path)
    except (FileNotFoundError, ZkeyMalformed):
        return None
    if not key.is_dev_key or (key.n_wires, key.n_public) != (system.n_wires, system.n_public):
        return None
    return key
