"""States and runs of the table VM for tests."""

from __future__ import annotations

from protocol.actions import Action
from protocol.types import Address
from protocol.vm.assembler import assemble
from protocol.vm.genesis import Genesis, GenesisAccount, GenesisSlot, state_from_genesis
from protocol.vm.machine import EntryRun, run_entry
from protocol.vm.state import VmState, storage_key
from tests.support.cores import PROGRAM, call

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
