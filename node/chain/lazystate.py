"""EVM state whose accounts, code and storage are fetched from an L1 node when an instruction first needs them.

`PinnedState` remembers what the node said about one block and is shared by all runs on that block; `ProvenState`
(`provenstate.py`) believes only what follows from the block's hash. `LazyAccounts` is the journalled overlay of one
run, with the interface that py-evm's state expects of its account database.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple, cast

from eth.abc import AccountDatabaseAPI
from eth.constants import EMPTY_SHA3
from eth.db.journal import get_next_checkpoint
from eth.typing import JournalDBCheckpoint
from eth.vm.execution_context import ExecutionContext
from eth_hash.auto import keccak
from eth_typing import Address, Hash32

from node.chain.evm import EvmState
from node.chain.records import Block, block_from_json, data, hex_of, quantity, tag_json
from node.chain.transport import Transport

MAX_ANCESTORS: Final = 256  # how far BLOCKHASH reaches


class Account(NamedTuple):
    """An account without its storage."""

    nonce: int
    balance_wei: int
    code: bytes
    code_hash: bytes

    @property
    def is_empty(self) -> bool:
        """By EIP-161."""
        return not self.nonce and not self.balance_wei and self.code_hash == EMPTY_SHA3


NO_ACCOUNT: Final = Account(0, 0, b"", EMPTY_SHA3)


class PinnedState:
    """What one node says about the state after one block; each fact is asked once. Used by one thread at a time."""

    def __init__(self, transport: Transport, block: Block) -> None:
        self.block = block
        self._transport = transport
        self._tag = tag_json(block.hash)
        self.accounts: dict[bytes, Account] = {}
        """Accounts fetched: what the node learns that we are interested in."""
        self.storage: dict[tuple[bytes, int], int] = {}
        """(account, slot) to word, as fetched."""
        self._ancestors: list[Block] = [block]

    def environment(self) -> Block:
        """The block that runs see as their parent."""
        return self.block

    def account(self, address: bytes) -> Account:
        """Nonce, balance and code."""
        known = self.accounts.get(address)
        if known is None:
            known = self.accounts[address] = self._fetch_account(address)
        return known

    def word(self, address: bytes, slot: int) -> int:
        """One storage word."""
        known = self.storage.get((address, slot))
        if known is None:
            known = self.storage[address, slot] = self._fetch_word(address, slot)
        return known

    def _fetch_account(self, address: bytes) -> Account:
        where = (hex_of(address), self._tag)
        nonce, balance, code = self._transport.batch(
            [("eth_getTransactionCount", where), ("eth_getBalance", where), ("eth_getCode", where)]
        )
        code_bytes = data("eth_getCode", code)
        return Account(
            quantity("eth_getTransactionCount", nonce),
            quantity("eth_getBalance", balance),
            code_bytes,
            keccak(code_bytes),
        )

    def _fetch_word(self, address: bytes, slot: int) -> int:
        answer = self._transport.request("eth_getStorageAt", hex_of(address), hex(slot), self._tag)
        return int.from_bytes(data("eth_getStorageAt", answer, 32), "big")

    def _fetch_parent(self, parent_hash: bytes) -> Block:
        answer = self._transport.request("eth_getBlockByHash", hex_of(parent_hash), False)
        return block_from_json("eth_getBlockByHash", answer)

    def hashes_before(self, number: int) -> Iterator[bytes]:
        """Hashes of blocks number-1, number-2, ...; zero for heights that do not exist yet."""
        for height in range(number - 1, max(-1, number - 1 - MAX_ANCESTORS), -1):
            depth = self.block.number - height
            if depth < 0:
                yield bytes(32)
                continue
            while len(self._ancestors) <= depth:
                self._ancestors.append(self._fetch_parent(self._ancestors[-1].parent_hash))
            yield self._ancestors[depth].hash


class LazyAccounts:
    """Changes on top of a `PinnedState`, with checkpoints, warm addresses and slots (EIP-2929)."""

    def __init__(self, pinned: PinnedState, code_overrides: Mapping[bytes, bytes]) -> None:
        """Start a run.

        Args:
            pinned: the state below.
            code_overrides: 20-byte address to the code that it has in this run.
        """
        self._pinned = pinned
        self._code_overrides = dict(code_overrides)
        self._accounts: dict[bytes, Account] = {}
        self._storage: dict[tuple[bytes, int], int] = {}
        self._wiped: dict[bytes, bool] = {}
        self._warm: dict[bytes | tuple[bytes, int], bool] = {}
        self._before_transaction: dict[tuple[bytes, int], int] = {}
        self._wiped_before_transaction: frozenset[bytes] = frozenset()
        self._undo: list[Callable[[], Any]] = []
        self._checkpoints: dict[int, int] = {}

    state_root = Hash32(bytes(32))  # py-evm saves and restores it around calls; there is no trie here

    # -- accounts ----------------------------------------------------------------------------------------------

    def get_balance(self, address: Address) -> int:
        """Wei."""
        return self._account(address).balance_wei

    def set_balance(self, address: Address, balance: int) -> None:
        """Set wei."""
        self._set(self._accounts, bytes(address), self._account(address)._replace(balance_wei=balance))

    def get_nonce(self, address: Address) -> int:
        """Transactions sent, or contracts created."""
        return self._account(address).nonce

    def set_nonce(self, address: Address, nonce: int) -> None:
        """Set the nonce."""
        self._set(self._accounts, bytes(address), self._account(address)._replace(nonce=nonce))

    def increment_nonce(self, address: Address) -> None:
        """Add one."""
        self.set_nonce(address, self.get_nonce(address) + 1)

    def get_code(self, address: Address) -> bytes:
        """Contract code."""
        return self._account(address).code

    def get_code_hash(self, address: Address) -> Hash32:
        """Keccak-256 of the code."""
        return Hash32(self._account(address).code_hash)

    def set_code(self, address: Address, code: bytes) -> None:
        """Set contract code."""
        changed = self._account(address)._replace(code=code, code_hash=keccak(code))
        self._set(self._accounts, bytes(address), changed)

    def delete_code(self, address: Address) -> None:
        """Remove contract code."""
        self.set_code(address, b"")

    def account_has_code_or_nonce(self, address: Address) -> bool:
        """Whether a contract cannot be created there."""
        account = self._account(address)
        return account.nonce != 0 or account.code_hash != EMPTY_SHA3

    def account_exists(self, address: Address) -> bool:
        """Whether it was touched in this run or is not empty."""
        return bytes(address) in self._accounts or not self._account(address).is_empty

    def account_is_empty(self, address: Address) -> bool:
        """By EIP-161."""
        return self._account(address).is_empty

    def touch_account(self, address: Address) -> None:
        """Note that it takes part."""
        self._set(self._accounts, bytes(address), self._account(address))

    def delete_account(self, address: Address) -> None:
        """Remove the account with its storage."""
        self.delete_storage(address)
        self._set(self._accounts, bytes(address), NO_ACCOUNT)

    # -- storage -----------------------------------------------------------------------------------------------

    def get_storage(self, address: Address, slot: int, from_journal: bool = True) -> int:
        """A word; without the journal the value from before the transaction, as EIP-2200 prices writes."""
        place = (bytes(address), slot)
        if from_journal:
            if place in self._storage:
                return self._storage[place]
            if bytes(address) in self._wiped:
                return 0
        elif place in self._before_transaction:
            return self._before_transaction[place]
        elif bytes(address) in self._wiped_before_transaction:
            return 0
        return self._pinned.word(*place)

    def set_storage(self, address: Address, slot: int, value: int) -> None:
        """Write a word."""
        self._set(self._storage, (bytes(address), slot), value)

    def delete_storage(self, address: Address) -> None:
        """Forget every word of an account."""
        for place in [each for each in self._storage if each[0] == address]:
            self._set(self._storage, place, 0)
        self._set(self._wiped, bytes(address), True)

    # -- access (EIP-2929) -------------------------------------------------------------------------------------

    def is_storage_warm(self, address: Address, slot: int) -> bool:
        """Whether this transaction met the slot before."""
        return (bytes(address), slot) in self._warm

    def mark_storage_warm(self, address: Address, slot: int) -> None:
        """Note the access."""
        self._set(self._warm, (bytes(address), slot), True)

    def is_address_warm(self, address: Address) -> bool:
        """Whether this transaction met the account before."""
        return bytes(address) in self._warm

    def mark_address_warm(self, address: Address) -> None:
        """Note the access."""
        self._set(self._warm, bytes(address), True)

    # -- journal -----------------------------------------------------------------------------------------------

    def record(self) -> JournalDBCheckpoint:
        """Open a checkpoint. Its number is py-evm's, which the journal of transient storage then shares."""
        checkpoint = get_next_checkpoint()
        self._checkpoints[checkpoint] = len(self._undo)
        return checkpoint

    def discard(self, checkpoint: JournalDBCheckpoint) -> None:
        """Undo everything since a checkpoint."""
        length = self._checkpoints.pop(checkpoint)
        while len(self._undo) > length:
            self._undo.pop()()

    def commit(self, checkpoint: JournalDBCheckpoint) -> None:
        """Close a checkpoint and keep the changes."""
        del self._checkpoints[checkpoint]

    def lock_changes(self) -> None:
        """A transaction starts: what is there counts as original, and everything is cold."""
        self._before_transaction = dict(self._storage)
        self._wiped_before_transaction = frozenset(self._wiped)
        self._warm = {}
        self._undo = []

    # -- inside ------------------------------------------------------------------------------------------------

    def _account(self, address: bytes) -> Account:
        address = bytes(address)
        changed = self._accounts.get(address)
        if changed is not None:
            return changed
        account = self._pinned.account(address)
        override = self._code_overrides.get(address)
        if override is not None:
            return account._replace(code=override, code_hash=keccak(override))
        return account

    def _set(self, table: dict[Any, Any], key: object, value: object) -> None:
        if key in table:
            old = table[key]
            self._undo.append(lambda: table.__setitem__(key, old))
        else:
            self._undo.append(lambda: table.pop(key))
        table[key] = value


class LazyState(EvmState):
    """py-evm state over `LazyAccounts`."""

    def __init__(self, accounts: LazyAccounts, context: ExecutionContext) -> None:
        # BaseState would open a trie; everything it does with its database goes through _account_db.
        self.execution_context = context
        self._account_db = cast(AccountDatabaseAPI, accounts)
