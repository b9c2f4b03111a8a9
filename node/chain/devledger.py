"""The development L1's ledger: blocks, a pool of pending transactions, mining and snapshots. No I/O.

Every mined block is kept, and its state stays readable by its root in one in-memory trie database, so that any past
state can be asked for and a snapshot is little more than a height. Not thread-safe: the server holds one lock.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, cast

import rlp  # type: ignore[import-untyped]
from eth.abc import SignedTransactionAPI
from eth.constants import BLANK_ROOT_HASH, ZERO_HASH32
from eth.db.atomic import AtomicDB
from eth.db.trie import make_trie_root_and_nodes
from eth.exceptions import PyEVMError
from eth.rlp.accounts import Account
from eth.vm.execution_context import ExecutionContext
from eth.vm.forks.cancun.constants import BLOB_TX_TYPE
from eth.vm.forks.london.headers import calculate_expected_base_fee_per_gas
from eth.vm.forks.prague import PragueVM
from eth.vm.forks.prague.blocks import PragueBlockHeader
from eth.vm.forks.prague.transactions import PragueTransactionBuilder
from eth_hash.auto import keccak
from eth_keys.exceptions import BadSignature
from eth_typing import Address, BlockNumber, Hash32
from eth_utils.exceptions import ValidationError
from trie.hexary import HexaryTrie

from node.chain.evm import Call, EvmLog, EvmState, Outcome, evm_log, execution_context, floor_gas, run_call

GAS_LIMIT: Final = 30_000_000
INITIAL_BASE_FEE_WEI: Final = 1_000_000_000  # 1 gwei
COINBASE: Final = b"\x00" * 20
MAX_TX_BYTES: Final = 131_072  # what execution clients accept from their users
MAX_POOL_TXS: Final = 4_096
MAX_NONCE_GAP: Final = 64  # queued transactions per account
MAX_LOGS: Final = 10_000  # answer of one eth_getLogs
MIN_BUMP_PERCENT: Final = 10  # of both fees, for a replacement: what execution clients ask


NOTHING: Final[Mapping[bytes, bytes]] = MappingProxyType({})


class LedgerRefusal(Exception):
    """The sender of a transaction or the asker of a query broke a rule; `reason` is for people."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class MinedLog:
    """A log with its place in the chain."""

    log: EvmLog
    index: int
    """Position among the block's logs."""
    transaction_index: int
    transaction_hash: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class MinedTransaction:
    """A transaction with what its receipt says."""

    signed: SignedTransactionAPI
    hash: bytes
    index: int
    succeeded: bool
    gas_used: int
    cumulative_gas: int
    effective_gas_price_wei: int
    bloom: int
    logs: tuple[MinedLog, ...]
    created: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MinedBlock:
    """One block of the canonical chain."""

    header: PragueBlockHeader
    hash: bytes
    transactions: tuple[MinedTransaction, ...]
    size_bytes: int

    @property
    def number(self) -> int:
        """Height; genesis is 0."""
        return int(self.header.block_number)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountProof:
    """What eth_getProof says."""

    nonce: int
    balance_wei: int
    storage_root: bytes
    code_hash: bytes
    nodes: tuple[bytes, ...]
    """RLP of the state trie's nodes, from the root to the account."""
    slots: tuple[tuple[int, tuple[bytes, ...]], ...]
    """Per slot its word and the nodes of the storage trie."""


@dataclass(frozen=True, slots=True)
class _Snapshot:
    height: int
    offset_s: int
    next_timestamp: int | None
    pool: dict[bytes, dict[int, SignedTransactionAPI]]


