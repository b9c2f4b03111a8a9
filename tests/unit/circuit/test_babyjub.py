"""Curve gadgets against the reference, and words that are points or are not."""

from __future__ import annotations

import random
from functools import cache

import pytest

from protocol.constants import FIELD_ORDER as R
from protocol.errors import DecodeError
from protocol.vm import babyjub as curve
from protocol.vm.babyjub import BASE, IDENTITY, SUBGROUP_ORDER, Point, multiply
from proving.circuit import babyjub as gadgets
from proving.circuit.bits import to_bits
from proving.circuit.builder import Builder, Expr, value
from tests.support.gadgets import Gadget, Made

RNG = random.Random(42)
LIMIT = 1 << 128
GENERATOR = Point(
    995203441582195749578291179787384436505546430278305826713579947235728471134,
    5472060717959818805561601436314318772137091100104008585924551046643952123905,
)
ORDER_TWO = Point(0, R - 1)
ORDER_FOUR = multiply(2 * SUBGROUP_ORDER, GENERATOR)
POINTS = (IDENTITY, ORDER_TWO, ORDER_FOUR, BASE, curve.negate(BASE), GENERATOR, multiply(RNG.getrandbits(250), BASE))


def fixed(b: Builder, xs: list[Expr]) -> list[Expr]:
    """The scalar is one wire."""
    return [*gadgets.fixed_multiple(b, to_bits(b, xs[0], gadgets.FIXED_BITS), 5)]


LADDER = 140
"""Bits of the ladder here."""


def ladder(b: Builder, xs: list[Expr]) -> list[Expr]:
    """(2^(n+1) + 2 k + 1) * point for a k that is an input; in Edwards form again."""
    made = gadgets.odd_multiple(b, gadgets.to_montgomery(b, (xs[0], xs[1])), LADDER, lambda: value(xs[2]))
    b.equal(made.halves[0] + LIMIT * made.halves[1], xs[2])
    return [*gadgets.to_edwards(b, made.point)]


@cache
def gadget(name: str) -> Gadget:
    """Recorded once."""
    match name:
        case "add":
            return Gadget(lambda b, xs: [*gadgets.edwards_add(b, (xs[0], xs[1]), (xs[2], xs[3]))], 4)
        case "double":
            return Gadget(lambda b, xs: [*gadgets.edwards_double(b, (xs[0], xs[1]))], 2)
        case "forms":
            return Gadget(lambda b, xs: [*gadgets.to_edwards(b, gadgets.to_montgomery(b, (xs[0], xs[1])))], 2)
        case "montgomery":
            return Gadget(
                lambda b, xs: [
                    *gadgets.to_edwards(
                        b,
                        gadgets.montgomery_add(
                            b, gadgets.to_montgomery(b, (xs[0], xs[1])), gadgets.to_montgomery(b, (xs[2], xs[3]))
                        ),
                    )
                ],
                4,
            )
        case "on curve":
            return Gadget(lambda b, xs: [gadgets.is_on_curve(b, (xs[0], xs[1]))], 2)
        case "fixed":
            return Gadget(fixed, 1)
        case "ladder":
            return Gadget(ladder, 3)
        case "below":
            return Gadget(lambda b, xs: [gadgets.is_below(b, (xs[0], xs[1]), (5, 7)).flag], 2)
        case _:
            return Gadget(unpack, 2)


def unpack(b: Builder, xs: list[Expr]) -> list[Expr]:
    """valid, x, y."""
    made = gadgets.unpack_point(b, (xs[0], xs[1]))
    return [made.valid, *made.point]


COUNTS = {
    "add": 6,
    "double": 5,
    "forms": 4,
    "montgomery": 3 + 6,
    "on curve": 5,
    "fixed": gadgets.FIXED_BITS + 1 + 3 + 82 * 6 + 2 + 1 + 6,
    "ladder": 2 + 1 + 6 + 6 * LADDER + 2 + 1 + 2,
    "below": 260,
    "unpack": 753,
}


