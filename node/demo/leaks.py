"""Looks for a request's private fields in what others could see of it.

A field counts if it is at least `MIN_FIELD_BYTES` long: shorter ones occur by chance. Fields are looked for as they
are and in the two ways that this project's messages could carry them by mistake: hexadecimal text and reversed byte
order.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

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
    """Every (field, place) where the place's bytes contain the field."""
    forms = [(f.name, form) for f in fields for form in (f.value, f.value[::-1], f.value.hex().encode())]
    found: dict[tuple[str, str], None] = {}
    for place, content in places:
        for name, form in forms:
            if form in content:
                found[(name, place)] = None
    return tuple(Leak(field=name, place=place) for name, place in found)


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
