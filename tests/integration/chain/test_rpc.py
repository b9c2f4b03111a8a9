"""The typed client reads both development chains alike, and maps every failure to a coded error."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
import trio

from node.chain.errors import (
    ChainError,
    ExecutionReverted,
    NotYetMined,
    RpcMisbehaved,
    RpcOverloaded,
    RpcRefused,
    RpcTimedOut,
    RpcUnreachable,
    WrongChain,
)
from node.chain.launch import L1Process
from node.chain.reverts import ErrorBook
from node.chain.rpc import Retry, Rpc
from node.chain.transport import HttpTransport
from tests.integration.chain.probe import ARTIFACT, Probe, calldata, nonce_of, signed


@pytest.fixture
def rpc(transport: HttpTransport) -> Rpc:
    """Client that knows the probe's errors and never waits between polls."""
    return Rpc(transport, errors=ErrorBook(ARTIFACT["abi"]), sleep=_no_wait)


async def _no_wait(seconds: float) -> None:
    await trio.lowlevel.checkpoint()


async def test_a_revert_is_decoded_by_its_abi(rpc: Rpc, probe: Probe) -> None:
    """Custom error with arguments, reason, panic; an unknown error keeps its data."""
    with pytest.raises(ExecutionReverted) as custom:
        await rpc.call(probe.address, calldata("refuse(uint256)", 5), sender=probe.account.address)
    assert custom.value.decoded is not None
    assert custom.value.decoded.name == "Refused"
    assert custom.value.decoded.arguments == {"code": 5, "who": "0x" + probe.account.address.hex()}
    with pytest.raises(ExecutionReverted, match=r"Error\(reason=no such luck\)"):
        await rpc.call(probe.address, calldata("refuseWithReason()"))
    with pytest.raises(ExecutionReverted, match=r"Panic\(code=18\)"):
        await rpc.estimate_gas(probe.account.address, probe.address, calldata("panic(uint256)", 0))
    without_abi = Rpc(rpc.transport)
    with pytest.raises(ExecutionReverted) as unknown:
        await without_abi.call(probe.address, calldata("refuse(uint256)", 5))
    assert unknown.value.decoded is None
    assert unknown.value.data == custom.value.data[:36] + bytes(32)
    with pytest.raises(RpcRefused):
        await rpc.call(probe.address, calldata("halt()"))


async def test_accounts_blocks_and_logs_are_read(rpc: Rpc, probe: Probe) -> None:
    """Every helper against a known history."""
    receipts = [probe.send("store(uint256,uint256)", slot, slot * 10) for slot in (1, 2, 3)]
    first, last = (int(receipts[at]["blockNumber"], 16) for at in (0, -1))
    logs = await rpc.logs(first, last, [probe.address])
    assert [int.from_bytes(log.data, "big") for log in logs] == [10, 20, 30]
    two = frozenset({(2).to_bytes(32, "big")})
    assert [log.block_number for log in await rpc.logs(first, last, [probe.address], [None, two])] == [first + 1]
    blocks = await rpc.blocks(first, last + 5)
    assert [block.number for block in blocks] == list(range(first, last + 1))
    assert [block.parent_hash for block in blocks[1:]] == [block.hash for block in blocks[:-1]]
    assert await rpc.head() == blocks[-1] == await rpc.block(blocks[-1].hash) == await rpc.block(last)
    assert await rpc.block(last + 1) is None
    assert await rpc.block(b"\x01" * 32) is None
    assert await rpc.balance(probe.address) == 5
    assert (await rpc.code(probe.address))[:1] == b"\x60"
    assert await rpc.code(b"\x01" * 20) == b""
    assert await rpc.storage(probe.address, 0) == bytes(32)
    assert await rpc.nonce(probe.address) == 1
    old = await rpc.call(probe.address, calldata("values(uint256)", 3), tag=blocks[0].hash)
    assert old == bytes(32)
    await rpc.expect_chain(await rpc.chain_id())
    with pytest.raises(WrongChain):
        await rpc.expect_chain(1)


