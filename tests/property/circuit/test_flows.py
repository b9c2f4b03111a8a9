"""Runs of the reference machine have satisfying witnesses: every way in, every way out, every trap."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial

import pytest

from protocol.constants import FIELD_ORDER as R
from protocol.hashing import selector
from protocol.types import Address, endpoint
from protocol.vm.assembler import assemble
from protocol.vm.execution import Outcome, Trap
from protocol.vm.poseidon import P
from protocol.vm.programs import program
from protocol.vm.state import FIELD_WORD, INTEGER_WORD, VmState, account_key, storage_key
from protocol.vm.state_tree import Leaf, StateTree, needed_nodes, partial_tree, tree_depth
from proving.circuit.builder import compile_circuit
from proving.circuit.errors import ClaimMismatch, TierExceeded
from proving.circuit.plan import execute, fits
from proving.circuit.table_vm import PUBLIC, table_vm
from proving.circuit.tiers import SHAPES, Shape
from proving.circuit.witness import prepare
from tests.support.circuits import SHAPE, broken, witness_of
from tests.support.stories import ACCOUNT, ROLLUP, USER, Story, state_of, words
from tests.support.write_constraints import CONSTRAINTS_FILE, counted

ORACLE = endpoint(0, Address(bytes.fromhex("0c" * 20)))


def text(signature: str, *arguments: int) -> bytes:
    """Call data."""
    return selector(signature).to_bytes(4, "big") + words(*arguments)


LARGEST = list(SHAPES.values())[-1]


@pytest.mark.parametrize(
    "shape",
    [*list(SHAPES.values())[:-1], pytest.param(LARGEST, marks=[pytest.mark.campaign, pytest.mark.timeout(3600)])],
    ids=lambda shape: shape.tier.name,
)
def test_constraint_counts_are_the_committed_ones(shape: Shape) -> None:
    """Sizes of each circuit and of the domain that a key needs, below the budget of its tier."""
    committed = json.loads(CONSTRAINTS_FILE.read_text())
    budget = {"S": 16, "M": 18, "L": 20, "XL": 22}

    assert list(committed) == [each.tier.name for each in SHAPES.values()]
    # Not `circuit_for`, which would keep what nobody needs again.
    assert committed[shape.tier.name] == counted(compile_circuit(partial(table_vm, shape=shape, hints=None), PUBLIC))
    assert committed[shape.tier.name]["domain_log2"] <= budget[shape.tier.name]


def test_counter_is_called_three_times() -> None:
    """An insertion, an update, a read, by one program and in one table."""
    story = Story(state_of(program("counter")))
    story.call(text("increment()"))
    story.call(text("add(uint128)", 41))
    story.call(text("count()"))

    assert story.runs[-1].next_action.data == words(42)
    assert broken(witness_of(story)) is None


def test_oracle_reader_suspends_and_resumes() -> None:
    """CALL to the oracle, its RESULT, three insertions."""
    story = Story(state_of(program("oracle_reader"), {0: (ORACLE, FIELD_WORD), 1: (100, INTEGER_WORD)}))
    story.call(text("settle()"), value=7)
    story.answer(words(150))

    assert [run.outcome for run in story.runs] == [Outcome.XCALL, Outcome.RETURN]
    assert broken(witness_of(story)) is None


@pytest.mark.parametrize("price", [99, 1 << 130, None])
def test_oracle_reader_below_the_strike_refused_and_failed(price: int | None) -> None:
    """Another branch after the answer; a REVERT and a failed RESULT that undo the credited value."""
    story = Story(state_of(program("oracle_reader"), {0: (ORACLE, FIELD_WORD), 1: (100, INTEGER_WORD)}))
    story.call(text("settle()"), value=7)
    story.answer(b"" if price is None else words(price), failed=price is None)

    assert (story.state.root == story.first.root) == (price != 99)
    assert broken(witness_of(story)) is None


def test_token_moves_and_traps_on_too_much() -> None:
    """HASH slots, a failing second transfer (OVERFLOW), a transfer to oneself."""
    me = endpoint(0, USER)
    story = Story(state_of(program("token"), {P(2, (1, me)): (1000, INTEGER_WORD)}))
    story.call(text("transfer(address,uint256)", 0x77, 300))
    story.call(text("transfer(address,uint256)", 0x77, 800))
    story.call(text("transfer(address,uint256)", int.from_bytes(USER, "big"), 700))

    assert [run.trap for run in story.runs] == [None, Trap.OVERFLOW, None]
    assert broken(witness_of(story)) is None


def test_reentrance_while_a_frame_is_suspended() -> None:
    """A CALL on a mid root, then the RESULT for the frame below: a chain of frames."""
    source = (
        "ARGLO r1, 0\nJNZ r1, ask\nRETURN 0\n"
        "ask: LDF f0, 12\nXCALL f0, 0xaabbccdd, 1, 77\nRETLO r2, 0\nOUT r2, r1, 1\nRETURN 2"
    )
    story = Story(state_of(assemble(source)))
    story.call(text("f(uint256)", 9))
    story.call(text("f(uint256)", 0), source=Address(bytes.fromhex("0c" * 20)))
    story.answer(words(5, 6), of=0)

    assert [entry.mid for entry in story.entries] == [True, True, False]
    assert broken(witness_of(story)) is None


def test_a_frame_suspends_twice() -> None:
    """Registers, arguments and steps go through two suspensions; out words do not."""
    source = (
        "LDI r1, 3\nARGHI r4, 1\nOUT r1, r1, 0\nLDF f1, 4096\nXCALL f1, 1, 1, 2\nRETLO r2, 0\nADD r1, r1, r2\n"
        "XCALL f1, 4, 0, 5\nRETLEN r3\nADD r1, r1, r3\nADD r1, r1, r4\nOUT r11, r1, 0\nRETURN 2"
    )
    story = Story(state_of(assemble(source)))
    story.call(b"abcd" + words(1, 10 << 128))
    story.answer(words(7))
    story.answer(b"12345")

    assert story.runs[-1].next_action.data == words(25, 0)
    assert broken(witness_of(story)) is None


TRAPS = {
    "ADD": ("LDI r0, 0xffffffffffffffffffffffffffffffff\nLDI r1, 1\nADD r0, r0, r1\nRETURN 0", Trap.OVERFLOW),
    "ADD of the largest": ("LDI r0, 0xffffffffffffffffffffffffffffffff\nADD r0, r0, r0\nRETURN 0", Trap.OVERFLOW),
    "SUB": ("LDI r1, 1\nSUB r1, r0, r1\nRETURN 0", Trap.OVERFLOW),
    "ADDR": ("LDI r0, 0x100000000\nADDR f0, r0, r0\nRETURN 0", Trap.ADDRESS),
    "MUL": ("LDI r0, 0x10000000000000000\nMUL r0, r0, r0\nRETURN 0", Trap.OVERFLOW),
    "SHL": ("LDI r0, 128\nSHL r0, r0, r0\nRETURN 0", Trap.OVERFLOW),
    "DIV": ("LDI r0, 128\nDIV r0, r0, r1\nRETURN 0", Trap.DIVISION),
    "INVF": ("INVF f0, f1\nRETURN 0", Trap.DIVISION),
    "SLOAD": ("LDF f0, 5\nSSTOREF f0, f0\nSLOAD r0, f0\nRETURN 0", Trap.TYPE),
    "XCALL past the endpoints": (f"LDF f0, {1 << 224}\nXCALL f0, 1, 0, 1\nRETURN 0", Trap.ENDPOINT),
    "XCALL of the largest word": ("LDF f0, 1\nLDF f1, 0\nSUBF f0, f1, f0\nXCALL f0, 1, 0, 1\nRETURN 0", Trap.ENDPOINT),
    "XCALL of the own rollup": ("SELF f0\nXCALL f0, 1, 16, 1\nRETURN 0", Trap.ENDPOINT),
}


DIVIDES = "LDI r0, 100\nLDI r1, 7\nDIV r2, r0, r1\nMOD r3, r0, r1\nMUL r4, r2, r1\nADD r4, r4, r3\nEQ r5, r4, r0\n"
THREE = "OUT r2, r3, 0\nOUT r4, r0, 1\nRETURN 2"
INTEGERS = {
    "quotients": DIVIDES + THREE,
    "bits": "LDI r0, 12\nLDI r1, 10\nAND r2, r0, r1\nOR r3, r0, r1\nXOR r4, r0, r1\n" + THREE,
    "shifts": "LDI r0, 5\nLDI r1, 126\nSHL r2, r0, r0\nSHR r3, r2, r0\nSHR r4, r2, r1\n" + THREE,
    "order": "LDI r0, 5\nLDI r1, 126\nMIN r2, r0, r1\nMAX r3, r0, r1\nOUT r2, r3, 0\nRETURN 1",
    "fields": f"LDF f1, {R - 2}\nFHI r0, f1\nFLO r1, f1\nINVF f2, f1\nMULF f3, f2, f1\nFLO r2, f3\n"
    + "OUT r0, r1, 0\nOUT r2, r2, 1\nRETURN 2",
    "again": "LDI r0, 5\n" + "MUL r1, r0, r0\n" * 9 + "OUT r1, r1, 0\nRETURN 1",
}


@pytest.mark.parametrize("name", INTEGERS)
def test_integer_units_serve_rows(name: str) -> None:
    """Each operation of them, also the same one many times."""
    story = Story(state_of(assemble(INTEGERS[name])))
    run = story.call()

    assert run.outcome is Outcome.RETURN
    assert broken(witness_of(story)) is None


@pytest.mark.parametrize("name", TRAPS)
def test_traps_are_provable(name: str) -> None:
    """A trap ends the frame as a failure with empty data, with the state from before."""
    source, trap = TRAPS[name]
    story = Story(state_of(assemble(source)))
    run = story.call(value=3)

    assert (run.trap, story.state.root) == (trap, story.first.root)
    assert broken(witness_of(story)) is None


def test_edges_that_do_not_trap() -> None:
    """The last values on the good side of each trap."""
    source = (
        "LDI r0, 0xfffffffffffffffffffffffffffffffe\nLDI r1, 1\nADD r0, r0, r1\nSUB r2, r0, r0\nLDI r3, 0xffffffff\n"
        f"ADDR f0, r3, r0\nLT r4, r0, r0\nLT r5, r1, r0\nEQ r6, r0, r0\nLDF f1, {(1 << 224) - 1}\n"
        "XCALL f1, 0xffffffff, 4, 0xffffffffffffffff\nRETURN 0"
    )
    story = Story(state_of(assemble(source)))
    run = story.call()

    assert run.outcome is Outcome.XCALL
    story.answer()
    assert broken(witness_of(story)) is None


def test_accounts_without_code() -> None:
    """A CALL to nobody answers with success; value makes the account."""
    nobody = Address(bytes.fromhex("dd" * 20))
    story = Story(state_of(program("counter")))
    story.call(b"x", to=nobody)
    story.call(b"", to=nobody, value=1)
    story.call(text("no such function"), to=nobody, value=(1 << 128) - 2)

    assert [run.outcome for run in story.runs] == [Outcome.NO_CODE] * 3
    assert broken(witness_of(story)) is None


def test_the_first_key_of_a_tree() -> None:
    """Behind the only leaf there is: looked for, and inserted."""
    story = Story(VmState(tree=StateTree.empty(), frames=None, programs={}))
    story.call(b"")
    story.call(b"", value=1)

    assert story.state.tree.next_index == 2
    assert broken(witness_of(story)) is None


def test_writes_of_zero_and_of_fields() -> None:
    """Integer zero into an absent slot inserts nothing; field zero does; a slot may be written, zeroed, read back."""
    source = (
        "LDF f0, 1\nSSTORE f0, r0\nSLOAD r1, f0\nLDF f0, 2\nSSTOREF f0, f3\nSLOADF f1, f0\n"
        "LDF f0, 3\nLDI r2, 9\nSSTORE f0, r2\nSSTORE f0, r3\nSLOAD r4, f0\nLDF f2, 4\n"
        "SLOADF f3, f2\nEQF r5, f1, f3\nOUT r4, r5, 3\nRETURN 4"
    )
    story = Story(state_of(assemble(source), {4: (77, FIELD_WORD), 9: (1, INTEGER_WORD)}))
    run = story.call()

    assert (run.outcome, run.post.tree.next_index) == (Outcome.RETURN, run.pre.tree.next_index + 2)
    assert broken(witness_of(story)) is None


def test_insertions_keep_the_order_of_the_program() -> None:
    """Four insertions whose keys are not in the order in which they happen."""
    source = "LDI r0, 1\n" + "".join(f"LDF f0, {s}\nSSTORE f0, r0\n" for s in (30, 10, 40, 20)) + "RETURN 0"
    story = Story(state_of(assemble(source)))
    story.call()

    assert broken(witness_of(story)) is None


LIMITS = {
    "TIER_ROWS": "loop: JZ r0, next\nnext: ADD r1, r1, r1\nEQ r2, r1, r0\nJNZ r2, loop\nRETURN 0",
    "TIER_PROGRAM": "JMP end\n" + "LDI r0, 1\n" * 149 + "end: RETURN 0",
    "TIER_DATA": "ARGHI r0, 4\nRETURN 0",
    "TIER_HASHES": "LDF f1, 1\n" + "HASH f0, f0, f1\n" * 7 + "RETURN 0",
    "TIER_INTEGERS": "LDI r1, 3\n" + "MUL r0, r1, r1\nMUL r1, r0, r1\n" * 4 + "RETURN 0",
    "TIER_WRITES": "LDI r0, 1\nLDF f1, 1\n" + "ADDF f0, f0, f1\nSSTORE f0, r0\n" * 5 + "RETURN 0",
    "TIER_READS": "LDF f1, 1\n" + "ADDF f0, f0, f1\nSLOAD r0, f0\n" * 8 + "RETURN 0",
}


@pytest.mark.parametrize("reason", LIMITS)
def test_what_does_not_fit_is_refused_by_name(reason: str) -> None:
    """The planner can tell before an auction."""
    story = Story(state_of(assemble(LIMITS[reason])))
    story.call()
    with pytest.raises(TierExceeded) as caught:
        witness_of(story)

    assert caught.value.reason == reason
    assert caught.value.needed > caught.value.available


def limit(story: Story, shape: Shape = SHAPE) -> str | None:
    """The reason for which a story does not fit, asked as a planner does."""
    core = story.core()
    found = fits(shape, core, ROLLUP, execute(core, ROLLUP, story.first))
    return None if found is None else found.reason


def test_limits_of_a_whole_table_are_refused_by_name() -> None:
    """Entries, programs, a call that no later place can answer, leaves that lie far apart."""
    asks = assemble("LDF f0, 12\nXCALL f0, 1, 0, 2\nRETURN 0")
    story = Story(state_of(asks))
    for _ in range(3):
        story.call()
    assert limit(story) == "TIER_SUSPENDED"
    story.answer()
    assert limit(story) == "TIER_ENTRIES"

    other = assemble("RETURN 1")
    both = Story(state_of(other))
    both.call()
    tree, _ = both.first.tree.insert(account_key(7), 0, asks.code_hash)
    both = Story(VmState(tree=tree, frames=None, programs={p.code_hash: p for p in (asks, other)}))
    both.call()
    both.call(to=Address((7).to_bytes(20, "big")))
    both.answer()
    assert broken(witness_of(both)) is None
    assert limit(both, replace(SHAPE, programs=1)) == "TIER_PROGRAMS"

    spread = Story(
        state_of(assemble("SLOAD r0, f0\nRETURN 0"), {s: (1, INTEGER_WORD) for s in range(1, 8)} | {0: (1, 0)})
    )
    spread.call()
    assert limit(spread) is None
    assert limit(spread, replace(SHAPE, nodes=7)) == "TIER_NODES"


def test_leaves_may_lie_anywhere_in_a_large_tree() -> None:
    """An account, a slot and the next free place, far apart among 60,000 leaves that nobody knows."""
    code = assemble("SLOAD r0, f0\nLDF f1, 9\nSSTORE f1, r0\nOUT r0, r0, 0\nRETURN 1")
    address = int.from_bytes(ACCOUNT, "big")
    words_of = {0: (0, 0), account_key(address): (0, code.code_hash), storage_key(address, 0): (7, INTEGER_WORD)}
    keys, places = sorted(words_of), (0, 77, 40000)
    following = dict(zip(keys, [*keys[1:], 0], strict=True))
    leaves = {place: Leaf(key, following[key], *words_of[key]) for place, key in zip(places, keys, strict=True)}
    count, nodes = 60001, {}
    on_path = {*places, count}
    for level in range(8):
        beside = {4 * (place >> 2) + digit for place in on_path for digit in range(4)} - on_path
        nodes |= {(level, place): 1000 + place for place in beside if place << 2 * level < count}
        on_path = {place >> 2 for place in on_path}
    tree = partial_tree(count, leaves, nodes)
    story = Story(VmState(tree=tree, frames=None, programs={code.code_hash: code}))
    story.call()

    assert story.state.tree.next_index == count + 1
    assert broken(witness_of(story)) is None


def deep(next_index: int) -> VmState:
    """A tree of which little is known but how many leaves it has."""
    code = assemble("LDI r0, 1\nSSTORE f0, r0\nRETURN 0")
    small = state_of(code)
    leaves, _ = needed_nodes(small.tree, {0, 1})
    nodes, on_path = {}, {0, 1, next_index}
    for level in range(tree_depth(next_index)):
        beside = {4 * (place >> 2) + digit for place in on_path for digit in range(4)} - on_path
        nodes |= {(level, place): 1000 + place for place in beside if place << 2 * level < next_index}
        on_path = {place >> 2 for place in on_path}
    return VmState(tree=partial_tree(next_index, leaves, nodes), frames=None, programs={code.code_hash: code})


@pytest.mark.parametrize("next_index", [4**8 + 1, 4**8 + 2, 4**12, 4**12 + 1, 4**16 - 1])
def test_a_tree_is_as_deep_as_its_leaves_need(next_index: int) -> None:
    """Depth 12 from 65,537 leaves on, 16 from 16,777,217 on."""
    story = Story(deep(next_index))
    story.call(to=Address(bytes(19) + b"\2"))
    assert broken(witness_of(story)) is None


@pytest.mark.parametrize("next_index", [4**8, 4**12])
def test_a_table_that_makes_the_tree_deeper_is_refused_by_name(next_index: int) -> None:
    """All trees of a table have the same depth; that it only reads is no reason."""
    story = Story(deep(next_index))
    story.call(to=Address(bytes(19) + b"\2"))
    assert limit(story) is None
    story.call()
    assert limit(story) == "TIER_DEPTH"


def test_a_core_that_says_something_else_has_no_witness() -> None:
    """The reference machine is asked first."""
    story = Story(state_of(program("counter")))
    story.call(text("increment()"))
    other = Story(state_of(program("counter"), {0: (5, INTEGER_WORD)}))
    other.call(text("increment()"))
    with pytest.raises(ClaimMismatch, match="PRE_ROOT"):
        prepare(0, story.core(), ROLLUP, other.first)
