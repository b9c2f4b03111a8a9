"""Gadgets on their own: recorded with input wires, filled honestly or with lies, and judged."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from protocol.constants import FIELD_ORDER as R
from proving.circuit.builder import Assigner, Builder, CompiledCircuit, Expr, compile_circuit, value, wtns_bytes
from proving.r1cs import check
from tests.support.constraints import Constraints

Body = Callable[[Builder, list[Expr]], Sequence[Expr]]


@dataclass(slots=True)
class Liar(Assigner):
    """Puts lies into hinted wires; all that follows is computed from them."""

    lies: Mapping[int, int] = field(default_factory=dict)
    """wire -> value"""
    hinted: set[int] = field(default_factory=set)
    """Wires that were the prover's to fill."""

    def hint(self, value: Callable[[], int]) -> Expr:
        return self.hints(1, lambda: [value() % R])[0]

    def hints(self, count: int, values: Callable[[], Sequence[int]]) -> list[Expr]:
        first = len(self.values)
        self.hinted.update(range(first, first + count))
        xs = [self.lies.get(first + i, x) for i, x in enumerate(values())]
        assert len(xs) == count
        self.values += xs
        return list(xs)


@dataclass(frozen=True, kw_only=True)
class Made:
    """A filled gadget."""

    circuit: CompiledCircuit
    values: list[int]
    outputs: list[int]
    hinted: frozenset[int]
    inputs: int

    @property
    def inner(self) -> range:
        """Wires that the gadget allocated."""
        return range(1 + self.inputs, self.circuit.n_wires)

    def first_broken(self) -> int | None:
        """The first constraint that the assignment breaks, by the native checker."""
        return check(self.circuit.r1cs_bytes, wtns_bytes(self.values))


class Gadget:
    """A gadget on input wires; recorded once."""

    def __init__(self, body: Body, inputs: int) -> None:
        self._body = body
        self._inputs = inputs

        def record(b: Builder) -> None:
            body(b, b.hints(inputs, lambda: ()))

        self.circuit = compile_circuit(record, inputs)
        self.constraints = Constraints(self.circuit.r1cs_bytes)

    def fill(self, inputs: Sequence[int], lies: Mapping[int, int] | None = None) -> Made:
        """Honestly, or with lies in hinted wires."""
        liar = Liar(lies=lies or {})
        wires = liar.hints(self._inputs, lambda: inputs)
        outputs = self._body(liar, wires)
        assert len(liar.values) == self.circuit.n_wires
        return Made(
            circuit=self.circuit,
            values=liar.values,
            outputs=[value(x) for x in outputs],
            hinted=frozenset(liar.hinted),
            inputs=self._inputs,
        )

    def loose(self, made: Made) -> list[int]:
        """Wires that could move, to first order, while inputs stay."""
        return self.constraints.undetermined(made.values, range(1 + self._inputs))

    def unnoticed(self, made: Made, wires: Iterable[int], others: Callable[[int], Iterable[int]]) -> list[int]:
        """Wires that may take another value, all else unchanged."""
        values = list(made.values)
        return [
            wire
            for wire in wires
            if any(x % R != values[wire] and self.constraints.is_free(values, wire, x) for x in others(values[wire]))
        ]
