"""Lies have no witness.

Each lie is told as well as can be: everything else is filled consistently with it, so that only the constraint that is
meant to refuse it can.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from protocol.constants import DEPLOYER
from protocol.constants import FIELD_ORDER as R
from protocol.types import Address, endpoint
from protocol.vm.assembler import assemble
from protocol.vm.execution import Outcome, Trap
from protocol.vm.poseidon import P
from protocol.vm.state import FIELD_WORD, INTEGER_WORD, account_key, storage_key
from proving.circuit.operations import unit_tag
from proving.circuit.placing import path_of
from proving.circuit.plan import plan
from proving.circuit.table_vm import Hints
from proving.circuit.tree_unit import Kind, UnitHint
from tests.support.circuits import circuit
from tests.support.forger import (
    SHAPE,
    broken_beside,
    constraints,
    forge,
    gadget_of,
    honest_hints,
    row_wire,
    stretch_rows,
)
from tests.support.stories import ACCOUNT, ROLLUP, USER, Story, state_of, words

NEXT = 4 + 3 + SHAPE.tier.record_words
"""Index of the first next record among the statement words."""
NEW_ROOT = 4 + 2
FAILED, DONE = 2 + 256, 2
OLD = (7, INTEGER_WORD)


def told(story: Story) -> tuple[Hints, list[int]]:
    """Honest hints, and the assignment that they give."""
    hints = honest_hints(story)
    return hints, forge(hints, {0: 1})


def claim(hints: Hints, **changes: int) -> Hints:
    """Other statement words for the first entry: `head` and `root`, or `wN` for word N."""
    names = {"head": NEXT, "meta": NEXT + 6, "high": NEXT + 7, "low": NEXT + 8, "root": NEW_ROOT}
    claimed = list(hints.words)
    for name, x in changes.items():
        claimed[names.get(name) or int(name[1:])] = x % R
    return replace(hints, words=claimed)


def waits(hints: Hints, at: int, frame_hash: int) -> Hints:
    """Hash the frame of stretch `at` in the first unit that does."""
    stretches = list(hints.stretches)
    stretch = stretches[at]
    assert stretch is not None
    stretches[at] = replace(stretch, frame_hash=frame_hash)
    return replace(hints, waiting=[at, *hints.waiting[1:]], stretches=stretches)


def refusals(hints: Hints, honest: list[int], lies: dict[int, int] | None = None) -> list[str]:
    """Gadgets whose constraints refuse."""
    return [gadget_of(number) for number in broken_beside(forge(hints, lies or {0: 1}), honest)]


# -- traps -------------------------------------------------------------------------------------------------------------

LARGEST = (1 << 128) - 1
HIDDEN = {
    "ADD overflow": (f"LDI r0, {LARGEST}\nLDI r1, 1\nADD r0, r0, r1\nRETURN 0", 2),
    "SUB overflow": ("LDI r1, 1\nSUB r0, r2, r1\nRETURN 0", 1),
    "ADDR": ("LDI r1, 0x100000000\nADDR f0, r1, r2\nRETURN 0", 1),
}


@pytest.mark.parametrize("name", HIDDEN)
def test_a_trap_cannot_be_hidden(name: str) -> None:
    """The step says "no trap" and writes what the field gives; the run then ends well."""
    source, step = HIDDEN[name]
    story = Story(state_of(assemble(source)))
    assert story.call().trap is not None
    hints, honest = told(story)
    lie = claim(hints, head=DONE)

    assert set(refusals(lie, honest, {row_wire(step, "carry"): 0})) == {"step"}


INVENTED = {
    "ADD": (f"LDI r0, {LARGEST - 1}\nLDI r1, 1\nADD r0, r0, r1\nRETURN 0", 2),
    "SUB": ("LDI r1, 1\nSUB r0, r1, r1\nRETURN 0", 1),
    "ADDR": ("LDI r1, 0xffffffff\nADDR f0, r1, r2\nRETURN 0", 1),
}


@pytest.mark.parametrize("name", INVENTED)
def test_a_trap_cannot_be_invented(name: str) -> None:
    """Every step from there on says "trap", the registers stay, the run fails."""
    source, step = INVENTED[name]
    story = Story(state_of(assemble(source)))
    assert story.call().trap is None
    hints, honest = told(story)
    lies = {row_wire(k, "carry"): 1 for k in stretch_rows(hints, 0)[step:]}

    assert set(refusals(claim(hints, head=FAILED), honest, lies)) == {"step"}


def test_a_type_trap_can_be_neither_hidden_nor_invented() -> None:
    """The type that a load sees is the cell's."""
    for kind, head, source in (
        (FIELD_WORD, DONE, "SLOAD r0, f0\nRETURN 0"),
        (INTEGER_WORD, FAILED, "SLOAD r0, f0\nRETURN 0"),
    ):
        story = Story(state_of(assemble(source), {0: (7, kind)}))
        story.call()
        hints, honest = told(story)
        rows = stretch_rows(hints, 0)
        lies = {row_wire(k, "kind"): 1 - kind for k in (rows[:1] if head == DONE else rows)}

        assert "step" in refusals(claim(hints, head=head), honest, lies)


