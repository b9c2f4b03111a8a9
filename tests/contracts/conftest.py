"""One world for each module, put back before each test.

On pyrevm where it installs, else on py-evm, which is slower and says the same. `UNVETO_TEST_EVM=anvil` (or `py-evm`,
`pyrevm`) chooses; CI runs the suite on pyrevm and again on anvil.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.util import find_spec

import pytest

from node.chain.launch import start_l1
from node.chain.transport import HttpTransport
from tests.support import tools
from tests.support.evmworld import Contract, World
from tests.support.marketworld import Party, parties
from tests.support.rollupworld import Setup, setup

CHOSEN = os.environ.get("UNVETO_TEST_EVM") or ("pyrevm" if find_spec("pyrevm") else "py-evm")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """On anvil only the tests that take the chosen world, but two kinds.

    Those that wait for 50,400 blocks; and one whose account reads so much of its own storage, cold on anvil and warm on
    pyrevm, that it exceeds what a signer may spend.
    """
    if CHOSEN == "anvil":
        left = [
            item
            for item in items
            if "made" not in getattr(item, "fixturenames", ())
            or item.path.name == "test_table_ends.py"
            or item.name.startswith("test_a_contract_that_is_asked_cannot_change_anything")
        ]
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if item not in left]


@pytest.fixture(scope="session")
def _anvil() -> Iterator[HttpTransport]:
    with start_l1("anvil", anvil=tools.anvil()) as l1:
        transport = HttpTransport(l1.url, timeout_s=60)
        yield transport
        transport.close()


@pytest.fixture(scope="module")
def _world(request: pytest.FixtureRequest) -> Setup:
    if CHOSEN == "anvil":
        from tests.support.anvilworld import AnvilWorld

        return setup(AnvilWorld(request.getfixturevalue("_anvil")))
    if CHOSEN == "pyrevm":
        from tests.support.nativeworld import NativeWorld

        return setup(NativeWorld())
    assert CHOSEN == "py-evm", CHOSEN
    return setup(World())


@pytest.fixture
def made(_world: Setup) -> Iterator[Setup]:
    """Contracts deployed, rollups 1 and 2 created, nothing run."""
    point = _world.world.snapshot()
    yield _world
    _world.world.restore(point)


@pytest.fixture
def who(made: Setup) -> Party:
    """Requester and prover with a ticket each."""
    return parties(made)


@pytest.fixture
def bundle(made: Setup) -> Contract:
    """An account of L1 that makes several calls in one transaction."""
    return made.world.deploy("Bundle")


@pytest.fixture
def actor(made: Setup) -> Contract:
    """A contract of L1 that does what it is taught."""
    return made.world.deploy("Player")
