"""Reference machine against circuit: 600 flows that nobody wrote (1,400 programs: `test_differential_programs.py`).

Each has a witness that satisfies a circuit. Two thousand in every run; more behind the marker `campaign`:

    python -m pytest -m campaign tests/property/circuit/test_differential.py
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from protocol.payload import make_witness, state_from_witness
from protocol.table import Core
from protocol.vm.state import VmState
from proving.circuit.errors import TierExceeded
from proving.circuit.plan import execute, plan
from proving.circuit.witness import assign
from proving.r1cs import check
from tests.property.circuit.test_random_frames import proven
from tests.property.test_vm_frames import ROOTS, Node, flow
from tests.support.bench import bench
from tests.support.circuits import Z

FRAMES = 300
FLOWS = 300


@pytest.mark.timeout(900)
def test_made_up_frames() -> None:
    """Three programs that call each other and out, try, fail and are undone, in a small circuit with many frames."""
    happened: set[str] = set()
    for seed in range(FRAMES):
        happened |= proven(1_000 + seed, 2 + seed % 5)

    assert {"ICALL", "XTRY", "REVERT", "TRAP", "UNDONE", "RESULT", "scope of 1"} <= happened


def fits_bench(core: Core, first: VmState) -> None:
    """The witness of rollup 1's part satisfies the small circuit, made from the state witness that a prover gets.

    Raises:
        TierExceeded: it has no place there.
    """
    shape = bench().shape
    part = state_from_witness(make_witness(first, execute(core, 1, first)))
    witness = assign(shape, plan(shape, core, 1, execute(core, 1, part))).finish(Z)
    assert check(bench().system, witness.wtns) is None


def played(count: int, seen: Counter[str]) -> Callable[[], None]:
    """A test of made-up flows: programs that call each other, try, fail and call out, until `count` had a place."""

    @settings(
        max_examples=20 * count,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(ROOTS, st.lists(st.booleans(), max_size=6))
    def run(root: Node, answers: list[bool]) -> None:
        if seen["flows"] >= count:
            return
        first, table, succeeded = flow(root, iter([*answers, *[True] * 300]))
        try:
            fits_bench(table.core(), first)
        except TierExceeded as error:
            seen[error.reason] += 1
            return
        seen["flows"] += 1
        seen["succeeded"] += succeeded
        seen["stretches"] += sum(len(entry.stretches) for entry in table.runs)
        for entry in table.entries:
            seen[entry.trigger.kind.name] += 1

    return run


def check_flows(count: int) -> None:
    """All kinds of triggers are among them."""
    seen: Counter[str] = Counter()
    played(count, seen)()

    assert seen["flows"] == count, seen
    assert 0 < seen["succeeded"] < count
    assert seen["stretches"] > 3 * count // 2
    assert {"CALL", "RESULT", "REVERT_CONTINUE"} <= set(seen)


@pytest.mark.timeout(900)
def test_made_up_flows() -> None:
    """In a small circuit with many frames."""
    check_flows(FLOWS)


@pytest.mark.campaign
@pytest.mark.timeout(7_200)
def test_many_made_up_flows() -> None:
    """Ten times as many."""
    check_flows(10 * FLOWS)
