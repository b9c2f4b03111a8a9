"""A small circuit with room for many frames, and judges of what a prover puts into it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from typing import Final

from protocol.constants import FIELD_ORDER as R
from protocol.statement import Tier
from proving.circuit.builder import CompiledCircuit, compile_circuit, value, wtns_bytes
from proving.circuit.errors import TierExceeded
from proving.circuit.plan import execute, fits, plan
from proving.circuit.table_vm import PUBLIC, Hints, table_vm
from proving.circuit.tiers import Shape
from proving.r1cs import R1cs, check, read_r1cs
from tests.support.circuits import SHAPE, Z, circuit
from tests.support.constraints import Constraints
from tests.support.forger import Forger, Lies, constraints
from tests.support.stories import Story

FRAMES: Final = replace(
    SHAPE,
    tier=Tier(name="bench", number=0, entries=5, data_words=1),
    stretches=9,
    waiting=6,
    reverts=2,
    segments=12,
    segment_rows=4,
    programs=4,
    chunks=4,
    hashes=1,
    integers=1,
    inserts=1,
    updates=4,
    seeks=1,
    reads=7,
    links=1,
    nodes=90,
)
"""Few rows and words, many frames."""


@dataclass(frozen=True)
class Bench:
    """A shape's circuit."""

    shape: Shape

    @cached_property
    def circuit(self) -> CompiledCircuit:
        """Compiled."""
        return (
            circuit()
            if self.shape is SHAPE
            else compile_circuit(partial(table_vm, shape=self.shape, hints=None), PUBLIC)
        )

    @cached_property
    def system(self) -> R1cs:
        """For the native checker."""
        return read_r1cs(self.circuit.r1cs_bytes)

    @cached_property
    def constraints(self) -> Constraints:
        """Read back."""
        return constraints() if self.shape is SHAPE else Constraints(self.circuit.r1cs_bytes)

    def hints(self, story: Story) -> Hints:
        """What an honest prover would choose, if the story's runs were honest."""
        return plan(self.shape, story.core(), story.rollup_id, story.runs)

    def fits(self, story: Story) -> TierExceeded | None:
        """Whether there is room, as a planner asks."""
        core = story.core()
        return fits(self.shape, core, story.rollup_id, execute(core, story.rollup_id, story.first))

    def fill(self, hints: Hints, lies: Lies | None = None) -> Forger:
        """All wires for the challenge Z."""
        forger = Forger(lies=lies or {})
        late = table_vm(forger, self.shape, replace(hints, public=(0, Z, 0)))
        folded = forger.values[PUBLIC + 2 * len(hints.words) - 1]
        forger.values[1], forger.values[3] = value(late.h), folded * Z % R
        return forger

    def broken(self, hints: Hints, lies: Lies | None = None) -> str | None:
        """The gadget whose constraint an assignment breaks first; None if it satisfies all."""
        number = check(self.system, wtns_bytes(self.fill(hints, lies).values))
        if number is None:
            return None
        for stamp in self.circuit.stamps:
            if stamp.first_constraint <= number < stamp.first_constraint + stamp.constraints:
                return stamp.name.split(" StepShape")[0]
        return "glue"


@cache
def bench(shape: Shape = FRAMES) -> Bench:
    """Made once for a test run."""
    return Bench(shape)
