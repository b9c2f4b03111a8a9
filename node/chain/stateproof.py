"""What an L1 node says about state, checked against a block hash: headers, accounts, storage words (EIP-1186).

A block hash is the keccak of the header's RLP, the header names the state root, and both tries are addressed by the
keccak of their nodes. So an answer that passes here is what the chain of that hash holds, whoever gave it.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple, NoReturn

import rlp  # type: ignore[import-untyped]
from eth_hash.auto import keccak
from rlp.exceptions import RLPException  # type: ignore[import-untyped]
from trie.exceptions import MissingTrieNode
from trie.hexary import HexaryTrie

from node.chain.errors import StateUnproven
from node.chain.records import Block, block_from_json, data, hex_of, quantity

MAX_NODES: Final = 66  # a path of 64 nibbles, and room
MAX_NODE_BYTES: Final = 1024  # a branch has 17 items of at most 33 bytes; a leaf holds an account of about 110
EMPTY_CODE: Final = keccak(b"")
EMPTY_TRIE: Final = keccak(rlp.encode(b""))
METHOD: Final = "eth_getProof"

_FIXED: Final = (
    ("parentHash", 32),
    ("sha3Uncles", 32),
    ("miner", 20),
    ("stateRoot", 32),
    ("transactionsRoot", 32),
    ("receiptsRoot", 32),
    ("logsBloom", 256),
    ("difficulty", 0),
    ("number", 0),
    ("gasLimit", 0),
    ("gasUsed", 0),
    ("timestamp", 0),
    ("extraData", None),
    ("mixHash", 32),
    ("nonce", 8),
)
"""Header fields of every fork in their order: name, size in bytes; 0 is an integer, None any length."""
_LATER: Final = (
    ("baseFeePerGas", 0),
    ("withdrawalsRoot", 32),
    ("blobGasUsed", 0),
    ("excessBlobGas", 0),
    ("parentBeaconBlockRoot", 32),
    ("requestsHash", 32),
)
"""Those that later forks appended; each implies the ones before it."""


class ProvenAccount(NamedTuple):
    """An account as the state trie has it."""

    nonce: int
    balance_wei: int
    storage_root: bytes
    code_hash: bytes


NO_ACCOUNT: Final = ProvenAccount(0, 0, EMPTY_TRIE, EMPTY_CODE)


def checked_header(value: Any, block_hash: bytes) -> tuple[Block, bytes]:
    """The block and its state root from a header in JSON, if it is the header of that hash.

    Raises:
        StateUnproven: it is another's, or has fields that this node does not know.
        RpcMisbehaved: it is malformed.
    """
    method = "eth_getBlockByHash"
    block = block_from_json(method, value)
    names = [*_FIXED, *((name, size) for name, size in _LATER if value.get(name) is not None)]
    fields = [_field(method, value.get(name), size) for name, size in names]
    if keccak(rlp.encode(fields)) != block_hash or block.hash != block_hash:
        raise StateUnproven(hex_of(block_hash), "the header has another hash")
    return block, data(method, value["stateRoot"], 32)


def _field(method: str, value: Any, size: int | None) -> bytes:
    if size == 0:
        number = quantity(method, value)
        return number.to_bytes((number.bit_length() + 7) // 8, "big")
    return data(method, value, size)


def proven_account(state_root: bytes, address: bytes, answer: Any) -> ProvenAccount:
    """What an answer of eth_getProof proves about an account, whatever else it says.

    Raises:
        StateUnproven: it proves nothing.
        RpcMisbehaved: it is malformed.
    """
    raw = _walk(state_root, address, _member(answer, "accountProof"), hex_of(address))
    if not raw:
        return NO_ACCOUNT
    match _items(raw):
        case [bytes(nonce), bytes(balance), bytes(storage_root), bytes(code_hash)]:
            return ProvenAccount(int.from_bytes(nonce, "big"), int.from_bytes(balance, "big"), storage_root, code_hash)
        case _:
            _refuse(hex_of(address), "the state trie holds no account there")


def proven_word(storage_root: bytes, slot: int, answer: Any) -> int:
    """What an answer of eth_getProof for one slot proves about it.

    Raises:
        StateUnproven, RpcMisbehaved: as `proven_account`.
    """
    proofs = _member(answer, "storageProof")
    if not isinstance(proofs, list) or len(proofs) != 1:
        _refuse(hex(slot), "not one storage proof")
    raw = _walk(storage_root, slot.to_bytes(32, "big"), _member(proofs[0], "proof"), hex(slot))
    if not raw:
        return 0
    word = _items(raw)
    if not isinstance(word, bytes) or len(word) > 32:
        _refuse(hex(slot), "the storage trie holds no word there")
    return int.from_bytes(word, "big")


def _member(value: Any, name: str) -> Any:
    if not isinstance(value, dict) or name not in value:
        _refuse(name, "is not there")
    return value[name]


def _walk(root: bytes, key: bytes, nodes: Any, where: str) -> bytes:
    """The value under the keccak of a key, empty if the trie has none."""
    if not isinstance(nodes, list) or len(nodes) > MAX_NODES:
        _refuse(where, f"not a list of at most {MAX_NODES} nodes")
    known: dict[bytes, bytes] = {}
    for each in nodes:
        if not isinstance(each, str) or len(each) > 2 + 2 * MAX_NODE_BYTES:
            _refuse(where, f"a node is no text or longer than {MAX_NODE_BYTES} bytes")
        node = data(METHOD, each)
        known[keccak(node)] = node
    try:
        return bytes(HexaryTrie(known, root).get(keccak(key)))
    except MissingTrieNode:
        _refuse(where, "a node on its path is missing or another")


def _items(raw: bytes) -> Any:
    try:
        return rlp.decode(raw)
    except RLPException:
        return None


def _refuse(where: str, why: str) -> NoReturn:
    raise StateUnproven(where, why)
