"""Each ceremony call of the core against the slow reference or a law, on every instruction-set path."""

from __future__ import annotations

import hashlib
import random
from math import gcd

import pytest

from proving import errors
from proving import reference as ref
from proving.bn254 import BN_X, Q, R
from proving.ceremony.calls import (
    ONE,
    Blake2b,
    are_lagrange,
    are_multiples,
    are_powers,
    check_points,
    compressed,
    differences,
    drawn,
    generator,
    hash_to_g2,
    is_same_ratio,
    lagrange,
    scaled,
)
from proving.endomorphism_parameters import TARGET, g1_endomorphism, render
from proving.errors import Cancelled
from proving.native import CpuPath, Options
from tests.unit.proving.ceremony.points import encode, g1, g2, little, outside_subgroup, times_g1, times_g2

RNG = random.Random(11)
EDGES = (1, 2, 15, 16, 17, 31, 33, R - 1, R - 2, 1 << 127, 1 << 253, (R - 1) // 2, RNG.randrange(R))
TAU = RNG.randrange(R)
LAMBDA, FROBENIUS = g1_endomorphism()[1], Q % R


def powers(group: int, count: int) -> bytes:
    times = times_g1 if group == 1 else times_g2
    return b"".join(times(pow(TAU, i, R)) for i in range(count))


@pytest.mark.parametrize("k", EDGES)
def test_a_multiple_is_the_references(k: int, options: Options) -> None:
    """Scalars at the edges of the split and of its windows, in both groups."""
    assert bytes(scaled(1, generator(1), little(k), options=options)) == times_g1(k)
    assert bytes(scaled(2, generator(2), little(k), options=options)) == times_g2(k)


@pytest.mark.parametrize("group", [1, 2])
def test_multiples_whose_sums_could_meet_a_table_entry(group: int, options: Options) -> None:
    """Short combinations over the endomorphism and digits at the edges of the windows."""
    root, times = (LAMBDA, times_g1) if group == 1 else (FROBENIUS, times_g2)
    rng = random.Random(group)
    small = (0, 1, -1, 7, 8, -8, 9, 15, 16, 17, 136, 0x88888888)
    scalars = [sum(rng.choice(small) * pow(root, i, R) for i in range(4)) % R for _ in range(20)]
    for k in filter(None, [root, R - root, (1 + root) % R, (root - 1) % R, *scalars]):
        assert bytes(scaled(group, generator(group), little(k), options=options)) == times(k)


@pytest.mark.parametrize(("group", "level"), [(1, 9), (2, 6)])
def test_every_path_gives_the_same_bytes(group: int, level: int, options: Options) -> None:
    points = scaled(group, generator(group) * (1 << level), ONE, little(TAU))
    portable = Options(cpu_path=CpuPath.PORTABLE)

    assert lagrange(group, points, level, options=options) == lagrange(group, points, level, options=portable)


def test_a_block_scales_by_powers_and_divides(options: Options) -> None:
    """More points than one block, infinity among them."""
    n = 300
    points = generator(1) * 7 + bytes(64) + generator(1) * (n - 8)
    out = scaled(1, points, little(5), little(TAU), options=options)
    back = scaled(1, out, little(5), little(pow(TAU, -1, R)), divide=True, options=options)

    assert bytes(out[64 * 299 :]) == times_g1(5 * pow(TAU, 299, R))
    assert bytes(out[64 * 7 : 64 * 8]) == bytes(64)
    assert bytes(back) == points


@pytest.mark.parametrize("factor", [0, R, (1 << 256) - 1])
def test_a_factor_of_zero_or_beyond_r_is_refused(factor: int) -> None:
    with pytest.raises(errors.CoreCallFailed, match="factor is zero"):
        scaled(1, generator(1), little(factor))
    with pytest.raises(errors.CoreCallFailed, match="factor is zero"):
        scaled(1, generator(1), ONE, little(factor))


@pytest.mark.parametrize("group", [1, 2])
@pytest.mark.parametrize("level", [0, 1, 4])
def test_the_transform_gives_the_lagrange_basis_at_tau(group: int, level: int, options: Options) -> None:
    n, times = 1 << level, times_g1 if group == 1 else times_g2
    w = ref.root_of_unity(n)
    basis = [pow(w, i, R) * (pow(TAU, n, R) - 1) * pow(n * (TAU - pow(w, i, R)), -1, R) % R for i in range(n)]

    out = lagrange(group, powers(group, n), level, options=options)

    assert bytes(out) == b"".join(map(times, basis))
    assert are_lagrange(group, powers(group, n), out, options)


def test_equal_points_and_infinity_pass_the_transform() -> None:
    """tau = 1 puts everything at one point: every butterfly is a doubling or a cancellation."""
    out = lagrange(1, generator(1) * 16, 4)

    assert bytes(out) == generator(1) + bytes(64 * 15)
    assert bytes(lagrange(1, bytes(64 * 16), 4)) == bytes(64 * 16)


def test_a_basis_of_other_powers_is_told_apart(options: Options) -> None:
    points = powers(1, 16)
    basis = bytes(lagrange(1, points, 4))
    short = bytes(lagrange(1, points[:-64], 4))

    assert are_lagrange(1, points[:-64], short, options)
    assert not are_lagrange(1, points, short, options)
    assert not are_lagrange(1, points, basis[64:] + basis[:64], options)
    assert not are_lagrange(1, basis, points, options)


@pytest.mark.parametrize(("given", "level"), [(15, 3), (14, 4), (17, 4), (0, 1)])
def test_a_transform_of_the_wrong_size_is_refused(given: int, level: int) -> None:
    with pytest.raises(errors.CoreCallFailed):
        lagrange(1, generator(1) * given, level)


def test_a_stopped_transform_raises_cancelled() -> None:
    with pytest.raises(Cancelled):
        lagrange(1, generator(1) * 16, 4, progress=lambda _done, _total: True)


@pytest.mark.parametrize("group", [1, 2])
def test_powers_have_one_ratio_and_others_have_not(group: int, options: Options) -> None:
    points, size = powers(group, 9), 64 * group
    ratio = (generator(3 - group), powers(3 - group, 2)[-64 * (3 - group) :])
    wrong = (ratio[0], scaled(3 - group, ratio[1], little(2)))

    assert are_powers(group, points, ratio, options)
    assert not are_powers(group, points, wrong, options)
    assert not are_powers(group, points[: 8 * size] + points[:size], ratio, options)
    assert not are_powers(group, bytes(size * 9), ratio, options)


def test_multiples_have_one_ratio_and_others_have_not(options: Options) -> None:
    before = powers(1, 5) + bytes(64)
    after = bytes(scaled(1, before, little(7)))
    ratio = (generator(2), times_g2(7))

    assert are_multiples(before, after, ratio, options)
    assert are_multiples(b"", b"", ratio, options)
    assert not are_multiples(before, after[64:] + after[:64], ratio, options)
    assert not are_multiples(before, after, (ratio[1], ratio[0]), options)
    assert not are_multiples(before, bytes(len(after)), ratio, options)


def test_a_ratio_with_infinity_never_holds() -> None:
    a, b = (generator(1), times_g1(3)), (generator(2), times_g2(3))
    assert is_same_ratio(a, b)
    assert not is_same_ratio(a, (b[0], times_g2(4)))
    for g1_pair, g2_pair in (
        ((bytes(64), a[1]), b),
        ((a[0], bytes(64)), b),
        (a, (bytes(128), b[1])),
        (a, (b[0], bytes(128))),
    ):
        assert not is_same_ratio(g1_pair, g2_pair)
    assert not is_same_ratio((bytes(64), bytes(64)), (bytes(128), bytes(128)))


def test_differences_of_equal_opposite_and_infinite_points(options: Options) -> None:
    a = b"".join((times_g1(5), times_g1(5), times_g1(5), bytes(64), times_g1(5), bytes(64)))
    b = b"".join((times_g1(3), times_g1(5), times_g1(R - 5), times_g1(3), bytes(64), bytes(64)))

    assert bytes(differences(1, a, b, options)) == b"".join(map(times_g1, (2, 0, 10, R - 3, 5, 0)))


BAD_POINTS = {
    "range": (1, (Q).to_bytes(32, "little") + bytes(32), errors.PointNotCanonical),
    "curve": (1, encode(1, 3), errors.PointNotOnCurve),
    "curve of G2": (2, encode(1, 2, 3, 4), errors.PointNotOnCurve),
    "infinity": (1, bytes(64), errors.PointNotOnCurve),
    "infinity of G2": (2, bytes(128), errors.PointNotOnCurve),
    "subgroup": (2, outside_subgroup(), errors.PointNotInSubgroup),
}


@pytest.mark.parametrize("name", BAD_POINTS)
def test_a_bad_point_is_refused_wherever_it_stands(name: str, options: Options) -> None:
    group, bad, error = BAD_POINTS[name]
    good = generator(group)
    check_points(group, good * 300, options=options)
    for at in (0, 255, 256, 300):
        with pytest.raises(error, match=f"point {at} "):
            check_points(group, good * at + bad + good * (300 - at), options=options)


def test_infinity_passes_where_it_is_allowed() -> None:
    check_points(1, bytes(64) + generator(1), allow_infinity=True)
    check_points(2, bytes(128) + generator(2), allow_infinity=True)


def test_the_subgroup_check_refuses_every_other_order() -> None:
    """The relation acts on the twist as a + b psi, by psi^2 = t psi - q. Its norm shares only r with
    the order of the twist, so nothing outside the subgroup is sent to infinity."""
    trace, x = 6 * BN_X**2 + 1, BN_X
    squared = (-Q, trace)
    cubed = (-Q * trace, trace * trace - Q)
    a = (x + 1) + x * squared[0] - 2 * x * cubed[0]
    b = x + x * squared[1] - 2 * x * cubed[1]
    norm = a * a + a * b * trace + b * b * Q
    order = R * (2 * Q - R)

    assert gcd(norm, order) == R
    assert (2 * Q - R) % R != 0


def test_compressed_points_carry_the_sign_of_y() -> None:
    for k in range(1, 6):
        p, q = ref.g1_mul(ref.G1_GENERATOR, k), ref.g2_mul(ref.G2_GENERATOR, k)
        assert p is not None and q is not None
        (x1,), x2 = (p[0],), q[0]
        assert int.from_bytes(compressed(1, times_g1(k)), "big") == x1 | (p[1] > Q // 2) << 255
        expected = (x2[1] | (q[1][1] > Q // 2) << 255).to_bytes(32, "big") + x2[0].to_bytes(32, "big")
        assert bytes(compressed(2, times_g2(k))) == expected
    assert bytes(compressed(1, bytes(64))) == b"\x40" + bytes(31)


def test_draws_are_deterministic_from_a_seed_and_fresh_without() -> None:
    with drawn(2, bytes(range(32))) as (a, points), drawn(2, bytes(range(32))) as (b, same_points):
        assert [bytes(k) for k in a] == [bytes(k) for k in b]
        assert points == same_points
        for secret, point in zip(a, points, strict=True):
            assert 0 < int.from_bytes(secret, "little") < R
            check_points(1, point)
    with drawn(1) as ((x,), (p,)), drawn(1) as ((y,), (q,)):
        assert bytes(x) != bytes(y)
        assert p != q


def test_drawn_secrets_are_overwritten() -> None:
    with drawn(2) as (secrets, _):
        assert any(bytes(secrets[1]))
    assert not any(bytes(secrets[0]) + bytes(secrets[1]))


def test_hashing_to_g2_gives_points_of_the_subgroup() -> None:
    seen = {hash_to_g2(bytes((i,)) * 64) for i in range(5)}
    assert len(seen) == 5
    check_points(2, b"".join(seen))
    assert all(ref.g2_is_in_subgroup(g2(p)) for p in sorted(seen)[:1])


def test_blake2b_is_pythons_however_it_is_cut() -> None:
    rng, ours, theirs = random.Random(3), Blake2b(), hashlib.blake2b(digest_size=64)
    assert ours.digest() == theirs.digest()
    for size in (0, 1, 127, 128, 129, 256, 5, 1000):
        data = rng.randbytes(size)
        ours.update(data)
        theirs.update(data)
        assert ours.digest() == theirs.digest()
        ours = Blake2b(ours.state)


def test_a_hash_state_with_too_much_pending_is_refused() -> None:
    state = bytearray(Blake2b().state)
    state[200] = 129
    with pytest.raises(errors.CoreCallFailed, match="129 pending bytes"):
        Blake2b(bytes(state)).update(b"x")


def test_encodings_agree() -> None:
    """The test's own helpers and the core speak of the same points."""
    assert g1(generator(1)) == ref.G1_GENERATOR
    assert g2(generator(2)) == ref.G2_GENERATOR
    assert times_g1(1) == generator(1)
    assert times_g2(1) == generator(2)


def test_the_generated_constants_are_fresh() -> None:
    assert TARGET.read_text() == render()
