"""Looks for a request's private fields in what others could see of it.

A field counts if it is at least `MIN_FIELD_BYTES` long: shorter ones occur by chance. Fields are looked for as they
are and in the two ways that this project's messages could carry them by mistake: hexadecimal text and reversed byte
order.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Pairs = NDArray[np.bool_]
"""For each pair of bytes, as a little-endian number, whether it is meant."""

MIN_FIELD_BYTES = 16
MIN_DISTINCT_BYTES = 8  # padding and text that repeats itself says nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivateField:
    """Something only the requester and the winner may know before landing."""

    name: str
    value: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Leak:
    """A private field found where it must not be."""

    field: str
    place: str


def private_fields(candidates: Iterable[tuple[str, bytes]]) -> tuple[PrivateField, ...]:
    """Those long enough to be told from chance, without zero padding and without repeats."""
    seen: dict[bytes, str] = {}
    for name, value in candidates:
        core = value.strip(b"\0")
        if len(core) >= MIN_FIELD_BYTES and len(set(core)) >= MIN_DISTINCT_BYTES:
            seen.setdefault(core, name)
    return tuple(PrivateField(name=name, value=value) for value, name in seen.items())


def find_leaks(fields: Iterable[PrivateField], places: Iterable[tuple[str, bytes]]) -> tuple[Leak, ...]:
    """Every (field, place) where the place's bytes contain the field.

    One pass over each place, whatever the number of fields: a process has hundreds of megabytes. Two tables of byte
    pairs say where the anchor of a form may be; only there are they compared.
    """
    by_anchor: dict[bytes, list[tuple[str, bytes, int]]] = {}
    for field in fields:
        for form in (field.value, field.value[::-1], field.value.hex().encode()):
            at = _anchor(form)
            by_anchor.setdefault(form[at : at + 4], []).append((field.name, form, at))
    first, second = np.zeros(1 << 16, np.bool_), np.zeros(1 << 16, np.bool_)
    for anchor in by_anchor:
        first[int.from_bytes(anchor[:2], "little")] = second[int.from_bytes(anchor[2:], "little")] = True
    found: dict[tuple[str, str], None] = {}
    for place, content in places:
        for at in _candidates(content, first, second):
            for name, form, offset in by_anchor.get(content[at : at + 4], ()):
                if at >= offset and content.startswith(form, at - offset):
                    found[(name, place)] = None
    return tuple(Leak(field=name, place=place) for name, place in found)


def _anchor(form: bytes) -> int:
    """Where the four bytes begin that occur by chance most seldom: different from each other and not zero."""
    return max(range(len(form) - 3), key=lambda at: len(set(form[at : at + 4]) - {0}))


def _candidates(content: bytes, first: Pairs, second: Pairs) -> Iterable[int]:
    """Offsets at which two byte pairs of the tables follow each other."""
    for odd in (0, 1):
        if len(content) >= 4 + odd:
            pairs = np.frombuffer(content, "<u2", count=(len(content) - odd) // 2, offset=odd)
            places = np.flatnonzero(first[pairs[:-1]] & second[pairs[1:]])
            yield from (2 * int(place) + odd for place in places)


def files_under(folder: Path) -> Iterable[tuple[str, bytes]]:
    """Every file of a node's folder, database and write-ahead log included."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield str(path), path.read_bytes()


def process_memory(pid: int, *, chunk_bytes: int = 1 << 24) -> Iterable[tuple[str, bytes]]:
    """Readable private memory of a process of the same user (Linux), in chunks that overlap by 4 KiB."""
    with Path(f"/proc/{pid}/maps").open() as maps, Path(f"/proc/{pid}/mem").open("rb", 0) as memory:
        for line in maps:
            span, modes, *_ = line.split()
            if not modes.startswith("rw"):
                continue
            start, end = (int(part, 16) for part in span.split("-"))
            at = start
            while at < end:
                size = min(chunk_bytes, end - at)
                try:
                    memory.seek(at)
                    content = memory.read(size)
                except (OSError, ValueError, OverflowError):
                    break
                yield f"memory {at:x}", content
                at += size if size < chunk_bytes else size - 4096
