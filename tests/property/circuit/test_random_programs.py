"""Programs made up at test time, run by the reference machine on made-up storage and data, have witnesses."""

from __future__ import annotations

import random

import pytest

from protocol.actions import ActionKind
from protocol.constants import FIELD_ORDER as R
from protocol.payload import make_witness, state_from_witness
from protocol.vm.isa import OPS, Immediate, Instruction, Op, Operand, Program, make_program, xcall_immediate
from protocol.vm.state import FIELD_WORD, INTEGER_WORD
from proving.circuit.errors import TierExceeded
from proving.circuit.operations import CODES
from proving.circuit.plan import plan
from proving.circuit.tiers import Shape
from tests.support.circuits import SHAPE, broken, witness_of
from tests.support.stories import ROLLUP, Story, state_of

ENDS = ("RETURN", "REVERT")
NAMES = [spec for spec in OPS.values() if spec.op.name in CODES and spec.op.name not in ENDS]
SLOTS = (0, 1, 2, R - 1)


def number(rng: random.Random) -> int:
    """An integer word: often one at an edge."""
    return rng.choice((0, 1, 2, (1 << 32) - 1, 1 << 32, (1 << 127), (1 << 128) - 1, rng.getrandbits(128)))


def element(rng: random.Random) -> int:
    """A field word."""
    return rng.choice((*SLOTS, (1 << 224) - 1, 1 << 224, ROLLUP << 160, rng.getrandbits(160), rng.randrange(R)))


def instruction(rng: random.Random, pc: int, count: int) -> Instruction:
    """A well-formed one within the limits of the tier; jumps go forward."""
    spec = rng.choice(NAMES)
    registers = {
        Operand.UNUSED: lambda: 0,
        Operand.INT: lambda: rng.randrange(5),
        Operand.FIELD: lambda: rng.randrange(12, 16),
    }
    immediates = {
        Immediate.UNUSED: lambda: 0,
        Immediate.TARGET: lambda: rng.randrange(pc + 1, count),
        Immediate.U128: lambda: number(rng),
        Immediate.COUNT: lambda: rng.randrange(5),
        Immediate.WORD: lambda: rng.randrange(4),
        Immediate.XTRY: lambda: (
            xcall_immediate(rng.getrandbits(32), rng.randrange(5), 1 + rng.getrandbits(63)) | rng.getrandbits(1) << 104
        ),
        Immediate.ICALL: lambda: xcall_immediate(rng.getrandbits(32), rng.randrange(5), 0),
        Immediate.XCALL: lambda: xcall_immediate(rng.getrandbits(32), rng.randrange(5), rng.getrandbits(64)),
    }
    rd, ra, rb = (registers[operand]() for operand in (spec.rd, spec.ra, spec.rb))
    return Instruction(int(spec.op), rd, ra, rb, immediates[spec.imm]())


def made_up(rng: random.Random) -> Program:
    """Up to 28 instructions; the first ones fill field registers with slots."""
    count = rng.randrange(8, 29)
    code = []
    for register in (12, 13, 14):
        x = rng.choice((*SLOTS, element(rng)))
        code.append(Instruction(int(Op.LDF), register, 0, 0, x % (1 << 128)))
        if x >> 128:
            code.append(Instruction(int(Op.LDFH), register, register, 0, x >> 128))
    code += [instruction(rng, pc, count) for pc in range(len(code), count - 1)]
    code.append(Instruction(int(rng.choice((Op.RETURN, Op.RETURN, Op.REVERT))), 0, 0, 0, rng.randrange(5)))
    return make_program(code)


def data(rng: random.Random) -> bytes:
    """Call data or an answer of at most four words and a selector; whole words, halves, nothing."""
    return rng.randbytes(rng.choice((0, 3, 4, 36, 37, 68, 128)))


def story_of(seed: int, shape: Shape = SHAPE) -> Story:
    """Up to three entries that have a place."""
    for attempt in range(1000):
        rng = random.Random(1000 * seed + attempt)
        kinds = [rng.choice((INTEGER_WORD, FIELD_WORD)) for _ in SLOTS]
        slots = {
            s: (element(rng) if k else number(rng), k) for s, k in zip(SLOTS, kinds, strict=True) if rng.random() < 0.6
        }
        story = Story(state_of(made_up(rng), slots, balance=rng.getrandbits(60)))
        for _ in range(3):
            waiting = [i for i, run in enumerate(story.runs) if run.suspended is not None and run.post is story.state]
            if waiting and rng.random() < 0.8:
                story.answer(data(rng)[:128], of=waiting[-1], failed=rng.random() < 0.2)
            else:
                story.call(data(rng), value=rng.choice((0, 0, 1, rng.getrandbits(60))))
        if story.runs[-1].suspended is not None:
            continue
        try:
            plan(shape, story.core(), ROLLUP, story.runs)
        except TierExceeded:
            continue
        return story
    raise AssertionError("no program of a thousand fits")


def seen(story: Story) -> set[str]:
    """What happened: operations, outcomes, traps, kinds of triggers."""
    names = {Op(step.instruction.op).name for run in story.runs for step in run.steps}
    names |= {run.outcome.name for run in story.runs} | {run.trap.name for run in story.runs if run.trap}
    return names | {run.trigger.kind.name for run in story.runs}


def check(seed: int) -> set[str]:
    """One story: its witness, made from the state witness that a prover gets, satisfies the circuit."""
    story = story_of(seed)
    part = state_from_witness(make_witness(story.first, story.runs))
    witness = witness_of(story, state=part)

    assert broken(witness) is None, f"seed {seed}"
    return seen(story)


# 101: HASH in a program that was decoded, so that its opcodes are plain integers.
@pytest.mark.parametrize("seed", [0, 1, 2, 3, 101])
def test_made_up_programs_are_provable(seed: int) -> None:
    """A few in every run."""
    assert ActionKind.CALL.name in check(seed)


@pytest.mark.campaign
@pytest.mark.timeout(3600)
def test_many_made_up_programs_are_provable() -> None:
    """Hundreds, among which everything happens that can."""
    happened: set[str] = set()
    for seed in range(100, 500):
        happened |= check(seed)

    expected = {*CODES, "XCALL", "RETURN", "REVERT", "TRAP", "FAILED_RESULT"}
    expected |= {"OVERFLOW", "TYPE", "ADDRESS", "ENDPOINT", "DIVISION", "BALANCE", "CALL", "RESULT"}
    assert expected - happened == set()
