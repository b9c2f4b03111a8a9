"""The signature gadget: right and wrong signatures are both provable, neither as the other."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from functools import cache

import pytest

from protocol.constants import FIELD_ORDER as R
from protocol.vm.babyjub import BASE, IDENTITY, SUBGROUP_ORDER, Point, add, compress, multiply, negate
from protocol.vm.eddsa import Signature, SigningKey, challenge, verify
from protocol.vm.transactions import decode_transaction, message_of, sign_transaction
from proving.circuit import eddsa as gadgets
from proving.circuit.builder import Builder, Expr
from tests.support.gadgets import Gadget, Made

RNG = random.Random(77)
KEY = SigningKey(bytes(range(32)))
LIMIT = 1 << 128
ORDER_TWO = Point(0, R - 1)
LADDER = 254
OFFSET = 11 * SUBGROUP_ORDER - (1 << LADDER)


def core(b: Builder, xs: list[Expr]) -> list[Expr]:
    """verify() on wires: key, R8, S, message, two flags."""
    public, r8, s = ((xs[2 * i], xs[2 * i + 1]) for i in range(3))
    return [gadgets.verify(b, public, r8, s, xs[6], (xs[7], xs[8]))]


@cache
def verifier() -> Gadget:
    """Recorded once."""
    return Gadget(core, 9)


@cache
def words() -> Gadget:
    """With packed points."""
    return Gadget(lambda b, xs: b.stamp(gadgets.SIGNED_WORDS, xs), 7)


def fill(public: Point, message: int, signed: Signature, lies: dict[int, int] | None = None, flags: int = 3) -> Made:
    """The verifier; flags bit 0: the key is a point, bit 1: R8 is one."""
    inputs = [*public, *signed.r8, *divmod(signed.s, LIMIT), message, flags & 1, flags >> 1]
    return verifier().fill(inputs, lies)


def answer(public: Point, message: int, signed: Signature, flags: int = 3) -> int:
    """What an honest witness, which holds, says."""
    made = fill(public, message, signed, None, flags)
    assert made.first_broken() is None
    return made.outputs[0]


def test_constraint_counts() -> None:
    """Committed: a tier has one for each transaction."""
    counts = (verifier().circuit.n_constraints, words().circuit.n_constraints)

    assert counts == (2916, 4426)


def test_valid_and_invalid_signatures() -> None:
    """As the reference says, for each thing that can be wrong."""
    message = RNG.randrange(R)
    good = KEY.sign(message)
    r8, s = good.r8, good.s
    tried = [
        good,
        Signature(r8=r8, s=s ^ 1),
        Signature(r8=r8, s=s + SUBGROUP_ORDER),
        Signature(r8=r8, s=(1 << 256) - 1),
        Signature(r8=r8, s=SUBGROUP_ORDER),
        Signature(r8=r8, s=SUBGROUP_ORDER - 1),
        Signature(r8=r8, s=0),
        Signature(r8=negate(r8), s=s),
        Signature(r8=add(r8, ORDER_TWO), s=s),
        Signature(r8=IDENTITY, s=s),
    ]
    answers = [answer(KEY.public, message, signed) for signed in tried]

    assert answers == [int(verify(KEY.public, message, signed)) for signed in tried] == [1] + 9 * [0]
    assert answer(KEY.public, (message + 1) % R, good) == 0
    assert answer(SigningKey(bytes(32)).public, message, good) == 0


def test_keys_of_small_order_and_with_a_part_of_small_order() -> None:
    """The first never sign; 8 removes the part."""
    r8 = multiply(9, BASE)
    for public in (IDENTITY, ORDER_TWO):
        assert answer(public, 7, Signature(r8=r8, s=9)) == 0
    tweaked = add(multiply(5, BASE), ORDER_TWO)
    s = (9 + 8 * challenge(tweaked, 7, r8) * 5) % SUBGROUP_ORDER
    assert answer(tweaked, 7, Signature(r8=r8, s=s)) == 1


@pytest.mark.parametrize("flags", [0, 1, 2])
def test_what_is_no_point_signs_nothing(flags: int) -> None:
    """Also where the coordinates would do: the flag says so; and where they would not."""
    good = KEY.sign(1)

    assert answer(KEY.public, 1, good, flags) == 0
    key = KEY.public if flags & 1 else Point(3, 4)
    r8 = good.r8 if flags & 2 else Point(0, 0)
    assert answer(key, 1, Signature(r8=r8, s=good.s), flags) == 0


def test_words_of_transactions() -> None:
    """Packed points; words that are none; zeros of an unused place."""
    message = 5
    good = KEY.sign(message)
    packed = [compress(KEY.public), compress(good.r8), good.s]
    cases = [(packed, 1), ([2, *packed[1:]], 0), ([packed[0], R + 1, packed[2]], 0), ([0, 0, 0], 0)]
    for triple, expected in cases:
        made = words().fill([*(half for word in triple for half in divmod(word, LIMIT)), message])
        assert made.first_broken() is None
        assert made.outputs[0] == expected
        if expected:
            assert made.outputs[1:] == list(KEY.public)


def test_a_signed_transaction() -> None:
    """As `sign_transaction` makes it; with another nonce its signature is none."""
    data = sign_transaction(KEY, domain=77, rollup_id=5, nonce=3, destination=KEY.address, value=9, words=((1, 2),))
    decoded = decode_transaction(data)
    signed = [half for at in (0, 32, 64) for half in divmod(int.from_bytes(data[at : at + 32], "big"), LIMIT)]
    for transaction, valid in ((decoded, 1), (replace(decoded, nonce=4), 0)):
        made = words().fill([*signed, message_of(transaction, 77, 5)])

        assert made.first_broken() is None
        assert made.outputs == [valid, *KEY.public]


def explained(made: Made, wire: int) -> bool:
    """An inverse of 0: it occurs in one constraint, x * wire = 1 - zero."""
    constraints = verifier().constraints
    numbers = constraints.touching(wire)
    if len(numbers) != 1:
        return False
    a, b, _ = constraints.sides(numbers[0])
    return [w for w, _ in b] == [wire] and sum(k * made.values[w] for w, k in a) % R == 0


CASES = {"valid": (KEY.sign(1), 3), "invalid": (KEY.sign(2), 3), "no points": (KEY.sign(1), 0)}


@pytest.mark.parametrize("name", CASES)
def test_wires_are_determined_and_changes_are_noticed(name: str) -> None:
    """Full rank; and a change of any one of a sample of wires."""
    signed, flags = CASES[name]
    made = fill(KEY.public, 1, signed, None, flags)
    loose = verifier().loose(made)
    sample = RNG.sample(list(made.inner), 400)
    free = verifier().unnoticed(made, sample, lambda x: (RNG.randrange(R), x + 1, 1 - x, -x))

    assert [wire for wire in {*loose, *free} if not explained(made, wire)] == []


# -- lies about the scalar ---------------------------------------------------------------------------------------------


@cache
def digit_wires() -> tuple[int, ...]:
    """Wires of the ladder's digits, highest first: w * w = v^2 with the v^2 that is common to them."""
    constraints = verifier().constraints
    squares: list[tuple[int, int]] = []
    for number in range(constraints.count):
        a, b, c = constraints.sides(number)
        if a == b and len(a) == 1 and len(c) == 1 and a[0][1] == 1:
            squares.append((a[0][0], c[0][0]))
    ((common, count),) = Counter(c for _, c in squares).most_common(1)
    assert count == LADDER + 1  # and v itself
    return tuple(w for w, c in squares if c == common)[1:]


