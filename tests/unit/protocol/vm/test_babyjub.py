"""Baby Jubjub: laws of the group, encodings, refusals."""

from __future__ import annotations

import random

import pytest

from protocol.constants import FIELD_ORDER as R
from protocol.errors import DecodeError
from protocol.vm.babyjub import (
    BASE,
    IDENTITY,
    SUBGROUP_ORDER,
    Point,
    add,
    compress,
    decompress,
    is_in_subgroup,
    is_on_curve,
    key_address,
    multiply,
    negate,
)
from protocol.vm.poseidon import P

RNG = random.Random(5)
GENERATOR = Point(
    995203441582195749578291179787384436505546430278305826713579947235728471134,
    5472060717959818805561601436314318772137091100104008585924551046643952123905,
)
"""Generates all points (ERC-2494)."""
ORDER_TWO = Point(0, R - 1)


def points() -> list[Point]:
    """Random points in and outside the subgroup, and all of small order."""
    small = [multiply(SUBGROUP_ORDER * i, GENERATOR) for i in range(8)]
    return [*small, *(multiply(RNG.randrange(8 * SUBGROUP_ORDER), GENERATOR) for _ in range(4)), BASE]


def test_orders_of_the_generators() -> None:
    """8 l points in all; the base has order l; its multiples alone are in the subgroup."""
    assert multiply(8, GENERATOR) == BASE
    assert multiply(8 * SUBGROUP_ORDER, GENERATOR) == IDENTITY
    assert multiply(4 * SUBGROUP_ORDER, GENERATOR) == ORDER_TWO
    assert is_in_subgroup(BASE)
    assert not is_in_subgroup(GENERATOR)
    assert not is_in_subgroup(add(BASE, ORDER_TWO))
    assert pow(SUBGROUP_ORDER - 1, SUBGROUP_ORDER, SUBGROUP_ORDER) == SUBGROUP_ORDER - 1


def test_addition_is_that_of_a_group() -> None:
    """Neutral, opposite, equal and small points included: no case is special."""
    ps = points()
    for p in ps:
        q, t = RNG.choice(ps), RNG.choice(ps)
        assert is_on_curve(add(p, q))
        assert add(p, q) == add(q, p)
        assert add(p, add(q, t)) == add(add(p, q), t)
        assert add(p, IDENTITY) == p
        assert add(p, negate(p)) == IDENTITY
        assert add(add(p, p), p) == multiply(3, p)


def test_affine_addition_law() -> None:
    """The extended coordinates give what the affine formulas of ERC-2494 give."""
    p, q = multiply(77, GENERATOR), multiply(101, BASE)
    product = 168696 * p.x * q.x * p.y * q.y
    x = (p.x * q.y + p.y * q.x) * pow(1 + product, -1, R) % R
    y = (p.y * q.y - 168700 * p.x * q.x) * pow(1 - product, -1, R) % R

    assert add(p, q) == (x, y)


def test_negative_scalars_are_refused() -> None:
    """They would never end."""
    with pytest.raises(ValueError, match="negative"):
        multiply(-1, BASE)


def test_compressed_points_come_back() -> None:
    """Both signs, x = 0, points outside the subgroup."""
    for p in points():
        assert decompress(compress(p)) == p
        assert decompress(compress(negate(p))) == negate(p)


@pytest.mark.parametrize(
    ("reason", "word"),
    [
        ("POINT_WORD", 1 << 256),
        ("POINT_WORD", -1),
        ("POINT_Y_RANGE", R + 1),
        ("POINT_Y_RANGE", R),
        ("POINT_Y_RANGE", (1 << 256) - 1),
        ("POINT_NOT_ON_CURVE", 2),
        ("POINT_NOT_ON_CURVE", 2 | 1 << 255),
        ("POINT_SIGN", 1 | 1 << 255),
        ("POINT_SIGN", R - 1 | 1 << 255),
    ],
)
def test_other_words_are_refused(reason: str, word: int) -> None:
    """Strict: no second encoding of a point."""
    with pytest.raises(DecodeError) as caught:
        decompress(word)

    assert caught.value.reason == reason


def test_words_without_a_point_are_about_half() -> None:
    """Square roots exist for one y in two, and every root found is one."""
    found = 0
    for y in range(200):
        try:
            point = decompress(y)
        except DecodeError as error:
            assert error.reason == "POINT_NOT_ON_CURVE"
        else:
            assert is_on_curve(point)
            found += 1
    assert 70 < found < 130


def test_coordinates_out_of_range_are_on_no_curve() -> None:
    """Although they satisfy the equation mod r."""
    assert not is_on_curve(Point(BASE.x + R, BASE.y))
    assert not is_on_curve(Point(BASE.x - R, BASE.y))
    assert not is_on_curve(Point(BASE.x, BASE.y + 1))


def test_address_of_a_key() -> None:
    """The low 160 bits of a hash of both coordinates."""
    assert int.from_bytes(key_address(BASE), "big") == P(2, BASE) % (1 << 160)
    assert key_address(BASE) != key_address(negate(BASE))
