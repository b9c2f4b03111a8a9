"""Calls inside a rollup: frames that begin, end and wait within one entry and across entries."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from protocol.types import Address, endpoint
from protocol.vm.assembler import assemble
from protocol.vm.execution import Outcome, Trap
from protocol.vm.state import INTEGER_WORD, VmState, account_key, storage_key, unpack_account
from protocol.vm.state_tree import StateTree
from tests.support.circuits import broken, witness_of
from tests.support.stories import ACCOUNT, ROLLUP, Story, words

OTHER = Address(bytes.fromhex("b2" * 20))
THIRD = Address(bytes.fromhex("c3" * 20))
TO_OTHER, TO_THIRD, TO_SELF = (endpoint(ROLLUP, address) for address in (OTHER, THIRD, ACCOUNT))


def state_with(sources: Mapping[Address, str], balance: int = 0) -> VmState:
    """A rollup with some programs; each account has the balance, and 7 in slot 5."""
    tree, programs = StateTree.empty(), {}
    for account, source in sources.items():
        code, address = assemble(source), int.from_bytes(account, "big")
        tree, _ = tree.insert(account_key(address), balance, code.code_hash)
        tree, _ = tree.insert(storage_key(address, 5), 7, INTEGER_WORD)
        programs[code.code_hash] = code
    return VmState(tree=tree, frames=None, programs=programs)


def wei(story: Story, account: Address) -> int:
    """Balance of an account now."""
    return unpack_account(story.state.tree.get(account_key(int.from_bytes(account, "big")))[0])[1]


def outcomes(story: Story) -> list[list[Outcome]]:
    """How the stretches of each entry ended."""
    return [[stretch.outcome for stretch in run.stretches] for run in story.runs]


CALLER = f"""
        ARGLO  r1, 0
        LDI    r9, 77
        LDF    f0, {TO_OTHER}
        OUT    r1, r9, 0
        ICALL  f0, r1, 0xaabbccdd, 1
        RETOK  r2
        RETLO  r3, 0
        RETLEN r4
        OUT    r2, r3, 0
        OUT    r4, r9, 1
        RETURN 2
"""
ANSWERS = f"""
        ARGLO  r1, 0
        SEL    r2
        CALLER f1
        LDF    f2, {TO_SELF}
        EQF    r3, f1, f2
        VALUE  r4
        LDF    f3, 5
        SSTORE f3, r1
        OUT    r3, r4, 0
        RETURN 1
"""


@pytest.mark.parametrize("value", [0, 3, 10, 11])
def test_a_program_calls_another(value: int) -> None:
    """Selector, arguments, caller and value arrive, the answer comes back, the caller goes on; 11 wei it has not."""
    story = Story(state_with({ACCOUNT: CALLER, OTHER: ANSWERS}, balance=10))
    run = story.call(b"abcd" + words(value))
    if value > 10:
        assert run.trap is Trap.BALANCE
    else:
        assert outcomes(story) == [[Outcome.ICALL, Outcome.RETURN, Outcome.RETURN]]
        assert run.next_action.data == words((1 << 128) + value, (32 << 128) + 77)
        assert (wei(story, ACCOUNT), wei(story, OTHER)) == (10 - value, 10 + value)
    assert broken(witness_of(story)) is None


@pytest.mark.parametrize("end", ["REVERT 1", "SUB r0, r11, r1\nRETURN 0"])
def test_what_a_failed_frame_did_is_undone(end: str) -> None:
    """Value and storage; its caller goes on with RETOK 0 and the data of the failure."""
    fails = f"LDI r1, 9\nLDF f3, 5\nSSTORE f3, r1\nOUT r1, r1, 0\n{end}"
    story = Story(state_with({ACCOUNT: CALLER, OTHER: fails}, balance=10))
    run = story.call(b"abcd" + words(4))

    data = words(9, (32 << 128) + 77) if end == "REVERT 1" else words(0, 77)
    assert (run.next_action.data, run.next_action.failed) == (data, False)
    assert story.state.root == story.first.root
    assert broken(witness_of(story)) is None


def test_a_program_calls_nobody_and_pays_itself() -> None:
    """An account without code gets its leaf; who calls itself with value has what it had."""
    source = """
        LDI    r1, 3
        LDF    f0, {to}
        ARGLO  r2, 0
        JNZ    r2, end
        LDI    r9, 1
        OUT    r11, r9, 0
        ICALL  f0, r1, 1, 1
        BALANCE r3
        RETOK  r4
        OUT    r4, r3, 0
        RETURN 1
end:    BALANCE r3
        OUT    r11, r3, 0
        RETURN 1
"""
    nobody = Address(bytes.fromhex("dd" * 20))
    for to, left in ((endpoint(ROLLUP, nobody), 7), (TO_SELF, 10)):
        story = Story(state_with({ACCOUNT: source.format(to=to)}, balance=10))
        run = story.call(b"abcd" + words(0))
        assert run.next_action.data == words((1 << 128) + left)
        assert wei(story, nobody) == (3 if left == 7 else 0)
        assert broken(witness_of(story)) is None


@pytest.mark.parametrize(
    "to", [f"LDF f0, {endpoint(ROLLUP + 1, OTHER)}", "LDF f0, 12", f"LDF f0, {1 << 224}", "SUBF f0, f0, f1"]
)
def test_icall_stays_inside_the_rollup(to: str) -> None:
    """Anything but an endpoint of it traps."""
    story = Story(state_with({ACCOUNT: f"LDF f1, 1\n{to}\nICALL f0, r0, 1, 0\nRETURN 0"}))
    run = story.call()

    assert run.trap is Trap.ENDPOINT
    assert broken(witness_of(story)) is None