async def test_a_receipt_needs_confirmations_and_its_block(
    rpc: Rpc, running_l1: L1Process, transport: HttpTransport
) -> None:
    """Polling mines here: the wait ends exactly when enough blocks are on top."""
    sender = running_l1.accounts[2]
    mined = 0

    async def mine_instead(seconds: float) -> None:
        nonlocal mined
        assert seconds == 0.25
        mined += 1
        transport.request("evm_mine")

    client = Rpc(transport, sleep=mine_instead)
    transport.request("evm_setAutomine", False)
    raw = signed(sender, nonce_of(transport, sender), to=b"\x05" * 20, gas=21_000)
    tx_hash = await client.send_raw(raw)
    assert await client.is_known(tx_hash)
    assert not await client.is_known(b"\x01" * 32)
    with pytest.raises(NotYetMined) as late:
        await client.wait_receipt(tx_hash, confirmations=2, max_polls=3)
    assert late.value.code == "CHN-005"
    assert mined == 2
    receipt = await client.wait_receipt(tx_hash, confirmations=2)
    assert mined == 3
    assert receipt.succeeded
    assert receipt.fee_wei == 21_000 * receipt.effective_gas_price_wei
    assert (await client.head()).number == receipt.block_number + 2
    fees = await client.fees()
    assert fees.max_fee_wei == 2 * fees.base_wei + fees.tip_wei


async def test_a_receipt_whose_block_was_replaced_meanwhile_does_not_count(probe: Probe) -> None:
    """The chain moves between reading the receipt and reading its block."""
    before = probe.transport.request("evm_snapshot")
    receipt = probe.send("store(uint256,uint256)", 1, 1)
    moved = False

    class MovingTransport(HttpTransport):
        def request(self, method: str, *params: Any) -> Any:
            nonlocal moved
            if method == "eth_getBlockByNumber" and not moved:
                moved = True
                probe.transport.request("evm_revert", before)
                probe.transport.request("evm_increaseTime", 10)
                probe.transport.request("evm_mine")
            return super().request(method, *params)

    transport = MovingTransport(probe.transport._url)
    assert await Rpc(transport).final_receipt(bytes.fromhex(receipt["transactionHash"][2:]), 0) is None
    assert moved
    transport.close()


@contextmanager
def _server(reply: Callable[[bytes], tuple[int, bytes]]) -> Iterator[str]:
    """A node that answers as `reply` says."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            status, body = reply(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _ok(result: object) -> Callable[[bytes], tuple[int, bytes]]:
    return lambda body: (200, json.dumps({"id": json.loads(body)["id"], "result": result}).encode())


def _error(error: object) -> Callable[[bytes], tuple[int, bytes]]:
    return lambda body: (200, json.dumps({"id": json.loads(body)["id"], "error": error}).encode())


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (lambda body: (200, b"<html>"), RpcMisbehaved),
        (lambda body: (200, b"[]"), RpcMisbehaved),
        (lambda body: (200, b'{"id":"other","result":"0x1"}'), RpcMisbehaved),
        (lambda body: (200, b'{"id":1}'), RpcMisbehaved),
        (lambda body: (404, b"no"), RpcMisbehaved),
        (lambda body: (429, b"{}"), RpcOverloaded),
        (lambda body: (503, b"{}"), RpcOverloaded),
        (_ok("1"), RpcMisbehaved),
        (_ok(1), RpcMisbehaved),
        (_ok("0x" + "f" * 65), RpcMisbehaved),
        (_ok(None), RpcMisbehaved),
        (_error("broken"), RpcMisbehaved),
        (_error({"message": "no code"}), RpcMisbehaved),
        (_error({"code": -32000, "message": "no"}), RpcRefused),
        (_error({"code": 3, "message": "reverted", "data": "0xzz"}), RpcRefused),
        (_error({"code": 3, "message": "reverted", "data": "0x01"}), ExecutionReverted),
    ],
)
async def test_a_bad_answer_is_a_coded_error(
    reply: Callable[[bytes], tuple[int, bytes]], expected: type[ChainError]
) -> None:
    """Whatever the node says, it is one of the tree's leaves."""
    with _server(reply) as url:
        transport = HttpTransport(url)
        with pytest.raises(expected):
            await Rpc(transport, retry=Retry(attempts=1)).chain_id()
        transport.close()


