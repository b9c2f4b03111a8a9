"""A circuit's key from powers of tau: the key before any contribution, and contributions to it.

Source: BGM17, ePrint 2017/1050 §6 to §7, in the transcript layout of snarkjs 0.7. Each contributor multiplies delta
by a secret and divides the L and H queries by it; one honest contributor is enough.
"""

from __future__ import annotations

import ctypes
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from proving.ceremony.calls import ONE, check_points, differences, drawn, generator, hash_to_g2, scaled
from proving.ceremony.parameters import Beacon, Parameters
from proving.ceremony.ptau import Ptau, read_ptau
from proving.ceremony.steps import Steps
from proving.errors import CeremonyMisuse
from proving.native import DEFAULT_OPTIONS, BasesArg, ColumnsArg, Data, Options, Progress, load, view, writable
from proving.r1cs import R1cs, read_r1cs
from proving.setup_dev import H_CHUNK, hash_uncontributed
from proving.zkey import COEFFICIENT_BYTES, Contribution, Zkey, points_to_evm, read_zkey, write_zkey


@dataclass(frozen=True, slots=True, kw_only=True)
class DeltaKey:
    """What a contributor publishes about the secret x: s, x s in G1, x s' in G2, and the hash that s' comes from."""

    g1_s: bytes
    g1_sx: bytes
    g2_spx: bytes
    transcript: bytes


def new_key(
    r1cs: Path | Data | R1cs,
    ptau: Path | Data | Ptau,
    out: Path,
    *,
    progress: Progress | None = None,
    options: Options = DEFAULT_OPTIONS,
) -> Zkey:
    """Makes the key of a circuit that nobody contributed to yet, and writes it. Proofs under it can be forged.

    Raises:
        R1csMalformed, PtauMalformed, ProofRefused (a point of the powers), Cancelled, OSError.
        CeremonyMisuse: the powers are not prepared, or the circuit is too large for them.
    """
    key = initial_key(r1cs, ptau, progress=progress, options=options)
    write_zkey(out, key)
    return key


def initial_key(
    r1cs: Path | Data | R1cs,
    ptau: Path | Data | Ptau,
    *,
    progress: Progress | None = None,
    options: Options = DEFAULT_OPTIONS,
) -> Zkey:
    """The key before any contribution (delta = 1), in memory; see `new_key`."""
    system = r1cs if isinstance(r1cs, R1cs) else read_r1cs(r1cs)
    powers = ptau if isinstance(ptau, Ptau) else read_ptau(ptau)
    domain, n_coefficients = ctypes.c_uint32(), ctypes.c_uint32()
    argument = ctypes.byref(system.argument())
    load().call("setup_plan", options, argument, ctypes.byref(domain), ctypes.byref(n_coefficients))
    level = domain.value.bit_length() - 1
    _require_fit(powers, level)
    steps = Steps(progress, 10)
    steps.part(1)
    odd = _odd_points(powers.basis(2, level + 1))
    bases = [powers.basis(section, level) for section in (2, 3, 4, 5)]
    for group, points in zip((1, 2, 1, 1), bases, strict=True):
        check_points(group, points, allow_infinity=True, options=options)
    check_points(1, odd, allow_infinity=True, options=options)
    wires, inputs = system.n_wires, system.n_public + 1
    sizes = (4 + COEFFICIENT_BYTES * n_coefficients.value, 64 * wires, 64 * wires, 128 * wires, 64 * wires)
    buffers = [bytearray(size) for size in sizes]
    load().call(
        "ceremony_columns", options, argument, ctypes.byref(BasesArg(*map(view, bases))),
        ctypes.byref(ColumnsArg(*map(writable, buffers))), progress=steps.part(8),
    )  # fmt: skip
    coefficients, a, b1, b2, combined = buffers
    key = Zkey(
        n_wires=wires,
        n_public=system.n_public,
        domain=domain.value,
        header_points=_header(powers),
        ic=combined[: 64 * inputs],
        coefficients=coefficients,
        a=a,
        b1=b1,
        b2=b2,
        l=combined[64 * inputs :],
        h=odd,
        circuit_hash=b"",
        contributions=(),
    )
    steps.part(1)
    circuit_hash = hash_uncontributed(key, key.l, _monomial_quotient(powers, domain.value, options))
    steps.end()
    return replace(key, circuit_hash=circuit_hash)


def _require_fit(powers: Ptau, level: int) -> None:
    if not powers.is_prepared:
        raise CeremonyMisuse("the powers of tau are not prepared: they have no Lagrange bases")
    if level > powers.power:
        raise CeremonyMisuse(f"the circuit needs a domain of 2^{level}, the powers of tau reach 2^{powers.power}")
    if level == powers.power and 1 << level > H_CHUNK:
        # The circuit hash that other programs compute then covers bytes past the end of a section.
        raise CeremonyMisuse(f"a circuit of domain 2^{level} needs powers of tau of at least 2^{level + 1}")


def _odd_points(basis: memoryview) -> bytes:
    """Every second point of G1, from the second one on."""
    return b"".join(basis[at : at + 64] for at in range(64, len(basis), 128))


