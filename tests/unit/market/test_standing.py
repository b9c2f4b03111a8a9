"""Outcomes add up, fade, and decide."""

from __future__ import annotations

import pytest

from market.lifecycle import Event, State
from market.standing import HALF_LIFE_MS, LIMIT_MILLI, OF_PROVERS, OF_REQUESTERS, Outcome, standing

NOW_MS = 10 * HALF_LIFE_MS
HIM, HER = b"\x01" * 20, b"\x02" * 20


def did(weight_milli: int, age_ms: int = 0, account: bytes = HIM) -> Outcome:
    """One outcome."""
    return Outcome(account=account, weight_milli=weight_milli, at_ms=NOW_MS - age_ms)


@pytest.mark.parametrize(
    ("age_ms", "left"),
    [
        (0, -4_000),
        (HALF_LIFE_MS // 2, -3_000),
        (HALF_LIFE_MS, -2_000),
        (2 * HALF_LIFE_MS, -1_000),
        (20 * HALF_LIFE_MS, 0),
        (-5, -4_000),
    ],
)
def test_an_outcome_halves_every_week(age_ms: int, left: int) -> None:
    """Linearly in between; one from the future counts as of now."""
    assert left == standing([did(-4_000, age_ms)], HIM, NOW_MS)
    assert -left == standing([did(4_000, age_ms)], HIM, NOW_MS)


def test_everybody_has_a_standing_of_his_own() -> None:
    """And a stranger none."""
    seen = [did(-7_000), did(3_000), did(500, account=HER)]

    assert (-4_000, 500, 0) == tuple(standing(seen, who, NOW_MS) for who in (HIM, HER, b"\x03" * 20))


def test_three_strikes_or_one_broken_promise_are_too_many() -> None:
    """Two strikes are not, nor are some late answers of a prover that restarts."""
    strike = OF_REQUESTERS[State.DISPUTED]

    assert 3 * strike < LIMIT_MILLI <= 2 * strike
    assert OF_PROVERS[Event.PROOF_TIMEOUT] < LIMIT_MILLI <= 10 * OF_PROVERS[Event.ACK_TIMEOUT]
