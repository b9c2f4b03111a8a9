"""Programs made up at test time that call each other, run by the reference machine, have witnesses."""

from __future__ import annotations

import random

import pytest

from protocol.actions import ActionKind
from protocol.types import endpoint
from proving.circuit.errors import TierExceeded
from tests.property.circuit.test_inside import OTHER, THIRD, state_with
from tests.support.bench import bench
from tests.support.stories import ACCOUNT, ROLLUP, Story, words

ACCOUNTS = (ACCOUNT, OTHER, THIRD)


def piece(rng: random.Random) -> str:
    """A few instructions: storage, a call inside with some value, a call outside."""
    slot, value = rng.choice((5, 5, 6)), rng.choice((0, 0, 1, 5, 40))
    to = endpoint(ROLLUP, rng.choice(ACCOUNTS))
    inside = f"LDF f0, {to}\nLDI r7, {value}\nOUT r0, r2, 0\nICALL f0, r7, {rng.getrandbits(32)}, {rng.randrange(2)}"
    return rng.choice(
        (
            f"LDF f1, {slot}\nSSTORE f1, r{rng.choice((2, 3, 7))}",
            "LDF f1, 5\nSLOAD r4, f1\nADD r4, r4, r7",
            "BALANCE r3",
            "RETOK r3\nJNZ r3, end",
            inside,
            inside,
            inside,
            f"LDF f1, 12\nXCALL f1, 7, {rng.randrange(2)}, 9",
            f"LDF f1, 12\nLDI r7, {value}\nXTRYV f1, r7, 7, 0, 9",
        )
    )


def source(rng: random.Random) -> str:
    """Argument 0 says how deep to go on: at 0 the program ends at once."""
    body = "\n".join(piece(rng) for _ in range(rng.randrange(1, 4)))
    ends = ("RETURN 0", "OUT r4, r3, 0\nRETURN 1", "RETLO r1, 0\nOUT r3, r1, 0\nREVERT 1", "SUB r0, r11, r2\nRETURN 0")
    starts = "ARGLO r1, 0\nLDI r2, 1\nLT r3, r1, r2\nJNZ r3, end\nSUB r2, r1, r2\n"
    return f"{starts}{body}\nend: {rng.choice(ends)}"


def opener(story: Story, scope: tuple[int, ...]) -> int:
    """The entry that first called out in a scope."""
    return next(i for i, run in enumerate(story.runs) if run.next_action.scope[: len(scope)] == scope)


def told(rng: random.Random) -> Story:
    """Calls and answers until nothing waits."""
    story = Story(state_with({account: source(rng) for account in ACCOUNTS}, balance=30))
    story.call(b"abcd" + words(rng.randrange(1, 4)), value=rng.choice((0, 0, 2)))
    while len(story.runs) < 6:
        action = story.runs[-1].next_action
        if action.kind is ActionKind.REVERT:
            story.go_on(opener=opener(story, action.scope))
        elif story.runs[-1].suspended is not None:
            story.answer(words(rng.randrange(3))[: rng.choice((0, 32))], failed=rng.random() < 0.3)
        else:
            break
    return story


def proven(seed: int, frames: int) -> set[str]:
    """A story with so many stretches that fits, and what happened in it."""
    for attempt in range(2000):
        story = told(random.Random(1000 * seed + attempt))
        stretches = [stretch for run in story.runs for stretch in run.stretches]
        if len(stretches) < frames or story.runs[-1].suspended is not None:
            continue
        try:
            hints = bench().hints(story)
        except TierExceeded:
            continue
        assert bench().broken(hints) is None, f"seed {seed}, attempt {attempt}"
        happened = {stretch.outcome.name for stretch in stretches} | {s.trap.name for s in stretches if s.trap}
        happened |= {run.next_action.kind.name for run in story.runs}
        happened |= {f"scope of {len(run.next_action.scope)}" for run in story.runs}
        return happened | ({"to itself"} if any(_itself(s.frame) for s in stretches) else set())
    raise AssertionError("no story of two thousand fits")


def _itself(frame: object) -> bool:
    parent = getattr(frame, "parent", None)
    return parent is not None and parent.address == getattr(frame, "address", None)


@pytest.mark.parametrize("seed", range(4))
def test_made_up_frames_are_provable(seed: int) -> None:
    """A few in every run."""
    assert "ICALL" in proven(seed, 4 + seed % 3)


@pytest.mark.campaign
@pytest.mark.timeout(3600)
def test_many_made_up_frames_are_provable() -> None:
    """Among which everything happens that can."""
    happened: set[str] = set()
    for seed in range(100, 500):
        happened |= proven(seed, 3 + seed % 6)

    expected = {"ICALL", "XCALL", "XTRY", "RETURN", "REVERT", "TRAP", "FAILED_RESULT", "UNDONE", "BALANCE", "OVERFLOW"}
    expected |= {"CALL", "TRY_CALL", "RESULT", "scope of 1", "scope of 2", "to itself"}
    assert expected - happened == set()
