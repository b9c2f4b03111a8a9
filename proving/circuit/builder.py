"""R1CS builder: a circuit is a Python function, run once to record constraints and for each witness to fill wires.

A gadget is a function of a `Builder` and of expressions. While a circuit is recorded an expression is a linear
combination (`LC`) of wires; while a witness is made it is an integer. The same code therefore fixes the order of wires
in both, and a witness cannot drift from its circuit. A `Template` is a gadget that is recorded once and then stamped:
its constraints are copied as one array of 32-bit words in which only wire numbers change. That makes circuits of 10^5
constraints a matter of seconds in plain Python.

Wire 0 is the constant one. Output is the iden3 `.r1cs` and `.wtns` formats.
"""

from __future__ import annotations

import hashlib
import struct
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from protocol.constants import FIELD_ORDER as R

ONE_WIRE: Final = 0
_PRIME_BYTES: Final = R.to_bytes(32, "little")
_Words = npt.NDArray[np.uint32]
H = TypeVar("H")


class LC:
    """A linear combination of wires over Fr; immutable by convention."""

    __slots__ = ("terms",)

    def __init__(self, terms: dict[int, int]) -> None:
        self.terms = terms
        """wire -> non-zero coefficient in [0, r)."""

    def __add__(self, other: LC | int) -> LC:
        terms = dict(self.terms)
        for wire, coefficient in _lc(other).terms.items():
            total = (terms.get(wire, 0) + coefficient) % R
            if total:
                terms[wire] = total
            else:
                terms.pop(wire, None)
        return LC(terms)

    __radd__ = __add__

    def __mul__(self, factor: int) -> LC:
        factor %= R
        return LC({wire: coefficient * factor % R for wire, coefficient in self.terms.items()} if factor else {})

    __rmul__ = __mul__

    def __neg__(self) -> LC:
        return self * -1

    def __sub__(self, other: LC | int) -> LC:
        return self + _lc(other) * -1

    def __rsub__(self, other: int) -> LC:
        return self * -1 + other


Expr = LC | int
"""A linear combination while recording, an integer (perhaps not reduced) while assigning."""


def _lc(x: Expr) -> LC:
    if isinstance(x, LC):
        return x
    x %= R
    return LC({ONE_WIRE: x} if x else {})


def total(pairs: Iterable[tuple[int, Expr]]) -> Expr:
    """sum of coefficient * expression."""
    terms: dict[int, int] = {}
    constant = 0
    for coefficient, x in pairs:
        if isinstance(x, int):
            constant += coefficient * x
        else:
            for wire, c in x.terms.items():
                terms[wire] = terms.get(wire, 0) + coefficient * c
    if not terms:
        return constant
    terms[ONE_WIRE] = terms.get(ONE_WIRE, 0) + constant
    return LC({wire: c % R for wire, c in terms.items() if c % R})