def _header(powers: Ptau) -> bytes:
    points = powers.sections
    g1, g2 = generator(1), generator(2)
    return bytes(points[4][:64]) + bytes(points[5][:64]) + bytes(points[6]) + g2 + g1 + g2


def _monomial_quotient(powers: Ptau, domain: int, options: Options) -> bytes:
    """tau^(i + n) - tau^i for i < n; the last one is missing when the powers end before it: then nobody reads it."""
    tau = memoryview(powers.sections[2])
    count = min(domain, len(tau) // 64 - domain)
    return bytes(differences(1, tau[64 * domain :][: 64 * count], tau[: 64 * count], options))


def contribute(
    source: Path, out: Path, name: str = "", *, progress: Progress | None = None, options: Options = DEFAULT_OPTIONS
) -> Contribution:
    """Multiplies delta by a secret from the operating system, which is forgotten.

    Args:
        out: the file to write; it appears when it is complete.

    Returns:
        The contribution; `contribution_hash` of it is what the contributor should publish.

    Raises:
        ZkeyMalformed, ProofRefused (a point of the key), CeremonyMisuse, Cancelled, OSError.
    """
    return _extend(source, out, Parameters.named(name), None, progress, options)


def apply_beacon(
    source: Path,
    out: Path,
    beacon: Beacon,
    name: str = "",
    *,
    progress: Progress | None = None,
    options: Options = DEFAULT_OPTIONS,
) -> Contribution:
    """The last contribution, whose secret everybody can recompute from a public value; see `contribute`."""
    return _extend(source, out, Parameters.named(name, beacon), beacon.seed(progress), progress, options)


def contribute_with_fixed_seed_for_tests(source: Path, out: Path, seed: bytes) -> Contribution:
    """A contribution that can be compared byte by byte. Its secret is known to whoever knows the seed."""
    return _extend(source, out, Parameters(name="test"), seed, None, DEFAULT_OPTIONS)


def delta_key(circuit_hash: bytes, earlier: Sequence[Contribution], secret: memoryview, g1_s: bytes) -> DeltaKey:
    """The public key of a contribution that follows the earlier ones."""
    g1_sx = bytes(scaled(1, g1_s, secret))
    digest = transcript(circuit_hash, earlier, g1_s, g1_sx)
    return DeltaKey(g1_s=g1_s, g1_sx=g1_sx, g2_spx=bytes(scaled(2, hash_to_g2(digest), secret)), transcript=digest)


def transcript(circuit_hash: bytes, earlier: Sequence[Contribution], g1_s: bytes, g1_sx: bytes) -> bytes:
    """64 bytes that bind a key to the circuit and to every contribution before it."""
    hasher = hashlib.blake2b(circuit_hash, digest_size=64)
    for contribution in earlier:
        hasher.update(_hashed(contribution))
    hasher.update(points_to_evm(1, g1_s + g1_sx))
    return hasher.digest()


def contribution_hash(contribution: Contribution) -> bytes:
    """64 bytes that a contributor publishes, and that a verification shows."""
    return hashlib.blake2b(_hashed(contribution), digest_size=64).digest()


def _hashed(contribution: Contribution) -> bytes:
    key = contribution.public_key
    return (
        points_to_evm(1, contribution.delta_after + key[:128]) + points_to_evm(2, key[128:]) + contribution.transcript
    )


def _extend(
    source: Path, out: Path, parameters: Parameters, seed: bytes | None, progress: Progress | None, options: Options
) -> Contribution:
    key = read_zkey(source)
    if key.is_dev_key:
        raise CeremonyMisuse("this is a developer key: everybody knows its other secrets, no contribution can help")
    weights = (len(key.l), len(key.h))
    steps = Steps(progress, 4 * sum(weights) + 1)
    header = memoryview(key.header_points)
    for group, points, allowed in (
        (1, header[384:448], False),
        (2, header[448:576], False),
        (1, key.l, True),
        (1, key.h, True),
    ):
        steps.part(len(points) if allowed else 0)
        check_points(group, points, allow_infinity=allowed, options=options)
    with drawn(1, seed) as ((secret,), (g1_s,)):
        proven = delta_key(key.circuit_hash, key.contributions, secret, g1_s)
        delta_g1, delta_g2 = bytes(scaled(1, header[384:448], secret)), bytes(scaled(2, header[448:576], secret))
        l_query = scaled(1, key.l, secret, ONE, divide=True, progress=steps.part(3 * weights[0]), options=options)
        h_query = scaled(1, key.h, secret, ONE, divide=True, progress=steps.part(3 * weights[1]), options=options)
    contribution = Contribution(
        delta_after=delta_g1,
        public_key=proven.g1_s + proven.g1_sx + proven.g2_spx,
        transcript=proven.transcript,
        is_beacon=parameters.beacon is not None,
        parameters=parameters.to_bytes(),
    )
    extended = replace(
        key,
        header_points=bytes(header[:384]) + delta_g1 + delta_g2,
        l=l_query,
        h=h_query,
        contributions=(*key.contributions, contribution),
    )
    write_zkey(out, extended)
    steps.end()
    return contribution
