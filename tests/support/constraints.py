"""A plain checker of assignments against `.r1cs` bytes: the judge in tests, whatever recorded the circuit."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from protocol.constants import FIELD_ORDER as R

Terms = tuple[tuple[int, int], ...]


@dataclass(slots=True)
class R1cs:
    """Constraints read back from a `.r1cs` file."""

    wires: int
    public: int
    constraints: list[tuple[Terms, Terms, Terms]]
    _touching: dict[int, list[int]] = field(init=False, default_factory=dict)

    def violated(self, values: Sequence[int]) -> Iterator[int]:
        """Numbers of the constraints that an assignment breaks."""
        for number in range(len(self.constraints)):
            if not self.holds(number, values):
                yield number

    def holds(self, number: int, values: Sequence[int]) -> bool:
        """Whether one constraint holds."""
        a, b, c = (sum(k * values[w] for w, k in side) for side in self.constraints[number])
        return (a * b - c) % R == 0

    def touching(self, wire: int) -> list[int]:
        """Numbers of the constraints in which a wire occurs."""
        if not self._touching:
            for number, sides in enumerate(self.constraints):
                for w in {w for side in sides for w, _ in side}:
                    self._touching.setdefault(w, []).append(number)
        return self._touching.get(wire, [])


def read_r1cs(raw: bytes) -> R1cs:
    """Parse a `.r1cs` file that this package wrote; not for untrusted input.

    Raises:
        ValueError: another format or field.
    """
    if raw[:4] != b"r1cs":
        raise ValueError("not an .r1cs file")
    sections: dict[int, memoryview] = {}
    at = 12
    view = memoryview(raw)
    while at < len(raw):
        kind, size = struct.unpack_from("<IQ", raw, at)
        sections[kind] = view[at + 12 : at + 12 + size]
        at += 12 + size
    header = sections[1]
    if int.from_bytes(header[4:36], "little") != R:
        raise ValueError("another field")
    wires, outputs, inputs = struct.unpack_from("<III", header, 36)
    (count,) = struct.unpack_from("<I", header, 60)
    body, at = bytes(sections[2]), 0
    known: dict[bytes, int] = {}
    constraints = []
    for _ in range(count):
        sides = []
        for _ in range(3):
            terms = int.from_bytes(body[at : at + 4], "little")
            at += 4
            side = []
            for _ in range(terms):
                key = body[at + 4 : at + 36]
                coefficient = known.get(key)
                if coefficient is None:
                    coefficient = known[key] = int.from_bytes(key, "little")
                side.append((int.from_bytes(body[at : at + 4], "little"), coefficient))
                at += 36
            sides.append(tuple(side))
        constraints.append((sides[0], sides[1], sides[2]))
    return R1cs(wires=wires, public=outputs + inputs, constraints=constraints)
