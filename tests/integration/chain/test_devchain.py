"""What the contracts and the node rely on in an L1 holds on both development chains."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
from eth_hash.auto import keccak

from node.chain.devaccounts import DEV_CHAIN_ID
from node.chain.errors import RpcRefused, RpcUnreachable
from node.chain.launch import L1Process, start_l1
from node.chain.transport import HttpTransport, RevertedCall
from tests.integration.chain.probe import GWEI, Probe, calldata, nonce_of, send, signed
from tests.support import tools

G1 = (1).to_bytes(32, "big") + (2).to_bytes(32, "big")
P = 21888242871839275222246405745257275088696311157297823662689037894645226208583
NEGATIVE_G1 = (1).to_bytes(32, "big") + (P - 2).to_bytes(32, "big")
G2 = b"".join(
    each.to_bytes(32, "big")
    for each in (
        11559732032986387107991004021392285783925812861821192530917403151452391805634,
        10857046999023057135944570762232829481370756359578518086990519993285655852781,
        4082367875863433681332203403145435568316851327593401208105741076214120093531,
        8495653923123431417604973247489272438418190587263600148770280649306958101930,
    )
)


def test_transient_storage_lives_for_one_transaction(probe: Probe) -> None:
    """Visible to a later call of the same transaction, gone in the next, undone by a reverted inner call."""
    assert probe.call("setAndReadLane(uint256)", 7, returns="uint256") == (7,)
    assert probe.send("setLane(uint256)", 9)["status"] == "0x1"
    assert probe.call("readLane()", returns="uint256") == (0,)
    assert probe.call("laneAfterInnerRevert(uint256,uint256)", 3, 4, returns="uint256") == (3,)


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        (G1 + G2 + NEGATIVE_G1 + G2, (True, 1)),
        (G1 + G2 + G1 + G2, (True, 0)),
        (b"", (True, 1)),
        (G1 + G2 + NEGATIVE_G1 + G2[:-1] + b"\x00", (False, 0)),  # not on the curve
        (P.to_bytes(32, "big") + G1[32:] + G2, (False, 0)),  # coordinate not below the field order
        (G1 + G2[:-1], (False, 0)),  # length
    ],
)
def test_pairing_precompile(probe: Probe, pairs: bytes, expected: tuple[bool, int]) -> None:
    """e(G1, G2) e(-G1, G2) = 1 and not otherwise; bad input fails the call."""
    assert probe.call("pairing(bytes)", pairs, returns="bool,uint256") == expected


def test_revert_data_reaches_the_caller(probe: Probe) -> None:
    """Custom error, reason, panic, and a halt without data."""
    with pytest.raises(RevertedCall) as custom:
        probe.call("refuse(uint256)", 5, returns="uint256")
    who = probe.account.address.rjust(32, b"\x00")
    assert custom.value.data == keccak(b"Refused(uint256,address)")[:4] + (5).to_bytes(32, "big") + who
    with pytest.raises(RevertedCall) as reason:
        probe.call("refuseWithReason()", returns="uint256")
    assert reason.value.data[:4] == keccak(b"Error(string)")[:4]
    with pytest.raises(RevertedCall) as panic:
        probe.call("panic(uint256)", 0, returns="uint256")
    assert panic.value.data == keccak(b"Panic(uint256)")[:4] + (0x12).to_bytes(32, "big")
    with pytest.raises(RpcRefused):
        probe.call("halt()", returns="uint256")


def test_a_failing_transaction_is_mined_and_pays(probe: Probe) -> None:
    """Status 0, nonce used, no logs."""
    receipt = probe.send("setLaneAndFail(uint256)", 1)
    assert (receipt["status"], receipt["logs"]) == ("0x0", [])
    assert int(receipt["gasUsed"], 16) > 21_000
    with pytest.raises(RevertedCall):
        probe.transport.request("eth_estimateGas", probe.request("refuse(uint256)", 1))


def test_logs_by_range_address_and_topic(probe: Probe) -> None:
    """Every filter narrows, order is chain order, indices count within the block."""
    first = int(probe.send("store(uint256,uint256)", 1, 10)["blockNumber"], 16)
    probe.send("emitMany(uint256)", 3)
    last = int(probe.send("store(uint256,uint256)", 2, 20)["blockNumber"], 16)
    other = "0x" + "77" * 20
    stored = "0x" + keccak(b"Stored(uint256,uint256)").hex()
    numbered = "0x" + keccak(b"Numbered(uint256)").hex()

    def logs(**query: object) -> list[tuple[int, int, int]]:
        whole = {"fromBlock": hex(first), "toBlock": hex(last), **query}
        found = probe.transport.request("eth_getLogs", {k: v for k, v in whole.items() if v is not None})
        return [
            (int(each["blockNumber"], 16) - first, int(each["logIndex"], 16), int(each["topics"][1], 16))
            for each in found
        ]

    everything = [(0, 0, 1), (1, 0, 0), (1, 1, 1), (1, 2, 2), (2, 0, 2)]
    address = "0x" + probe.address.hex()
    assert logs() == everything
    assert logs(address=address) == logs(address=[other, address]) == everything
    assert logs(address=other) == []
    assert logs(topics=[stored]) == [(0, 0, 1), (2, 0, 2)]
    assert logs(topics=[[stored, numbered], "0x" + (2).to_bytes(32, "big").hex()]) == [(1, 2, 2), (2, 0, 2)]
    assert logs(fromBlock=hex(last)) == [(2, 0, 2)]
    block = probe.transport.request("eth_getBlockByNumber", hex(first + 1), False)
    by_hash = probe.transport.request("eth_getLogs", {"blockHash": block["hash"], "address": address})
    assert len(by_hash) == 3


def test_fees_are_charged_by_eip_1559(running_l1: L1Process, transport: HttpTransport) -> None:
    """The sender pays base fee plus tip for the gas used, and not its maximum."""
    payer, payee = running_l1.accounts[3], running_l1.accounts[4]
    before = int(transport.request("eth_getBalance", "0x" + payer.address.hex(), "latest"), 16)
    receipt = send(transport, payer, to=payee.address, value=1_000, gas=50_000, maxFeePerGas=90 * GWEI)
    after = int(transport.request("eth_getBalance", "0x" + payer.address.hex(), "latest"), 16)
    block = transport.request("eth_getBlockByNumber", receipt["blockNumber"], True)
    price = int(block["baseFeePerGas"], 16) + GWEI
    assert int(receipt["effectiveGasPrice"], 16) == price
    assert int(receipt["gasUsed"], 16) == 21_000
    assert before - after == 1_000 + 21_000 * price
    assert block["transactions"][0]["hash"] == receipt["transactionHash"]
    history = transport.request("eth_feeHistory", "0x1", "latest", [50])
    assert history["baseFeePerGas"][0] == block["baseFeePerGas"]
    assert [[int(tip, 16) for tip in tips] for tips in history["reward"]] == [[GWEI]]


def test_calls_see_the_state_and_environment_of_their_block(probe: Probe) -> None:
    """An earlier tag answers from the past."""
    old = probe.send("store(uint256,uint256)", 1, 10)
    new = probe.send("store(uint256,uint256)", 1, 11)
    assert probe.call("values(uint256)", 1, returns="uint256", tag=old["blockNumber"]) == (10,)
    assert probe.call("values(uint256)", 1, returns="uint256", tag=new["blockNumber"]) == (11,)
    slot = "0x" + keccak((1).to_bytes(32, "big") + bytes(32)).hex()
    storage = probe.transport.request("eth_getStorageAt", "0x" + probe.address.hex(), slot, old["blockNumber"])
    assert int(storage, 16) == 10
    block = probe.transport.request("eth_getBlockByNumber", new["blockNumber"], False)
    environment = probe.call("environment()", returns="uint256,uint256,uint256,bytes32,uint256,address")
    assert environment[0] == int(block["timestamp"], 16)
    assert environment[2] == DEV_CHAIN_ID
    assert environment[4] == 5
    assert environment[5] == "0x" + probe.account.address.hex()


def test_time_can_be_set_for_the_next_block(probe: Probe) -> None:
    """evm_setNextBlockTimestamp, evm_increaseTime and evm_mine."""
    head = probe.transport.request("eth_getBlockByNumber", "latest", False)
    wanted = int(head["timestamp"], 16) + 1_000
    probe.transport.request("evm_setNextBlockTimestamp", wanted)
    receipt = probe.send("store(uint256,uint256)", 1, 1)
    block = probe.transport.request("eth_getBlockByNumber", receipt["blockNumber"], False)
    assert int(block["timestamp"], 16) == wanted
    probe.transport.request("evm_increaseTime", 5_000)
    probe.transport.request("evm_mine")
    later = probe.transport.request("eth_getBlockByNumber", "latest", False)
    assert wanted + 5_000 <= int(later["timestamp"], 16) <= wanted + 5_060
    assert later["parentHash"] == block["hash"]
    with pytest.raises(RpcRefused):
        probe.transport.request("evm_setNextBlockTimestamp", wanted)


def test_snapshot_and_revert_forget_blocks_transactions_and_logs(probe: Probe) -> None:
    """The chain after a revert is another chain."""
    identifier = probe.transport.request("evm_snapshot")
    receipt = probe.send("store(uint256,uint256)", 1, 10)
    assert probe.transport.request("evm_revert", identifier) is True
    assert probe.transport.request("eth_getTransactionReceipt", receipt["transactionHash"]) is None
    assert probe.transport.request("eth_getBlockByHash", receipt["blockHash"], False) is None
    assert probe.call("values(uint256)", 1, returns="uint256") == (0,)
    replacement = probe.send("store(uint256,uint256)", 1, 11)
    assert replacement["blockNumber"] == receipt["blockNumber"]
    assert replacement["blockHash"] != receipt["blockHash"]
    found = probe.transport.request("eth_getLogs", {"fromBlock": receipt["blockNumber"], "toBlock": "latest"})
    assert [int(each["data"], 16) for each in found] == [11]


def test_transactions_that_the_rules_forbid_are_refused(running_l1: L1Process, transport: HttpTransport) -> None:
    """Each for its own reason; none changes anything."""
    sender, payee = running_l1.accounts[5], running_l1.accounts[6].address
    send(transport, sender, to=payee, value=1)
    nonce = nonce_of(transport, sender)
    head = transport.request("eth_blockNumber")
    good = signed(sender, nonce, to=payee)
    refused = {
        "stale nonce": signed(sender, nonce - 1, to=payee, value=2),
        "wrong chain": signed(sender, nonce, to=payee, chainId=1),
        "no gas": signed(sender, nonce, to=payee, gas=20_999),
        "poor": signed(sender, nonce, to=payee, value=10**30),
        "tip above fee": signed(sender, nonce, to=payee, maxFeePerGas=GWEI, maxPriorityFeePerGas=2 * GWEI),
        "above block gas": signed(sender, nonce, to=payee, gas=30_000_001),
        "cut": good[:-1],
        "junk": b"\x02\xc0",
        "empty": b"",
    }
    for why, raw in refused.items():
        with pytest.raises(RpcRefused):
            raise AssertionError(why, transport.request("eth_sendRawTransaction", "0x" + raw.hex()))
    assert transport.request("eth_blockNumber") == head
    assert nonce_of(transport, sender) == nonce


def test_pending_transactions_wait_and_can_be_replaced(running_l1: L1Process, transport: HttpTransport) -> None:
    """With automine off: pending nonce counts them, a replacement needs ten percent more, one block mines all."""
    sender, payee = running_l1.accounts[5], running_l1.accounts[6].address
    transport.request("evm_setAutomine", False)
    nonce = nonce_of(transport, sender)
    raws = [
        signed(sender, nonce, to=payee, value=1, gas=21_000),
        signed(sender, nonce + 1, to=payee, value=1, gas=21_000),
        signed(sender, nonce + 1, to=payee, value=2, gas=21_000, maxFeePerGas=4 * GWEI, maxPriorityFeePerGas=2 * GWEI),
    ]
    hashes = [transport.request("eth_sendRawTransaction", "0x" + raw.hex()) for raw in raws]
    with pytest.raises(RpcRefused):
        underpriced = signed(sender, nonce, to=payee, value=3, gas=21_000)
        transport.request("eth_sendRawTransaction", "0x" + underpriced.hex())
    assert int(transport.request("eth_getTransactionCount", "0x" + sender.address.hex(), "pending"), 16) == nonce + 2
    assert transport.request("eth_getTransactionByHash", hashes[0])["blockHash"] is None
    assert transport.request("eth_getTransactionReceipt", hashes[0]) is None
    transport.request("evm_mine")
    block = transport.request("eth_getBlockByNumber", "latest", False)
    assert block["transactions"] == [hashes[0], hashes[2]]
    second = transport.request("eth_getTransactionReceipt", hashes[2])
    assert (second["cumulativeGasUsed"], second["gasUsed"]) == (hex(42_000), hex(21_000))


def test_gas_estimate_is_enough_and_not_much_more(probe: Probe) -> None:
    """A transaction with exactly the estimate succeeds; so does a contract creation from inside."""
    for signature, arguments in (("storeMany(uint256,uint256)", (0, 5)), ("spawn()", ())):
        estimate = int(probe.transport.request("eth_estimateGas", probe.request(signature, *arguments)), 16)
        receipt = probe.send(signature, *arguments, gas=estimate)
        assert receipt["status"] == "0x1"
        assert estimate <= int(receipt["gasUsed"], 16) * 104 // 100


def test_code_size_limit_is_that_of_mainnet(running_l1: L1Process, transport: HttpTransport) -> None:
    """EIP-170: 24,576 bytes of code may be deployed and one more may not."""
    for size, status in ((24_576, "0x1"), (24_577, "0x0")):
        returns_zeros = bytes.fromhex("62" + f"{size:06x}" + "5ff3")  # PUSH3 size, PUSH0, RETURN
        assert send(transport, running_l1.accounts[7], data=returns_zeros, gas=6_000_000)["status"] == status


def test_calldata_floor_price_is_charged(running_l1: L1Process, transport: HttpTransport) -> None:
    """EIP-7623: 1,000 non-zero bytes to an account without code cost 40 gas each."""
    receipt = send(transport, running_l1.accounts[7], to=running_l1.accounts[8].address, data=b"\x01" * 1_000)
    assert int(receipt["gasUsed"], 16) == 21_000 + 40 * 1_000


def test_value_moves_with_inner_calls(probe: Probe) -> None:
    """The probe forwards ether, and reverts whole when it has too little."""
    to = "0x" + "55" * 20
    receipt = probe.send("forward(address,uint256,bytes)", to, 9, b"", value=4)
    assert receipt["status"] == "0x1"
    assert int(probe.transport.request("eth_getBalance", to, "latest"), 16) == 9
    assert probe.send("forward(address,uint256,bytes)", to, 1, b"")["status"] == "0x0"


@pytest.fixture(scope="module")
def own_chain() -> Iterator[L1Process]:
    """A py-evm chain for requests that only our own server answers as tested."""
    with start_l1("py-evm") as l1:
        yield l1


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", -32700),
        (b"[" * 1_000_000, -32700),
        (b"[]", -32600),
        (b"3", -32600),
        (b'{"method":1}', -32600),
        (b'{"method":"eth_chainId","params":{}}', -32600),
        (b'{"method":"eth_chainId","id":[1]}', -32600),
        (b"[" + b",".join([b'{"method":"eth_chainId"}'] * 257) + b"]", -32600),
        (b'{"method":"eth_sign"}', -32601),
        (b'{"method":"eth_chainId","params":[1]}', -32602),
        (b'{"method":"eth_getBalance","params":[]}', -32602),
        (b'{"method":"eth_getBalance","params":["0x12"]}', -32602),
        (b'{"method":"eth_getBalance","params":[{"x":1}]}', -32602),
        (b'{"method":"eth_getBlockByNumber","params":["0x01",false]}', -32602),
        (b'{"method":"eth_getBlockByNumber","params":["newest",false]}', -32602),
        (b'{"method":"eth_getBlockByNumber","params":["latest",1]}', -32602),
        (b'{"method":"eth_getLogs","params":[{"fromBlock":"0x5","toBlock":"0x4"}]}', -32602),
        (b'{"method":"eth_getLogs","params":[{"topics":[null,null,null,null,null]}]}', -32602),
        (b'{"method":"eth_getLogs","params":[{"address":[[]]}]}', -32602),
        (b'{"method":"eth_feeHistory","params":["0x0","latest"]}', -32602),
        (b'{"method":"eth_getStorageAt","params":["0x' + b"00" * 20 + b'","0x' + b"0" * 65 + b'"]}', -32602),
        (b'{"method":"eth_call","params":[{"data":"0x1"}]}', -32602),
        (b'{"method":"eth_getBalance","params":["0x' + b"00" * 20 + b'","0x9999"]}', -32000),
    ],
)
def test_bad_requests_get_a_coded_error(own_chain: L1Process, body: bytes, code: int) -> None:
    """The server answers and lives."""
    with urllib.request.urlopen(urllib.request.Request(own_chain.url, data=body)) as response:
        answer = json.load(response)
    assert (answer["error"]["code"] if isinstance(answer, dict) else answer) == code


def test_an_oversize_body_is_refused_before_it_is_read(own_chain: L1Process) -> None:
    """413 from the length alone."""
    request = urllib.request.Request(own_chain.url, data=b" " * ((2 << 20) + 1))
    with pytest.raises((urllib.error.HTTPError, ConnectionError, urllib.error.URLError)) as refusal:
        urllib.request.urlopen(request)
    if isinstance(refusal.value, urllib.error.HTTPError):
        assert refusal.value.code == 413
        refusal.value.close()
    with urllib.request.urlopen(own_chain.url, data=b'{"method":"eth_chainId","id":1}') as response:
        assert json.load(response)["result"] == hex(DEV_CHAIN_ID)


STARTER = """
import pathlib, signal, sys
from node.chain.launch import start_l1
kind, anvil = sys.argv[1:]
l1 = start_l1(kind, anvil=pathlib.Path(anvil) if anvil else None)
print(l1.url, flush=True)
signal.pause()
"""


@pytest.mark.parametrize("kind", ["py-evm", "anvil"])
def test_the_chain_dies_with_the_process_that_started_it(kind: str) -> None:
    """Killing the starter closes the pipe; nothing keeps listening."""
    anvil = str(tools.anvil()) if kind == "anvil" else ""
    environment = {**os.environ, "PYTHONPATH": str(tools.ROOT)}
    command = [sys.executable, "-c", STARTER, kind, anvil]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as starter:
        assert starter.stdout is not None
        transport = HttpTransport(starter.stdout.readline().strip())
        assert transport.request("eth_chainId") == hex(DEV_CHAIN_ID)
        starter.kill()
        starter.wait()
        _wait_until_refused(transport)


def _wait_until_refused(transport: HttpTransport) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            transport.request("eth_chainId")
        except RpcUnreachable:
            transport.close()
            return
    pytest.fail("the chain outlived its starter")


def test_calldata_helper_matches_a_known_selector() -> None:
    """transfer(address,uint256) is a9059cbb: the tests' own encoder is right."""
    assert calldata("transfer(address,uint256)", "0x" + "00" * 20, 1)[:4].hex() == "a9059cbb"