def about_scalar(made: Made, k: int) -> dict[int, int]:
    """Lies: other digits, and the halves that they spell."""
    digits = digit_wires()
    v = next(x for x in (made.values[digits[0]], -made.values[digits[0]]) if spelled(made, x) < 1 << LADDER)
    lies = {w: (v if k >> (LADDER - 1 - i) & 1 else -v) % R for i, w in enumerate(digits)}
    high, low = divmod(k, LIMIT)
    old_high, old_low = divmod(spelled(made, v), LIMIT)
    for wire in made.inner:
        if made.values[wire] == old_high and wire > digits[-1]:
            lies[wire] = high
        if made.values[wire] == old_low and wire > digits[-1]:
            lies[wire] = low
    return lies


def spelled(made: Made, v: int) -> int:
    """The scalar of the ladder, if v is the ordinate; else one that does not fit."""
    k = sum(int(made.values[w] == v % R) << (LADDER - 1 - i) for i, w in enumerate(digit_wires()))
    public = made.values[1:8]
    h = challenge(Point(public[0], public[1]), public[6], Point(public[2], public[3]))
    return k if k == h + OFFSET else 1 << LADDER


def test_another_scalar_that_is_equal_in_the_field_is_refused() -> None:
    """k - r and k + r have 254 bits for some h: a valid signature could be denied."""
    seen = set()
    for message in range(40):
        good = KEY.sign(message)
        h = challenge(KEY.public, message, good.r8)
        for turn in (R, -R):
            k = h + OFFSET + turn
            if 0 <= k < 1 << LADDER and turn not in seen:
                seen.add(turn)
                honest = fill(KEY.public, message, good)
                lies = about_scalar(honest, k)
                assert len(lies) == LADDER + 2
                lied = fill(KEY.public, message, good, lies)
                assert (honest.outputs, lied.outputs) == ([1], [0])
                assert lied.first_broken() is not None
                assert fill(KEY.public, message, good, about_scalar(honest, h + OFFSET)).first_broken() is None
    assert seen == {R, -R}


def test_another_scalar_is_refused() -> None:
    """One that is not equal."""
    good = KEY.sign(3)
    honest = fill(KEY.public, 3, good)
    h = challenge(KEY.public, 3, good.r8)

    assert fill(KEY.public, 3, good, about_scalar(honest, h + OFFSET + 8 * 12345)).first_broken() is not None
    assert fill(KEY.public, 3, good, about_scalar(honest, h + OFFSET + SUBGROUP_ORDER)).first_broken() is not None
