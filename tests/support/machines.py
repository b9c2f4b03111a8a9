"""States and runs of the table VM for tests."""

from __future__ import annotations

from protocol.actions import Action
from protocol.table import Core, Entry, Member
from protocol.types import Address, Endpoint, RollupId
from protocol.vm.assembler import assemble
from protocol.vm.genesis import Genesis, GenesisAccount, GenesisSlot, state_from_genesis
from protocol.vm.machine import EntryRun, run_entry
from protocol.vm.programs import counter_account, oracle_reader_account
from protocol.vm.state import VmState, storage_key
from tests.support.cores import ORACLE, OTHER_PROGRAM, PROGRAM, call, oracle_core, result_of, word

L2_TIME = 1_800_000_000


def state_of(source: str, *slots: GenesisSlot, address: Address = PROGRAM) -> VmState:
    """A rollup with one program."""
    account = GenesisAccount(address=address, program=assemble(source), slots=slots)
    return state_from_genesis(Genesis(accounts=(account,)))


def run(state: VmState, trigger: Action | None = None, rollup_id: int = 1) -> EntryRun:
    """One traced entry."""
    return run_entry(state, rollup_id=rollup_id, l2_time=L2_TIME, trigger=trigger or call(value=0), trace=True)


def slot(state: VmState, number: int, address: Address = PROGRAM) -> tuple[int, int]:
    """(value, type) of a storage slot."""
    return state.tree.get(storage_key(int.from_bytes(address, "big"), number))


def oracle_state(strike: int = 2000) -> VmState:
    """Rollup 1 with the oracle reader and a counter beside it."""
    oracle = Endpoint(int.from_bytes(ORACLE, "big"))
    accounts = (oracle_reader_account(PROGRAM, oracle, strike), counter_account(OTHER_PROGRAM))
    return state_from_genesis(Genesis(accounts=accounts))


def oracle_table(state: VmState, price: int = 2500) -> Core:
    """The table of one settle() call with value 7 on this state, made by executing it."""
    trigger = call()
    asked = run(state, trigger)
    answer = result_of(asked.next_action, word(price))
    done = run(asked.post, answer)
    entries = (
        Entry(mid=True, new_root=asked.new_root, trigger=trigger, next_action=asked.next_action),
        Entry(parent=0, reply_to=0, mid=False, new_root=done.new_root, trigger=answer, next_action=done.next_action),
    )
    return oracle_core(lockset=(Member(rollup_id=RollupId(1), pre_root=state.root),), entries=entries)
