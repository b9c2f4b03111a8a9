"""One world for each module, put back before each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.rollupworld import Setup, setup


@pytest.fixture(scope="module")
def _world() -> Setup:
    return setup()


@pytest.fixture
def made(_world: Setup) -> Iterator[Setup]:
    """Contracts deployed, rollups 1 and 2 created, nothing run."""
    point = _world.world.snapshot()
    yield _world
    _world.world.restore(point)