@pytest.mark.parametrize(
    "change",
    [
        {"hash": "0x12"},
        {"number": None},
        {"parentHash": 5},
        {"timestamp": "12"},
        {"miner": "0x" + "00" * 21},
    ],
)
async def test_a_block_with_a_wrong_field_is_refused(change: dict[str, object]) -> None:
    """Every field is checked for kind and length."""
    word = "0x" + "11" * 32
    good = {"number": "0x1", "hash": word, "parentHash": word, "timestamp": "0x1", "baseFeePerGas": "0x7"}
    good |= {"gasLimit": "0x1", "gasUsed": "0x0", "miner": "0x" + "00" * 20, "mixHash": word}
    with _server(_ok(good)) as url:
        transport = HttpTransport(url)
        assert (await Rpc(transport).head()).base_fee_wei == 7
        transport.close()
    with _server(_ok(good | change)) as url:
        transport = HttpTransport(url)
        with pytest.raises(RpcMisbehaved):
            await Rpc(transport).head()
        transport.close()


async def test_reads_are_retried_with_growing_waits_and_sends_are_not() -> None:
    """Two failures and then an answer."""
    waits: list[float] = []
    asked = 0

    async def note(seconds: float) -> None:
        waits.append(seconds)

    def reply(body: bytes) -> tuple[int, bytes]:
        nonlocal asked
        asked += 1
        return (503, b"{}") if asked < 3 else _ok("0x7")(body)

    with _server(reply) as url:
        transport = HttpTransport(url)
        client = Rpc(transport, retry=Retry(attempts=3, first_wait_s=1.0), sleep=note)
        assert await client.chain_id() == 7
        assert waits == [1.0, 2.0]
        asked = 0
        with pytest.raises(RpcOverloaded):
            await client.send_raw(b"\x02")
        assert asked == 1
        asked = -5
        with pytest.raises(RpcOverloaded):
            await client.chain_id()
        assert asked == -2
        transport.close()


async def test_a_silent_or_absent_node_is_recoverable() -> None:
    """A timeout and a refused connection, without the URL's secret in the text."""
    release = threading.Event()

    def never(body: bytes) -> tuple[int, bytes]:
        release.wait(10)
        return 200, b"{}"

    with _server(never) as url:
        transport = HttpTransport(url.replace("127", "user:secret@127") + "/key/secret", timeout_s=0.05)
        with pytest.raises(RpcTimedOut) as silent:
            await Rpc(transport, retry=Retry(attempts=1)).chain_id()
        assert "secret" not in str(silent.value)
        release.set()
        transport.close()
    with pytest.raises(RpcUnreachable):
        await Rpc(transport, retry=Retry(attempts=1)).chain_id()
    transport.close()


async def test_a_log_range_that_the_node_refuses_is_halved() -> None:
    """The node takes at most two blocks at once."""
    spans: list[tuple[int, int]] = []

    def reply(body: bytes) -> tuple[int, bytes]:
        query = json.loads(body)["params"][0]
        first, last = int(query["fromBlock"], 16), int(query["toBlock"], 16)
        spans.append((first, last))
        if last - first > 1:
            return _error({"code": -32005, "message": "too many"})(body)
        return _ok([])(body)

    with _server(reply) as url:
        transport = HttpTransport(url)
        assert await Rpc(transport).logs(0, 4, []) == ()
        assert [span for span in spans if span[1] - span[0] <= 1] == [(0, 1), (2, 2), (3, 4)]
        transport.close()
