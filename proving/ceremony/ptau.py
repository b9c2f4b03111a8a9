"""iden3 .ptau files: the powers of a tau that nobody knows, and who contributed to it.

Sections: 1 header; 2 tau^i in G1, 2^(p+1) - 1 points; 3 tau^i in G2, 4 alpha tau^i, 5 beta tau^i, 2^p points each;
6 beta in G2; 7 contributions; and after preparation 12, 13, 14, 15: the Lagrange bases of sections 2 to 5 for the
domains 1, 2, ... 2^p one after another, and of section 2 for 2^(p+1) too.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from proving.ceremony.calls import BLAKE2B_STATE_BYTES, Blake2b, generator
from proving.ceremony.parameters import Parameters
from proving.errors import PtauMalformed
from proving.native import Data
from proving.sections import BASE_FIELD, read_sections, require_section
from proving.zkey import points_to_evm

MAGIC: Final = b"ptau"
VERSION: Final = 1
MAX_POWER: Final = 27
"""The double domain of a circuit needs a root of unity of order 2^28."""
MAX_PTAU_BYTES: Final = 1 << 40
MAX_CONTRIBUTIONS: Final = 1 << 16
LAGRANGE: Final = {2: 12, 3: 13, 4: 14, 5: 15}
"""Section of powers -> section of its Lagrange bases."""
GROUP: Final = {2: 1, 3: 2, 4: 1, 5: 1, 6: 2, 12: 1, 13: 2, 14: 1, 15: 1}
PUBLIC_KEY_BYTES: Final = 6 * 64 + 3 * 128
_ACCUMULATED_BYTES: Final = 64 + 128 + 64 + 64 + 128
_FIXED_BYTES: Final = _ACCUMULATED_BYTES + PUBLIC_KEY_BYTES + BLAKE2B_STATE_BYTES + 64 + 8


@dataclass(frozen=True, slots=True, kw_only=True)
class TauKey:
    """What a contributor publishes about one of the three secrets x: s, x s in G1 and x s' in G2 (BGM17 §4)."""

    g1_s: bytes
    g1_sx: bytes
    g2_spx: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class TauContribution:
    """One entry of section 7."""

    tau_g1: bytes
    """tau, alpha and beta after this contribution."""
    tau_g2: bytes
    alpha_g1: bytes
    beta_g1: bytes
    beta_g2: bytes
    keys: tuple[TauKey, TauKey, TauKey]
    """Of tau, alpha, beta."""
    partial_hash: bytes
    """BLAKE2b state over the previous challenge and the new points, compressed; only the keys are missing."""
    next_challenge: bytes
    """64 bytes: BLAKE2b of the response hash and the new points."""
    is_beacon: bool
    parameters: Parameters

    def public_key(self) -> bytes:
        """768 bytes: the six points of G1, then the three of G2."""
        pairs = b"".join(key.g1_s + key.g1_sx for key in self.keys)
        return pairs + b"".join(key.g2_spx for key in self.keys)

    def response_hash(self) -> bytes:
        """64 bytes: what this contributor signed off, shown to them as their contribution's hash."""
        hasher = Blake2b(self.partial_hash)
        hasher.update(public_key_to_evm(self.public_key()))
        return hasher.digest()

    def to_bytes(self) -> bytes:
        parameters = self.parameters.to_bytes()
        return b"".join(
            (
                self.tau_g1, self.tau_g2, self.alpha_g1, self.beta_g1, self.beta_g2, self.public_key(),
                self.partial_hash, self.next_challenge, struct.pack("<II", int(self.is_beacon), len(parameters)),
                parameters,
            )
        )  # fmt: skip


def public_key_to_evm(key: bytes) -> bytes:
    """A public key as it is hashed."""
    return points_to_evm(1, key[: 6 * 64]) + points_to_evm(2, key[6 * 64 :])


@dataclass(frozen=True, slots=True, kw_only=True)
class Ptau:
    """A parsed file; points are views. Ranges, curve and subgroup are not checked here: `phase1_verify` does."""

    power: int
    """2^power points, for circuits of up to that many constraints and public values."""
    ceremony_power: int
    """The power before the file was cut down; equal to `power` otherwise."""
    sections: Mapping[int, Data]
    contributions: tuple[TauContribution, ...]

    @property
    def is_prepared(self) -> bool:
        """Whether a circuit's key can be made from it."""
        return all(number in self.sections for number in LAGRANGE.values())

    def basis(self, section: int, level: int) -> memoryview:
        """The Lagrange basis of a section of powers (2 to 5) for the domain of 2^level."""
        size = 64 * GROUP[section]
        return memoryview(self.sections[LAGRANGE[section]])[size * ((1 << level) - 1) : size * ((2 << level) - 1)]


def point_count(section: int, power: int) -> int:
    """Points of a section in a file of a power."""
    if section == 6:
        return 1
    if section == 2:
        return (2 << power) - 1
    if section == 12:
        return (4 << power) - 1
    return (2 << power) - 1 if section in LAGRANGE.values() else 1 << power


