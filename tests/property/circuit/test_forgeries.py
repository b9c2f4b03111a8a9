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
from protocol.vm.state import FIELD_WORD, INTEGER_WORD
from proving.circuit.operations import unit_tag
from proving.circuit.plan import plan
from proving.circuit.table_vm import Hints
from proving.circuit.unrolling import Piece
from tests.support.circuits import circuit
from tests.support.forger import (
    SHAPE,
    broken_beside,
    constraints,
    forge,
    gadget_of,
    honest_hints,
    retold,
    row_wire,
    statement_hash,
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
    tree = run.pre.tree
    lie = retold(claim(hints, root=run.pre.root), {}, [(tree, tree)])

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
    counts = range(statement_hash().first_wire - 30, statement_hash().first_wire)
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


def test_a_deployment_is_not_a_call_to_an_account_without_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """DEPLOYER has no leaf, so that a call to it looks like one that succeeds and does nothing."""
    monkeypatch.setattr(Piece, "deploys", False)
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
