"""One parent of all node processes, and one world that the tests of this folder share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.support.forks import Forks
from tests.support.nodeworld import AUCTION, World, world_of_module


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks]:
    """Starts nodes quickly; whatever still runs at the end is killed."""
    parent = Forks()
    yield parent
    parent.close()


@pytest.fixture(scope="session")
def world(forks: Forks, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A relay, two provers, and a user that keeps its transactions back until `submit`."""
    auction = replace(AUCTION, submit=False)
    with world_of_module(forks, tmp_path_factory.mktemp("nodes"), auction=auction, provers=2) as opened:
        yield opened
