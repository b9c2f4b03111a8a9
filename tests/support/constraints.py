"""A second, plain reader of `.r1cs` bytes: which constraints hold, which touch a wire, which wires are determined."""

from __future__ import annotations

import struct
from collections.abc import Callable, Container, Iterator, Sequence

import numpy as np

from protocol.constants import FIELD_ORDER as R

Terms = list[tuple[int, int]]


class Constraints:
    """Constraints of a file, parsed one by one when they are asked for."""

    def __init__(self, raw: bytes) -> None:
        assert raw[:4] == b"r1cs"
        sections = {}
        at = 12
        while at < len(raw):
            kind, size = struct.unpack_from("<IQ", raw, at)
            sections[kind] = raw[at + 12 : at + 12 + size]
            at += 12 + size
        self.wires, outputs, inputs = struct.unpack_from("<III", sections[1], 36)
        self.public = outputs + inputs
        (self.count,) = struct.unpack_from("<I", sections[1], 60)
        self._body = np.frombuffer(sections[2], dtype="<u4")
        self._bytes = sections[2]
        sizes, starts, at = [], [], 0
        words = memoryview(self._body)
        for _ in range(3 * self.count):
            starts.append(at)
            size = words[at]
            sizes.append(size)
            at += 1 + 9 * size
        assert at == len(self._body)
        self._starts = starts
        # Term k of a side that starts at s has its wire at s + 1 + 9 k.
        lengths = np.array(sizes, dtype=np.int64)
        first = np.repeat(np.array(starts, dtype=np.int64) + 1, lengths)
        offset = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        wires = self._body[first + 9 * offset]
        owners = np.repeat(np.arange(3 * self.count) // 3, lengths)
        order = np.argsort(wires, kind="stable")
        self._owners = owners[order]
        self._bounds = np.searchsorted(wires[order], np.arange(self.wires + 1))

    def _side(self, number: int) -> Terms:
        at = self._starts[number]
        body, raw = self._body, self._bytes
        return [
            (int(body[p]), int.from_bytes(raw[4 * p + 4 : 4 * p + 36], "little"))
            for p in range(at + 1, at + 1 + 9 * int(body[at]), 9)
        ]

    def sides(self, number: int) -> tuple[Terms, Terms, Terms]:
        """A, B, C of one constraint."""
        return self._side(3 * number), self._side(3 * number + 1), self._side(3 * number + 2)

    def holds(self, number: int, values: Sequence[int]) -> bool:
        """Whether one constraint holds."""
        a, b, c = (sum(k * values[w] for w, k in side) for side in self.sides(number))
        return (a * b - c) % R == 0

    def broken(self, values: Sequence[int]) -> Iterator[int]:
        """Numbers of the constraints that an assignment breaks."""
        return (number for number in range(self.count) if not self.holds(number, values))

    def touching(self, wire: int) -> list[int]:
        """Numbers of the constraints in which a wire occurs."""
        return sorted({int(x) for x in self._owners[self._bounds[wire] : self._bounds[wire + 1]]})

    def is_free(self, values: list[int], wire: int, other: int) -> bool:
        """Whether an assignment still holds after one wire was changed."""
        kept = values[wire]
        values[wire] = other % R
        free = all(self.holds(number, values) for number in self.touching(wire))
        values[wire] = kept
        return free

    def free(self, values: Sequence[int], changes: Sequence[Callable[[int], int]]) -> list[int]:
        """Wires of an assignment that holds which could change alone, in one of some ways, without breaking it.

        All at once: a side changes by coefficient times step, so that each term is looked at once for each change.
        """
        steps = [[(change(x) - x) % R for x in values] for change in changes]
        # What is left for a wire is the ways in which it may still change.
        left = [{way for way, step in enumerate(steps) if step[wire]} for wire in range(self.wires)]
        for number in range(self.count):
            a, b, c = (dict(side) for side in self.sides(number))
            left_sum, right_sum, out = (sum(k * values[w] for w, k in side.items()) % R for side in (a, b, c))
            assert (left_sum * right_sum - out) % R == 0
            for wire in c.keys() - a.keys() - b.keys():
                left[wire].clear()
            for wire in a.keys() | b.keys():
                ka, kb, kc = a.get(wire, 0), b.get(wire, 0), c.get(wire, 0)
                broken = set()
                for way in left[wire]:
                    step = steps[way][wire]
                    if ((left_sum + ka * step) * (right_sum + kb * step) - out - kc * step) % R:
                        broken.add(way)
                left[wire] -= broken
        return [wire for wire, ways in enumerate(left) if ways]

    def undetermined(self, values: Sequence[int], known: Container[int]) -> list[int]:
        """Wires that could move together without breaking a constraint to first order, if the known ones stay.

        The constraints' derivative at the assignment is brought to echelon form over Fr; wires without a pivot are
        returned. None means that the assignment is locally the only one.
        """
        pivots: dict[int, dict[int, int]] = {}
        for number in range(self.count):
            a, b, c = self.sides(number)
            left = sum(k * values[w] for w, k in a)
            right = sum(k * values[w] for w, k in b)
            row: dict[int, int] = {}
            for terms, factor in ((a, right), (b, left), (c, -1)):
                for wire, k in terms:
                    if wire not in known:
                        row[wire] = (row.get(wire, 0) + k * factor) % R
            row = {wire: k for wire, k in row.items() if k}
            while row:
                wire = max(row)
                pivot = pivots.get(wire)
                if pivot is None:
                    scale = pow(row[wire], -1, R)
                    pivots[wire] = {w: k * scale % R for w, k in row.items()}
                    break
                factor = row[wire]
                for w, k in pivot.items():
                    rest = (row.get(w, 0) - factor * k) % R
                    if rest:
                        row[w] = rest
                    else:
                        row.pop(w, None)
        return [wire for wire in range(self.wires) if wire not in known and wire not in pivots]