@pytest.mark.parametrize("name", COUNTS)
def test_constraint_counts(name: str) -> None:
    """As the docstrings say."""
    count = gadget(name).circuit.n_constraints

    assert count == COUNTS[name]


def held(name: str, *inputs: int) -> list[int]:
    """Outputs of an honest witness, which holds."""
    made = gadget(name).fill(inputs)
    assert made.first_broken() is None, (name, inputs)
    return made.outputs


def test_complete_addition_and_doubling() -> None:
    """Any two points: neutral, equal, opposite, of small order."""
    for p in POINTS:
        assert held("double", *p) == list(curve.add(p, p))
        for q in POINTS:
            assert held("add", *p, *q) == list(curve.add(p, q))


def test_both_forms_and_their_sums() -> None:
    """Points with x != 0; different abscissas for a sum."""
    usual = [p for p in POINTS if p.x]
    for p in usual:
        assert held("forms", *p) == list(p)
        for q in usual:
            total = curve.add(p, q)
            if q not in (p, curve.negate(p)) and total.x:
                assert held("montgomery", *p, *q) == list(total)
    assert gadget("forms").fill(IDENTITY).first_broken() is not None
    assert gadget("montgomery").fill([*BASE, *curve.negate(BASE)]).first_broken() is not None


def test_points_on_the_curve_and_beside_it() -> None:
    """Both answers are provable."""
    for x, y in POINTS:
        assert held("on curve", x, y) == [1]
        assert held("on curve", x + 1, y) == [0]
    assert held("on curve", 0, 0) == [0]


@pytest.mark.parametrize(
    "scalar",
    [
        0,
        1,
        SUBGROUP_ORDER - 1,
        SUBGROUP_ORDER - 6,
        SUBGROUP_ORDER,
        (1 << 251) - 1,
        6 + 8 * 5,  # windows before add up to what would be a window's own point without shifts
        sum(7 << 3 * k for k in range(83)),
        RNG.getrandbits(251),
    ],
)
def test_fixed_multiples(scalar: int) -> None:
    """Smallest, largest, and around the order; no window meets an equal or opposite point."""
    assert held("fixed", scalar) == list(multiply(scalar + 5, BASE))


@pytest.mark.parametrize("k", [0, 1, (1 << LADDER) - 1, 1 << 128, RNG.getrandbits(LADDER)])
@pytest.mark.parametrize("point", [BASE, GENERATOR, curve.add(BASE, ORDER_TWO)])
def test_odd_multiples(k: int, point: Point) -> None:
    """Digits all -1, all 1, mixed; points outside the subgroup."""
    assert held("ladder", *point, k) == list(multiply((2 << LADDER) + 2 * k + 1, point))


def test_comparisons_with_a_constant() -> None:
    """Around 5 * 2^128 + 7, and at the ends."""
    bound = 5 * LIMIT + 7
    for x in (0, 6, 7, bound - 8, bound - 1, bound, bound + 1, 6 * LIMIT, LIMIT - 1, LIMIT * LIMIT - 1):
        assert held("below", *divmod(x, LIMIT)) == [int(x < bound)]


