"""Reference machine against circuit: 1,400 programs that nobody wrote; 600 flows are in `test_differential.py`.

Each runs on made-up data and storage, and has a witness that satisfies the circuit.
"""

from __future__ import annotations

import pytest

from tests.property.circuit.test_random_programs import check

PROGRAMS = 1_400


@pytest.mark.timeout(900)
def test_made_up_programs() -> None:
    """Random instructions on random data and storage, with calls out, tries and their answers."""
    happened: set[str] = set()
    for seed in range(PROGRAMS):
        happened |= check(1_000 + seed)

    assert {"MUL", "HASH", "SLOAD", "SSTOREF", "XTRYV", "BALANCE", "TRAP", "REVERT", "FAILED_RESULT"} <= happened
