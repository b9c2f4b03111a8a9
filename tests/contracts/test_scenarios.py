"""The list of scenarios names tests that exist, and leaves none of the numbered ones out."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent
LIST = (HERE / "SCENARIOS.md").read_text()
REVIEW = (HERE / "REVIEW.md").read_text()
TESTS = {name for path in HERE.glob("test_*.py") for name in re.findall(r"^def (test_\w+)", path.read_text(), re.M)}


def rows() -> list[tuple[str, str]]:
    """(scenario, tests or reason) of each row."""
    cells = [line.strip("| ").split(" | ") for line in LIST.splitlines() if line.startswith("| ")]
    return [(left, right) for left, right in cells if right not in ("tests", "test or reason")]


def test_every_named_test_exists() -> None:
    named = {name for _, right in rows() for name in re.findall(r"`(test_\w+)`", right)}
    assert len(named) > 50
    assert named - TESTS == set()


def test_every_row_names_a_test_or_gives_a_reason() -> None:
    assert [
        left for left, right in rows() if "`test_" not in right and not right.startswith(("no: ", "not here: "))
    ] == []


def test_all_numbers_are_there() -> None:
    numbers = {left.split()[0] for left, _ in rows()}
    assert {f"S{i}" for i in range(1, 22)} | {f"V{i}" for i in range(1, 13)} <= numbers


def test_every_test_of_the_review_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", REVIEW))
    assert len(named) > 40
    assert named - TESTS == set()
