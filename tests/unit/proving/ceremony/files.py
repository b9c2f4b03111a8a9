"""A small ceremony of two contributions and a beacon, made once, and ways to take its files apart."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from proving.ceremony import phase1, phase2
from proving.ceremony.parameters import Beacon
from proving.r1cs import R1cs
from tests.unit.proving.circuits import random_circuit

POWER = 3
BEACON = Beacon(value=bytes(range(1, 33)), iterations_exponent=10)


@dataclass(frozen=True)
class Files:
    """The bytes of each stage."""

    blank: bytes
    contributed: bytes
    closed: bytes
    """After the beacon."""
    prepared: bytes
    r1cs: R1cs
    blank_key: bytes
    key: bytes
    """Two contributions and the beacon."""


@cache
def ceremony() -> Files:
    """From fixed seeds, so that every run looks at the same bytes."""
    circuit = random_circuit(5, 1, seed=4).r1cs()
    with TemporaryDirectory() as name:
        folder = Path(name)
        phase1.new(POWER, folder / "0")
        phase1.contribute_with_fixed_seed_for_tests(folder / "0", folder / "1", bytes(32))
        phase1.contribute_with_fixed_seed_for_tests(folder / "1", folder / "2", b"\1" * 32)
        phase1.apply_beacon(folder / "2", folder / "3", BEACON, "beacon")
        phase1.prepare(folder / "3", folder / "4")
        phase2.new_key(circuit, folder / "4", folder / "k0")
        phase2.contribute_with_fixed_seed_for_tests(folder / "k0", folder / "k1", b"\2" * 32)
        phase2.contribute_with_fixed_seed_for_tests(folder / "k1", folder / "k2", b"\3" * 32)
        phase2.apply_beacon(folder / "k2", folder / "k3", BEACON)
        blank, contributed, closed, prepared, blank_key, key = (
            (folder / part).read_bytes() for part in ("0", "2", "3", "4", "k0", "k3")
        )
    return Files(blank, contributed, closed, prepared, circuit, blank_key, key)


def sections(data: bytes) -> dict[int, bytes]:
    """Numbered sections of any of the file formats."""
    (count,) = struct.unpack_from("<I", data, 8)
    at, found = 12, {}
    for _ in range(count):
        number, size = struct.unpack_from("<IQ", data, at)
        found[number] = data[at + 12 : at + 12 + size]
        at += 12 + size
    return found


def assemble(data: bytes, parts: list[tuple[int, bytes]]) -> bytes:
    """A file with the magic and version of another one."""
    body = b"".join(struct.pack("<IQ", number, len(content)) + content for number, content in parts)
    return data[:8] + struct.pack("<I", len(parts)) + body


def with_section(data: bytes, number: int, change: Callable[[bytes], bytes]) -> bytes:
    """One section changed."""
    return assemble(data, [(n, change(c) if n == number else c) for n, c in sections(data).items()])


def swapped(size: int, i: int, j: int) -> Callable[[bytes], bytes]:
    """Two points of a section in each other's place."""

    def change(content: bytes) -> bytes:
        parts = [content[at : at + size] for at in range(0, len(content), size)]
        parts[i], parts[j] = parts[j], parts[i]
        return b"".join(parts)

    return change


def placed(at: int, point: bytes) -> Callable[[bytes], bytes]:
    """Bytes of a section replaced."""
    return lambda content: content[:at] + point + content[at + len(point) :]
