"""A proving key in the form that the core's kernels read: one image, in memory or in a file, made from a .zkey.

Points at infinity are left out and each other point names its scalar; coefficients are rows of numbers into a table of
distinct values; the G1 form of B is not there (see `groth16`). The image: a header of `_HEADER_BYTES` with sizes and
checksums, then the sections, each on a 64-byte boundary.

What is checked of the .zkey here: sections and sizes (`read_zkey`), every index, every coordinate and the curve
equation of every point. Membership of B's points in the subgroup is not: a proof made with such a point fails its
self-check.
"""

from __future__ import annotations

import ctypes
import mmap
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol, Self

from proving.errors import PreparedKeyDamaged
from proving.native import DEFAULT_OPTIONS, Data, KeyArg, Options, PointSetArg, load, view, writable
from proving.zkey import COEFFICIENT_BYTES, Zkey

MAGIC: Final = b"unvk"
VERSION: Final = 1
SECTIONS: Final = (
    "header_points", "ic", "row_ends", "terms", "values",
    "a_points", "a_scalars", "b2_points", "b2_scalars", "l_points", "l_scalars", "h_points", "h_scalars",
)  # fmt: skip
_NUMBERS: Final = struct.Struct("<4sIIIII")
"""Magic, version, radix bits, wires, public inputs, domain."""
_ENTRY: Final = struct.Struct("<QQQ")
"""Offset, size and checksum of a section."""
_HEADER_BYTES: Final = 4096
_ALIGNMENT: Final = 64
_POINTS_AT_ONCE: Final = 1 << 16


class Sink(Protocol):
    """Where an image is written: a file, or an anonymous mapping."""

    def write(self, data: Data, /) -> int: ...
    def seek(self, position: int, /) -> object: ...
    def tell(self) -> int: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedKey:
    """A proving key for the paths of one radix. The sections are views of the image."""

    radix_bits: int
    """256 for the portable and the adx path, 260 for IFMA."""
    n_wires: int
    n_public: int
    domain: int
    sections: dict[str, memoryview]

    @classmethod
    def from_image(cls, image: memoryview, options: Options = DEFAULT_OPTIONS) -> Self:
        """Opens an image.

        Raises:
            PreparedKeyDamaged: another version, cut short, or a checksum that does not fit.
        """
        if len(image) < _HEADER_BYTES:
            raise PreparedKeyDamaged(f"{len(image)} bytes")
        header_end = _NUMBERS.size + len(SECTIONS) * _ENTRY.size
        magic, version, radix_bits, wires, public, domain = _NUMBERS.unpack_from(image)
        if magic != MAGIC or version != VERSION:
            raise PreparedKeyDamaged(f"magic {magic!r}, version {version}")
        if struct.unpack_from("<Q", image, header_end) != (_checksum(image[:header_end], options),):
            raise PreparedKeyDamaged("the header does not fit its checksum")
        sections = {}
        for i, name in enumerate(SECTIONS):
            offset, size, checksum = _ENTRY.unpack_from(image, _NUMBERS.size + i * _ENTRY.size)
            section = image[offset : offset + size]
            if len(section) != size or _checksum(section, options) != checksum:
                raise PreparedKeyDamaged(f"section {name} is cut short or does not fit its checksum")
            release_pages(section)  # the proof reads its sections one after the other
            sections[name] = section
        return cls(radix_bits=radix_bits, n_wires=wires, n_public=public, domain=domain, sections=sections)

    def argument(self) -> KeyArg:
        plain = [view(self.sections[name]) for name in SECTIONS[:5]]
        sets = [
            PointSetArg(view(self.sections[f"{name}_points"]), view(self.sections[f"{name}_scalars"]))
            for name in ("a", "b2", "l", "h")
        ]
        out = KeyArg(self.n_wires, self.n_public, self.domain, self.radix_bits, *plain, *sets)
        out.owner = self  # a structure holds addresses only
        return out

    def release_rows(self) -> None:
        """Gives back the memory of the coefficients' pages, which a proof does not read once it has the quotient."""
        for name in ("row_ends", "terms", "values"):
            release_pages(self.sections[name])


def radix_bits(options: Options = DEFAULT_OPTIONS) -> int:
    """The radix of the keys that a path reads."""
    bits = ctypes.c_uint32()
    load().call("key_radix_bits", options, ctypes.byref(bits))
    return bits.value


def prepare(zkey: Zkey, options: Options = DEFAULT_OPTIONS) -> PreparedKey:
    """Prepares a key in memory, for the path of the options.

    Raises:
        ZkeyMalformed: an index, a coefficient or a point is out of range, or a point is off its curve.
    """
    image = mmap.mmap(-1, _largest_image(zkey))  # zero pages: what is not written takes no memory
    entries = write_sections(zkey, image, options)
    image.seek(0)
    image.write(seal(zkey, entries, memoryview(image), options))
    return PreparedKey.from_image(memoryview(image), options)