def allowed_flags() -> tuple[int, int]:
    """Wires of the first entry that say: the callee is an endpoint; it is one of the own rollup."""
    bits = next(stamp for stamp in circuit().stamps if stamp.name == "canonical bits")
    behind = bits.first_wire + bits.wires
    return behind, behind + 2


def test_an_endpoint_trap_cannot_be_hidden() -> None:
    """A call to the own rollup goes out: mid root, frame, next action and all."""
    story = Story(state_of(assemble("SELF f0\nXCALL f0, 1, 0, 9\nRETURN 0")))
    run = story.call()
    assert run.trap is Trap.ENDPOINT
    hints, honest = told(story)
    own = endpoint(ROLLUP, ACCOUNT)
    frame = replace(run.frame, pc=1, steps=2, registers=run.steps[-1].after, called=True)
    root = replace(run.post, frames=frame).root
    lie = claim(hints, head=0, w4=1, root=root, meta=(4 << 32) + 1, **{f"w{NEXT + 1}": own, f"w{NEXT + 4}": 9})
    lie = waits(lie, 0, frame.hash)

    assert refusals(lie, honest, {allowed_flags()[1]: 0}) == ["glue"]


def test_an_endpoint_trap_cannot_be_invented() -> None:
    """A call that is allowed becomes a failure."""
    story = Story(state_of(assemble("LDF f0, 12\nXCALL f0, 1, 0, 9\nRETURN 0")))
    run = story.call()
    assert run.outcome is Outcome.XCALL
    hints, honest = told(story)
    caller = endpoint(0, USER)
    changes = {f"w{NEXT + 1}": caller, f"w{NEXT + 4}": 0}
    lie = replace(claim(hints, head=FAILED, w4=0, root=run.pre.root, meta=0, **changes), waiting=[None] * SHAPE.waiting)

    assert refusals(lie, honest, {allowed_flags()[0]: 0}) == ["glue"]


def test_a_deeper_tree_cannot_be_opened_as_if_it_were_shallow() -> None:
    """Where a tree has more than 4^8 leaves its root has nodes below it that could pass for leaves."""
    story = Story(state_of(assemble("RETURN 0")))
    story.call()
    hints, honest = told(story)
    entry = hints.entries[0]
    assert entry is not None
    for next_index, refused in ((4**8, False), (4**8 + 1, True), (0, True)):
        root = P(3, (entry.tree_root, next_index, 0))
        lie = claim(hints, w5=root, root=root)
        lie = replace(lie, entries=[replace(entry, next_index=next_index), None, None])

        assert bool(refusals(lie, honest)) == refused


# -- control -----------------------------------------------------------------------------------------------------------


