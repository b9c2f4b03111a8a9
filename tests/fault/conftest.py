"""One parent of all node processes of a test run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.forks import Forks


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks]:
    """Starts nodes quickly; whatever still runs at the end is killed."""
    parent = Forks()
    yield parent
    parent.close()
