"""The example programs that stay in one frame have witnesses on their main ways."""

from __future__ import annotations

import pytest

from protocol.hashing import selector
from protocol.types import Address, endpoint
from protocol.vm.execution import Outcome
from protocol.vm.poseidon import P
from protocol.vm.programs import program
from protocol.vm.state import FIELD_WORD, INTEGER_WORD
from tests.support.circuits import broken, witness_of
from tests.support.stories import USER, Story, state_of, words

ME = endpoint(0, USER)
OTHER = endpoint(7, Address(bytes.fromhex("b0" * 20)))
L1 = Address(bytes.fromhex("0c" * 20))


def text(signature: str, *arguments: int) -> bytes:
    """Call data."""
    return selector(signature).to_bytes(4, "big") + words(*arguments)


def slot(number: int, key: int) -> int:
    """Slot of a list."""
    return P(2, (number, key))


def test_coins_move_and_are_counted() -> None:
    """To somebody new, and what the sender has left."""
    story = Story(state_of(program("coin"), {slot(1, ME): (100, INTEGER_WORD)}))
    story.call(text("move(uint256,uint256)", OTHER, 30))
    story.call(text("balanceOf(uint256)", ME))

    assert [run.next_action.data for run in story.runs] == [words(1), words(70)]
    assert broken(witness_of(story)) is None


def test_a_token_is_made_and_given_away() -> None:
    """The first one."""
    story = Story(state_of(program("nft")))
    story.call(text("mint()"))
    story.call(text("transfer(uint256,uint256)", 1, OTHER))

    assert [run.next_action.data for run in story.runs] == [words(1), words(1)]
    assert broken(witness_of(story)) is None


@pytest.mark.parametrize("failed", [False, True])
def test_a_bridge_lets_coins_out_or_keeps_them(failed: bool) -> None:
    """The vault's answer decides."""
    slots = {2: (endpoint(0, L1), FIELD_WORD), slot(1, ME): (100, INTEGER_WORD)}
    story = Story(state_of(program("bridge"), slots))
    story.call(text("withdraw(uint256,uint256)", ME, 30))
    assert story.runs[0].outcome is Outcome.XCALL
    story.answer(words(1), failed=failed)

    assert (story.state.root == story.first.root) == failed
    assert broken(witness_of(story)) is None


def test_a_bridge_takes_coins_in() -> None:
    """From the vault."""
    story = Story(state_of(program("bridge"), {2: (endpoint(0, L1), FIELD_WORD)}))
    run = story.call(text("credited(uint256,uint256)", ME, 30), source=L1)

    assert run.outcome is Outcome.RETURN
    assert broken(witness_of(story)) is None


@pytest.mark.parametrize(("answer", "allowed"), [(words(0), 1), (words(1), 0), (b"odd", 0), (None, 0)])
def test_a_check_fails_closed(answer: bytes | None, allowed: int) -> None:
    """Not sanctioned, sanctioned, a strange answer, none."""
    slots = {3: (endpoint(0, L1), FIELD_WORD), slot(1, ME): (1, INTEGER_WORD)}
    story = Story(state_of(program("compliance"), slots))
    story.call(text("check(uint256)", ME))
    assert story.runs[0].outcome is Outcome.XTRY
    run = story.answer(answer or b"", failed=answer is None)

    assert run.next_action.data == words(allowed)
    assert broken(witness_of(story)) is None
