"""What tests of the circuit share."""

from __future__ import annotations

import pytest

from protocol import statement
from protocol.actions import ActionKind


@pytest.fixture
def tries(monkeypatch: pytest.MonkeyPatch) -> None:
    """The statement takes TRY_CALL, which the contract does not lay out yet."""
    monkeypatch.setattr(statement, "PROVABLE_KINDS", (*statement.PROVABLE_KINDS, ActionKind.TRY_CALL))
