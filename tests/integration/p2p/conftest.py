"""Fixtures of the peer-to-peer integration tests."""

from collections.abc import AsyncIterator

import pytest
import trio

from tests.integration.p2p.network import DEADLINE_S, Network


@pytest.fixture
async def network(nursery: trio.Nursery) -> AsyncIterator[Network]:
    """Hosts that are stopped after the test."""
    made = Network(nursery)
    yield made
    with trio.fail_after(DEADLINE_S):
        await made.stop_all()
