"""Wires of a whole witness: a change to any of them is noticed, but for a short list that says nothing.

The same for every statement word.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import pytest

from protocol.constants import FIELD_ORDER as R
from protocol.hashing import selector
from protocol.types import Address, endpoint
from protocol.vm.assembler import assemble
from protocol.vm.isa import Op
from protocol.vm.poseidon import P
from protocol.vm.programs import program
from protocol.vm.state import FIELD_WORD, INTEGER_WORD
from proving.circuit.operations import ENVIRONMENT, GROUP_OF, WORD_OPERATIONS
from proving.circuit.table_vm import PUBLIC, Hints
from proving.circuit.unrolling import Piece, unroll
from tests.property.circuit.test_scopes import FAILS, deep
from tests.property.circuit.test_undone_transactions import SHAPE as TRANSACTIONS
from tests.property.circuit.test_undone_transactions import hints_of, undone
from tests.support.bench import FRAMES, Bench, bench
from tests.support.circuits import circuit
from tests.support.constraints import Constraints
from tests.support.forger import (
    SHAPE,
    broken_beside,
    chosen_wires,
    constraints,
    forge,
    honest_hints,
    statement_hash,
    step_wires,
    stretch_rows,
)
from tests.support.stories import USER, Story, state_of, words

ORACLE = endpoint(0, Address(bytes.fromhex("0c" * 20)))
STORAGE = {"SLOAD", "SLOADF", "SSTORE", "SSTOREF"}
LOOKS = STORAGE | {"HASH", *GROUP_OF, *ENVIRONMENT, *WORD_OPERATIONS} - {"OUT"}


@cache
def story() -> Story:
    """CALL and RESULT with three insertions; the third place is unused."""
    made = Story(state_of(program("oracle_reader"), {0: (ORACLE, FIELD_WORD), 1: (100, INTEGER_WORD)}))
    made.call(selector("settle()").to_bytes(4, "big"), value=7)
    made.answer(words(150))
    return made


def token() -> Story:
    """Two transfers, of which the second is refused: HASH, an insertion, an update, a trap."""
    made = Story(state_of(program("token"), {P(2, (1, endpoint(0, USER))): (1000, INTEGER_WORD)}))
    for amount in (300, 800):
        made.call(selector("transfer(address,uint256)").to_bytes(4, "big") + words(0x77, amount))
    return made


def integers() -> Story:
    """Operations of the integer unit, one of them a trap."""
    source = (
        "LDI r1, 77\nLDI r2, 5\nMUL r3, r1, r2\nDIV r4, r1, r2\nXOR r5, r3, r4\nOUT r5, r4, 0\nRETURN 1\n"
        "LDI r1, 1\nMOD r1, r1, r0\nRETURN 0"
    )
    made = Story(state_of(assemble(source), {0: (5, INTEGER_WORD)}))
    made.call(value=3)
    return made


def failed() -> Story:
    """The answer says that the call failed; credited value is undone."""
    made = Story(state_of(program("oracle_reader"), {0: (ORACLE, FIELD_WORD), 1: (100, INTEGER_WORD)}))
    made.call(selector("settle()").to_bytes(4, "big"), value=7)
    made.answer(b"", failed=True)
    return made


def reentrant() -> Story:
    """A call while a frame is suspended, then the answer for that frame."""
    source = (
        "ARGLO r1, 0\nJNZ r1, ask\nRETURN 0\n"
        "ask: LDF f0, 12\nXCALL f0, 0xaabbccdd, 1, 77\nRETLO r2, 0\nOUT r2, r1, 1\nRETURN 2"
    )
    made = Story(state_of(assemble(source)))
    for argument in (9, 0):
        made.call(selector("f(uint256)").to_bytes(4, "big") + words(argument))
    made.answer(words(5, 6), of=0)
    return made


def nobody() -> Story:
    """Value for an account that does not exist; an insertion; an unknown selector."""
    made = Story(state_of(program("counter")))
    made.call(b"x", to=Address(bytes.fromhex("dd" * 20)), value=5)
    made.call(selector("increment()").to_bytes(4, "big"))
    made.call(b"?")
    return made


def fields() -> Story:
    """Field words: stored, read back, and a trap at one that is loaded as an integer."""
    source = (
        "LDF f0, 1\nSSTORE f0, r0\nSLOAD r1, f0\nLDF f0, 2\nSSTOREF f0, f3\nSLOADF f1, f0\n"
        "LDF f0, 5\nSSTOREF f0, f0\nSLOAD r0, f0\nRETURN 0"
    )
    made = Story(state_of(assemble(source), {4: (77, FIELD_WORD)}))
    made.call()
    return made


def frames() -> Story:
    """Three frames wait, the middle one fails after the innermost called out, its caller goes on; value moves."""
    made = deep("RETLO r1, 0\nOUT r1, r1, 0\nRETURN 1", FAILS)
    made.call(value=3)
    made.answer(words(1))
    made.go_on(opener=0)
    return made


STORIES: dict[str, Callable[[], Story]] = {"suspended": story, "token": token, "integers": integers, "frames": frames}
MORE: dict[str, Callable[[], Story]] = {"failed": failed, "reentrant": reentrant, "nobody": nobody, "fields": fields}


@dataclass(frozen=True, kw_only=True)
class Filled:
    """A story with its honest witness."""

    bench: Bench
    pieces: list[Piece]
    hints: Hints
    values: tuple[int, ...]


@cache
def filled(name: str) -> Filled:
    """Filled once."""
    if name == "transaction":
        table, at = undone(), bench(TRANSACTIONS)
        hints, pieces = hints_of(table), unroll(table.core(), 1, table.runs)
    else:
        made, at = (STORIES | MORE)[name](), bench(FRAMES if name == "frames" else SHAPE)
        hints, pieces = at.hints(made), unroll(made.core(), made.rollup_id, made.runs)
    return Filled(bench=at, pieces=pieces, hints=hints, values=tuple(at.fill(hints).values))


def honest() -> tuple[int, ...]:
    """The assignment of the story that most tests here are about."""
    return filled("suspended").values


def operation(row: int, case: Filled) -> str | None:
    """What a row does; None where nothing runs. The last step of an entry repeats."""
    shape = case.bench.shape
    place = case.hints.segments[row // shape.segment_rows]
    if place is None:
        return None
    steps = case.pieces[place].stretch.steps
    at = stretch_rows(case.hints, place, shape).index(row)
    return Op(steps[min(at, len(steps) - 1)].instruction.op).name


def is_inverse(wire: int, known: Constraints) -> bool:
    """x * wire = 1 - zero, or = same: where x is 0 the inverse says nothing, and nothing else reads it."""
    numbers = known.touching(wire)
    return len(numbers) == 1 and [w for w, _ in known.sides(numbers[0])[1]] == [wire]


def may_be_free(wire: int, case: Filled | None = None) -> bool:
    """The whole list of wires that may take any value in an honest witness."""
    case = case or filled("suspended")
    if is_inverse(wire, case.bench.constraints):
        return True
    stamps = case.bench.circuit.stamps
    units = [stamp.first_wire for stamp in stamps if stamp.name == "integer unit"]
    if any(first - 2 <= wire < first for first in units):
        return True  # operands of an integer unit that no row of this story asks
    for number, stamp in enumerate(stamp for stamp in stamps if stamp.name.startswith("step")):
        if not stamp.first_wire <= wire < stamp.first_wire + stamp.wires:
            continue
        done = operation(number, case)
        match next((name for name, at in step_wires(case.bench.shape).items() if at == wire - stamp.first_wire), None):
            case "imm":
                return done is None  # nothing is fetched
            case "look":
                return done not in LOOKS  # nothing is looked up
            case "kind" | "present":
                return done not in STORAGE  # no cell is touched
    return False


@pytest.mark.parametrize(
    "name", [*STORIES, "transaction", *(pytest.param(name, marks=pytest.mark.campaign) for name in MORE)]
)
def test_every_changed_wire_is_noticed(name: str) -> None:
    """Each wire of the circuit alone: another bit, a neighbour, the opposite, anything."""
    case = filled(name)
    rng = random.Random(name)
    free = case.bench.constraints.free(
        case.values, [lambda x: 1 - x, lambda x: x + 1, lambda x: -x, lambda _: rng.randrange(R)]
    )

    assert len(case.values) == case.bench.circuit.n_wires
    assert [wire for wire in free if not may_be_free(wire, case)] == []


@pytest.mark.campaign
@pytest.mark.timeout(3600)
def test_lies_about_wires_are_noticed_when_all_else_follows_them() -> None:
    """Three hundred wires, between the stamped gadgets and in steps: the assignment is filled again from the lie."""
    hints, rng = honest_hints(story()), random.Random(9)
    base = forge(hints, {0: 1})
    gadgets = [stamp for stamp in circuit().stamps if not stamp.name.startswith("step")]
    stamped = {wire for stamp in gadgets for wire in range(stamp.first_wire, stamp.first_wire + stamp.wires)}
    # What the prover may choose is not a lie: an unused place may have any roots.
    stamped |= chosen_wires(hints)
    candidates = [wire for wire in range(1 + PUBLIC, circuit().n_wires) if wire not in stamped]
    accepted = []
    for wire in rng.sample(candidates, 300):
        values = forge(hints, {wire: 1 - base[wire] if base[wire] < 2 else (base[wire] + 1) % R})
        if not may_be_free(wire) and not broken_beside(values, base):
            accepted.append(wire)

    assert accepted == []


@pytest.mark.parametrize("name", ["suspended", "frames", pytest.param("transaction", marks=pytest.mark.campaign)])
def test_the_whole_witness_follows_from_what_the_prover_may_choose(name: str) -> None:
    """Given the statement, the program and the openings, no other wire can move, not even together with others.

    To first order: the derivative of all constraints at an honest witness has full rank in the other wires, but for
    the listed ones.
    """
    case = filled(name)
    known = {0} | case.bench.fill(case.hints).chosen
    loose = case.bench.constraints.undetermined(case.values, known)

    assert [wire for wire in loose if not may_be_free(wire, case)] == []


# What the machine does not read (SPEC §4.6): the coinbase, the time if no TIME ran, gas and scope of a trigger.
HEADER, ENTRY = 4, 3 + 2 * SHAPE.tier.record_words
IGNORED = {1: "l2Time", 2: "feeRecipient"}
for _place in range(2):
    _trigger = HEADER + _place * ENTRY + 3
    IGNORED |= {_trigger + 4: "gas of a trigger", _trigger + 5: "scope of a trigger"}
FOLLOWED = {HEADER + ENTRY + 3 + 2}
"""Source of a RESULT, which the contract compares with the call: a wire holds it, which nobody reads."""


def unbound(word: int) -> bool:
    """Whether some other value of a statement word, hashed and folded honestly, is accepted by the rest."""
    values, wire = list(honest()), 1 + PUBLIC + word
    # Horner's rule is what comes first, and the hash of the statement the last.
    folds = len(honest_hints(story()).words)
    numbers = [n for n in constraints().touching(wire) if folds <= n < statement_hash().first_constraint]
    for other in (values[wire] + 1, values[wire] - 1, values[wire] + (1 << 32), 0, R - 1):
        values[wire] = other % R
        if other % R != honest()[wire] and all(constraints().holds(n, values) for n in numbers):
            return True
    return False


def test_every_statement_word_that_the_machine_reads_is_bound() -> None:
    """Words of used places only; unused ones are zeros that the contract lays out."""
    used = range(HEADER + 2 * ENTRY)

    assert {word for word in used if unbound(word)} == set(IGNORED)


@pytest.mark.campaign
@pytest.mark.timeout(3600)
def test_every_statement_word_is_bound_when_all_else_follows_it() -> None:
    """The whole assignment is filled again from the changed word."""
    hints, base = honest_hints(story()), forge(honest_hints(story()), {0: 1})
    accepted = set()
    for word in range(HEADER + 2 * ENTRY):
        for change in (1, R - 1, 1 << 32):
            claimed = list(hints.words)
            claimed[word] = (claimed[word] + change) % R
            if not broken_beside(forge(replace(hints, words=claimed), {0: 1}), base):
                accepted.add(word)

    # This program does not look at its answer behind the first word, and nobody at the selector, 0, of an answer.
    answer = HEADER + ENTRY + 3 + 6
    # A CALL is to the machine what a TRY_CALL is.
    assert accepted == set(IGNORED) | FOLLOWED | {HEADER + 3, answer, *range(answer + 3, answer + 9)}
