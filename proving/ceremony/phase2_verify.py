"""What must hold of a circuit's key, whoever made it.

The key before any contribution is made again from the circuit and the powers of tau: everything but delta, L and H
must be the same, byte for byte. Each contribution's key proves knowledge of its secret over everything before it and
leads from the delta before it to its own; a beacon's key is recomputed. L and H are the initial ones divided by the
last delta. The powers of tau are not checked here: `phase1_verify` does that.
"""

from __future__ import annotations

from pathlib import Path

from proving.ceremony.calls import are_multiples, drawn, generator, hash_to_g2, is_same_ratio
from proving.ceremony.parameters import WORKABLE_ITERATIONS_EXPONENT, Parameters
from proving.ceremony.phase1_verify import checked, require
from proving.ceremony.phase2 import delta_key, initial_key, transcript
from proving.ceremony.ptau import Ptau
from proving.ceremony.steps import Steps
from proving.errors import CeremonyInvalid, CeremonyMisuse, ZkeyMalformed
from proving.native import DEFAULT_OPTIONS, Data, Options, Progress
from proving.r1cs import R1cs
from proving.zkey import Contribution, Zkey, read_zkey


def verify_key(
    zkey: Path | Data | Zkey,
    r1cs: Path | Data | R1cs,
    ptau: Path | Data | Ptau,
    *,
    max_iterations_exponent: int = WORKABLE_ITERATIONS_EXPONENT,
    progress: Progress | None = None,
    options: Options = DEFAULT_OPTIONS,
) -> Zkey:
    """Checks a circuit's key; returns it when everything holds.

    Args:
        max_iterations_exponent: a beacon that needs more than 2^this hashes is refused unchecked.

    Raises:
        ZkeyMalformed, R1csMalformed, PtauMalformed: not such a file.
        CeremonyInvalid: a check failed; the reason names it.
        CeremonyMisuse: the powers do not fit the circuit, or a beacon is beyond the limit.
        ProofRefused: a point of the powers of tau is not what it must be.
        Cancelled, OSError.
    """
    key = zkey if isinstance(zkey, Zkey) else read_zkey(zkey)
    if not key.contributions:
        raise CeremonyInvalid("nobody contributed: delta is 1")
    steps = Steps(progress, 12)
    initial = initial_key(r1cs, ptau, progress=steps.part(10), options=options)
    _check_unchanged(key, initial)
    header = memoryview(key.header_points)
    delta_g1, delta_g2 = header[384:448], header[448:576]
    checked("delta in G1", 1, delta_g1)
    checked("delta in G2", 2, delta_g2)
    last = _check_chain(key, max_iterations_exponent)
    require(bytes(delta_g1) == last, "delta in G1 is not the one after the last contribution")
    require(is_same_ratio((generator(1), delta_g1), (generator(2), delta_g2)), "delta in G2 is not that in G1")
    steps.part(2)
    for what, before, after in (("L", initial.l, key.l), ("H", initial.h, key.h)):
        checked(f"section {what}", 1, after, True, options)
        divided = are_multiples(before, after, (delta_g2, generator(2)), options)
        require(divided, f"section {what} is not the initial one divided by delta")
    steps.end()
    return key


def _check_unchanged(key: Zkey, initial: Zkey) -> None:
    for what, actual, expected in (
        ("the number of wires", key.n_wires, initial.n_wires),
        ("the number of public values", key.n_public, initial.n_public),
        ("the domain", key.domain, initial.domain),
    ):
        require(actual == expected, f"{what} is {actual}, the circuit has {expected}")
    for name, found, made in (
        ("alpha, beta or gamma", key.header_points[:384], initial.header_points[:384]),
        ("section 3 (IC)", key.ic, initial.ic),
        ("section 4 (coefficients)", key.coefficients, initial.coefficients),
        ("section 5 (A)", key.a, initial.a),
        ("section 6 (B in G1)", key.b1, initial.b1),
        ("section 7 (B in G2)", key.b2, initial.b2),
        ("the circuit hash", key.circuit_hash, initial.circuit_hash),
    ):
        require(memoryview(found) == memoryview(made), f"{name} does not follow from the circuit and the powers of tau")


def _check_chain(key: Zkey, limit: int) -> bytes:
    """delta in G1 after the last contribution."""
    delta = generator(1)
    for number, contribution in enumerate(key.contributions, start=1):
        _check_contribution(number, key, contribution, delta, limit)
        delta = contribution.delta_after
    return delta


def _check_contribution(number: int, key: Zkey, contribution: Contribution, delta: bytes, limit: int) -> None:
    name, public = f"contribution {number}", contribution.public_key
    g1_s, g1_sx, g2_spx = public[:64], public[64:128], public[128:]
    checked(name, 1, contribution.delta_after + g1_s + g1_sx)
    checked(name, 2, g2_spx)
    earlier = key.contributions[: number - 1]
    require(
        contribution.transcript == transcript(key.circuit_hash, earlier, g1_s, g1_sx),
        f"{name}: the transcript is not about the contributions before it",
    )
    ratio = (hash_to_g2(contribution.transcript), g2_spx)
    require(is_same_ratio((g1_s, g1_sx), ratio), f"{name}: the key is not proven")
    require(
        is_same_ratio((delta, contribution.delta_after), ratio), f"{name}: delta does not follow from the one before"
    )
    beacon = Parameters.from_bytes(contribution.parameters, contribution.is_beacon, ZkeyMalformed).beacon
    if beacon is None:
        return
    if beacon.iterations_exponent > limit:
        raise CeremonyMisuse(f"{name} is a beacon of 2^{beacon.iterations_exponent} hashes, the limit is 2^{limit}")
    with drawn(1, beacon.seed()) as ((secret,), (point,)):
        made = delta_key(key.circuit_hash, earlier, secret, point)
    require(
        (made.g1_s, made.g1_sx, made.g2_spx) == (g1_s, g1_sx, g2_spx),
        f"{name}: the key does not follow from the beacon",
    )
