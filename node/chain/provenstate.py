"""State of one L1 block of which nothing is believed that does not follow from the block's hash.

Each fact is asked of one endpoint; one that gives no proof, or a wrong one, is passed over for the next.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from eth_hash.auto import keccak

from node.chain.errors import ChainError, NoStateProofs, RpcRefused, StateUnproven
from node.chain.lazystate import Account, PinnedState
from node.chain.records import Block, data, hex_of
from node.chain.stateproof import EMPTY_CODE, METHOD, checked_header, proven_account, proven_word
from node.chain.transport import HttpTransport, Transport

T = TypeVar("T")
log = logging.getLogger("unveto.chain")
METHOD_NOT_FOUND = -32601  # JSON-RPC 2.0


class ProvenState(PinnedState):
    """`PinnedState` over eth_getProof. Used by one thread at a time."""

    def __init__(self, transport: Transport, block: Block) -> None:
        """Nothing is asked yet.

        Args:
            block: only its hash is believed.
        """
        super().__init__(transport, block)
        self._state_root: bytes | None = None
        self._storage_roots: dict[bytes, bytes] = {}

    def environment(self) -> Block:
        """The block, from the header that has its hash."""
        self._root()
        return self.block

    def _root(self) -> bytes:
        if self._state_root is None:
            block_hash = self.block.hash
            self.block, self._state_root = self._first(lambda each: _header(each, block_hash))
            self._ancestors[0] = self.block
        return self._state_root

    def _fetch_account(self, address: bytes) -> Account:
        state_root = self._root()

        def ask(endpoint: HttpTransport) -> tuple[Account, bytes]:
            answer = endpoint.request(METHOD, hex_of(address), [], self._tag)
            proven = proven_account(state_root, address, answer)
            code = b""
            if proven.code_hash != EMPTY_CODE:
                code = data("eth_getCode", endpoint.request("eth_getCode", hex_of(address), self._tag))
                if keccak(code) != proven.code_hash:
                    raise StateUnproven(hex_of(address), "the code has another hash")
            return Account(proven.nonce, proven.balance_wei, code, proven.code_hash), proven.storage_root

        account, self._storage_roots[address] = self._first(ask)
        return account

    def _fetch_word(self, address: bytes, slot: int) -> int:
        self.account(address)
        storage_root = self._storage_roots[address]

        def ask(endpoint: HttpTransport) -> int:
            answer = endpoint.request(METHOD, hex_of(address), [f"{slot:#066x}"], self._tag)
            return proven_word(storage_root, slot, answer)

        return self._first(ask)

    def _fetch_parent(self, parent_hash: bytes) -> Block:
        return self._first(lambda each: _header(each, parent_hash))[0]

    def _first(self, ask: Callable[[HttpTransport], T]) -> T:
        """The first endpoint's answer that holds; where none does, what the last one did wrong."""
        failure: ChainError | None = None
        for endpoint in self._transport.endpoints:
            try:
                return ask(endpoint)
            except ChainError as error:
                if isinstance(error, StateUnproven):
                    log.warning("%s: %s", endpoint.shown_url, error)
                if failure is None or isinstance(error, StateUnproven):
                    failure = error
        assert failure is not None, "there is an endpoint"
        if isinstance(failure, RpcRefused) and failure.method == METHOD and failure.rpc_code == METHOD_NOT_FOUND:
            raise NoStateProofs(failure.message) from failure
        raise failure


def _header(endpoint: HttpTransport, block_hash: bytes) -> tuple[Block, bytes]:
    answer = endpoint.request("eth_getBlockByHash", hex_of(block_hash), False)
    if answer is None:
        raise StateUnproven(hex_of(block_hash), "there is no such block")
    return checked_header(answer, block_hash)