class DevLedger:
    """A chain of blocks over py-evm, mined one per transaction unless `automine` is off."""

    def __init__(
        self, *, chain_id: int, balances_wei: Mapping[bytes, int], clock: Callable[[], int], max_logs: int = MAX_LOGS
    ) -> None:
        """Make the genesis block.

        Args:
            chain_id: EIP-155 chain id.
            balances_wei: pre-funded accounts, 20-byte address to wei.
            clock: seconds since the epoch, for block timestamps.
            max_logs: most logs that one query may match.
        """
        self.chain_id = chain_id
        self.automine = True
        self._clock = clock
        self._max_logs = max_logs
        self._db = AtomicDB()
        self._offset_s = 0
        self._next_timestamp: int | None = None
        self._pool: dict[bytes, dict[int, SignedTransactionAPI]] = {}
        self._blocks: list[MinedBlock] = []
        self._height_of_hash: dict[bytes, int] = {}
        self._place_of_tx: dict[bytes, tuple[int, int]] = {}
        self._log_heights: dict[bytes, list[int]] = {}  # address -> ascending heights of blocks with its logs
        self._snapshots: dict[int, _Snapshot] = {}
        self._next_snapshot_id = 1
        self._make_genesis(balances_wei)

    # -- reading ---------------------------------------------------------------------------------------------

    @property
    def head(self) -> MinedBlock:
        """The latest block."""
        return self._blocks[-1]

    def block(self, number: int) -> MinedBlock | None:
        """Block at a height, None above the head."""
        return self._blocks[number] if 0 <= number < len(self._blocks) else None

    def block_by_hash(self, block_hash: bytes) -> MinedBlock | None:
        """Canonical block with this hash."""
        height = self._height_of_hash.get(block_hash)
        return None if height is None else self._blocks[height]

    def transaction(self, tx_hash: bytes) -> tuple[MinedBlock, MinedTransaction] | None:
        """Mined transaction and its block."""
        place = self._place_of_tx.get(tx_hash)
        if place is None:
            return None
        block = self._blocks[place[0]]
        return block, block.transactions[place[1]]

    def pending(self, tx_hash: bytes) -> SignedTransactionAPI | None:
        """Transaction that waits in the pool."""
        for queue in self._pool.values():
            for transaction in queue.values():
                if transaction.hash == tx_hash:
                    return transaction
        return None

    def state_at(self, block: MinedBlock) -> EvmState:
        """State after `block`, with that block's environment; changes to it are never kept."""
        return EvmState(self._db, self._environment(block.header), Hash32(block.header.state_root))

    def proof(self, block: MinedBlock, account: bytes, slots: Sequence[int]) -> AccountProof:
        """An account and some of its words after `block`, with the trie nodes on their paths (EIP-1186)."""
        accounts = HexaryTrie(self._db, block.header.state_root)
        raw = accounts.get(keccak(account))
        found = rlp.decode(raw, Account) if raw else Account()
        words = HexaryTrie(self._db, found.storage_root)
        proven = []
        for slot in slots:
            key = keccak(slot.to_bytes(32, "big"))
            word = words.get(key)
            proven.append((int.from_bytes(rlp.decode(word), "big") if word else 0, _nodes(words, key)))
        return AccountProof(
            nonce=found.nonce,
            balance_wei=found.balance,
            storage_root=found.storage_root,
            code_hash=found.code_hash,
            nodes=_nodes(accounts, keccak(account)),
            slots=tuple(proven),
        )

    def pending_nonce(self, account: bytes) -> int:
        """Next nonce of `account`, counting its contiguous pool transactions."""
        nonce = self.state_at(self.head).get_nonce(Address(account))
        queue = self._pool.get(account, {})
        while nonce in queue:
            nonce += 1
        return nonce

    def call(
        self,
        call: Call,
        block: MinedBlock,
        *,
        on_pending: bool = False,
        code: Mapping[bytes, bytes] = NOTHING,
        timestamp: int | None = None,
    ) -> Outcome:
        """Run `call` on the state after `block`; nothing is kept.

        A call without a fee runs with base fee 0, as execution clients do, so that nobody must own ether to ask.
        `on_pending` gives the environment of the block to come instead of `block`'s own; `code` and `timestamp` stand
        in for those of accounts and of the block.
        """
        header = self._next_header() if on_pending else block.header
        if call.max_fee_wei == 0:
            header = _changed(header, base_fee_per_gas=0)
        if timestamp is not None:
            header = _changed(header, timestamp=timestamp)
        state = EvmState(self._db, self._environment(header), Hash32(block.header.state_root))
        for account, instead in code.items():
            state.set_code(Address(account), instead)
        return run_call(state, call)

    def next_base_fee_wei(self) -> int:
        """Base fee of the block to come."""
        return calculate_expected_base_fee_per_gas(self.head.header)

    def logs(
        self, first: int, last: int, addresses: frozenset[bytes], topics: tuple[frozenset[bytes] | None, ...]
    ) -> list[tuple[MinedBlock, MinedLog]]:
        """Logs of heights first..last in order. No address means any; a None topic position matches anything.

        Raises:
            LedgerRefusal: more than `max_logs` match.
        """
        found: list[tuple[MinedBlock, MinedLog]] = []
        for height in self._heights_with_logs(first, last, addresses):
            block = self._blocks[height]
            for transaction in block.transactions:
                found.extend((block, each) for each in transaction.logs if _matches(each.log, addresses, topics))
            if len(found) > self._max_logs:
                raise LedgerRefusal(f"query matches more than {self._max_logs} logs")
        return found

    # -- transactions ------------------------------------------------------------------------------------------

    def submit(self, raw: bytes) -> bytes:
        """Admit a signed transaction to the pool, and mine it if `automine`.

        Returns:
            Its 32-byte hash.

        Raises:
            LedgerRefusal: malformed, wrong chain, stale nonce, too little gas or ether, or an underpriced replacement.
        """
        transaction, sender = _decode(raw)
        tx_hash = bytes(transaction.hash)
        state = self.state_at(self.head)
        nonce = state.get_nonce(Address(sender))
        queue = self._pool.get(sender, {})
        if transaction.type_id == BLOB_TX_TYPE:
            raise LedgerRefusal("blob transactions are not supported")
        if transaction.chain_id != self.chain_id:
            raise LedgerRefusal(f"invalid chain id: have {transaction.chain_id}, want {self.chain_id}")
        if tx_hash in self._place_of_tx or self.pending(tx_hash) is not None:
            raise LedgerRefusal("already known")
        if transaction.nonce < nonce:
            raise LedgerRefusal(f"nonce too low: next nonce {nonce}, tx nonce {transaction.nonce}")
        if transaction.nonce > nonce + MAX_NONCE_GAP or sum(map(len, self._pool.values())) >= MAX_POOL_TXS:
            raise LedgerRefusal(f"nonce too high: next nonce {nonce}, tx nonce {transaction.nonce}")
        if transaction.gas > GAS_LIMIT:
            raise LedgerRefusal(f"exceeds block gas limit: {transaction.gas} > {GAS_LIMIT}")
        needed = max(transaction.intrinsic_gas, floor_gas(transaction.data))
        if transaction.gas < needed:
            raise LedgerRefusal(f"intrinsic gas too low: have {transaction.gas}, want {needed}")
        if transaction.max_priority_fee_per_gas > transaction.max_fee_per_gas:
            raise LedgerRefusal("max priority fee per gas higher than max fee per gas")
        cost = transaction.gas * transaction.max_fee_per_gas + transaction.value
        balance = state.get_balance(Address(sender))
        if balance < cost:
            raise LedgerRefusal(f"insufficient funds for gas * price + value: have {balance}, want {cost}")
        replaced = queue.get(transaction.nonce)
        if replaced is not None and not _is_bumped(replaced, transaction):
            raise LedgerRefusal("replacement transaction underpriced")
        self._pool.setdefault(sender, {})[transaction.nonce] = transaction
        if self.automine:
            while self._minable(limit=1):
                self.mine(limit=1)
        return tx_hash

    def mine(self, *, timestamp: int | None = None, limit: int | None = None) -> MinedBlock:
        """Mine one block of at most `limit` pool transactions (None: as many as its gas allows).

        Raises:
            LedgerRefusal: `timestamp` is before the head's.
        """
        if timestamp is not None:
            self.set_next_timestamp(timestamp)
        header = self._next_header()
        self._next_timestamp = None
        state = EvmState(self._db, self._environment(header), Hash32(self.head.header.state_root))
        mined: list[MinedTransaction] = []
        receipts = []
        bloom = 0
        gas_before = 0
        log_index = 0
        for sender, transaction in self._minable(limit):
            if gas_before + transaction.gas > header.gas_limit:
                continue
            state.lock_changes()
            del self._pool[sender][transaction.nonce]
            try:
                computation = state.apply_transaction(transaction)
            except ValidationError:  # an earlier transaction of this block took its ether: drop it, as clients do
                continue
            receipt = PragueVM.make_receipt(header.copy(gas_used=gas_before), transaction, computation, state)
            logs = tuple(
                MinedLog(
                    log=evm_log(entry.address, entry.topics, entry.data),
                    index=log_index + position,
                    transaction_index=len(mined),
                    transaction_hash=bytes(transaction.hash),
                )
                for position, entry in enumerate(receipt.logs)
            )
            mined.append(
                MinedTransaction(
                    signed=transaction,
                    hash=bytes(transaction.hash),
                    index=len(mined),
                    succeeded=not computation.is_error,
                    gas_used=receipt.gas_used - gas_before,
                    cumulative_gas=receipt.gas_used,
                    effective_gas_price_wei=state.get_gas_price(transaction),
                    bloom=receipt.bloom,
                    logs=logs,
                    created=bytes(computation.msg.storage_address) if computation.msg.is_create else None,
                )
            )
            receipts.append(receipt)
            bloom |= receipt.bloom
            gas_before = receipt.gas_used
            log_index += len(logs)
        state.persist()
        sealed = _changed(
            header,
            state_root=state.state_root,
            transaction_root=make_trie_root_and_nodes([each.signed for each in mined])[0],
            receipt_root=make_trie_root_and_nodes(receipts)[0],
            bloom=bloom,
            gas_used=gas_before,
        )
        self._append(sealed, tuple(mined))
        self._pool = {sender: queue for sender, queue in self._pool.items() if queue}
        return self.head

    # -- time and snapshots ------------------------------------------------------------------------------------

    def increase_time(self, seconds: int) -> int:
        """Move the clock of later blocks forward; returns the total offset in seconds.

        Raises:
            LedgerRefusal: the next block's timestamp would not fit 64 bits.
        """
        if self._clock() + self._offset_s + seconds >= 1 << 64:
            raise LedgerRefusal("time would not fit 64 bits")
        self._offset_s += seconds
        return self._offset_s

    def set_next_timestamp(self, timestamp: int) -> None:
        """Fix the next block's timestamp; later blocks continue from it.

        Raises:
            LedgerRefusal: before the head's timestamp.
        """
        if timestamp < self.head.header.timestamp:
            raise LedgerRefusal(f"timestamp {timestamp} is before the head's {self.head.header.timestamp}")
        self._next_timestamp = timestamp
        self._offset_s = timestamp - self._clock()

    def snapshot(self) -> int:
        """Remember the present chain, pool and time; returns an id."""
        identifier = self._next_snapshot_id
        self._next_snapshot_id += 1
        pool = {sender: dict(queue) for sender, queue in self._pool.items()}
        self._snapshots[identifier] = _Snapshot(self.head.number, self._offset_s, self._next_timestamp, pool)
        return identifier

    def revert(self, identifier: int) -> bool:
        """Return to a snapshot, dropping it and the later ones. False when the id is unknown."""
        snapshot = self._snapshots.pop(identifier, None)
        if snapshot is None:
            return False
        self._snapshots = {key: each for key, each in self._snapshots.items() if key < identifier}
        while self.head.number > snapshot.height:
            dropped = self._blocks.pop()
            del self._height_of_hash[dropped.hash]
            for transaction in dropped.transactions:
                del self._place_of_tx[transaction.hash]
                for each in transaction.logs:
                    heights = self._log_heights[each.log.address]
                    if heights and heights[-1] == dropped.number:
                        heights.pop()
        self._offset_s = snapshot.offset_s
        self._next_timestamp = snapshot.next_timestamp
        self._pool = snapshot.pool
        return True

    # -- inside ------------------------------------------------------------------------------------------------

    def _make_genesis(self, balances_wei: Mapping[bytes, int]) -> None:
        header = PragueBlockHeader(
            difficulty=0,
            block_number=BlockNumber(0),
            gas_limit=GAS_LIMIT,
            timestamp=self._clock(),
            coinbase=Address(COINBASE),
            base_fee_per_gas=INITIAL_BASE_FEE_WEI,
            nonce=b"\x00" * 8,
        )
        state = EvmState(self._db, self._environment(header), BLANK_ROOT_HASH)
        for account, balance in balances_wei.items():
            state.set_balance(Address(account), balance)
        state.persist()
        self._append(_changed(header, state_root=state.state_root), ())

    def _append(self, header: PragueBlockHeader, transactions: tuple[MinedTransaction, ...]) -> None:
        block_hash = bytes(header.hash)
        size = len(rlp.encode(header)) + sum(len(each.signed.encode()) for each in transactions)
        block = MinedBlock(header=header, hash=block_hash, transactions=transactions, size_bytes=size)
        self._blocks.append(block)
        self._height_of_hash[block_hash] = block.number
        for transaction in transactions:
            self._place_of_tx[transaction.hash] = (block.number, transaction.index)
            for each in transaction.logs:
                heights = self._log_heights.setdefault(each.log.address, [])
                if not heights or heights[-1] != block.number:
                    heights.append(block.number)

    def _next_header(self) -> PragueBlockHeader:
        parent = self.head.header
        timestamp = self._next_timestamp
        if timestamp is None:
            # Never ahead of the clock, though a burst of blocks then shares a second: deadlines are wall-clock times.
            timestamp = max(self._clock() + self._offset_s, parent.timestamp)
        return PragueBlockHeader(
            difficulty=0,
            block_number=BlockNumber(parent.block_number + 1),
            gas_limit=GAS_LIMIT,
            timestamp=timestamp,
            coinbase=Address(COINBASE),
            parent_hash=Hash32(self.head.hash),
            mix_hash=Hash32(keccak(b"prevrandao" + self.head.hash)),
            base_fee_per_gas=self.next_base_fee_wei(),
            nonce=b"\x00" * 8,
        )

    def _environment(self, header: PragueBlockHeader) -> ExecutionContext:
        return execution_context(
            chain_id=self.chain_id,
            number=header.block_number,
            timestamp=header.timestamp,
            gas_limit=header.gas_limit,
            base_fee_wei=header.base_fee_per_gas or 0,
            coinbase=header.coinbase,
            prev_randao=header.mix_hash,
            prev_hashes=self._hashes_before(header),
        )

    def _hashes_before(self, header: PragueBlockHeader) -> Iterator[bytes]:
        if header.parent_hash == ZERO_HASH32:
            return
        for height in range(header.block_number - 1, -1, -1):
            yield self._blocks[height].hash

    def _minable(self, limit: int | None) -> list[tuple[bytes, SignedTransactionAPI]]:
        """Pool transactions in mining order: highest tip first, nonces of one sender in order."""
        state = self.state_at(self.head)
        base_fee = self.next_base_fee_wei()
        next_nonce = {sender: state.get_nonce(Address(sender)) for sender in self._pool}
        chosen: list[tuple[bytes, SignedTransactionAPI]] = []
        while limit is None or len(chosen) < limit:
            ready = [
                (min(each.max_fee_per_gas - base_fee, each.max_priority_fee_per_gas), sender, each)
                for sender, queue in self._pool.items()
                if (each := queue.get(next_nonce[sender])) is not None and each.max_fee_per_gas >= base_fee
            ]
            if not ready:
                break
            _, sender, transaction = max(ready, key=lambda entry: entry[:2])
            chosen.append((sender, transaction))
            next_nonce[sender] += 1
        return chosen

    def _heights_with_logs(self, first: int, last: int, addresses: frozenset[bytes]) -> list[int]:
        last = min(last, self.head.number)
        wanted = addresses if addresses else self._log_heights.keys()
        heights: set[int] = set()
        for address in wanted:
            known = self._log_heights.get(address, [])
            heights.update(known[bisect.bisect_left(known, first) : bisect.bisect_right(known, last)])
        return sorted(heights)


