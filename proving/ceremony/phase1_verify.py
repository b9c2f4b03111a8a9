"""What must hold of a file of powers, whoever made it.

Every point is in range, on its curve and in its subgroup. Each contribution's keys prove knowledge of its secrets
over the challenge before it and lead from the accumulated values before it to its own; a beacon's keys are recomputed.
The powers follow from the last contribution's values; its hashes are recomputed over the points; Lagrange bases belong
to the powers. What cannot be checked is that a contributor forgot the secrets: one of all must have.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from proving.ceremony.calls import (
    POINT_BYTES,
    are_lagrange,
    are_powers,
    check_points,
    drawn,
    generator,
    is_same_ratio,
)
from proving.ceremony.parameters import WORKABLE_ITERATIONS_EXPONENT
from proving.ceremony.phase1 import POWERS, challenge_after, key_base, lagrange_levels, response_state, tau_keys
from proving.ceremony.ptau import GROUP, LAGRANGE, Ptau, TauContribution, first_challenge, public_key_to_evm, read_ptau
from proving.ceremony.steps import Steps
from proving.errors import CeremonyInvalid, CeremonyMisuse, ProofRefused
from proving.native import DEFAULT_OPTIONS, Data, Options, Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Accumulated:
    """The secrets so far, in the exponent, and the hash that the next contribution starts from."""

    tau_g1: bytes
    tau_g2: bytes
    alpha_g1: bytes
    beta_g1: bytes
    beta_g2: bytes
    next_challenge: bytes


def verify_ptau(
    source: Path | Data,
    *,
    max_iterations_exponent: int = WORKABLE_ITERATIONS_EXPONENT,
    progress: Progress | None = None,
    options: Options = DEFAULT_OPTIONS,
) -> Ptau:
    """Checks a file of powers; returns it when everything holds.

    Args:
        max_iterations_exponent: a beacon that needs more than 2^this hashes is refused unchecked.

    Raises:
        PtauMalformed: not such a file.
        CeremonyInvalid: a check failed; the reason names it.
        CeremonyMisuse: a beacon is beyond the limit.
        Cancelled, OSError.
    """
    ptau = read_ptau(source)
    if not ptau.contributions:
        raise CeremonyInvalid("nobody contributed: every secret is 1")
    levels = lagrange_levels(ptau) if ptau.is_prepared else []
    size = sum(map(len, ptau.sections.values()))
    steps = Steps(progress, 3 * size + 1000 * len(ptau.contributions))
    for number in sorted(ptau.sections):
        steps.part(len(ptau.sections[number]))
        checked(f"section {number}", GROUP[number], ptau.sections[number], number in LAGRANGE.values(), options)
    blank = Accumulated(
        tau_g1=generator(1),
        tau_g2=generator(2),
        alpha_g1=generator(1),
        beta_g1=generator(1),
        beta_g2=generator(2),
        next_challenge=first_challenge(ptau.ceremony_power),
    )
    chain: tuple[Accumulated | TauContribution, ...] = (blank, *ptau.contributions)
    for number, (before, after) in enumerate(pairwise(chain), start=1):
        steps.part(1000)
        assert isinstance(after, TauContribution)
        _check_contribution(number, before, after, max_iterations_exponent)
    steps.part(size)
    _check_powers(ptau, options)
    if ptau.power == ptau.ceremony_power:
        _check_hashes(ptau, chain[-2].next_challenge)
    steps.part(size)
    for section, level in levels:
        powers = memoryview(ptau.sections[section])[: POINT_BYTES[GROUP[section]] << level]
        require(
            are_lagrange(GROUP[section], powers, ptau.basis(section, level), options),
            f"section {LAGRANGE[section]} is not the Lagrange basis of section {section} for the domain 2^{level}",
        )
    steps.end()
    return ptau


def require(holds: bool, reason: str) -> None:
    """Raises: CeremonyInvalid."""
    if not holds:
        raise CeremonyInvalid(reason)


def checked(
    what: str, group: int, points: Data, allow_infinity: bool = False, options: Options = DEFAULT_OPTIONS
) -> None:
    """Raises: CeremonyInvalid: a point is out of range, off its curve, outside its subgroup or infinity."""
    try:
        check_points(group, points, allow_infinity=allow_infinity, options=options)
    except ProofRefused as cause:
        raise CeremonyInvalid(f"{what}: {cause.reason}") from cause


def _check_contribution(number: int, before: Accumulated | TauContribution, after: TauContribution, limit: int) -> None:
    name = f"contribution {number}"
    checked(name, 1, after.tau_g1 + after.alpha_g1 + after.beta_g1 + after.public_key()[: 6 * 64])
    checked(name, 2, after.tau_g2 + after.beta_g2 + after.public_key()[6 * 64 :])
    beacon = after.parameters.beacon
    if beacon is not None:
        if beacon.iterations_exponent > limit:
            raise CeremonyMisuse(f"{name} is a beacon of 2^{beacon.iterations_exponent} hashes, the limit is 2^{limit}")
        with drawn(3, beacon.seed()) as (secrets, points):
            expected = tau_keys(before.next_challenge, secrets, points)
        require(list(after.keys) == expected, f"{name}: the keys do not follow from the beacon")
    ratios = []
    for i, (key, secret) in enumerate(zip(after.keys, ("tau", "alpha", "beta"), strict=True)):
        base = key_base(i, before.next_challenge, key.g1_s, key.g1_sx)
        ratios.append((base, key.g2_spx))
        require(is_same_ratio((key.g1_s, key.g1_sx), ratios[i]), f"{name}: the key of {secret} is not proven")
    tau, _, beta = after.keys
    for what, g1, g2 in (
        ("tau in G1", (before.tau_g1, after.tau_g1), ratios[0]),
        ("tau in G2", (tau.g1_s, tau.g1_sx), (before.tau_g2, after.tau_g2)),
        ("alpha in G1", (before.alpha_g1, after.alpha_g1), ratios[1]),
        ("beta in G1", (before.beta_g1, after.beta_g1), ratios[2]),
        ("beta in G2", (beta.g1_s, beta.g1_sx), (before.beta_g2, after.beta_g2)),
    ):
        require(is_same_ratio(g1, g2), f"{name}: {what} does not follow from the contribution before")


def _check_powers(ptau: Ptau, options: Options) -> None:
    last, points = ptau.contributions[-1], ptau.sections
    ratio_g1, ratio_g2 = (generator(1), last.tau_g1), (generator(2), last.tau_g2)
    for what, actual, expected in (
        ("the first point of section 2 is not the generator", points[2][:64], generator(1)),
        ("the second point of section 2 is not tau", points[2][64:128], last.tau_g1),
        ("the first point of section 3 is not the generator", points[3][:128], generator(2)),
        ("the second point of section 3 is not tau", points[3][128:256], last.tau_g2),
        ("the first point of section 4 is not alpha", points[4][:64], last.alpha_g1),
        ("the first point of section 5 is not beta", points[5][:64], last.beta_g1),
        ("section 6 is not beta", points[6], last.beta_g2),
    ):
        require(bytes(actual) == expected, what)
    for section in (2, 3, 4, 5):
        ratio = ratio_g1 if section == 3 else ratio_g2
        require(
            are_powers(GROUP[section], points[section], ratio, options),
            f"section {section} does not hold powers of tau",
        )


def _check_hashes(ptau: Ptau, challenge: bytes) -> None:
    """Of the last contribution: those before it are about points that are no longer there."""
    last = ptau.contributions[-1]
    points = {section: ptau.sections[section] for section in POWERS}
    hasher = response_state(challenge, points)
    hasher.update(public_key_to_evm(last.public_key()))
    require(hasher.digest() == last.response_hash(), "the last response hash is not about these points")
    require(
        challenge_after(hasher.digest(), points) == last.next_challenge, "the last challenge is not about these points"
    )
