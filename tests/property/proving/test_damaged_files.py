"""Every reader, and what is done with what it read, under damaged files: a coded error or a working value, in memory
that the size of the file bounds."""

from __future__ import annotations

import tracemalloc
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.damage import USES, damaged, survives

SLOW = {"ptau", "bases of a ptau", "zkey of a ceremony", "zkey"}
FEW = settings(derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("kind", USES)
def test_the_undamaged_file_is_good(kind: str) -> None:
    assert survives(kind, USES[kind][0]()) == ""


@pytest.mark.parametrize("kind", USES)
def test_damage_gives_a_coded_error_or_a_working_value(kind: str) -> None:
    codes: Counter[str] = Counter()

    @settings(FEW, max_examples=40 if kind in SLOW else 120)
    @given(seed=st.integers(0, 1 << 32))
    def run(seed: int) -> None:
        codes[survives(kind, damaged(kind, seed))] += 1

    run()
    assert sum(count for code, count in codes.items() if code) > 15, codes


@pytest.mark.parametrize("kind", USES)
def test_memory_is_bounded_by_the_size_of_the_file(kind: str) -> None:
    """Python's own; the core allocates after the same checks."""
    size = len(USES[kind][0]())
    survives(kind, USES[kind][0]())
    tracemalloc.start()
    try:
        for seed in range(10):
            survives(kind, damaged(kind, seed))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 40 * size + (16 << 20)


@pytest.mark.campaign
@pytest.mark.parametrize("kind", USES)
def test_long_campaign(kind: str) -> None:
    """Run: python -m pytest -m campaign tests/property/proving/test_damaged_files.py"""
    count = 2000 if kind in SLOW else 20000
    refused = sum(bool(survives(kind, damaged(kind, seed))) for seed in range(1 << 40, (1 << 40) + count))

    assert refused > count // 3
