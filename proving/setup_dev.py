"""Developer keys: a Groth16 key from secrets that everybody can compute.

The secrets follow from the circuit alone, so that every machine makes the same key and contracts deployed for it agree.
Whoever reads this file can forge proofs under such a key; the key file says so in its contribution list.
"""

from __future__ import annotations

import ctypes
import hashlib
import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from proving.bn254 import R
from proving.native import DEFAULT_OPTIONS, Data, Options, Progress, SetupOutputArg, load, view, writable
from proving.points import VerifyingKey
from proving.r1cs import R1cs, read_r1cs
from proving.zkey import (
    COEFFICIENT_BYTES,
    DEV_KEY_NAME,
    HEADER_POINTS_BYTES,
    Contribution,
    Zkey,
    name_parameter,
    points_to_evm,
    verifying_key_of,
    write_zkey,
)

SEED: Final = b"unveto/dev-key/1"
H_CHUNK: Final = 1 << 14


@dataclass(frozen=True, slots=True, kw_only=True)
class Secrets:
    """What nobody may know about a real key. All in [1, r)."""

    tau: int
    alpha: int
    beta: int
    delta: int


def known_secrets(circuit_hash: bytes) -> Secrets:
    """The published secrets of the developer key of a circuit: SHA-512 of labels, reduced (bias below 2^-250)."""
    drawn = [
        int.from_bytes(hashlib.sha512(SEED + circuit_hash + label.encode()).digest(), "big") % (R - 1) + 1
        for label in ("tau", "alpha", "beta", "delta")
    ]
    return Secrets(tau=drawn[0], alpha=drawn[1], beta=drawn[2], delta=drawn[3])


def setup_dev(
    r1cs: Path | Data | R1cs,
    zkey_out: Path,
    *,
    progress: Progress | None = None,
    options: Options = DEFAULT_OPTIONS,
) -> Zkey:
    """Makes the developer key of a circuit and writes it to a file.

    Args:
        r1cs: a .r1cs file, its bytes, or the parsed system.
        progress: called with (done, total) between steps; True from it cancels.

    Returns:
        The key, still in memory.

    Raises:
        R1csMalformed, Cancelled, OSError.
    """
    system = r1cs if isinstance(r1cs, R1cs) else read_r1cs(r1cs)
    key = make_key(system, known_secrets(system.circuit_hash()), progress=progress, options=options)
    write_zkey(zkey_out, key)
    return key


def make_key(
    system: R1cs, secrets: Secrets, *, progress: Progress | None = None, options: Options = DEFAULT_OPTIONS
) -> Zkey:
    """The proving key of a system for given secrets, labelled as a developer key."""
    domain, n_coefficients = ctypes.c_uint32(), ctypes.c_uint32()
    argument = ctypes.byref(system.argument())
    load().call("setup_plan", options, argument, ctypes.byref(domain), ctypes.byref(n_coefficients))
    wires, public = system.n_wires, system.n_public
    private = wires - public - 1
    sizes = {
        "header_points": HEADER_POINTS_BYTES,
        "ic": 64 * (public + 1),
        "coefficients": 4 + COEFFICIENT_BYTES * n_coefficients.value,
        "a": 64 * wires,
        "b1": 64 * wires,
        "b2": 128 * wires,
        "l": 64 * private,
        "h": 64 * domain.value,
        "l_undivided": 64 * private,
        "h_monomial": 64 * domain.value,
    }
    buffers = {name: _zero_pages(size) for name, size in sizes.items()}
    output = SetupOutputArg(*(writable(buffer) for buffer in buffers.values()))
    packed = b"".join(
        value.to_bytes(32, "little") for value in (secrets.tau, secrets.alpha, secrets.beta, secrets.delta)
    )
    load().call("setup", options, argument, packed, ctypes.byref(output), progress=progress)
    key = Zkey(
        n_wires=wires,
        n_public=public,
        domain=domain.value,
        header_points=bytes(buffers["header_points"]),
        ic=buffers["ic"],
        coefficients=buffers["coefficients"],
        a=buffers["a"],
        b1=buffers["b1"],
        b2=buffers["b2"],
        l=buffers["l"],
        h=buffers["h"],
        circuit_hash=b"",
        contributions=(),
    )
    circuit_hash = hash_uncontributed(key, buffers["l_undivided"], buffers["h_monomial"])
    return replace(key, circuit_hash=circuit_hash, contributions=(_contribution(key, circuit_hash),))


