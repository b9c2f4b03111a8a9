"""A cheating prover: fills every wire consistently with a lie about a few of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache

from protocol.constants import FIELD_ORDER as R
from protocol.vm.state_tree import StateTree
from proving.circuit.builder import LC, Assigner, Expr, H, Recorder, Stamped, Template, value
from proving.circuit.climbing import Batch, climb
from proving.circuit.plan import execute, plan
from proving.circuit.step import StepGadget, step_template
from proving.circuit.table_vm import PUBLIC, Hints, step_shape, table_vm
from proving.circuit.tiers import Shape
from proving.circuit.tree_unit import UnitHint
from tests.support.circuits import SHAPE, Z, circuit
from tests.support.constraints import Constraints
from tests.support.stories import Story

Lies = Mapping[int, int]
"""wire -> value"""


_HASHES: dict[tuple[object, ...], list[int]] = {}
"""Wires of hashes that were computed before, by template and inputs."""


@dataclass(slots=True)
class Forger(Assigner):
    """Puts lies into wires as they are allocated; all that follows is computed from them."""

    lies: Lies = field(default_factory=dict)
    chosen: set[int] = field(default_factory=set)
    """Wires that are the prover's to choose."""

    def choices(self, count: int, values: Callable[[], Sequence[int]]) -> list[Expr]:
        self.chosen.update(range(len(self.values), len(self.values) + count))
        return self.hints(count, values)

    def hint(self, value: Callable[[], int]) -> Expr:
        return self.hints(1, lambda: [value() % R])[0]

    def hints(self, count: int, values: Callable[[], Sequence[int]]) -> list[Expr]:
        first = len(self.values)
        xs = [self.lies.get(first + i, x) for i, x in enumerate(values())]
        assert len(xs) == count
        self.values += xs
        return list(xs)

    def stamp(self, template: Template[H], inputs: Sequence[Expr], hints: H | None = None) -> list[Expr]:
        # Lies change few hashes: those of earlier assignments are copied.
        if not template.name.startswith("P"):
            return Assigner.stamp(self, template, inputs, hints)
        key, first = (template.name, *inputs), len(self.values)
        known = _HASHES.get(key)
        if known is not None and not any(first <= wire < first + len(known) for wire in self.lies):
            self.values += known
            return [known[-1]]
        outputs = Assigner.stamp(self, template, inputs, hints)
        if not any(first <= wire < len(self.values) for wire in self.lies):
            _HASHES[key] = self.values[first:]
        return outputs

    def mul(self, a: Expr, b: Expr) -> Expr:
        return self.mul_add(a, b, 0)

    def mul_add(self, a: Expr, b: Expr, c: Expr) -> Expr:
        assert isinstance(a, int) and isinstance(b, int) and isinstance(c, int)
        return self.hint(lambda: a * b + c)


def honest_hints(story: Story) -> Hints:
    """What an honest prover would choose."""
    core = story.core()
    return plan(SHAPE, core, story.rollup_id, execute(core, story.rollup_id, story.first))


def forge(hints: Hints, lies: Lies | None = None) -> list[int]:
    """Fill all wires for the challenge Z, the statement hash of the claimed words included."""
    forger = Forger(lies=lies or {})
    late = table_vm(forger, SHAPE, replace(hints, public=(0, Z, 0)))
    folded = forger.values[PUBLIC + 2 * len(hints.words) - 1]
    forger.values[1], forger.values[3] = value(late.h), folded * Z % R
    return forger.values


def retold(hints: Hints, units: dict[int, UnitHint | None], trees: Sequence[tuple[StateTree, StateTree]] = ()) -> Hints:
    """Other units, and the nodes that lead to what they open, in these trees for each stretch."""
    told_units = [units.get(n, unit) for n, unit in enumerate(hints.units)]
    if not trees:
        return replace(hints, units=told_units)
    batches = [
        Batch(
            before=before,
            after=after,
            leaves={unit.index for unit in told_units if unit and unit.stretch == at and unit.index is not None},
        )
        for at, (before, after) in enumerate(trees)
    ]
    nodes = climb(batches, hints.tree.depth, numbers=SHAPE.stretches, available=SHAPE.nodes)
    roots = [*(after.root for _, after in trees), *hints.tree.roots[len(trees) :]]
    return replace(hints, units=told_units, tree=replace(hints.tree, nodes=nodes, roots=roots))


def chosen_wires(hints: Hints) -> set[int]:
    """Wires that are the prover's to choose, the constant one among them."""
    forger = Forger()
    table_vm(forger, SHAPE, hints)
    return {0} | forger.chosen


@cache
def constraints() -> Constraints:
    """The circuit, read back."""
    return Constraints(circuit().r1cs_bytes)


def broken_beside(values: list[int], honest: list[int]) -> list[int]:
    """Constraints that an assignment breaks, given another one that breaks none."""
    changed = [wire for wire, (x, y) in enumerate(zip(values, honest, strict=True)) if x != y]
    suspects = sorted({number for wire in changed for number in constraints().touching(wire)})
    return [number for number in suspects if not constraints().holds(number, values)]


def statement_hash() -> Stamped:
    """The first permutation of h: the last one that begins with a constant."""
    return next(stamp for stamp in reversed(circuit().stamps) if re.match(r"P16\[\d", stamp.name))


def gadget_of(number: int) -> str:
    """The stamp that a constraint belongs to; `glue` between stamps."""
    for stamp in circuit().stamps:
        if stamp.first_constraint <= number < stamp.first_constraint + stamp.constraints:
            return stamp.name.split(" StepShape")[0]
    return "glue"


# -- wires of a step ---------------------------------------------------------------------------------------------------


@cache
def step_wires(of: Shape = SHAPE) -> dict[str, int]:
    """Name -> internal wire of the step template, counted from its first one."""
    shape = step_shape(of)
    template = step_template(shape)
    recorder = Recorder(inputs=template.inputs)
    step = StepGadget(recorder, shape, [LC({1 + i: 1}) for i in range(template.inputs)], None)
    outputs = step.run()
    named = {
        "carry": step.carry,
        "zero": step.zero,
        "word0": step.word0,
        "fetched": step.fetched,
        "imm": step.imm,
        "look": step.look,
        "kind": step.kind,
        "present": step.present,
        "ra": step.operands[0],
        "rb": step.operands[1],
        "pc": outputs[0],
        "r0": outputs[1],
        "r1": outputs[2],
    }
    out = {}
    for name, lc in named.items():
        assert isinstance(lc, LC)
        (wire,) = lc.terms
        out[name] = wire - 1 - template.inputs
    return out


def stretch_rows(hints: Hints, place: int, shape: Shape = SHAPE) -> list[int]:
    """Rows of a stretch, in order."""
    per = shape.segment_rows
    return [n * per + k for n, owner in enumerate(hints.segments) if owner == place for k in range(per)]


def row_wire(row: int, name: str) -> int:
    """Global wire of a row, counted from 0 over the whole table."""
    steps = [stamp for stamp in circuit().stamps if stamp.name.startswith("step")]
    return steps[row].first_wire + step_wires()[name]
