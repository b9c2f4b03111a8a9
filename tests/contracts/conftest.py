"""One world for each module, put back before each test.

On pyrevm where it installs, else on py-evm, which is slower and says the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

import pytest

from tests.support.evmworld import World
from tests.support.rollupworld import Setup, setup


def _new_world() -> World:
    if find_spec("pyrevm") is None:
        return World()
    from tests.support.nativeworld import NativeWorld

    return NativeWorld()


@pytest.fixture(scope="module")
def _world() -> Setup:
    return setup(_new_world())


@pytest.fixture
def made(_world: Setup) -> Iterator[Setup]:
    """Contracts deployed, rollups 1 and 2 created, nothing run."""
    point = _world.world.snapshot()
    yield _world
    _world.world.restore(point)
