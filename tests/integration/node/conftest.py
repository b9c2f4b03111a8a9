"""One development L1 for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from node.chain.launch import L1Process, start_l1
from node.chain.transport import HttpTransport


@pytest.fixture(scope="session")
def l1() -> Iterator[L1Process]:
    """py-evm: what a demo runs on."""
    with start_l1("py-evm") as process:
        yield process


@pytest.fixture
def transport(l1: L1Process) -> Iterator[HttpTransport]:
    """Connections of one test."""
    opened = HttpTransport(l1.url, timeout_s=30)
    yield opened
    opened.close()
