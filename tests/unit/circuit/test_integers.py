"""The integer unit: every operation against Python's integers, and provers that lie about it."""

from __future__ import annotations

import random
from functools import cache

import pytest

from protocol.constants import FIELD_ORDER as R
from proving.circuit.integers import INTEGER_UNIT, OPERATIONS
from tests.support.gadgets import Gadget, Made

RNG = random.Random(128)
LIMIT = 1 << 128
EDGES = (0, 1, 2, 3, 127, 128, 129, (1 << 64) - 1, 1 << 64, 1 << 125, (1 << 127) + 1, LIMIT - 2, LIMIT - 1)
FIELD_EDGES = (0, 1, LIMIT - 1, LIMIT, R - 1, R - 2, R // LIMIT * LIMIT, R // LIMIT * LIMIT - 1)
CONSTRAINTS = 575
FIRST = 1 + len(OPERATIONS) + 2
"""First inner wire: the bits of X, then those of Y, then those of Z."""


@cache
def unit() -> Gadget:
    """Recorded once."""
    return Gadget(lambda b, xs: b.stamp(INTEGER_UNIT, xs), len(OPERATIONS) + 2)


def fill(name: str | None, a: int, b: int, lies: dict[int, int] | None = None) -> Made:
    """One operation, or none."""
    return unit().fill([*(int(op == name) for op in OPERATIONS), a, b], lies)


def expected(name: str, a: int, b: int) -> int | None:
    """The result by SPEC §4.3; None is a trap."""
    match name:
        case "MUL":
            return a * b if a * b < LIMIT else None
        case "DIV" | "MOD":
            return (a // b if name == "DIV" else a % b) if b else None
        case "MIN" | "MAX":
            return min(a, b) if name == "MIN" else max(a, b)
        case "AND" | "OR" | "XOR":
            return {"AND": a & b, "OR": a | b, "XOR": a ^ b}[name]
        case "SHL":
            return a << b if a == 0 or (b < 128 and a << b < LIMIT) else None
        case "SHR":
            return a >> b if b < 128 else 0
        case "FHI" | "FLO":
            return a // LIMIT if name == "FHI" else a % LIMIT
        case _:
            return pow(a, -1, R) if a else None


def operands(name: str, count: int) -> list[tuple[int, int]]:
    """Edges with each other, and random ones of random length."""
    if name in ("FHI", "FLO", "INVF"):
        return [(a, RNG.randrange(R)) for a in (*FIELD_EDGES, RNG.randrange(R))]
    edges = [(a, b) for a in EDGES for b in EDGES]
    made = RNG.sample(edges, min(count, len(edges)))
    made += [(RNG.getrandbits(RNG.randrange(1, 129)), RNG.getrandbits(RNG.randrange(1, 129))) for _ in range(count)]
    if name in ("SHL", "SHR"):
        made += [(RNG.getrandbits(RNG.randrange(1, 129)), RNG.randrange(130)) for _ in range(count)]
    if name == "MUL":
        # Products that just fit, and just do not.
        made += [(LIMIT // b, b) for b in (3, 5, 1 << 64, LIMIT - 1)] + [(-(-LIMIT // b), b) for b in (3, 5, 1 << 64)]
    return made


def judged(name: str, a: int, b: int) -> None:
    """Honest wires hold, and the outputs are right."""
    made, right = fill(name, a, b), expected(name, a, b)

    assert made.first_broken() is None, (name, a, b)
    assert made.outputs[1] == int(right is None), (name, a, b)
    if right is not None:
        assert made.outputs[0] == right, (name, a, b)


@pytest.mark.parametrize("name", OPERATIONS)
def test_results_and_traps(name: str) -> None:
    """At edges and at random."""
    pairs = operands(name, 12)
    for a, b in pairs:
        judged(name, a, b)
    assert len(pairs) > 7


@pytest.mark.campaign
@pytest.mark.parametrize("name", OPERATIONS)
def test_results_and_traps_of_many_operands(name: str) -> None:
    """All pairs of edges, hundreds of random ones."""
    pairs = operands(name, 300)
    for a, b in pairs:
        judged(name, a, b)
    assert len(pairs) > 7


def test_constraint_count() -> None:
    """Committed, because a tier has many units."""
    assert unit().circuit.n_constraints == CONSTRAINTS


RANKS = {
    None: [(0, 0), (5, R - 1)],
    "MUL": [(0, 5), (7, 9), (1 << 127, 2), (1 << 127, 3), (LIMIT - 1, LIMIT - 1)],
    "DIV": [(100, 7), (100, 0), (0, 3), (LIMIT - 1, 1)],
    "MOD": [(100, 7)],
    "MIN": [(3, 4), (4, 3), (4, 4)],
    "MAX": [(3, 4)],
    "AND": [(LIMIT - 1, 12345)],
    "OR": [(0, 12345)],
    "XOR": [(77, 12345)],
    "SHL": [(3, 127), (3, 126), (0, 500), (1, 500), (5, 0)],
    "SHR": [(LIMIT - 1, 127), (5, 128), (5, LIMIT - 1), (5, 0)],
    "FHI": [(R - 1, 3), (LIMIT, 3), (5, 5)],
    "FLO": [(R - 1, 3)],
    "INVF": [(0, 3), (R - 1, 3), (1 << 200, 4)],
}
CASES = [(name, a, b) for name, pairs in RANKS.items() for a, b in pairs]


def explained(made: Made, wire: int) -> bool:
    """x * wire = 1 - zero says nothing about wire where x, here X - hi(r), is 0; nothing else reads it."""
    numbers = unit().constraints.touching(wire)
    high = sum(bit << i for i, bit in enumerate(made.values[FIRST : FIRST + 128]))
    return len(numbers) == 1 and high == R // LIMIT


@pytest.mark.parametrize(("name", "a", "b"), CASES)
def test_wires_are_determined(name: str | None, a: int, b: int) -> None:
    """The derivative has full rank."""
    made = fill(name, a, b)

    assert [wire for wire in unit().loose(made) if not explained(made, wire)] == []


@pytest.mark.parametrize(("name", "a", "b"), CASES[::3])
def test_every_changed_wire_is_noticed(name: str | None, a: int, b: int) -> None:
    """A random value, a neighbour, the other bit."""
    made = fill(name, a, b)
    free = unit().unnoticed(made, made.inner, lambda x: (RNG.randrange(R), x + 1, 1 - x))

    assert [wire for wire in free if not explained(made, wire)] == []


# -- lies --------------------------------------------------------------------------------------------------------------


def claims(x: int, y: int, z: int, **more: int) -> dict[int, int]:
    """Lies about X, Y, Z; `turn`, `far`, the lowest bit of `shift`, `zero`, `inverse`."""
    lies = {FIRST + 128 * k + i: number >> i & 1 for k, number in enumerate((x, y, z)) for i in range(128)}
    names = {"far": FIRST + 384, "shift": FIRST + 386, "turn": FIRST + 399, "zero": FIRST + 403, "inverse": FIRST + 404}
    return lies | {names[name]: claim for name, claim in more.items()}


def accepted(name: str, a: int, b: int, lies: dict[int, int]) -> bool:
    """Whether the constraints accept, with the outputs that follow from the lies."""
    return fill(name, a, b, lies).first_broken() is None


def test_lies_are_told_to_the_right_wires() -> None:
    """The honest claim, told as a lie, is accepted."""
    assert accepted("DIV", 100, 7, claims(14, 2, 4))
    assert accepted("MUL", 1 << 127, 3, claims(2, 0, 1, turn=1))
    assert accepted("SHR", 9, 200, claims(0, 0, 72, far=1))
    assert accepted("MIN", 3, 5, claims(0, 0, 1, turn=1))


@pytest.mark.parametrize(("x", "y"), [(13, 9), (13, 2), (15, 95), (15, 2), (0, 100), (LIMIT - 1, 0)])
def test_another_quotient_is_refused(x: int, y: int) -> None:
    """Whatever Z is said to be."""
    for z in (0, (6 - y) % LIMIT, LIMIT - 1):
        assert not accepted("DIV", 100, 7, claims(x, y, z))
        assert not accepted("MOD", 100, 7, claims(x, y, z))


@pytest.mark.parametrize(
    ("divisor", "turns"),
    [((1 << 127) + 12345, 1), ((1 << 127) + 12345, 2), *((LIMIT - 77, turns) for turns in range(1, 6))],
)
def test_a_product_that_wraps_around_the_field_is_refused(divisor: int, turns: int) -> None:
    """quotient * divisor = dividend + turns * r, with everything below 2^128."""
    quotient = -(-turns * R // divisor)
    dividend = quotient * divisor - turns * R

    assert quotient < LIMIT
    assert 0 <= dividend < LIMIT
    assert not accepted("DIV", dividend, divisor, claims(quotient, 0, divisor - 1))
    # The same as a product that seems to be small, and as one that seems to be large.
    assert not accepted("MUL", divisor, quotient, claims(quotient, LIMIT - 1 - dividend, 0))
    assert not accepted("MUL", divisor, quotient, claims(quotient, (dividend - LIMIT) % LIMIT, 0, turn=1))


def test_overflow_can_be_neither_hidden_nor_invented() -> None:
    """MUL and SHL."""
    assert expected("MUL", 1 << 127, 2) is None
    assert not accepted("MUL", 1 << 127, 2, claims(2, LIMIT - 1, 0))
    assert not accepted("MUL", 1 << 127, 2, claims(2, 0, 1))
    assert not accepted("MUL", (1 << 127) - 1, 2, claims(2, 0, 0, turn=1))
    assert not accepted("MUL", (1 << 127) - 1, 2, claims(3, (1 << 127) - 3, LIMIT - 1, turn=1))
    assert not accepted("SHL", 1, 128, claims(0, LIMIT - 1, 0))
    assert not accepted("SHL", 1, 127, claims(0, 0, 0, far=1))
    assert not accepted("SHL", 1, 127, claims(2, 0, 0, turn=1))


def test_far_shifts_can_be_neither_hidden_nor_invented() -> None:
    """`far` with a shift below 128, and a shift of 128 whose low seven bits are 0."""
    assert not accepted("SHR", 9, 3, claims(0, 0, LIMIT - 125, far=1))
    assert not accepted("SHR", 9, 128, claims(9, 0, 0, far=0))


def test_less_can_be_neither_hidden_nor_invented() -> None:
    """MIN and MAX."""
    assert not accepted("MIN", 3, 5, claims(0, 0, LIMIT - 2, turn=0))
    assert not accepted("MIN", 5, 3, claims(0, 0, LIMIT - 3, turn=1))
    assert not accepted("MAX", 4, 4, claims(0, 0, LIMIT - 1, turn=1))


def test_the_second_split_of_a_field_word_is_refused() -> None:
    """x + r has halves below 2^128, too."""
    for a in (0, 5, R - 1):
        for wraps in (1, 2, 4):
            high, low = divmod(a + wraps * R, LIMIT)
            for z in ((R // LIMIT - 1 - high) % LIMIT, (R % LIMIT - 1 - low) % LIMIT, 0):
                assert high < LIMIT
                assert not accepted("FHI", a, 0, claims(high, low, z))


def test_a_zero_divisor_can_be_neither_hidden_nor_invented() -> None:
    """DIVISION of DIV and INVF."""
    assert not accepted("DIV", 100, 7, claims(100, 0, 0, zero=1, inverse=0))
    assert not accepted("DIV", 100, 7, claims(12, 4, 3, zero=1, inverse=0))
    assert not accepted("DIV", 100, 0, claims(0, 100, LIMIT - 1, zero=0, inverse=0))
    assert not accepted("INVF", 7, 0, {FIRST + 403: 1, FIRST + 404: 0})
    assert not accepted("INVF", 0, 0, {FIRST + 403: 0, FIRST + 404: 0})


def test_operations_do_not_mix() -> None:
    """A claim of one operation is no claim of another; nothing is claimed without a flag."""
    assert not accepted("AND", 100, 7, claims(14, 2, 4))
    assert not accepted("AND", 100, 7, claims(101, 7, 0))
    assert not accepted("AND", 100, 7, claims(100, 6, 0))
    assert not accepted("DIV", 100, 7, claims(100, 7, 0))
    assert not accepted("DIV", 1000, 200, claims(0, 0, 72, far=1))
    assert not accepted("AND", 100, 7, claims(100, 7, 0, turn=1))
    assert not accepted("DIV", 100, 7, claims(14, 2, 4, shift=1))
    none = [0] * len(OPERATIONS) + [100, 7]
    assert unit().fill(none, claims(0, 0, 0)).first_broken() is None
    for lies in (claims(1, 0, 0), claims(0, 1, 0), claims(0, 0, 1), claims(0, 0, 0, turn=1), claims(0, 0, 0, far=1)):
        assert unit().fill(none, lies).first_broken() is not None
