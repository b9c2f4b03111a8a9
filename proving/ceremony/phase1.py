"""Powers of tau: the blank file, contributions to it, and its preparation for circuits.

Source: BGM17, ePrint 2017/1050 §4 to §5, in the transcript layout of snarkjs 0.7. Each contributor multiplies tau,
alpha and beta by secrets that only this process ever holds; one honest contributor is enough.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from proving.ceremony.calls import (
    ONE,
    POINT_BYTES,
    Blake2b,
    check_points,
    compressed,
    drawn,
    generator,
    hash_to_g2,
    lagrange,
    scaled,
)
from proving.ceremony.parameters import Beacon, Parameters
from proving.ceremony.ptau import (
    GROUP,
    LAGRANGE,
    MAX_POWER,
    Ptau,
    PtauWriter,
    TauContribution,
    TauKey,
    first_challenge,
    point_count,
    public_key_to_evm,
    read_ptau,
    replaced,
)
from proving.ceremony.steps import Steps
from proving.errors import CeremonyMisuse
from proving.native import DEFAULT_OPTIONS, Data, Options, Progress
from proving.zkey import points_to_evm

POWERS = (2, 3, 4, 5, 6)
_CHUNK_BYTES = 1 << 22


def new(power: int, out: Path) -> None:
    """Writes the blank file: every point is a generator, every secret 1.

    Raises:
        CeremonyMisuse: the power is not in 1..27.
    """
    if not 1 <= power <= MAX_POWER:
        raise CeremonyMisuse(f"power {power} is not between 1 and {MAX_POWER}")
    with replaced(out) as sink:
        writer = PtauWriter(sink, power, power, 7)
        for section in POWERS:
            writer.points(section, _repeated(generator(GROUP[section]), point_count(section, power)))
        writer.contributions(())


def _repeated(point: bytes, count: int) -> Iterator[bytes]:
    while count > 0:
        part = min(count, 1 << 14)
        yield point * part
        count -= part


def contribute(
    source: Path, out: Path, name: str = "", *, progress: Progress | None = None, options: Options = DEFAULT_OPTIONS
) -> TauContribution:
    """Multiplies every secret by one from the operating system, which is forgotten.

    Args:
        source: a file of powers; Lagrange bases in it are dropped.
        out: the file to write; it appears when it is complete.

    Returns:
        The contribution; its `response_hash` is what the contributor should publish.

    Raises:
        PtauMalformed, ProofRefused (a point of the file), CeremonyMisuse, Cancelled, OSError.
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
) -> TauContribution:
    """The last contribution, whose secrets everybody can recompute from a public value; see `contribute`."""
    return _extend(source, out, Parameters.named(name, beacon), beacon.seed(progress), progress, options)


def contribute_with_fixed_seed_for_tests(source: Path, out: Path, seed: bytes) -> TauContribution:
    """A contribution that can be compared byte by byte. Its secrets are known to whoever knows the seed."""
    return _extend(source, out, Parameters(name="test"), seed, None, DEFAULT_OPTIONS)


def tau_keys(challenge: bytes, secrets: tuple[memoryview, ...], g1_s: tuple[bytes, ...]) -> list[TauKey]:
    """The public keys of tau, alpha and beta."""
    keys = []
    for number, (secret, point) in enumerate(zip(secrets, g1_s, strict=True)):
        image = bytes(scaled(1, point, secret))
        base = key_base(number, challenge, point, image)
        keys.append(TauKey(g1_s=point, g1_sx=image, g2_spx=bytes(scaled(2, base, secret))))
    return keys


def key_base(number: int, challenge: bytes, g1_s: bytes, g1_sx: bytes) -> bytes:
    """The point s' of G2 that a key must be proven with; it depends on everything before.

    Args:
        number: 0 for tau, 1 for alpha, 2 for beta.
    """
    pair = points_to_evm(1, g1_s + g1_sx)
    return hash_to_g2(hashlib.blake2b(bytes((number,)) + challenge + pair, digest_size=64).digest())


