"""The container that .r1cs, .wtns and .zkey files share: magic, version, and a table of numbered sections.

Layout, little-endian: magic (4 bytes), u32 version, u32 number of sections; then for each u32 id, u64 size, data. Any
order of sections is valid; a reader must not assume one.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from typing import BinaryIO, Final

from proving.bn254 import Q, R
from proving.errors import MalformedInput
from proving.native import Data

MAX_SECTIONS: Final = 32
"""The largest count in use is 10 (zkey)."""
SCALAR_FIELD: Final = struct.pack("<I", 32) + R.to_bytes(32, "little")
"""Header of every file: the byte length of a scalar and the order r of BN254."""
BASE_FIELD: Final = struct.pack("<I", 32) + Q.to_bytes(32, "little")


def read_sections(
    data: memoryview, magic: bytes, version: int, error: type[MalformedInput]
) -> Mapping[int, memoryview]:
    """Splits a file into its sections without copying.

    Args:
        error: raised, with the reason, for anything that is not exactly the container: wrong magic or version, more
            than MAX_SECTIONS sections, a section repeated or cut short, bytes after the last one.
    """
    if len(data) < 12:
        raise error(f"{len(data)} bytes are too few for a header")
    if bytes(data[:4]) != magic:
        raise error(f"the file does not begin with {magic!r}")
    found_version, count = struct.unpack_from("<II", data, 4)
    if found_version != version:
        raise error(f"version {found_version}, expected {version}")
    if count > MAX_SECTIONS:
        raise error(f"{count} sections, at most {MAX_SECTIONS} are possible")
    sections: dict[int, memoryview] = {}
    at = 12
    for _ in range(count):
        if len(data) - at < 12:
            raise error(f"the section table is cut short at byte {at}")
        number, size = struct.unpack_from("<IQ", data, at)
        at += 12
        if size > len(data) - at:
            raise error(f"section {number} claims {size} bytes and {len(data) - at} are left")
        if number in sections:
            raise error(f"section {number} occurs twice")
        sections[number] = data[at : at + size]
        at += size
    if at != len(data):
        raise error(f"{len(data) - at} bytes follow the last section")
    return sections


def require_section(
    sections: Mapping[int, memoryview], number: int, size: int | None, error: type[MalformedInput]
) -> memoryview:
    """One section, of exactly `size` bytes when that is given."""
    if number not in sections:
        raise error(f"section {number} is missing")
    section = sections[number]
    if size is not None and len(section) != size:
        raise error(f"section {number} has {len(section)} bytes, expected {size}")
    return section


def write_sections(sink: BinaryIO, magic: bytes, version: int, sections: Iterable[tuple[int, Data]]) -> None:
    listed = list(sections)
    sink.write(magic + struct.pack("<II", version, len(listed)))
    for number, data in listed:
        sink.write(struct.pack("<IQ", number, len(data)))
        sink.write(data)
