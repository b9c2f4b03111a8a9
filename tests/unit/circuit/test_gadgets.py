"""Gadgets one by one: honest witnesses hold, every changed wire is noticed, wires are determined, wrong inputs fail."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest

from protocol.constants import FIELD_ORDER as R
from protocol.constants import TAG_CODE
from protocol.vm.poseidon import P, list_hash
from proving.circuit import bits, compare, frame, program
from proving.circuit import list_hash as hashing
from proving.circuit.builder import Assigner, Builder, CompiledCircuit, Expr, compile_circuit
from proving.circuit.links import Links
from proving.circuit.poseidon import poseidon
from tests.support.constraints import Constraints

Body = Callable[[Builder, list[Expr]], object]
RNG = random.Random(20)


@dataclass(frozen=True)
class Gadget:
    """A gadget on input wires."""

    body: Body
    inputs: tuple[tuple[int, ...], ...]
    """Honest inputs, one tuple for each witness."""
    free: int = 0
    """Internal wires that no constraint minds; each is explained where it is declared."""
    chosen: int = 0
    """Internal wires that the prover may choose, but which the outputs then show."""


def made(gadget: Gadget, inputs: Sequence[int]) -> tuple[CompiledCircuit, list[int], list[Expr]]:
    """Circuit, assignment and outputs."""
    outputs: list[Expr] = []

    def body(b: Builder) -> None:
        wires = b.hints(len(inputs), lambda: inputs)
        result = gadget.body(b, wires)
        outputs[:] = result if isinstance(result, list) else [result]  # type: ignore[list-item]

    circuit = compile_circuit(body, len(inputs))
    assigner = Assigner(strict=True)
    body(assigner)
    return circuit, assigner.values, outputs


def stamp(template: object, hint: object = None) -> Body:
    """A template as a body."""
    return lambda b, xs: b.stamp(template, xs, hint)  # type: ignore[type-var]


BIG = R - 1


LOWER = (1 << 206) - 1
WIDEST = ((R >> 206) - 1 << 206) - 1
"""The longest gap beside another one that the comparison takes."""


def code(count: int, seed: int = 0) -> list[tuple[int, int]]:
    """Instructions that differ."""
    return [(257 * i + 1 + seed, (1 << 128) - 1 - i) for i in range(count)]


def linked(b: Builder, xs: Sequence[Expr]) -> list[Expr]:
    """One triple given twice at once, and taken twice."""
    z, *triple = xs
    links = Links()
    links.give(2, *triple)
    links.take(1, *triple)
    links.take(1, *triple)
    links.close(b, z)
    return []


def loaded(b: Builder, counts: Sequence[int]) -> list[Expr]:
    """Hashes, structure and table of programs of some lengths."""
    made = program.load_programs(b, chunks=4, places=3, programs=[code(n, i) for i, n in enumerate(counts)])
    return [*made.hashes, *made.structure, *made.table]


GADGETS = {
    "to_bits": Gadget(lambda b, xs: bits.to_bits(b, xs[0], 9), ((0,), (511,), (300,))),
    "is_zero of something": Gadget(lambda b, xs: bits.is_zero(b, xs[0]), ((1,), (BIG,), (12345,))),
    # x * inverse = 1 - zero says nothing about the inverse of 0, and nothing reads it.
    "is_zero of zero": Gadget(lambda b, xs: bits.is_zero(b, xs[0]), ((0,),), free=1),
    "canonical bits": Gadget(stamp(compare.CANONICAL_BITS), ((0,), (R // 3,))),
    "between": Gadget(
        stamp(compare.BETWEEN), ((0, 0), (WIDEST, 0), (0, WIDEST), (WIDEST - LOWER, LOWER), (R // 3, R // 3))
    ),
    "P2": Gadget(stamp(poseidon(2)), ((0, 0), (BIG, 7))),
    "P3 with a constant": Gadget(stamp(poseidon(3, (2, None, None))), ((4, 5),)),
    "P4": Gadget(stamp(poseidon(4)), ((1, 2, 3, 4),)),
    "links": Gadget(linked, ((7, 1, 2, 3), (BIG, 0, 0, 5), (12345, BIG, 1 << 200, 0))),
    "dataMeta": Gadget(
        lambda b, xs: [frame.data_meta(b, xs[0], 4)[0]],
        tuple((length << 32 | 0xA1B2C3D4,) for length in (0, 3, 4, 5, 36, 37, 132)),
    ),
    "programs": Gadget(
        lambda b, xs: loaded(b, [8, 16]),
        ((),),
        chosen=24,  # the packed instructions; which chunk is whose is a matter of bits
    ),
}


@pytest.mark.parametrize("name", GADGETS)
def test_honest_witnesses_hold_and_are_determined(name: str) -> None:
    """The derivative of the constraints has full rank: near a witness there is no other one."""
    gadget = GADGETS[name]
    for inputs in gadget.inputs:
        circuit, values, _ = made(gadget, inputs)
        constraints = Constraints(circuit.r1cs_bytes)

        assert len(values) == circuit.n_wires
        assert list(constraints.broken(values)) == []
        loose = constraints.undetermined(values, range(len(inputs) + 1))
        assert len(loose) == gadget.free + gadget.chosen


@pytest.mark.parametrize("name", GADGETS)
def test_every_changed_wire_is_noticed(name: str) -> None:
    """Also output wires, and also a change to 0, 1 or a small neighbour."""
    gadget = GADGETS[name]
    inputs = gadget.inputs[-1]
    circuit, values, _ = made(gadget, inputs)
    constraints = Constraints(circuit.r1cs_bytes)
    free = set()
    for wire in range(len(inputs) + 1, circuit.n_wires):
        for other in (RNG.randrange(R), values[wire] + 1, 1 - values[wire]):
            if other % R != values[wire] and constraints.is_free(values, wire, other):
                free.add(wire)

    assert len(free) <= gadget.free


@pytest.mark.parametrize("k", [2, 3, 4, 16])
def test_poseidon_of_the_widths_in_use(k: int) -> None:
    """Against the reference, with the smallest, the largest and random inputs; the last wire is the hash."""
    for inputs in ([0] * k, [BIG] * k, [RNG.randrange(R) for _ in range(k)]):
        assigner = Assigner()
        assigner.stamp(poseidon(k), inputs)

        assert assigner.values[-1] == P(k, inputs)


@pytest.mark.parametrize("count", [1, 14, 15, 16, 30, 31])
def test_list_hash_of_every_length(count: int) -> None:
    """Chunks of 15, the last one padded; the constraints agree with the reference."""
    inputs = tuple(RNG.randrange(R) for _ in range(count))
    circuit, values, outputs = made(Gadget(lambda b, xs: hashing.list_hash(b, 3, xs), (inputs,)), inputs)

    assert outputs == [list_hash(3, inputs)]
    assert list(Constraints(circuit.r1cs_bytes).broken(values)) == []


@pytest.mark.parametrize("counts", [(1,), (15,), (16, 30), (30, 1, 15), (60,), (2, 3, 30), ()])
def test_programs_of_every_length(counts: tuple[int, ...]) -> None:
    """Code hashes, and a table that says which program has what where."""
    circuit, values, outputs = made(Gadget(lambda b, _: loaded(b, counts), ((),)), ())
    codes = [code(n, i) for i, n in enumerate(counts)]
    hashes = [list_hash(TAG_CODE, [word0 << 128 | imm for word0, imm in x]) for x in codes]
    places = {(p << 220 | i << 200 | w << 128 | m) for p, x in enumerate(codes) for i, (w, m) in enumerate(x)}
    numbers = [x % R for x in outputs if isinstance(x, int)]

    assert numbers[:3] == hashes + [0] * (3 - len(hashes))
    assert set(numbers[4:]) - {0} == places
    assert list(Constraints(circuit.r1cs_bytes).broken(values)) == []


def test_the_largest_element_has_canonical_bits() -> None:
    """Where every bit is compared to the end; each 0 there is a double root, so the rank says nothing."""
    circuit, values, outputs = made(GADGETS["canonical bits"], (BIG,))

    assert bits.from_bits(outputs) == BIG
    assert list(Constraints(circuit.r1cs_bytes).broken(values)) == []


# -- wrong inputs and forged wires -------------------------------------------------------------------------------------


def forged(gadget: Gadget, inputs: Sequence[int], change: Callable[[list[int]], None]) -> list[int]:
    """Constraints that an assignment breaks after a change to it."""
    circuit, _, _ = made(gadget, gadget.inputs[0])
    assigner = Assigner()
    wires = assigner.hints(len(inputs), lambda: inputs)
    gadget.body(assigner, wires)
    change(assigner.values)
    return list(Constraints(circuit.r1cs_bytes).broken(assigner.values))


def nothing(values: list[int]) -> None:
    """No change."""


@pytest.mark.parametrize(
    ("name", "inputs"),
    [
        ("to_bits", (512,)),
        ("to_bits", (BIG,)),
        ("between", (WIDEST + 1, 0)),
        ("between", (0, WIDEST + 1)),
        ("between", (R - 1, 0)),
        ("between", (0, R - 1)),
        ("between", (R // 2, R // 2)),
        ("between", (R - 1, R - 1)),
        ("between", (1, R - 2)),
    ],
)
def test_wrong_inputs_have_no_witness(name: str, inputs: tuple[int, ...]) -> None:
    """Out of range, out of order."""
    assert forged(GADGETS[name], inputs, nothing)


def test_canonical_bits_refuse_the_second_decomposition() -> None:
    """x + r also has 254 bits for small x, and the same value in the field."""

    def alias(values: list[int]) -> None:
        values[2 : 2 + 254] = [5 + R >> i & 1 for i in range(254)]
        equal = 1
        chained = []
        for i in reversed(range(253)):
            if R - 1 >> i & 1:
                equal = (values[2 + i] * (equal if i < 252 else 1)) % R
                chained.append(equal)
        values[256:] = chained

    clean = forged(GADGETS["canonical bits"], (5,), nothing)
    broken = forged(GADGETS["canonical bits"], (5,), alias)

    assert (clean, len(broken) > 0) == ([], True)


def test_between_refuses_keys_that_wrap_around_the_field() -> None:
    """The second decomposition of a gap, with the remainder refilled as well as can be."""

    def alias(values: list[int]) -> None:
        gap = 5 + R
        rest = ((R >> 206) - 2 - (gap >> 206)) % (1 << 48)
        for at, count, number in ((3, 254, gap), (257, 254, 7), (511, 48, rest)):
            values[at : at + count] = [number >> k & 1 for k in range(count)]

    assert forged(GADGETS["between"], (5, 7), nothing) == []
    assert forged(GADGETS["between"], (5, 7), alias)
