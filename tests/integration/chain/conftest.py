"""A development L1 of each kind, started once; every test gets it as it was at the start."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from node.chain.launch import L1Process, start_l1
from node.chain.transport import HttpTransport
from tests.integration.chain.probe import Probe
from tests.support import tools


@pytest.fixture(scope="session", params=["py-evm", "anvil"])
def running_l1(request: pytest.FixtureRequest) -> Iterator[L1Process]:
    """The process, of both kinds: what one accepts the other must."""
    anvil = tools.anvil() if request.param == "anvil" else None
    with start_l1(request.param, anvil=anvil) as l1:
        yield l1


@pytest.fixture(scope="session")
def shared_transport(running_l1: L1Process) -> Iterator[HttpTransport]:
    """Connections that outlive single tests."""
    transport = HttpTransport(running_l1.url, timeout_s=30)
    yield transport
    transport.close()


@pytest.fixture
def transport(shared_transport: HttpTransport) -> Iterator[HttpTransport]:
    """Transport to an L1 that is put back afterwards."""
    identifier = shared_transport.request("evm_snapshot")
    yield shared_transport
    shared_transport.request("evm_setAutomine", True)
    assert shared_transport.request("evm_revert", identifier) is True


@pytest.fixture
def probe(running_l1: L1Process, transport: HttpTransport) -> Probe:
    """The probe contract, deployed by the first development account."""
    return Probe.deploy(transport, running_l1.accounts[0])