def test_an_instruction_cannot_be_skipped() -> None:
    """pc jumps over the SSTORE: state and answer as if it were not there."""
    story = Story(state_of(assemble("LDI r0, 9\nSSTORE f0, r0\nRETURN 0"), {0: OLD}))
    run = story.call()
    hints, honest = told(story)
    lie = claim(hints, root=run.pre.root)

    assert set(refusals(lie, honest, {row_wire(0, "pc"): 2})) == {"step"}


def test_a_run_cannot_end_before_it_ends() -> None:
    """A RETURN that the program has, but elsewhere."""
    story = Story(state_of(assemble("JMP far\nnear: RETURN 0\nfar: REVERT 0")))
    story.call()
    hints, honest = told(story)

    assert set(refusals(claim(hints, head=DONE), honest, {row_wire(0, "pc"): 1})) == {"step"}


def test_an_instruction_cannot_be_another_one() -> None:
    """word0 of no place, and imm of another place."""
    story = Story(state_of(assemble("LDI r0, 9\nOUT r1, r0, 0\nRETURN 1")))
    story.call()
    hints, honest = told(story)

    # The lookup's sum.
    assert refusals(claim(hints, low=8), honest, {row_wire(0, "imm"): 8}) == ["glue"]


def test_the_challenge_comes_after_all_that_the_lookup_reads() -> None:
    """Rows' words, counts, hashes of programs that run or do not, and which chunk is whose: each changes h."""
    story = Story(state_of(assemble("LDI r0, 9\nOUT r1, r0, 0\nRETURN 1")))
    run = story.call()
    hints, honest = told(story)
    other = replace(hints, programs=[*hints.programs, ((5, 6),)])
    hashes = [stamp for stamp in circuit().stamps if stamp.name.startswith("P16")]
    counts = range(hashes[-13].first_wire - 30, hashes[-13].first_wire - 10)
    lies = [{row_wire(0, "fetched"): 8}, {honest.index(run.frame.code_hash): 8}, *({w: 1 - honest[w]} for w in counts)]
    commitments = {forge(hints, lie)[1] for lie in lies} | {forge(other, {0: 1})[1], honest[1]}

    assert len(commitments) == len(lies) + 2


def test_a_register_cannot_change_by_itself() -> None:
    """r1 becomes 5 although the step writes r0."""
    story = Story(state_of(assemble("LDI r0, 9\nOUT r1, r0, 0\nRETURN 1")))
    story.call()
    hints, honest = told(story)

    assert set(refusals(claim(hints, high=5), honest, {row_wire(0, "r1"): 5})) == {"step"}


def test_a_product_is_what_its_unit_says() -> None:
    """Another result in the row; the unit's own operands and result changed on their way to it."""
    story = Story(state_of(assemble("LDI r0, 9\nMUL r1, r0, r0\nOUT r1, r1, 0\nRETURN 1")))
    story.call()
    hints, honest = told(story)
    lie = claim(hints, high=80, low=80)

    assert set(refusals(lie, honest, {row_wire(1, "look"): 80})) == {"step"}
    for wanted in ((0x16, 8, 10), (0x1F, 9, 9), (0x29, 9, 9)):
        other = replace(lie, integers=[wanted, *hints.integers[1:]])
        assert "step" in refusals(other, honest)
    unit = next(stamp for stamp in circuit().stamps if stamp.name == "integer unit")
    behind = unit.first_wire + unit.wires
    assert [honest[w] for w in range(behind, behind + 3)] == [unit_tag("MUL"), 81, 0]
    assert refusals(lie, honest, {behind + 1: 80, row_wire(1, "look"): 80}) == ["glue"]
    assert refusals(claim(hints, head=FAILED), honest, {behind + 2: 1}) != []


