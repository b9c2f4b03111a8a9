"""Tables that tier S has no place for are proven in a larger tier; the smallest one that fits is found."""

from __future__ import annotations

from functools import cache

import pytest

from protocol.hashing import selector
from protocol.statement import TIER_M, TIERS, Tier
from protocol.vm.assembler import assemble
from protocol.vm.state import INTEGER_WORD
from proving.circuit.builder import wtns_bytes
from proving.circuit.errors import TierExceeded
from proving.circuit.plan import smallest_that_fits
from proving.circuit.table_vm import circuit_for
from proving.circuit.witness import prepare
from proving.r1cs import R1cs, check, read_r1cs
from tests.support.circuits import Z
from tests.support.stories import Story, state_of, words

ASKS = (
    "ARGLO r1, 0\nJNZ r1, ask\nRETURN 0\n"
    "ask: LDF f0, 12\nXCALL f0, 0xaabbccdd, 1, 77\nRETLO r2, 0\nARGLO r3, 8\nADD r2, r2, r3\nOUT r2, r1, 1\nRETURN 2"
)


@cache
def system() -> R1cs:
    """Tier M, for the native checker."""
    return read_r1cs(circuit_for(TIER_M.number).r1cs_bytes)


def satisfies(story: Story, tier: int = TIER_M.number) -> bool:
    """Whether the honest witness of a tier satisfies it."""
    witness = prepare(tier, story.core(), story.rollup_id, story.first).finish(Z)
    judge = system() if tier == TIER_M.number else read_r1cs(circuit_for(tier).r1cs_bytes)
    return check(judge, wtns_bytes(witness.values)) is None


@pytest.mark.parametrize("count", [0, 1, 6, 7, 8, 9])
def test_arguments_of_one_and_of_two_chunks(count: int) -> None:
    """A suspended frame keeps the hash of all its arguments, and its answer finds them."""
    story = Story(state_of(assemble(ASKS)))
    story.call(selector("f(uint256)").to_bytes(4, "big") + words(*range(1, count + 1)))
    if count > 0:
        story.answer(words(5))

    assert satisfies(story)


def test_the_smallest_tier_with_room_is_chosen() -> None:
    """By what the runs need, not by the statement alone; what no tier has room for is refused by name."""
    shallow = "LDI r1, 1\nOUT r11, r1, 0\nRETURN 1"
    loops = "LDI r2, {count}\nLDI r3, 1\nagain: SUB r2, r2, r3\nJNZ r2, again\nRETURN 0"
    chosen = []
    for source in (shallow, *(loops.format(count=count) for count in (40, 150, 400))):
        story = Story(state_of(assemble(source)))
        story.call()
        chosen.append(smallest_that_fits(story.core(), story.rollup_id, story.runs))
    assert chosen == [tier.number for tier in TIERS]
    story = Story(state_of(assemble(loops.format(count=4000))))
    story.call()
    with pytest.raises(TierExceeded) as caught:
        smallest_that_fits(story.core(), story.rollup_id, story.runs)
    assert caught.value.reason == "TIER_ROWS"


@pytest.mark.campaign
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("tier", TIERS[2:], ids=lambda tier: tier.name)
def test_the_largest_tiers_hold(tier: Tier) -> None:
    """Arguments of three chunks, more entries than M has, insertions and updates."""
    code = assemble("LDF f0, 3\nSLOAD r1, f0\nARGLO r2, 15\nADD r1, r1, r2\nSSTORE f0, r1\nOUT r1, r0, 0\nRETURN 1")
    story = Story(state_of(code, {9: (1, INTEGER_WORD)}))
    for number in range(9):
        story.call(selector("f(uint256)").to_bytes(4, "big") + words(*range(number, number + 16)))

    assert satisfies(story, tier.number)


def test_more_entries_than_tier_s_has() -> None:
    """Each counts on from where the one before stopped."""
    code = assemble("LDF f0, 3\nSLOAD r1, f0\nLDI r2, 1\nADD r1, r1, r2\nSSTORE f0, r1\nOUT r1, r0, 0\nRETURN 1")
    story = Story(state_of(code, {9: (1, INTEGER_WORD)}))
    for _ in range(5):
        story.call()

    assert satisfies(story)
