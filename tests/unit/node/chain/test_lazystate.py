"""The lazy account database behaves as py-evm's own does, and the EVM cannot tell them apart."""

from __future__ import annotations

import sys
from typing import Any

import eth
from eth.constants import BLANK_ROOT_HASH
from eth.db.atomic import AtomicDB
from eth.vm.execution_context import ExecutionContext
from eth_typing import Address
from hypothesis import given
from hypothesis import strategies as st

from node.chain.evm import Call, EvmState, execution_context, run_call
from node.chain.lazystate import LazyAccounts, LazyState, PinnedState
from node.chain.records import Block
from node.chain.transport import HttpTransport

HEAD = Block(
    number=5,
    hash=b"\x05" * 32,
    parent_hash=b"\x04" * 32,
    timestamp=50,
    base_fee_wei=7,
    gas_limit=30_000_000,
    gas_used=0,
    coinbase=bytes(20),
    prev_randao=bytes(32),
)
ACCOUNTS = [bytes([number]) * 20 for number in (1, 2, 3)]


class OneAccountTransport(HttpTransport):
    """A node where account 1 has nonce 4, 1000 wei, code, and word 9 in slot 1; nothing else exists."""

    def __init__(self) -> None:
        super().__init__("http://nowhere.invalid")

    def request(self, method: str, *params: Any) -> Any:
        assert method == "eth_getStorageAt"
        account, slot, tag = params
        assert tag == {"blockHash": "0x" + HEAD.hash.hex()}
        word = 9 if account == "0x" + ACCOUNTS[0].hex() and int(slot, 16) == 1 else 0
        return "0x" + word.to_bytes(32, "big").hex()

    def batch(self, calls: Any) -> list[Any]:
        rich = {"eth_getTransactionCount": "0x4", "eth_getBalance": "0x3e8", "eth_getCode": "0x6001"}
        poor = {"eth_getTransactionCount": "0x0", "eth_getBalance": "0x0", "eth_getCode": "0x"}
        return [(rich if params[0] == "0x" + ACCOUNTS[0].hex() else poor)[method] for method, params in calls]


def context() -> ExecutionContext:
    """Of the block after HEAD."""
    return execution_context(
        chain_id=1,
        number=6,
        timestamp=60,
        gas_limit=30_000_000,
        base_fee_wei=0,
        coinbase=b"\x99" * 20,
        prev_randao=bytes(32),
        prev_hashes=(),
    )


def lazy_state() -> LazyState:
    """Over the one account."""
    return LazyState(LazyAccounts(PinnedState(OneAccountTransport(), HEAD), {}), context())


def trie_state() -> EvmState:
    """py-evm's own database with the same account, persisted."""
    database = AtomicDB()
    state = EvmState(database, context(), BLANK_ROOT_HASH)
    rich = Address(ACCOUNTS[0])
    state.set_nonce(rich, 4)
    state.set_balance(rich, 1_000)
    state.set_code(rich, bytes.fromhex("6001"))
    state.set_storage(rich, 1, 9)
    state.persist()
    return EvmState(database, context(), state.state_root)


ADDRESSES = st.sampled_from(ACCOUNTS)
SLOTS = st.integers(0, 2)
STORE = st.tuples(st.just("set_storage"), ADDRESSES, SLOTS, st.integers(0, 3))
FINISH = st.tuples(st.just("finish"), st.none() | ADDRESSES)
OPERATIONS = st.one_of(
    STORE,
    FINISH,
    st.tuples(st.just("set_balance"), ADDRESSES, st.integers(0, 2_000)),
    st.tuples(st.just("set_nonce"), ADDRESSES, st.integers(0, 9)),
    st.tuples(st.just("increment_nonce"), ADDRESSES),
    st.tuples(st.just("set_code"), ADDRESSES, st.sampled_from([b"", b"\x60\x02"])),
    st.tuples(st.just("delete_code"), ADDRESSES),
    st.tuples(st.just("mark_address_warm"), ADDRESSES),
    st.tuples(st.just("mark_storage_warm"), ADDRESSES, SLOTS),
    st.tuples(st.sampled_from(["snapshot", "revert", "commit"])),
)
# Storage across calls and transactions is where the rules are: most steps are about it.
STORAGE_STEPS = st.one_of(STORE, STORE, FINISH, st.tuples(st.sampled_from(["snapshot", "revert", "commit"])))
HISTORIES = st.lists(OPERATIONS, max_size=25) | st.lists(STORAGE_STEPS, min_size=4, max_size=12)


def observed(state: EvmState) -> list[object]:
    """Everything that an instruction can read."""
    seen: list[object] = []
    for raw in ACCOUNTS:
        address = Address(raw)
        seen += [
            state.get_balance(address),
            state.get_nonce(address),
            state.get_code(address),
            state.get_code_hash(address),
            state.has_code_or_nonce(address),
            state.account_is_empty(address),
            state.is_address_warm(address),
        ]
        for slot in range(3):
            seen += [state.get_storage(address, slot), state.is_storage_warm(address, slot)]
            seen.append(state.get_storage(address, slot, from_journal=False))
    return seen


@given(operations=HISTORIES)
def test_any_operations_leave_both_databases_alike(operations: list[tuple[Any, ...]]) -> None:
    """Writes, deletions, nested checkpoints and transaction borders, in any order that the EVM can produce."""
    states: list[EvmState] = [lazy_state(), trie_state()]
    snapshots: list[list[Any]] = []
    for name, *arguments in operations:
        match name:
            case "snapshot":
                snapshots.append([state.snapshot() for state in states])
            case "revert" | "commit":
                if snapshots:
                    for state, snapshot in zip(states, snapshots.pop(), strict=True):
                        getattr(state, name)(snapshot)
            case "finish":
                if not snapshots:  # outside of every call: accounts are deleted as a transaction ends
                    for state in states:
                        if arguments[0] is not None:
                            state.delete_account(arguments[0])
                        state.lock_changes()
            case _:
                for state in states:
                    getattr(state, name)(*arguments)
        assert observed(states[0]) == observed(states[1])


def test_transient_storage_and_refunds_end_with_the_transaction() -> None:
    """Two calls on one state: the second finds no transient value, and the first one's write as original."""
    for state in (lazy_state(), trie_state()):
        contract = Address(b"\x07" * 20)
        # Returns TLOAD(0) * 16 + SLOAD(0), then sets both to 1.
        state.set_code(contract, bytes.fromhex("5f5c6010025f54015f52" + "60015f5d" + "60015f55" + "60205ff3"))
        state.lock_changes()
        call = Call(sender=b"\x08" * 20, to=contract, gas=100_000)
        first, second = run_call(state, call), run_call(state, call)
        assert [int.from_bytes(each.output, "big") for each in (first, second)] == [0, 1]
        assert first.gas_used - second.gas_used == 22_100 - 2_200


def test_block_hashes_reach_back_through_parents() -> None:
    """Known from the pinned block on; zero above it."""
    hashes = PinnedState(OneAccountTransport(), HEAD).hashes_before(8)
    assert [next(hashes), next(hashes), next(hashes)] == [bytes(32), bytes(32), HEAD.hash]


def test_importing_the_evm_leaves_a_recursion_limit_that_the_c_stack_bears() -> None:
    """Deeply nested JSON must raise, also in a process that has py_ecc loaded."""
    assert eth.EVM_RECURSION_LIMIT == sys.getrecursionlimit() < 15_000