def test_a_deployment_is_not_a_call_to_an_account_without_code() -> None:
    """DEPLOYER has no leaf, so that a call to it looks like one that succeeds and does nothing."""
    for address, refused in ((DEPLOYER + 1, False), (DEPLOYER, True)):
        story = Story(state_of(assemble("RETURN 0")))
        run = story.call(to=Address(address.to_bytes(20, "big")))
        assert run.outcome is (Outcome.REFUSED if refused else Outcome.NO_CODE)
        core = story.core()
        hints = plan(
            SHAPE, core, ROLLUP, [replace(run, stretches=(replace(run.stretches[0], outcome=Outcome.NO_CODE),))]
        )
        values = forge(claim(hints, head=DONE), {0: 1})

        assert any(not constraints().holds(n, values) for n in range(circuit().n_constraints)) == refused


# -- storage -----------------------------------------------------------------------------------------------------------


class Turns(dict[int, int]):
    """Sends later accesses of a slot to another cell."""

    def __init__(self, cells: dict[int, int], slot: int, other: int) -> None:
        super().__init__(cells)
        self.slot, self.other, self.seen = slot, other, 0

    def get(self, slot: int, default: int | None = None) -> int | None:  # type: ignore[override]
        self.seen += slot == self.slot
        return self.other if slot == self.slot and self.seen > 1 else super().get(slot, default)


def test_one_slot_cannot_have_two_cells() -> None:
    """The second cell would still show what the first has overwritten."""
    story = Story(state_of(assemble("LDI r0, 9\nSSTORE f0, r0\nSLOAD r1, f0\nOUT r2, r1, 0\nRETURN 1"), {0: OLD}))
    story.call()
    hints, honest = told(story)
    reader = next(i for i in range(2 * SHAPE.pairs, len(SHAPE.roles)) if hints.units[i] is None)
    tree = story.runs[0].pre.tree
    opening = tree.open(storage_key(int.from_bytes(ACCOUNT, "big"), 0))
    leaf = (opening.leaf.key, opening.leaf.next_key, opening.leaf.v0, opening.leaf.v1)
    units, paths = list(hints.units), list(hints.tree.paths)
    units[reader] = UnitHint(kind=Kind.HIT, stretch=0, is_account=False, is_payer=False, slot=0, leaf=leaf)
    paths[reader] = path_of(tree, opening.index, range(SHAPE.block_levels))
    cells = [Turns(dict(hints.cells[0]), 0, reader), *hints.cells[1:]]
    lie = replace(claim(hints, low=7), units=units, tree=replace(hints.tree, paths=paths), cells=cells)

    assert refusals(lie, honest) == ["glue"]


def insertion() -> tuple[Story, Hints, list[int]]:
    """A story that inserts one slot between others."""
    story = Story(state_of(assemble("LDI r0, 9\nSSTORE f0, r0\nRETURN 0"), {5: OLD, 6: OLD, 7: OLD}))
    story.call()
    return story, *told(story)


def relinked(story: Story, hints: Hints, number: int, key: int) -> Hints:
    """Unit `number` opens the leaf of another key instead."""
    tree = story.runs[0].pre.tree
    opening = tree.open(key)
    leaf = (opening.leaf.key, opening.leaf.next_key, opening.leaf.v0, opening.leaf.v1)
    units, paths = list(hints.units), list(hints.tree.paths)
    unit = units[number]
    assert unit is not None
    units[number] = replace(unit, leaf=leaf)
    paths[number] = path_of(tree, opening.index, range(SHAPE.block_levels))
    return replace(hints, units=units, tree=replace(hints.tree, paths=paths))


def test_a_key_is_inserted_only_behind_the_next_smaller_one() -> None:
    """Any other leaf as the low one would let a key be present twice, or vanish."""
    story, hints, honest = insertion()
    account = int.from_bytes(ACCOUNT, "big")
    low = hints.units[0]
    assert low is not None
    others = [storage_key(account, slot) for slot in (5, 6, 7)] + [account_key(account)]
    wrong = [key for key in others if key != low.leaf[0]]
    found = [refusals(relinked(story, hints, 0, key), honest) for key in wrong]

    assert len(wrong) >= 3
    assert all("between" in gadgets for gadgets in found)


