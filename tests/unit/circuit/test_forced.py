"""Turns of the forced queue: whose turn it is not has no entry, and what is no transaction needs a turn."""

from __future__ import annotations

import random
from functools import cache
from itertools import product

import pytest

from protocol.constants import FIELD_ORDER as R
from proving.circuit.builder import Builder, Expr
from proving.circuit.forced import require_taken, take_turn
from tests.support.gadgets import Gadget

RNG = random.Random(49)
LAST = (1 << 64) - 1


def body(b: Builder, xs: list[Expr]) -> list[Expr]:
    """Inputs: used, gas, cursor, taken."""
    used, gas, cursor, taken = xs
    turn = take_turn(b, used=used, gas=gas, cursor=cursor)
    require_taken(b, used=used, forced=turn.forced, taken=taken)
    return [turn.forced, turn.cursor_after]


@cache
def gadget() -> Gadget:
    """Recorded once."""
    return Gadget(body, 4)


@pytest.mark.parametrize(("gas", "cursor"), [(1, 0), (2, 1), (LAST, LAST - 1)])
def test_the_next_of_the_queue_has_an_entry(gas: int, cursor: int) -> None:
    """Whatever it is."""
    for taken in (0, 1):
        made = gadget().fill([1, gas, cursor, taken])

        assert made.first_broken() is None
        assert made.outputs == [1, cursor + 1]
        assert gadget().loose(made) == []
        assert gadget().unnoticed(made, made.inner, lambda x: (RNG.randrange(R), x + 1, 1 - x, -x)) == []


@pytest.mark.parametrize(("gas", "cursor"), [(1, 1), (2, 0), (5, 5), (LAST, 0), (1, 2)])
def test_an_item_out_of_its_turn_has_no_entry(gas: int, cursor: int) -> None:
    """Neither taken nor skipped; nor may it pass for an ordinary one."""
    for taken in (0, 1):
        inputs = [1, gas, cursor, taken]
        honest = gadget().fill(inputs)
        assert honest.first_broken() is not None
        for wire in honest.inner:
            assert gadget().fill(inputs, {wire: (1 - honest.values[wire]) % R}).first_broken() is not None


def test_an_ordinary_transaction_has_an_entry_if_it_is_taken() -> None:
    """It is never skipped, and the cursor does not matter."""
    for cursor, taken in product((0, 7), (0, 1)):
        made = gadget().fill([1, 0, cursor, taken])
        assert (made.first_broken() is None) == bool(taken)
        assert made.outputs[0] == 0


def test_unused_places_hold() -> None:
    """Zeros."""
    made = gadget().fill([0, 0, 0, 0])
    assert made.first_broken() is None
    assert made.outputs == [0, 1]
