"""The example programs that call each other have witnesses, in the smallest circuit that has a place for them."""

from __future__ import annotations

import pytest

from protocol.types import Address
from protocol.vm.state import VmState
from proving.circuit.tiers import SHAPE_L
from tests.support.machines import L2_TIME
from tests.support.placed import has_place, place_of
from tests.support.stories import words
from tests.support.vmtables import VmTable
from tests.unit.protocol.vm.test_programs_inside import COIN_A, COIN_B, HOLDER, ask, at, lent, market, policy, sent
from tests.unit.protocol.vm.test_programs_inside import PROGRAM as PAIR


def table(state: VmState) -> VmTable:
    """Entries of rollup 1."""
    return VmTable({1: state}, l2_time=L2_TIME)


def answer_of(made: VmTable) -> list[int] | None:
    """Words of the last entry's answer; None if it failed."""
    last = made.entries[-1].next_action
    data = last.data
    return None if last.failed else [int.from_bytes(data[i : i + 32], "big") for i in range(0, len(data), 32)]


@pytest.mark.parametrize(("coin", "got", "wanted"), [(COIN_A, 3_626, 3_626), (COIN_B, 243, 200), (COIN_A, None, 3_627)])
def test_a_pair_swaps_in_both_directions_and_refuses_less(coin: Address, got: int | None, wanted: int) -> None:
    """Two coins are asked and one moves: calls inside calls' entry, products and a quotient."""
    made = table(sent(market(), coin, 1_000))
    made.begins(ask("swap(uint128)", wanted))

    assert answer_of(made) == (None if got is None else [got])
    assert place_of(made, 1) == ("M" if got is None else "roomy")
    assert has_place(SHAPE_L, made, 1)


def test_coins_come_in_and_are_swapped_in_one_table() -> None:
    """So that nobody else can take what came in."""
    made = table(market())
    moved = made.begins(ask("move(uint256,uint256)", at(PAIR), 1_000, to=COIN_A))
    made.begins(ask("swap(uint128)", 3_000), after=moved)

    assert answer_of(made) == [3_626]
    assert place_of(made, 1) == "roomy"
    assert has_place(SHAPE_L, made, 1)


def test_a_pair_takes_what_came_in_as_reserves() -> None:
    """Of both coins."""
    made = table(sent(market(), COIN_A, 5))
    made.begins(ask("add()"))

    assert answer_of(made) == [10_005, 40_000]
    assert place_of(made, 1) == "M"


@pytest.mark.parametrize(
    ("less", "money", "answer", "tier"), [(0, 200, [101], "M"), (1, 200, None, "M"), (0, 100, None, "M")]
)
def test_a_flash_loan_comes_back_or_never_was(less: int, money: int, answer: list[int] | None, tier: str) -> None:
    """Paid back with its fee; a wei less; a borrower that traps."""
    made = table(lent(less, money).pre)
    made.begins(ask("flash(uint128,uint256)", 100_000, at(HOLDER)))

    assert answer_of(made) == answer
    assert place_of(made, 1) == tier


@pytest.mark.parametrize(
    ("answers", "expected", "tier"),
    [
        ([words(79)], [0, 79], "S"),
        ([None], [2, 0], "S"),
        ([words(99), None], [3, 99], "M"),
        ([words(80), words(1)], [1, 80], "M"),
    ],
)
def test_a_policy_pays_or_degrades(answers: list[bytes | None], expected: list[int], tier: str) -> None:
    """Two tries, and a payment inside the rollup."""
    made = table(policy())
    at_work = made.begins(ask("claim()"))
    for answer in answers:
        at_work = made.answered(at_work, answer or b"", failed=answer is None)

    assert answer_of(made) == expected
    assert place_of(made, 1) == tier
