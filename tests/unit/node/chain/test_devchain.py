"""The development L1's server apart from its methods."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from node.chain.devchain import DevServer
from node.chain.devledger import DevLedger
from node.chain.devmethods import DevMethods


@pytest.fixture
def server() -> Iterator[DevServer]:
    """Bound, not serving."""
    ledger = DevLedger(chain_id=5, balances_wei={}, clock=lambda: 1_000)
    with DevServer(0, DevMethods(ledger)) as bound:
        yield bound


@pytest.mark.parametrize(
    ("error", "is_shown"), [(ConnectionResetError(), False), (BrokenPipeError(), False), (KeyError(), True)]
)
def test_a_client_that_went_away_is_not_reported(
    server: DevServer, capsys: pytest.CaptureFixture[str], error: Exception, is_shown: bool
) -> None:
    """A killed node must not print a traceback into the demo; our own bugs must."""
    try:
        raise error
    except (ConnectionError, KeyError):
        server.handle_error(None, ("127.0.0.1", 1))
    assert bool(capsys.readouterr().err) == is_shown


def test_a_batch_is_answered_in_order_with_an_error_per_request(server: DevServer) -> None:
    """One bad request does not spoil the others."""
    answer = server.answer(b'[{"id":1,"method":"eth_chainId"},7,{"id":"x","method":"nope"}]')
    assert answer == (
        b'[{"jsonrpc":"2.0","id":1,"result":"0x5"},'
        b'{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"request is not an object with a method"}},'
        b'{"jsonrpc":"2.0","id":"x","error":{"code":-32601,"message":"the method nope does not exist"}}]'
    )