WORDS = [
    *(curve.compress(p) for p in POINTS),
    *(curve.compress(curve.negate(p)) for p in POINTS),
    *(1 << 255 | x for x in (0, 1, 2, R - 1, R)),
    *(2, 3, R - 1, R, R + 1, R - 2, (1 << 255) - 1, (1 << 256) - 1, R // LIMIT * LIMIT),
    *(RNG.getrandbits(256) for _ in range(4)),
]


def test_words_are_points_or_not() -> None:
    """As `decompress` says: range of y, no x, sign of 0."""
    seen = set()
    for word in WORDS:
        valid, x, y = held("unpack", *divmod(word, LIMIT))
        try:
            point = curve.decompress(word)
        except DecodeError as error:
            seen.add(error.reason)
            assert valid == 0, (word, error.reason)
        else:
            assert (valid, x, y) == (1, *point), word
    assert seen == {"POINT_Y_RANGE", "POINT_NOT_ON_CURVE", "POINT_SIGN"}


HONEST: dict[str, list[tuple[int, ...]]] = {
    "add": [(*BASE, *GENERATOR), (*IDENTITY, *BASE)],
    "double": [(*BASE,), (*IDENTITY,)],
    "forms": [(*BASE,)],
    "montgomery": [(*BASE, *GENERATOR)],
    "on curve": [(*BASE,), (3, 4)],
    "fixed": [(12345,)],
    "ladder": [(*BASE, 99)],
    "below": [(5, 6), (5, 7), (9, 0)],
    "unpack": [divmod(curve.compress(p), LIMIT) for p in (BASE, curve.negate(BASE))] + [(0, 2), (LIMIT - 1, 5)],
}


def explained(made: Made, name: str, wire: int) -> bool:
    """An inverse of 0: it occurs in one constraint, x * wire = 1 - zero."""
    constraints = gadget(name).constraints
    numbers = constraints.touching(wire)
    if len(numbers) != 1:
        return False
    a, b, _ = constraints.sides(numbers[0])
    return [w for w, _ in b] == [wire] and sum(k * made.values[w] for w, k in a) % R == 0


@pytest.mark.parametrize(("name", "inputs"), [(name, inputs) for name, many in HONEST.items() for inputs in many])
def test_wires_are_determined_and_changes_are_noticed(name: str, inputs: tuple[int, ...]) -> None:
    """Full rank of the derivative; a random value, a neighbour or the other sign in any one wire."""
    made = gadget(name).fill(inputs)
    loose = gadget(name).loose(made)
    free = gadget(name).unnoticed(made, made.inner, lambda x: (RNG.randrange(R), x + 1, 1 - x, -x))

    assert [wire for wire in {*loose, *free} if not explained(made, name, wire)] == []


# -- lies about words --------------------------------------------------------------------------------------------------

FIRST = 3
"""First inner wire of `unpack`: 128 bits of hi; the flag, the borrow and 256 bits of the comparison; y^2; `square`."""
FLAG, SQUARE = FIRST + 128, FIRST + 128 + 258 + 1
LEAST = SQUARE + 2
"""Bits of the smaller root."""


def lied(word: int, lies: dict[int, int]) -> bool:
    """Whether a lie is accepted."""
    return gadget("unpack").fill(divmod(word, LIMIT), lies).first_broken() is None


def root_bits(x: int) -> dict[int, int]:
    """A lie about the root."""
    return {LEAST + i: x >> i & 1 for i in range(253)}


def test_a_point_cannot_be_denied_and_no_point_cannot_be_claimed() -> None:
    """Flags and roots."""
    word = curve.compress(BASE)
    least = min(BASE.x, R - BASE.x)
    assert lied(word, root_bits(least) | {SQUARE: 1, FLAG: 1})
    assert not lied(word, {SQUARE: 0})
    assert not lied(word, {FLAG: 0})
    assert not lied(word, root_bits(least + 1))
    # The other root, or the least one plus r: more than 253 bits, or more than (r - 1) / 2.
    assert not lied(word, root_bits(R - least))
    highest = (R - least) * pow(2, -252, R) % R
    assert not lied(word, root_bits(0) | {LEAST + 252: highest})
    assert not lied(2, {SQUARE: 1})
    assert not lied(R + 1, {FLAG: 1})
    # x = 0: no root of 5 times 0 is claimed.
    assert lied(1, {SQUARE: 1})
    assert not lied(1, {SQUARE: 0})


def test_another_sign_is_refused() -> None:
    """The highest bit of the word is the sign."""
    high = curve.compress(BASE) // LIMIT
    bits = {FIRST + i: (high >> i & 1) ^ (i == 127) for i in range(128)}

    assert not lied(curve.compress(BASE), bits)
