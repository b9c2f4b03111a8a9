"""Tier S itself: what it is for fits, and no wire of it is loose."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import cache, partial

import pytest

from protocol.constants import FIELD_ORDER as R
from protocol.hashing import selector
from protocol.types import Address, endpoint
from protocol.vm.poseidon import P
from protocol.vm.programs import program
from protocol.vm.state import FIELD_WORD, INTEGER_WORD
from proving.circuit.table_vm import circuit_for
from proving.circuit.tiers import SHAPE_S
from tests.support.circuits import witness_of
from tests.support.constraints import Constraints
from tests.support.stories import USER, Story, state_of, words


def counter() -> Story:
    """An insertion, an update and a read by one program."""
    story = Story(state_of(program("counter")))
    story.call(selector("increment()").to_bytes(4, "big"))
    story.call(selector("increment()").to_bytes(4, "big"))
    story.call(selector("count()").to_bytes(4, "big"))
    return story


def oracle() -> Story:
    """A call that brings value, asks L1 and goes on with the answer."""
    slots = {0: (endpoint(0, Address(bytes.fromhex("0c" * 20))), FIELD_WORD), 1: (100, INTEGER_WORD)}
    story = Story(state_of(program("oracle_reader"), slots))
    story.call(selector("settle()").to_bytes(4, "big"), value=7)
    story.answer(words(150))
    return story


def token() -> Story:
    """A transfer to somebody new."""
    story = Story(state_of(program("token"), {P(2, (1, endpoint(0, USER))): (1000, INTEGER_WORD)}))
    story.call(selector("transfer(address,uint256)").to_bytes(4, "big") + words(0x77, 300))
    return story


STORIES: dict[str, Callable[[], Story]] = {"counter": counter, "oracle": oracle, "token": token}


@cache
def constraints() -> Constraints:
    """The tier's circuit, read back."""
    return Constraints(circuit_for(SHAPE_S.tier.number).r1cs_bytes)


@pytest.mark.parametrize("name", STORIES)
def test_what_the_tier_is_for_fits(name: str) -> None:
    """Honest witnesses satisfy it."""
    witness = witness_of(STORIES[name](), SHAPE_S)

    assert list(constraints().broken(list(witness.values))) == []


def chosen(name: str, rng: random.Random) -> list[Callable[[int], int]]:
    """Other values for a wire."""
    return [lambda x: 1 - x, lambda x: x + 1, lambda x: -x, lambda _: rng.randrange(R)]


@pytest.mark.parametrize("name", ["oracle", pytest.param("token", marks=pytest.mark.campaign)])
def test_few_wires_are_loose(name: str) -> None:
    """As few, for their number, as in the wider circuit whose loose wires are listed one by one (`test_wires.py`)."""
    witness = witness_of(STORIES[name](), SHAPE_S)
    free = constraints().free(list(witness.values), chosen(name, random.Random(name)))

    assert 0 < len(free) < len(witness.values) // 200


def test_the_domain_is_half_of_the_wider_one() -> None:
    """2^16."""
    made = partial(circuit_for, SHAPE_S.tier.number)()

    assert made.n_constraints + made.n_public < 1 << 16
