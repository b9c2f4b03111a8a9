"""Reference machine against circuit: 1,400 programs that nobody wrote; 600 flows are in `test_differential.py`.

Each runs on made-up data and storage, with calls out, tries and their answers, and has a witness that satisfies tier S.
"""

from __future__ import annotations

import pytest

from protocol.payload import make_witness, state_from_witness
from proving.circuit.tiers import SHAPE_S
from proving.r1cs import check
from tests.property.circuit.test_random_programs import seen, story_of
from tests.support.circuits import witness_of
from tests.support.placed import system_of

PROGRAMS = 1_400


@pytest.mark.timeout(900)
def test_made_up_programs() -> None:
    """The witness is made from the state witness that a prover gets."""
    happened: set[str] = set()
    for seed in range(PROGRAMS):
        story = story_of(1_000 + seed, SHAPE_S)
        part = state_from_witness(make_witness(story.first, story.runs))
        assert check(system_of(SHAPE_S), witness_of(story, SHAPE_S, state=part).wtns) is None, f"seed {seed}"
        happened |= seen(story)

    assert {"MUL", "HASH", "SLOAD", "SSTOREF", "XTRYV", "BALANCE", "TRAP", "REVERT", "RESULT"} <= happened
