"""iden3 .wtns files: the values of all wires of one satisfied circuit. They are secret, so holders wipe them."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO, FileIO
from pathlib import Path
from typing import Final, Self

from proving.bn254 import R
from proving.errors import WitnessMalformed
from proving.native import Data, wipe
from proving.sections import SCALAR_FIELD, read_sections, require_section, write_sections

MAGIC: Final = b"wtns"
VERSION: Final = 2
MAX_WTNS_BYTES: Final = 8 << 30
"""8 GiB: 2^28 values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Witness:
    """Secret wire values: n x 32 bytes, little-endian, below r; value 0 is 1.

    The buffer is overwritten by `wipe`; integers taken out of it are not. Nothing that computes with it is constant
    time: whoever can measure a proof's time or caches may learn of its values.
    """

    values: bytearray = field(repr=False)

    @classmethod
    def from_ints(cls, values: Sequence[int]) -> Self:
        """Values in [0, r); wire 0 included."""
        return cls(values=bytearray(b"".join(value.to_bytes(32, "little") for value in values)))

    def __len__(self) -> int:
        return len(self.values) // 32

    def __getitem__(self, wire: int) -> int:
        if not 0 <= wire < len(self):
            raise IndexError(wire)
        return int.from_bytes(self.values[32 * wire : 32 * wire + 32], "little")

    def public(self, n_public: int) -> tuple[int, ...]:
        """The public values of the proof: wires 1..n_public."""
        return tuple(self[wire] for wire in range(1, n_public + 1))

    def wipe(self) -> None:
        wipe(self.values)


def read_wtns(source: Path | Data) -> Witness:
    """Reads a .wtns file or its bytes; range and satisfaction are checked where the values are used, in the core.

    Raises:
        WitnessMalformed: not exactly a BN254 witness.
    """
    if isinstance(source, Path):
        size = source.stat().st_size
        if size > MAX_WTNS_BYTES:
            raise WitnessMalformed(f"{size} bytes, the limit is {MAX_WTNS_BYTES}")
        data = bytearray(size)
        try:
            with source.open("rb", buffering=0) as file:  # a buffer of the file object's would keep a copy
                _fill(file, data)
            return _parse(data)
        finally:
            wipe(data)
    return _parse(source)


def _fill(file: FileIO, data: bytearray) -> None:
    with memoryview(data) as whole:
        at = 0
        while at < len(data):
            got = file.readinto(whole[at:])
            if not got:
                raise WitnessMalformed("the file shrank while it was read")
            at += got


def _parse(data: Data) -> Witness:
    with memoryview(data) as whole:
        sections = read_sections(whole, MAGIC, VERSION, WitnessMalformed)
        try:
            if set(sections) != {1, 2}:
                raise WitnessMalformed(f"sections {sorted(sections)}, expected 1 and 2")
            header = require_section(sections, 1, len(SCALAR_FIELD) + 4, WitnessMalformed)
            if bytes(header[: len(SCALAR_FIELD)]) != SCALAR_FIELD:
                raise WitnessMalformed("the field is not the scalar field of BN254")
            (count,) = struct.unpack_from("<I", header, len(SCALAR_FIELD))
            return Witness(values=bytearray(require_section(sections, 2, 32 * count, WitnessMalformed)))
        finally:
            for section in sections.values():
                section.release()


def write_wtns(witness: Witness) -> bytes:
    """The bytes of a .wtns file."""
    for wire in range(len(witness)):
        if witness[wire] >= R:
            raise WitnessMalformed(f"witness value {wire} is not below r")
    sink = BytesIO()
    header = SCALAR_FIELD + struct.pack("<I", len(witness))
    write_sections(sink, MAGIC, VERSION, [(1, header), (2, witness.values)])
    return sink.getvalue()


@contextmanager
def as_witness(source: Path | Data | Witness) -> Iterator[Witness]:
    """A witness for the time of the block. One that was read here is wiped at its end; the caller's own is not."""
    if isinstance(source, Witness):
        yield source
        return
    witness = read_wtns(source)
    try:
        yield witness
    finally:
        witness.wipe()