def plus(xs: Iterable[Expr]) -> Expr:
    """Sum of expressions."""
    return total((1, x) for x in xs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Template(Generic[H]):
    """A gadget to be stamped."""

    name: str
    """Identity: two templates of one name must be the same gadget."""
    inputs: int
    body: Callable[[Builder, Sequence[Expr], H | None], Sequence[Expr]]
    """(builder, inputs, hints) -> outputs; hints are None while recording."""


class Builder(ABC):
    """What gadgets see."""

    recording: bool
    """True while constraints are recorded: hints are not called. Gadgets must allocate the same wires in both modes."""

    @abstractmethod
    def hint(self, value: Callable[[], int]) -> Expr:
        """A new wire that nothing constrains so far."""

    @abstractmethod
    def hints(self, count: int, values: Callable[[], Sequence[int]]) -> list[Expr]:
        """`count` new wires; `values` must return exactly that many field elements."""

    def block(self, count: int, made: Callable[[], bytes]) -> Expr:
        """`count` new wires from a buffer of 32-byte little-endian words; the last one, which alone is read."""
        return self.hints(count, lambda: words_of(made()))[-1]

    def choices(self, count: int, values: Callable[[], Sequence[int]]) -> list[Expr]:
        """`hints` that are the prover's to choose: inputs, openings. A test checks that all others follow from them."""
        return self.hints(count, values)

    @abstractmethod
    def enforce(self, a: Expr, b: Expr, c: Expr) -> None:
        """Constrain a * b = c."""

    @abstractmethod
    def stamp(self, template: Template[H], inputs: Sequence[Expr], hints: H | None = None) -> list[Expr]:
        """Run a template on inputs that are single wires; returns its outputs."""

    @abstractmethod
    def mul(self, a: Expr, b: Expr) -> Expr:
        """A new wire, constrained to a * b."""

    @abstractmethod
    def mul_add(self, a: Expr, b: Expr, c: Expr) -> Expr:
        """A new wire, constrained to a * b + c."""

    def define(self, a: Expr) -> Expr:
        """A new wire equal to a linear combination, for use as a template's input."""
        return self.mul(a, 1)

    def equal(self, a: Expr, b: Expr) -> None:
        """Constrain a = b."""
        self.enforce(a - b, 1, 0)

    def boolean(self, value: Callable[[], int]) -> Expr:
        """A new wire that is 0 or 1."""
        bit = self.hint(value)
        self.enforce(bit, bit - 1, 0)
        return bit


def words_of(raw: bytes | bytearray) -> list[int]:
    """Field elements from 32-byte little-endian words."""
    return [int.from_bytes(word, "little") for (word,) in struct.iter_unpack("32s", raw)]


def value(x: Expr) -> int:
    """The field element of an expression; only meaningful inside hints."""
    if isinstance(x, LC):
        raise TypeError("expressions have values only while a witness is made")
    return x % R


# -- recording ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Compiled:
    """A template's constraints: u32 words of the .r1cs constraint section with local wire numbers."""

    words: _Words
    positions: npt.NDArray[np.int64]
    """Indices in `words` that hold wire numbers."""
    inputs: int
    internal: int
    constraints: int
    outputs: tuple[LC, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamped:
    """Where a top-level stamp put its wires, for messages and tests."""

    name: str
    first_wire: int
    wires: int
    first_constraint: int
    constraints: int


@dataclass(slots=True)
class Recorder(Builder):
    """Records constraints. Local wires: 0 is one, then `inputs`, then internal wires in order of allocation."""

    inputs: int = 0
    cache: dict[str, _Compiled] = field(default_factory=dict)
    wires: int = field(init=False)
    constraints: int = field(init=False, default=0)
    stamps: list[Stamped] = field(init=False, default_factory=list)
    _chunks: list[tuple[_Words, npt.NDArray[np.int64]]] = field(init=False, default_factory=list)
    _buffer: bytearray = field(init=False, default_factory=bytearray)
    _positions: list[int] = field(init=False, default_factory=list)
    recording: bool = field(init=False, default=True)

    def __post_init__(self) -> None:
        self.wires = 1 + self.inputs

    def hint(self, value: Callable[[], int]) -> Expr:
        self.wires += 1
        return LC({self.wires - 1: 1})

    def hints(self, count: int, values: Callable[[], Sequence[int]]) -> list[Expr]:
        first = self.wires
        self.wires += count
        return [LC({first + i: 1}) for i in range(count)]

    def mul(self, a: Expr, b: Expr) -> Expr:
        return self.mul_add(a, b, 0)

    def mul_add(self, a: Expr, b: Expr, c: Expr) -> Expr:
        wire = self.hint(lambda: 0)
        self.enforce(a, b, wire - c)
        return wire

    def enforce(self, a: Expr, b: Expr, c: Expr) -> None:
        buffer, positions = self._buffer, self._positions
        for side in (a, b, c):
            terms = _lc(side).terms
            buffer += len(terms).to_bytes(4, "little")
            for wire in sorted(terms):
                positions.append(len(buffer) >> 2)
                buffer += wire.to_bytes(4, "little")
                buffer += terms[wire].to_bytes(32, "little")
        self.constraints += 1

    def stamp(self, template: Template[H], inputs: Sequence[Expr], hints: H | None = None) -> list[Expr]:
        compiled = self.cache.get(template.name)
        if compiled is None:
            inner = Recorder(inputs=template.inputs, cache=self.cache)
            outputs = template.body(inner, [LC({1 + i: 1}) for i in range(template.inputs)], None)
            compiled = inner.compiled(outputs)
            self.cache[template.name] = compiled
        if len(inputs) != template.inputs:
            raise ValueError(f"{template.name} takes {template.inputs} inputs, not {len(inputs)}")
        mapping = np.empty(1 + compiled.inputs + compiled.internal, dtype=np.uint32)
        mapping[0] = ONE_WIRE
        mapping[1 : 1 + compiled.inputs] = [_single(x, template.name) for x in inputs]
        mapping[1 + compiled.inputs :] = np.arange(self.wires, self.wires + compiled.internal, dtype=np.uint32)
        self._flush()
        words = compiled.words.copy()
        words[compiled.positions] = mapping[words[compiled.positions]]
        self._chunks.append((words, compiled.positions))
        self.stamps.append(
            Stamped(
                name=template.name,
                first_wire=self.wires,
                wires=compiled.internal,
                first_constraint=self.constraints,
                constraints=compiled.constraints,
            )
        )
        self.wires += compiled.internal
        self.constraints += compiled.constraints
        return [
            plus(LC({int(mapping[wire]): c}) for wire, c in output.terms.items()) if output.terms else 0
            for output in compiled.outputs
        ]

    def _flush(self) -> None:
        if self._buffer:
            words = np.frombuffer(bytes(self._buffer), dtype=np.uint32)
            self._chunks.append((words, np.array(self._positions, dtype=np.int64)))
            self._buffer, self._positions = bytearray(), []

    def compiled(self, outputs: Sequence[Expr]) -> _Compiled:
        """The recorded gadget as one array."""
        self._flush()
        offsets = np.cumsum([0] + [len(words) for words, _ in self._chunks])
        empty = np.empty(0, dtype=np.uint32)
        return _Compiled(
            words=np.concatenate([empty, *(words for words, _ in self._chunks)]),
            positions=np.concatenate(
                [np.empty(0, dtype=np.int64)]
                + [positions + int(at) for (_, positions), at in zip(self._chunks, offsets[:-1], strict=True)]
            ),
            inputs=self.inputs,
            internal=self.wires - 1 - self.inputs,
            constraints=self.constraints,
            outputs=tuple(_lc(x) for x in outputs),
        )

    def r1cs(self, public: int) -> bytes:
        """The `.r1cs` file; wires 1..public are the public inputs."""
        self._flush()
        header = struct.pack("<I", 32) + _PRIME_BYTES
        header += struct.pack("<IIIIQI", self.wires, 0, public, self.wires - 1 - public, self.wires, self.constraints)
        labels = np.arange(self.wires, dtype="<u8").tobytes()
        size = sum(4 * len(words) for words, _ in self._chunks)
        parts = [
            b"r1cs" + struct.pack("<II", 1, 3),
            struct.pack("<IQ", 1, len(header)) + header,
            struct.pack("<IQ", 2, size),
            *(words.astype("<u4", copy=False).tobytes() for words, _ in self._chunks),
            struct.pack("<IQ", 3, len(labels)) + labels,
        ]
        return b"".join(parts)


def _single(x: Expr, name: str) -> int:
    if isinstance(x, LC) and len(x.terms) == 1:
        ((wire, coefficient),) = x.terms.items()
        if coefficient == 1:
            return wire
    raise ValueError(f"an input of {name} is not a single wire; define() it first")


# -- assigning ---------------------------------------------------------------------------------------------------------


class Unsatisfied(Exception):
    """An assignment breaks a constraint."""

    def __init__(self, wires: int) -> None:
        self.wires = wires
        super().__init__(f"a constraint fails after {wires} wires were assigned")


@dataclass(slots=True)
class Assigner(Builder):
    """Fills wires in the order in which `Recorder` numbered them."""

    strict: bool = False
    """Raise Unsatisfied at the first constraint that fails among those that gadgets evaluate while assigning."""
    values: list[int] = field(init=False, default_factory=lambda: [1])
    recording: bool = field(init=False, default=False)

    def hint(self, value: Callable[[], int]) -> Expr:
        x = value() % R
        self.values.append(x)
        return x

    def hints(self, count: int, values: Callable[[], Sequence[int]]) -> list[Expr]:
        xs = values()
        if len(xs) != count:
            raise ValueError(f"{len(xs)} values for {count} wires")
        self.values += xs
        return list(xs)

    def mul(self, a: Expr, b: Expr) -> Expr:
        return self.mul_add(a, b, 0)

    def mul_add(self, a: Expr, b: Expr, c: Expr) -> Expr:
        x = (value(a) * value(b) + value(c)) % R
        self.values.append(x)
        return x

    def enforce(self, a: Expr, b: Expr, c: Expr) -> None:
        if self.strict and (value(a) * value(b) - value(c)) % R:
            raise Unsatisfied(len(self.values))

    def stamp(self, template: Template[H], inputs: Sequence[Expr], hints: H | None = None) -> list[Expr]:
        return list(template.body(self, inputs, hints))


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """All wires, the constant one first. Long runs that nobody reads again stay as bytes."""

    values: list[int] = field(repr=False)
    """Wires that lie in `blocks` are 0 here, but for the last one of each."""
    blocks: Sequence[tuple[int, bytes]] = field(repr=False)
    """First wire and 32-byte little-endian words; in ascending order."""

    def wires(self) -> tuple[int, ...]:
        """Every wire as a field element."""
        out = list(self.values)
        for first, raw in self.blocks:
            out[first : first + len(raw) // 32] = words_of(raw)
        return tuple(out)

    def wtns(self) -> bytes:
        """The `.wtns` file."""
        parts, at = [], 0
        for first, raw in self.blocks:
            parts += [_little_endian(self.values[at:first]), raw]
            at = first + len(raw) // 32
        return _wtns_file(b"".join((*parts, _little_endian(self.values[at:]))))


@dataclass(slots=True)
class BlockAssigner(Assigner):
    """An assigner that keeps blocks as they come."""

    blocks: list[tuple[int, bytes]] = field(init=False, default_factory=list)

    def block(self, count: int, made: Callable[[], bytes]) -> Expr:
        raw = made()
        if len(raw) != 32 * count:
            raise ValueError(f"{len(raw)} bytes for {count} wires")
        self.blocks.append((len(self.values), raw))
        last = int.from_bytes(raw[-32:], "little")
        self.values += [0] * (count - 1)
        self.values.append(last)
        return last

    def assignment(self) -> Assignment:
        """What was assigned."""
        return Assignment(values=self.values, blocks=self.blocks)


def wtns_bytes(values: Sequence[int]) -> bytes:
    """The `.wtns` file of an assignment: all wires, wire 0 first, canonical field elements."""
    return _wtns_file(_little_endian(values))


def _little_endian(values: Sequence[int]) -> bytes:
    return b"".join([x.to_bytes(32, "little") for x in values])


def _wtns_file(body: bytes) -> bytes:
    header = struct.pack("<I", 32) + _PRIME_BYTES + struct.pack("<I", len(body) // 32)
    return b"".join(
        (
            b"wtns" + struct.pack("<II", 2, 2),
            struct.pack("<IQ", 1, len(header)) + header,
            struct.pack("<IQ", 2, len(body)) + body,
        )
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledCircuit:
    """A recorded circuit."""

    r1cs_bytes: bytes
    hash: str
    """SHA-256 of the `.r1cs` file, hex: the name under which keys are cached."""
    n_constraints: int
    n_wires: int
    """With the constant wire."""
    n_public: int
    stamps: tuple[Stamped, ...]


def compile_circuit(body: Callable[[Builder], object], public: int) -> CompiledCircuit:
    """Record a whole circuit.

    Args:
        body: allocates its public wires first, then everything else.
        public: number of public wires.
    """
    recorder = Recorder()
    body(recorder)
    raw = recorder.r1cs(public)
    return CompiledCircuit(
        r1cs_bytes=raw,
        hash=hashlib.sha256(raw).hexdigest(),
        n_constraints=recorder.constraints,
        n_wires=recorder.wires,
        n_public=public,
        stamps=tuple(recorder.stamps),
    )