def read_ptau(source: Path | Data) -> Ptau:
    """Reads a file of powers; a file is mapped, not copied.

    Raises:
        PtauMalformed: not exactly such a file over BN254, or sections of sizes that do not belong together.
    """
    if isinstance(source, Path):
        with source.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if not 0 < size <= MAX_PTAU_BYTES:
                raise PtauMalformed(f"{size} bytes")
            source = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    found = read_sections(memoryview(source), MAGIC, VERSION, PtauMalformed)
    known = {1, 2, 3, 4, 5, 6, 7, *LAGRANGE.values()}
    if set(found) - known or (set(found) & set(LAGRANGE.values())) not in (set(), set(LAGRANGE.values())):
        raise PtauMalformed(f"sections {sorted(found)}")
    header = require_section(found, 1, len(BASE_FIELD) + 8, PtauMalformed)
    if bytes(header[: len(BASE_FIELD)]) != BASE_FIELD:
        raise PtauMalformed("the curve is not BN254")
    power, ceremony_power = struct.unpack_from("<II", header, len(BASE_FIELD))
    if not 1 <= power <= ceremony_power <= MAX_POWER + 1 or power > MAX_POWER:
        raise PtauMalformed(f"power {power} of a ceremony of power {ceremony_power}, at most {MAX_POWER} is possible")
    for number in sorted(known - {1, 7}):
        if number in found or number <= 6:
            require_section(found, number, 64 * GROUP[number] * point_count(number, power), PtauMalformed)
    return Ptau(
        power=power,
        ceremony_power=ceremony_power,
        sections={number: data for number, data in found.items() if number not in (1, 7)},
        contributions=_read_contributions(require_section(found, 7, None, PtauMalformed)),
    )


def _read_contributions(section: memoryview) -> tuple[TauContribution, ...]:
    if len(section) < 4:
        raise PtauMalformed("section 7 is cut short")
    (count,) = struct.unpack_from("<I", section)
    if count > MAX_CONTRIBUTIONS:
        raise PtauMalformed(f"{count} contributions, at most {MAX_CONTRIBUTIONS} are accepted")
    at, found = 4, []
    for _ in range(count):
        if len(section) - at < _FIXED_BYTES:
            raise PtauMalformed("a contribution is cut short")
        fixed = bytes(section[at : at + _FIXED_BYTES])
        at += _FIXED_BYTES
        kind, length = struct.unpack_from("<II", fixed, _FIXED_BYTES - 8)
        if kind > 1 or length > len(section) - at:
            raise PtauMalformed(f"a contribution of type {kind} with {length} bytes of parameters")
        found.append(_contribution(fixed, kind == 1, bytes(section[at : at + length])))
        at += length
    if at != len(section):
        raise PtauMalformed(f"{len(section) - at} bytes follow the last contribution")
    return tuple(found)


def _contribution(fixed: bytes, is_beacon: bool, parameters: bytes) -> TauContribution:
    key = fixed[_ACCUMULATED_BYTES : _ACCUMULATED_BYTES + PUBLIC_KEY_BYTES]
    state = fixed[_ACCUMULATED_BYTES + PUBLIC_KEY_BYTES :][:BLAKE2B_STATE_BYTES]
    (pending,) = struct.unpack_from("<Q", state, 200)
    if pending > 128:
        raise PtauMalformed(f"a contribution's hash state has {pending} pending bytes")
    return TauContribution(
        tau_g1=fixed[:64],
        tau_g2=fixed[64:192],
        alpha_g1=fixed[192:256],
        beta_g1=fixed[256:320],
        beta_g2=fixed[320:448],
        keys=(_key(key, 0), _key(key, 1), _key(key, 2)),
        partial_hash=state,
        next_challenge=fixed[-72:-8],
        is_beacon=is_beacon,
        parameters=Parameters.from_bytes(parameters, is_beacon, PtauMalformed),
    )


def _key(key: bytes, i: int) -> TauKey:
    return TauKey(g1_s=key[128 * i :][:64], g1_sx=key[128 * i + 64 :][:64], g2_spx=key[384 + 128 * i :][:128])


@contextmanager
def replaced(path: Path) -> Iterator[BinaryIO]:
    """A file that takes the place of `path` when the block ends well, and leaves no trace when it does not."""
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("wb") as sink:
            yield sink
            sink.flush()
            os.fsync(sink.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


class PtauWriter:
    """Writes a file section by section, so that no more than one section is in memory."""

    def __init__(self, sink: BinaryIO, power: int, ceremony_power: int, n_sections: int) -> None:
        self._sink = sink
        self._power = power
        sink.write(MAGIC + struct.pack("<II", VERSION, n_sections))
        self._head(1, len(BASE_FIELD) + 8)
        sink.write(BASE_FIELD + struct.pack("<II", power, ceremony_power))

    def _head(self, number: int, size: int) -> None:
        self._sink.write(struct.pack("<IQ", number, size))

    def points(self, section: int, parts: Iterable[Data]) -> None:
        """A section of points, in parts that together have its exact size."""
        size = 64 * GROUP[section] * point_count(section, self._power)
        self._head(section, size)
        for part in parts:
            size -= len(part)
            self._sink.write(part)
        assert size == 0, "the parts of a section add up to its size"

    def contributions(self, contributions: Iterable[TauContribution]) -> None:
        """Section 7."""
        listed = [contribution.to_bytes() for contribution in contributions]
        self._head(7, 4 + sum(map(len, listed)))
        self._sink.write(struct.pack("<I", len(listed)) + b"".join(listed))


def first_challenge(power: int) -> bytes:
    """64 bytes: the hash that the first contribution starts from, over the blank file of a power."""
    digest = Blake2b()
    digest.update(Blake2b().digest())
    for section in range(2, 7):
        point = points_to_evm(GROUP[section], generator(GROUP[section]))
        left = point_count(section, power)
        while left > 0:
            part = min(left, 1 << 14)
            digest.update(point * part)
            left -= part
    return digest.digest()