def _extend(
    source: Path, out: Path, parameters: Parameters, seed: bytes | None, progress: Progress | None, options: Options
) -> TauContribution:
    ptau = read_ptau(source)
    if ptau.power != ptau.ceremony_power:
        raise CeremonyMisuse("this file was cut down to a lower power; nobody can contribute to it")
    challenge = ptau.contributions[-1].next_challenge if ptau.contributions else first_challenge(ptau.power)
    sizes = {section: len(ptau.sections[section]) for section in POWERS}
    steps = Steps(progress, 4 * sum(sizes.values()))
    for section in POWERS:
        steps.part(sizes[section])
        check_points(GROUP[section], ptau.sections[section], options=options)
    with drawn(3, seed) as (secrets, g1_s):
        keys = tau_keys(challenge, secrets, g1_s)
        tau, alpha, beta = secrets
        plan: dict[int, tuple[Data, Data]] = {
            2: (ONE, tau),
            3: (ONE, tau),
            4: (alpha, tau),
            5: (beta, tau),
            6: (beta, ONE),
        }
        points = {
            section: scaled(
                GROUP[section],
                ptau.sections[section],
                *plan[section],
                progress=steps.part(2 * sizes[section]),
                options=options,
            )
            for section in POWERS
        }
    partial = response_state(challenge, points)
    unhashed = TauContribution(
        tau_g1=bytes(points[2][64:128]),
        tau_g2=bytes(points[3][128:256]),
        alpha_g1=bytes(points[4][:64]),
        beta_g1=bytes(points[5][:64]),
        beta_g2=bytes(points[6]),
        keys=(keys[0], keys[1], keys[2]),
        partial_hash=partial.state,
        next_challenge=b"",
        is_beacon=parameters.beacon is not None,
        parameters=parameters,
    )
    partial.update(public_key_to_evm(unhashed.public_key()))
    steps.part(sum(sizes.values()))
    contribution = TauContribution(
        **{name: getattr(unhashed, name) for name in TauContribution.__slots__ if name != "next_challenge"},
        next_challenge=challenge_after(partial.digest(), points),
    )
    with replaced(out) as sink:
        writer = PtauWriter(sink, ptau.power, ptau.ceremony_power, 7)
        for section in POWERS:
            writer.points(section, (points[section],))
        writer.contributions((*ptau.contributions, contribution))
    steps.end()
    return contribution


def response_state(challenge: bytes, points: dict[int, Data] | dict[int, bytearray]) -> Blake2b:
    """The hash of a response before the public key: the challenge and the new points, compressed."""
    hasher = Blake2b()
    hasher.update(challenge)
    for section in POWERS:
        for chunk in _chunks(points[section]):
            hasher.update(compressed(GROUP[section], chunk))
    return hasher


def challenge_after(response_hash: bytes, points: dict[int, Data] | dict[int, bytearray]) -> bytes:
    """What the next contribution starts from: the hash of this response and the new points."""
    hasher = hashlib.blake2b(response_hash, digest_size=64)
    for section in POWERS:
        for chunk in _chunks(points[section]):
            hasher.update(points_to_evm(GROUP[section], chunk))
    return hasher.digest()


def _chunks(points: Data) -> Iterator[memoryview]:
    whole = memoryview(points)
    for at in range(0, len(whole), _CHUNK_BYTES):
        yield whole[at : at + _CHUNK_BYTES]


def prepare(source: Path, out: Path, *, progress: Progress | None = None, options: Options = DEFAULT_OPTIONS) -> None:
    """Adds the Lagrange bases of all domains up to 2^power (sections 12 to 15), which circuits' keys are made from.

    Raises:
        PtauMalformed, ProofRefused (a point of the file), Cancelled, OSError.
    """
    ptau = read_ptau(source)
    size = sum(len(ptau.sections[section]) for section in POWERS)
    work = {(section, level): _work(section, level) for section in LAGRANGE for level in _levels(section, ptau.power)}
    steps = Steps(progress, size + sum(work.values()))
    for section in POWERS:
        check_points(GROUP[section], ptau.sections[section], options=options)
    steps.part(size)

    def bases(section: int) -> Iterator[bytearray]:
        group = GROUP[section]
        powers = memoryview(ptau.sections[section])
        for level in _levels(section, ptau.power):
            given = powers[: POINT_BYTES[group] << level]  # of 2^(power + 1) points the last one is missing
            yield lagrange(group, given, level, progress=steps.part(work[section, level]), options=options)

    with replaced(out) as sink:
        writer = PtauWriter(sink, ptau.power, ptau.ceremony_power, 11)
        for section in POWERS:
            writer.points(section, (ptau.sections[section],))
        writer.contributions(ptau.contributions)
        for section, basis in LAGRANGE.items():
            writer.points(basis, bases(section))
    steps.end()


def _levels(section: int, power: int) -> range:
    return range(power + 2 if section == 2 else power + 1)


def _work(section: int, level: int) -> int:
    return (level + 1 << level) * (64 if section != 3 else 160)


def lagrange_levels(ptau: Ptau) -> list[tuple[int, int]]:
    """The (section of powers, level) pairs that a prepared file has bases for."""
    return [(section, level) for section in LAGRANGE for level in _levels(section, ptau.power)]