def test_only_a_tree_of_one_leaf_has_all_keys_behind_it() -> None:
    """`alone` for any other leaf: a key could be inserted twice."""
    story, hints, honest = insertion()
    low = hints.units[0]
    assert low is not None
    between = next(stamp for stamp in circuit().stamps if stamp.name == "between")
    # `alone` and two products come before the comparison.
    assert honest[between.first_wire - 3] == 0
    account = int.from_bytes(ACCOUNT, "big")
    for key in [storage_key(account, slot) for slot in (5, 6, 7)] + [account_key(account)]:
        lie = relinked(story, hints, 0, key)
        assert refusals(lie, honest, {between.first_wire - 3: 1})


def test_insertions_cannot_change_places() -> None:
    """The tree as it would be if the program had written the two slots in the other order."""
    source = "ARGLO r1, 0\nARGLO r2, 1\nLDI r3, 9\nITOF f1, r1\nITOF f2, r2\nSSTORE f1, r3\nSSTORE f2, r3\nRETURN 0"
    story, other = (Story(state_of(assemble(source))) for _ in range(2))
    story.call(b"abcd" + words(10, 20))
    other.call(b"abcd" + words(20, 10))
    hints, honest = told(story)
    swapped = honest_hints(other)
    lie = claim(hints, root=other.runs[0].new_root)
    lie = replace(lie, units=swapped.units, tree=swapped.tree, cells=swapped.cells)

    assert other.runs[0].new_root != story.runs[0].new_root
    assert set(refusals(lie, honest)) == {"step"}


def test_value_cannot_be_left_out() -> None:
    """The account is only read, although the call brings value."""
    source = assemble("RETURN 0")
    story, other = Story(state_of(source)), Story(state_of(source))
    run = story.call(value=5)
    other.call(value=0)
    hints, honest = told(story)
    without = honest_hints(other)
    lie = replace(claim(hints, root=run.pre.root), units=without.units, tree=without.tree)

    assert refusals(lie, honest) == ["glue"]


def test_a_present_key_cannot_be_called_absent() -> None:
    """A read that claims the slot is not there, with its real neighbour as the low leaf."""
    story = Story(state_of(assemble("SLOAD r0, f0\nOUT r1, r0, 0\nRETURN 1"), {0: OLD, 1: OLD, 2: OLD}))
    story.call()
    hints, honest = told(story)
    number = hints.cells[0][0]
    tree = story.runs[0].pre.tree
    unit = hints.units[number]
    assert unit is not None
    below = max((leaf for leaf in tree.leaves() if leaf.key < unit.leaf[0]), key=lambda x: x.key)
    lie = relinked(story, hints, number, below.key or storage_key(0, 0))
    units = list(lie.units)
    units[number] = replace(units[number] or unit, kind=Kind.ABSENT)
    lie = claim(replace(lie, units=units), low=0)

    assert set(refusals(lie, honest)) == {"between"}


def test_a_stale_value_is_not_in_the_tree() -> None:
    """The leaf as it was, or as one would like it to be."""
    story = Story(state_of(assemble("SLOAD r0, f0\nOUT r1, r0, 0\nRETURN 1"), {0: OLD}))
    story.call()
    hints, honest = told(story)
    number = hints.cells[0][0]
    unit = hints.units[number]
    assert unit is not None
    units = list(hints.units)
    units[number] = replace(unit, leaf=(*unit.leaf[:2], 8, unit.leaf[3]))
    found = refusals(claim(replace(hints, units=units), low=8), honest)

    assert set(found) <= {"climb of 1 by 8", "glue"}
    assert found


