"""States with some hundred leaves, a program that is being deployed among them; made once."""

from __future__ import annotations

from functools import cache

from protocol.types import Address
from protocol.vm.assembler import assemble
from protocol.vm.deployment import deploy_calls
from protocol.vm.genesis import Genesis, GenesisAccount, GenesisSlot, state_from_genesis
from protocol.vm.machine import run_entry
from protocol.vm.programs import counter_account
from protocol.vm.state import INTEGER_WORD, VmState, storage_key
from tests.support.cores import call

OWNER = Address(bytes(18) + b"\x20\x01")
BESIDE = Address(bytes(18) + b"\x20\x02")
DEPLOYER = Address(bytes(19) + b"\x01")
SLOTS = 280
CHUNKS = 2


@cache
def big_state() -> VmState:
    """Some hundred slots, two programs, and the first two chunks of a third."""
    slots = tuple(GenesisSlot(slot=number, kind=INTEGER_WORD, value=number) for number in range(1, 1 + SLOTS))
    account = GenesisAccount(address=OWNER, program=assemble("RETURN 0"), slots=slots)
    state = state_from_genesis(Genesis(accounts=(account, counter_account(BESIDE))))
    for data in deploy_calls(assemble("MOV r1, r1\n" * 40 + "RETURN 0"), salt=7)[:2]:
        trigger = call(destination=DEPLOYER, value=0, data=data)
        state = run_entry(state, rollup_id=1, l2_time=0, trigger=trigger).post
    return state


@cache
def moved_state() -> VmState:
    """The same after one slot was written: one of two chunks differs."""
    state = big_state()
    tree, _ = state.tree.update(storage_key(int.from_bytes(OWNER, "big"), 100), 12345, INTEGER_WORD)
    return VmState(tree=tree, frames=None, programs=state.programs, drafts=state.drafts)