def write_sections(zkey: Zkey, sink: Sink, options: Options = DEFAULT_OPTIONS) -> list[tuple[int, int]]:
    """Writes the sections of a key's image, for the path of the options, and leaves room for the header.

    Returns:
        Offset and size of each section, for `seal`.

    Raises:
        ZkeyMalformed: see `prepare`.
    """
    entries = []
    sink.seek(_HEADER_BYTES)
    for chunks in _sections(zkey, radix_bits(options), options):
        sink.write(bytes(-sink.tell() % _ALIGNMENT))
        offset = sink.tell()
        for chunk in chunks:
            sink.write(chunk)
        entries.append((offset, sink.tell() - offset))
    return entries


def seal(zkey: Zkey, entries: list[tuple[int, int]], image: memoryview, options: Options = DEFAULT_OPTIONS) -> bytes:
    """The header of an image whose sections are written; it belongs at position 0."""
    header = _NUMBERS.pack(MAGIC, VERSION, radix_bits(options), zkey.n_wires, zkey.n_public, zkey.domain)
    for offset, size in entries:
        header += _ENTRY.pack(offset, size, _checksum(image[offset : offset + size], options))
    return (header + struct.pack("<Q", _checksum(header, options))).ljust(_HEADER_BYTES, b"\0")


def _largest_image(zkey: Zkey) -> int:
    points = sum(len(section) // size * (size + 4) for section, size in _point_sections(zkey))
    coefficients = 8 * zkey.domain + 40 * (len(zkey.coefficients) // COEFFICIENT_BYTES)
    padding = _ALIGNMENT * len(SECTIONS)
    return _HEADER_BYTES + len(zkey.header_points) + len(zkey.ic) + points + coefficients + padding


def _point_sections(zkey: Zkey) -> tuple[tuple[Data, int], ...]:
    return ((zkey.a, 64), (zkey.b2, 128), (zkey.l, 64), (zkey.h, 64))


def _sections(zkey: Zkey, radix: int, options: Options) -> Iterator[Iterable[Data]]:
    """The sections in the order of SECTIONS, each in pieces that are used up before the next is asked for."""
    yield (zkey.header_points,)
    yield (zkey.ic,)
    for part in _coefficients(zkey, options):
        yield (part,)
    for (section, size), first in zip(_point_sections(zkey), (0, 0, zkey.n_public + 1, 0), strict=True):
        scalars: list[Data] = []
        yield _points(memoryview(section), size, first, radix, options, scalars)
        yield scalars


def _coefficients(zkey: Zkey, options: Options) -> tuple[bytearray, bytearray, bytearray]:
    n_values = ctypes.c_uint32()

    def call(*buffers: bytearray) -> None:
        arguments = (view(zkey.coefficients), zkey.n_wires, zkey.domain, *(writable(buffer) for buffer in buffers))
        load().call("prepare_coefficients", options, *arguments, ctypes.byref(n_values))

    call(bytearray(), bytearray(), bytearray())
    n_terms = len(zkey.coefficients) // COEFFICIENT_BYTES
    out = (bytearray(8 * zkey.domain), bytearray(8 * n_terms), bytearray(32 * n_values.value))
    call(*out)
    release_pages(zkey.coefficients)
    return out


def _points(
    section: memoryview, size: int, first: int, radix: int, options: Options, scalars: list[Data]
) -> Iterator[memoryview]:
    """The points of a section in pieces; their scalars' numbers are added to `scalars`."""
    group = 1 if size == 64 else 2
    points, numbers = bytearray(size * _POINTS_AT_ONCE), bytearray(4 * _POINTS_AT_ONCE)
    for at in range(0, len(section), len(points)):
        piece = section[at : at + len(points)]
        count, kept = len(piece) // size, ctypes.c_uint32()
        load().call(
            "prepare_points", options, group, radix, view(piece), first + at // size,
            writable(memoryview(points)[: len(piece)]), writable(memoryview(numbers)[: 4 * count]), ctypes.byref(kept),
        )  # fmt: skip
        release_pages(piece)
        scalars.append(bytes(numbers[: 4 * kept.value]))
        yield memoryview(points)[: size * kept.value]


def release_pages(data: Data) -> None:
    """Gives back the memory of a part of a mapped file that will not be read again soon; anything else stays as it is.

    Files are mapped for reading only. An anonymous mapping would lose what it holds.
    """
    part = memoryview(data)
    source = part.obj
    if not part.nbytes or not part.readonly or not isinstance(source, mmap.mmap) or not hasattr(source, "madvise"):
        return
    begin = view(data).data - view(memoryview(source)).data
    first, last = -(-begin // mmap.PAGESIZE), (begin + len(data)) // mmap.PAGESIZE
    if first < last:
        source.madvise(mmap.MADV_DONTNEED, first * mmap.PAGESIZE, (last - first) * mmap.PAGESIZE)


def _checksum(data: Data, options: Options) -> int:
    total = ctypes.c_uint64()
    load().call("checksum", options, view(data), ctypes.byref(total))
    return total.value