def test_the_second_entry_cannot_read_the_tree_of_the_first() -> None:
    """Its pre-root names the tree that the first entry left."""
    source = "SLOAD r0, f0\nLDI r1, 1\nADD r0, r0, r1\nSSTORE f0, r0\nOUT r2, r0, 0\nRETURN 1"
    story = Story(state_of(assemble(source), {0: OLD}))
    story.call()
    first = story.runs[0].pre
    story.call()
    hints, honest = told(story)
    entries, versions = list(hints.entries), list(hints.tree.versions)
    second = entries[1]
    assert second is not None
    entries[1] = replace(second, tree_root=first.tree.root, next_index=first.tree.next_index, frames=0)
    versions[1] = 0
    tree = replace(hints.tree, versions=versions)
    found = refusals(replace(hints, entries=entries, tree=tree), honest)

    assert found


def test_a_new_leaf_goes_to_the_next_index() -> None:
    """Another nextIndex is not in the root; another empty place, with its right path, is not at nextIndex."""
    story, hints, honest = insertion()
    entry = hints.entries[0]
    assert entry is not None
    shifted = replace(hints, entries=[replace(entry, next_index=entry.next_index + 1), None, None])
    middle = story.runs[0].operations[-1].low.after  # type: ignore[union-attr]
    paths = list(hints.tree.paths)
    paths[1] = path_of(middle, middle.next_index + 1, range(SHAPE.block_levels))
    elsewhere = replace(hints, tree=replace(hints.tree, paths=paths))

    assert refusals(shifted, honest)
    # The tree with the leaf elsewhere has another root: claim that too.
    values = forge(elsewhere, {0: 1})
    roots = [wire for wire, x in enumerate(honest) if x == hints.words[NEW_ROOT] and wire > 200]
    assert set(refusals(claim(elsewhere, root=values[roots[0]]), honest)) == {"glue"}


# -- frames ------------------------------------------------------------------------------------------------------------

ASK = "ask: LDI r5, 3\nLDF f0, 12\nXCALL f0, 0xaabbccdd, 1, 77\nRETLO r2, 0\nOUT r5, r2, 0\nRETURN 1"


def test_a_result_continues_the_innermost_frame_only() -> None:
    """Two frames wait; the answer to the outer one's call comes first."""
    story = Story(state_of(assemble(ASK)))
    story.call(b"", source=Address(bytes.fromhex("01" * 20)))
    story.call(b"", source=Address(bytes.fromhex("02" * 20)))
    story.answer(words(5))
    hints, honest = told(story)
    third = 4 + 2 * (3 + 2 * SHAPE.tier.record_words)
    caller = endpoint(0, Address(bytes.fromhex("01" * 20)))
    lie = claim(hints, **{f"w{third}": 2, f"w{third + 3 + SHAPE.tier.record_words + 1}": caller})
    found = refusals(lie, honest)

    assert found


def test_a_resumed_frame_keeps_its_registers() -> None:
    """r5 was 3 when the frame was suspended."""
    story = Story(state_of(assemble(ASK)))
    story.call()
    story.answer(words(5))
    hints, honest = told(story)
    second = 4 + 3 + 2 * SHAPE.tier.record_words
    lie = claim(hints, **{f"w{second + 3 + SHAPE.tier.record_words + 7}": 4})

    assert refusals(lie, honest) == ["glue"]
    # The same claim with the register changed on its way: the lie moves there.
    found = [refusals(lie, honest, {wire: 4}) for wire in resumed_register_wires(hints, honest)]
    assert all(found)
    assert ["glue"] in found


def resumed_register_wires(hints: Hints, honest: list[int]) -> Iterator[int]:
    """Wires between the first entry's last step and the second's first one that hold the 3 of r5."""
    steps = [stamp for stamp in circuit().stamps if stamp.name.startswith("step")]
    before, after = steps[stretch_rows(hints, 0)[-1]], steps[stretch_rows(hints, 1)[0]]
    return (w for w in range(before.first_wire + before.wires, after.first_wire) if honest[w] == 3)