def make_verifying_key(system: R1cs, secrets: Secrets, *, options: Options = DEFAULT_OPTIONS) -> VerifyingKey:
    """The verifying half of `make_key`, without the proving half: a fraction of its time and memory."""
    header, ic = bytearray(HEADER_POINTS_BYTES), bytearray(64 * (system.n_public + 1))
    nothing = memoryview(bytearray(1))[:0]
    output = SetupOutputArg(writable(header), writable(ic), *[writable(nothing)] * 8)
    packed = b"".join(
        value.to_bytes(32, "little") for value in (secrets.tau, secrets.alpha, secrets.beta, secrets.delta)
    )
    load().call("setup", options, ctypes.byref(system.argument()), packed, ctypes.byref(output))
    return verifying_key_of(header, ic)


def _zero_pages(size: int) -> memoryview:
    """Memory that costs nothing until it is written."""
    return memoryview(mmap.mmap(-1, max(size, 1)))[:size]


def hash_uncontributed(key: Zkey, l_undivided: Data, h_monomial: Data) -> bytes:
    """The csHash of snarkjs: BLAKE2b-512 over the key as it is before any contribution (delta = 1).

    Args:
        l_undivided: the L section before its division by delta.
        h_monomial: tau^i (tau^domain - 1) in G1 for i < domain.
    """
    digest = hashlib.blake2b(digest_size=64)
    for part in _uncontributed_parts(key, l_undivided, h_monomial):
        digest.update(part)
    return digest.digest()


def _uncontributed_parts(key: Zkey, l_undivided: Data, h_monomial: Data) -> Iterator[bytes]:
    points = memoryview(key.header_points)
    yield points_to_evm(1, points[:128])
    yield points_to_evm(2, points[128:256])
    generator_g2 = points_to_evm(2, points[256:384])
    yield generator_g2
    yield (1).to_bytes(32, "big") + (2).to_bytes(32, "big")
    yield generator_g2
    # snarkjs reads the H points in whole chunks, so from two chunks on it hashes one point more than it announces.
    hashed = key.domain if key.domain > H_CHUNK else key.domain - 1
    yield from _counted(1, key.ic, key.n_public + 1)
    yield from _counted(1, memoryview(h_monomial)[: 64 * hashed], key.domain - 1)
    yield from _counted(1, l_undivided, key.n_wires - key.n_public - 1)
    yield from _counted(1, key.a, key.n_wires)
    yield from _counted(1, key.b1, key.n_wires)
    yield from _counted(2, key.b2, key.n_wires)


def _counted(group: int, points: Data, count: int) -> Iterator[bytes]:
    yield struct.pack(">I", count)
    yield points_to_evm(group, points)


def _contribution(key: Zkey, circuit_hash: bytes) -> Contribution:
    """The one entry of a developer key, with the generators in the place of the contributor's random points.

    Its transcript is right. Its public key is not one that a ceremony's verification accepts, and must not be.
    """
    points = memoryview(key.header_points)
    delta_g1, delta_g2 = bytes(points[384:448]), bytes(points[448:576])
    base = generator_g1()
    digest = hashlib.blake2b(circuit_hash, digest_size=64)
    digest.update(points_to_evm(1, base) + points_to_evm(1, delta_g1))
    return Contribution(
        delta_after=delta_g1,
        public_key=base + delta_g1 + delta_g2,
        transcript=digest.digest(),
        is_beacon=False,
        parameters=name_parameter(DEV_KEY_NAME),
    )


def generator_g1() -> bytes:
    """(1, 2) in zkey encoding."""
    out = bytearray(64)
    load().call(
        "points_evm_to_zkey", DEFAULT_OPTIONS, 1, view((1).to_bytes(32, "big") + (2).to_bytes(32, "big")), writable(out)
    )
    return bytes(out)