def _nodes(trie: HexaryTrie, key: bytes) -> tuple[bytes, ...]:
    """RLP of the nodes on a key's path; a node below 32 bytes is part of its parent, and an empty trie has none."""
    if trie.root_hash == BLANK_ROOT_HASH:
        return ()
    encoded = [rlp.encode(node) for node in trie.get_proof(key)]  # type: ignore[no-untyped-call]
    return tuple(node for place, node in enumerate(encoded) if not place or len(node) >= 32)


def _decode(raw: bytes) -> tuple[SignedTransactionAPI, bytes]:
    if len(raw) > MAX_TX_BYTES:
        raise LedgerRefusal(f"oversized data: {len(raw)} bytes, limit {MAX_TX_BYTES}")
    try:
        transaction = PragueTransactionBuilder.decode(raw)
        transaction.validate()
        return transaction, bytes(transaction.sender)
    except (rlp.exceptions.RLPException, PyEVMError, ValidationError, BadSignature, ValueError, TypeError) as error:
        raise LedgerRefusal(f"malformed transaction: {type(error).__name__}") from error


def _changed(header: PragueBlockHeader, **fields: object) -> PragueBlockHeader:
    return cast(PragueBlockHeader, header.copy(**fields))


def _is_bumped(old: SignedTransactionAPI, new: SignedTransactionAPI) -> bool:
    return (
        new.max_fee_per_gas * 100 >= old.max_fee_per_gas * (100 + MIN_BUMP_PERCENT)
        and new.max_priority_fee_per_gas * 100 >= old.max_priority_fee_per_gas * (100 + MIN_BUMP_PERCENT)
    )  # fmt: skip


def _matches(log: EvmLog, addresses: frozenset[bytes], topics: tuple[frozenset[bytes] | None, ...]) -> bool:
    if addresses and log.address not in addresses:
        return False
    if len(topics) > len(log.topics):
        return False
    return all(wanted is None or have in wanted for wanted, have in zip(topics, log.topics, strict=False))
