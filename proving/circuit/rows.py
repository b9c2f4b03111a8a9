"""The pool of rows: all steps of all stretches of a table, one after another.

Rows come in *segments* of a few rows each. A segment belongs to one stretch, or to none behind the last used one; a
stretch that runs a program has one or more segments in a row, in the order of the stretches. A run that ends within a
segment repeats its last step until the segment's end. What belongs to a stretch (call data, answer, environment) is
chosen once for a segment, and what a run ends with is read off the last row of its last segment.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from proving.circuit.bits import flags, select
from proving.circuit.builder import Builder, Expr, plus
from proving.circuit.step import REGISTERS, Machine, StepEnd, StepHint, StepShape, Surroundings, step
from proving.circuit.stretch import OpenStretch


@dataclass(frozen=True, slots=True, kw_only=True)
class RowsHint:
    """Who owns segments, and what their steps look up."""

    owners: Sequence[int | None]
    """Stretch of each segment."""
    steps: Sequence[StepHint]
    """For each stretch."""


@dataclass(slots=True, kw_only=True)
class StretchRead:
    """What the rows of one stretch read. Lists are as long for every stretch."""

    stretch: OpenStretch
    program: Expr
    """Number of its program."""
    both: list[Expr]
    environment: list[Expr]
    """Without what is the same for all stretches (`Common`)."""
    cells: list[Expr]
    """For each tree unit: 1 if it is a storage cell of the stretch."""


@dataclass(slots=True, kw_only=True)
class StretchRows:
    """How the rows of one stretch end. All are 0 if it has none."""

    pc: Expr
    registers: list[Expr]
    """Both are kept for stretches that can suspend only."""
    out: list[Expr]
    immediate: Expr
    operand: Expr
    xcall: Expr
    """1 for an outgoing call."""
    icall: Expr
    """1 for a call inside the rollup."""
    tries: Expr
    sent: Expr
    """Value of a call, allowed or not."""
    returns: Expr
    reverts: Expr
    trap: Expr
    steps: Expr
    """Executed in this stretch, a trapping one included."""


@dataclass(slots=True, kw_only=True)
class Common:
    """What all rows read."""

    time: Expr
    hashes: list[tuple[Expr, Expr, Expr]]
    integers: list[tuple[Expr, Expr, Expr, Expr, Expr]]
    slots: list[Expr]


class RowPool:
    """Lays out the segments and collects what stretches end with."""

    def __init__(
        self,
        b: Builder,
        shape: StepShape,
        *,
        segments: int,
        segment_rows: int,
        reads: Sequence[StretchRead],
        common: Common,
        hint: RowsHint | None,
    ) -> None:
        self.b = b
        self.shape = shape
        self.segments = segments
        self.segment_rows = segment_rows
        self.reads = reads
        self.common = common
        self.hint = hint
        self.places = len(reads)
        self.fetched: list[Expr] = []
        self.ends: list[list[StretchRows]] = [[] for _ in reads]
        """For each stretch what each segment so far adds to its end."""

    def run(self, cells: Machine, zero: Expr) -> tuple[list[StretchRows], Machine]:
        """Lay out all segments.

        Args:
            cells: where cells stand before the first row; the rest of it is not read.
            zero: a wire that is 0.

        Returns:
            The end of each stretch, and the state behind the last row.
        """
        b, places = self.b, range(self.places)
        owners = [self._owners(number) for number in range(self.segments)]
        # For each segment 1 if it goes on with the stretch of the one before.
        goes_on = [
            0 if number == 0 else plus(b.mul(x, y) for x, y in zip(owners[number - 1], owners[number], strict=True))
            for number in range(self.segments)
        ]
        goes_on.append(0)
        first = [[b.mul(owners[n][e], 1 - goes_on[n]) for e in places] for n in range(self.segments)]
        for e, read in enumerate(self.reads):
            b.equal(plus(row[e] for row in first), read.stretch.run)
        for n in range(1, self.segments):
            # Unused segments come last, stretches in their order.
            b.enforce(plus(owners[n]), 1 - plus(owners[n - 1]), 0)
            for e in range(1, self.places):
                b.enforce(owners[n - 1][e], plus(owners[n][:e]), 0)

        machine = replace(cells, pc=zero, registers=[zero] * REGISTERS, out=[zero] * len(cells.out))
        for n in range(self.segments):
            machine = self._start(n, machine, goes_on[n], first[n], zero)
            rows = self._rows(n, machine, owners[n])
            machine = rows[-1].machine
            self.fetched += [row.fetched for row in rows]
            b.enforce(goes_on[n + 1], rows[-1].halted, 0)
            self._collect(rows, owners[n], goes_on[n + 1])
        return [self._total(ends) for ends in self.ends], machine

    def _owners(self, number: int) -> list[Expr]:
        def chosen() -> int | None:
            return self.hint.owners[number] if self.hint else None

        made = flags(self.b, self.places, chosen)
        self.b.enforce(plus(made), plus(made) - 1, 0)
        return made

    def _start(self, number: int, before: Machine, goes_on: Expr, first: Sequence[Expr], zero: Expr) -> Machine:
        """Where the first row stands: behind the row before it, at a suspended frame, or at a fresh one."""
        b = self.b
        if number == 0:
            return before
        # A stretch that is opened here and goes on with the frame that stretch p suspended; p closed before.
        sources = [p for p in range(self.places - 1) if self.ends[p]]
        resumes = [
            plus(b.mul(first[e], self.reads[e].stretch.resumes[p]) for e in range(p + 1, self.places)) for p in sources
        ]
        saved = [self._total(self.ends[p]) for p in sources]

        def at(kept: Expr, frames: Sequence[Expr]) -> Expr:
            x = b.mul(goes_on, kept)
            for resume, frame in zip(resumes, frames, strict=True):
                x = b.mul_add(resume, frame, x)
            return x

        return replace(
            before,
            pc=at(before.pc, [frame.pc + 1 for frame in saved]),
            registers=[at(x, [frame.registers[i] for frame in saved]) for i, x in enumerate(before.registers)],
            out=[b.mul(goes_on, x) for x in before.out],
        )

    def _chosen(self, owners: Sequence[Expr], columns: Sequence[Sequence[Expr]]) -> list[Expr]:
        """Of each column the owner's value; the first one's where nobody owns the segment and nothing reads it."""
        out = []
        for column in columns:
            x = column[0]
            for owner, other in zip(owners[1:], column[1:], strict=True):
                x = self.b.mul_add(owner, other - column[0], x)
            out.append(x)
        return out

    def _rows(self, number: int, machine: Machine, owners: Sequence[Expr]) -> list[StepEnd]:
        b, reads, common = self.b, self.reads, self.common

        def chosen(lists: Sequence[Sequence[Expr]]) -> list[Expr]:
            return self._chosen(owners, list(zip(*lists, strict=True)))

        environment = chosen([read.environment for read in reads])
        around = Surroundings(
            run=b.define(plus(owners)),
            both=chosen([read.both for read in reads]),
            program=chosen([[read.program] for read in reads])[0],
            environment=[*environment[:3], common.time, *environment[3:]],
            arguments=chosen([read.stretch.frame.arguments for read in reads]),
            answer=chosen([read.stretch.answers for read in reads]),
            hashes=common.hashes,
            integers=common.integers,
            slots=common.slots,
        )
        hint = None
        if self.hint is not None:
            hint = self.hint.steps[self.hint.owners[number] or 0]
        rows: list[StepEnd] = []
        for _ in range(self.segment_rows):
            rows.append(step(b, self.shape, machine, around, hint))
            machine = rows[-1].machine
        for one, other in zip(rows, rows[1:], strict=False):
            b.enforce(one.halted, 1 - other.halted, 0)
        for i, mine in enumerate(zip(*(read.cells for read in reads), strict=True)):
            # The sum is an integer below the field order: zero only if no step touched the cell.
            b.enforce(plus(row.touched[i] for row in rows), 1 - select(b, owners, mine), 0)
        # Without a tree unit for the account there is no balance to read.
        b.enforce(plus(row.balance for row in rows), 1 - select(b, owners, [read.stretch.account for read in reads]), 0)
        return rows

    def _collect(self, rows: Sequence[StepEnd], owners: Sequence[Expr], goes_on: Expr) -> None:
        """What the segment adds to the end of each stretch: everything if it is the stretch's last one."""
        b, end = self.b, rows[-1]
        running = plus(1 - row.halted for row in rows)
        sent = b.mul(end.valued, end.second)
        for e, owner in enumerate(owners):
            last = b.mul(owner, 1 - goes_on)
            b.enforce(last, 1 - end.halted, 0)

            def kept(x: Expr, last: Expr = last) -> Expr:
                return b.mul(last, x)

            suspends = e < self.places - 1
            self.ends[e].append(
                StretchRows(
                    pc=kept(end.machine.pc) if suspends else 0,
                    registers=[kept(x) if suspends else 0 for x in end.machine.registers],
                    out=[kept(x) for x in end.machine.out],
                    immediate=kept(end.immediate),
                    operand=kept(end.operand),
                    xcall=kept(end.xcall),
                    icall=kept(end.icall),
                    tries=kept(end.tries),
                    sent=kept(sent),
                    returns=kept(end.returns),
                    reverts=kept(end.reverts),
                    trap=kept(end.trap),
                    # Steps but the one that ends the run, which counts once.
                    steps=b.mul(owner, running) + last if suspends else 0,
                )
            )

    def _total(self, ends: Sequence[StretchRows]) -> StretchRows:
        def column(xs: Sequence[Sequence[Expr]]) -> list[Expr]:
            return [plus(x) for x in zip(*xs, strict=True)]

        return StretchRows(
            pc=plus(e.pc for e in ends),
            registers=column([e.registers for e in ends]),
            out=column([e.out for e in ends]),
            immediate=plus(e.immediate for e in ends),
            operand=plus(e.operand for e in ends),
            xcall=plus(e.xcall for e in ends),
            icall=plus(e.icall for e in ends),
            tries=plus(e.tries for e in ends),
            sent=plus(e.sent for e in ends),
            returns=plus(e.returns for e in ends),
            reverts=plus(e.reverts for e in ends),
            trap=plus(e.trap for e in ends),
            steps=plus(e.steps for e in ends),
        )
