"""State that is believed only if it follows from the block's hash: right proofs, and each way in which one can lie."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from eth_abi.abi import decode

from node.chain.devaccounts import DEV_CHAIN_ID
from node.chain.errors import ChainError, NoStateProofs, RpcMisbehaved, RpcRefused, StateUnproven
from node.chain.evm import Call
from node.chain.localevm import LocalEvm
from node.chain.provenstate import ProvenState
from node.chain.records import Block, block_from_json
from node.chain.stateproof import MAX_NODES, proven_account, proven_word
from node.chain.transport import HttpTransport, Transport
from tests.integration.chain.probe import Probe, calldata
from tests.support.lyingrpc import TwistedTransport, honest

GAS = 3_000_000
NOBODY = b"\x66" * 20


def _head(transport: HttpTransport) -> Block:
    return block_from_json("eth_getBlockByNumber", transport.request("eth_getBlockByNumber", "latest", False))


def _call(probe: Probe, signature: str, *arguments: object) -> Call:
    return Call(sender=probe.account.address, to=probe.address, data=calldata(signature, *arguments), gas=GAS)


class _Several:
    """Some endpoints, asked one by one."""

    def __init__(self, *endpoints: HttpTransport) -> None:
        self.endpoints = endpoints

    def request(self, method: str, *params: Any) -> Any:
        raise AssertionError(f"{method} was not asked of one endpoint")

    def batch(self, calls: Any) -> Any:
        raise AssertionError(calls)


def test_proven_runs_are_those_on_the_nodes_word(probe: Probe) -> None:
    """Writes, reads of empty slots, new accounts, block hashes: same outcome, and the node sees proofs asked only."""
    probe.send("store(uint256,uint256)", 1, 10)
    probe.send("store(uint256,uint256)", 2, 20)
    probe.send("store(uint256,uint256)", 2, 0)
    head = _head(probe.transport)
    asked = TwistedTransport(probe.transport._url, honest)
    proven = LocalEvm(asked, head, chain_id=DEV_CHAIN_ID, is_proven=True)
    trusting = LocalEvm(probe.transport, head, chain_id=DEV_CHAIN_ID)
    for call in (
        _call(probe, "values(uint256)", 1),
        _call(probe, "store(uint256,uint256)", 2, 3),
        _call(probe, "storeMany(uint256,uint256)", 0, 5),
        _call(probe, "forward(address,uint256,bytes)", "0x" + NOBODY.hex(), 5, b"\x01"),
        _call(probe, "environment()"),
    ):
        assert proven.run(call) == trusting.run(call)
    assert {"eth_getBlockByHash", "eth_getProof", "eth_getCode"} == set(asked.asked)
    assert asked.asked.count("eth_getBlockByHash") == 1
    asked.close()


def test_the_header_gives_the_block_and_not_the_caller(probe: Probe) -> None:
    """Whoever names a block by its hash need not be believed about its time."""
    head = _head(probe.transport)
    told = Block(**{name: getattr(head, name) for name in head.__slots__} | {"timestamp": 7, "gas_limit": 1})
    evm = LocalEvm(probe.transport, told, chain_id=DEV_CHAIN_ID, is_proven=True)
    assert decode(["uint256"] * 2, evm.run(_call(probe, "environment()")).output[:64])[0] == head.timestamp


def _change(answer: Any, **fields: Any) -> Any:
    return {**answer, **fields}


def _flip(text: str) -> str:
    return text[:-1] + ("0" if text[-1] != "0" else "1")


LIES: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "another time": ("eth_getBlockByHash", lambda a: _change(a, timestamp="0x1")),
    "another state root": ("eth_getBlockByHash", lambda a: _change(a, stateRoot=_flip(a["stateRoot"]))),
    "no block": ("eth_getBlockByHash", lambda a: None),
    "half a header": ("eth_getBlockByHash", lambda a: {k: v for k, v in a.items() if k != "receiptsRoot"}),
    "a field too many": ("eth_getBlockByHash", lambda a: _change(a, requestsHash="0x" + "01" * 32)),
    "no account": ("eth_getProof", lambda a: _change(a, accountProof=[])),
    "a cut path": ("eth_getProof", lambda a: _change(a, accountProof=a["accountProof"][:-1])),
    "a changed node": ("eth_getProof", lambda a: _change(a, accountProof=[*map(_flip, a["accountProof"])])),
    "nodes without end": ("eth_getProof", lambda a: _change(a, accountProof=["0x00"] * (MAX_NODES + 1))),
    "a node too long": ("eth_getProof", lambda a: _change(a, accountProof=["0x" + "00" * 2000])),
    "no hex": ("eth_getProof", lambda a: _change(a, accountProof=["0xzz"])),
    "no nodes but a number": ("eth_getProof", lambda a: _change(a, accountProof=7)),
    "no object": ("eth_getProof", lambda a: "0x"),
    "other code": ("eth_getCode", lambda a: "0x60006000fd"),
    "no code": ("eth_getCode", lambda a: "0x"),
    "words without proof": ("eth_getProof", lambda a: _change(a, storageProof=[])),
    "a word of another slot": (
        "eth_getProof",
        lambda a: _change(a, storageProof=[{**each, "proof": each["proof"][:-1]} for each in a["storageProof"]]),
    ),
}


@pytest.mark.parametrize("name", sorted(LIES))
def test_a_lie_is_refused_and_the_next_endpoint_is_asked(probe: Probe, name: str) -> None:
    """Alone it is a coded refusal; beside an honest one it changes nothing."""
    for slot in range(1, 6):
        probe.send("store(uint256,uint256)", slot, 10 + slot)
    method, change = LIES[name]
    slots = "storage" in name or name.startswith("word") or name == "a word of another slot"

    def lie(asked: str, params: tuple[Any, ...], ask: Callable[[], Any]) -> Any:
        is_meant = asked == method and (not slots or params[1:2] != ([],))
        return change(ask()) if is_meant else ask()

    liar = TwistedTransport(probe.transport._url, lie)
    head, call = _head(probe.transport), _call(probe, "values(uint256)", 2)

    def run(transport: Transport) -> int:
        outcome = LocalEvm(transport, head, chain_id=DEV_CHAIN_ID, is_proven=True).run(call)
        (value,) = decode(["uint256"], outcome.output)
        return int(value)

    with pytest.raises((StateUnproven, RpcMisbehaved)):
        run(liar)
    assert run(_Several(liar, probe.transport)) == 12
    liar.close()


def test_what_an_answer_says_beside_its_proof_counts_for_nothing(probe: Probe) -> None:
    """Balance, nonce and value are in the proof; the fields beside it are decoration."""
    probe.send("store(uint256,uint256)", 1, 10)

    def lie(_method: str, _params: tuple[Any, ...], ask: Callable[[], Any]) -> Any:
        answer = ask()
        if isinstance(answer, dict) and "accountProof" in answer:
            proofs = [{**each, "value": "0x63"} for each in answer["storageProof"]]
            return {**answer, "balance": "0x63", "nonce": "0x63", "storageProof": proofs}
        return answer

    head = _head(probe.transport)
    liar, truth = (ProvenState(TwistedTransport(probe.transport._url, each), head) for each in (lie, honest))
    assert liar.account(probe.account.address) == truth.account(probe.account.address)
    assert liar.account(NOBODY) == truth.account(NOBODY)
    assert liar.account(NOBODY).is_empty
    assert liar.account(probe.address).balance_wei == 5


def test_an_endpoint_without_proofs_is_said_to_have_none(probe: Probe) -> None:
    """And it does not matter where another has them."""

    def old(method: str, _params: tuple[Any, ...], ask: Callable[[], Any]) -> Any:
        if method == "eth_getProof":
            raise RpcRefused(method, -32601, "the method does not exist")
        return ask()

    without, head = TwistedTransport(probe.transport._url, old), _head(probe.transport)
    with pytest.raises(NoStateProofs) as refused:
        ProvenState(without, head).account(probe.address)
    assert refused.value.code == "CHN-016"
    assert ProvenState(_Several(without, probe.transport), head).account(probe.address).balance_wei == 5
    without.close()


def test_proofs_of_an_empty_trie_are_of_nothing_else() -> None:
    """No nodes prove an empty trie only."""
    empty = bytes.fromhex("56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421")
    assert proven_word(empty, 1, {"storageProof": [{"proof": []}]}) == 0
    assert proven_account(empty, NOBODY, {"accountProof": []}).balance_wei == 0
    with pytest.raises(ChainError):
        proven_word(b"\x01" * 32, 1, {"storageProof": [{"proof": []}]})
