"""iden3 .zkey files of Groth16 over BN254: a proving key, its verifying key, and who contributed to it.

Sections: 1 protocol, 2 header, 3 IC, 4 coefficients, 5 A, 6 B in G1, 7 B in G2, 8 L, 9 H, 10 contributions. Points are
little-endian in Montgomery form. The large sections stay in the mapped file; the core checks what it uses of them.
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from proving.ceremony.parameters import Parameters
from proving.errors import ZkeyMalformed
from proving.native import DEFAULT_OPTIONS, Data, load, view, writable
from proving.points import MAX_PUBLIC, VerifyingKey
from proving.sections import BASE_FIELD, SCALAR_FIELD, read_sections, require_section, write_sections

MAGIC: Final = b"zkey"
VERSION: Final = 1
GROTH16: Final = 1
MAX_ZKEY_BYTES: Final = 1 << 40
MAX_DOMAIN: Final = 1 << 27
"""The scalar field has roots of unity of order 2^28 and the prover needs the double domain."""
MAX_CONTRIBUTIONS: Final = 1 << 16
HEADER_POINTS_BYTES: Final = 576
COEFFICIENT_BYTES: Final = 44
DEV_KEY_NAME: Final = "UNVETO DEV KEY (known tau): NOT FOR PRODUCTION"
_HEADER_NUMBERS: Final = len(BASE_FIELD) + len(SCALAR_FIELD)
_CONTRIBUTION_FIXED_BYTES: Final = 3 * 64 + 128 + 64 + 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Contribution:
    """One entry of section 10."""

    delta_after: bytes
    """delta in G1 after this contribution, 64 bytes."""
    public_key: bytes
    """g1_s, g1_sx (G1) and g2_spx (G2): 256 bytes."""
    transcript: bytes
    """64 bytes: BLAKE2b of the circuit hash, the earlier contributions, g1_s and g1_sx."""
    is_beacon: bool
    parameters: bytes
    """Type-length-value list: 1 name, 2 iterations exponent, 3 beacon hash."""

    @property
    def name(self) -> str:
        """The contributor's name, empty when there is none."""
        if len(self.parameters) >= 2 and self.parameters[0] == 1:
            return self.parameters[2 : 2 + self.parameters[1]].decode("utf-8", errors="replace")
        return ""

    def to_bytes(self) -> bytes:
        return b"".join(
            (
                self.delta_after,
                self.public_key,
                self.transcript,
                struct.pack("<II", int(self.is_beacon), len(self.parameters)),
                self.parameters,
            )
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Zkey:
    """A parsed proving key; point sections are views in zkey encoding."""

    n_wires: int
    n_public: int
    domain: int
    header_points: Data
    """alpha1 beta1 beta2 gamma2 delta1 delta2."""
    ic: Data
    coefficients: Data
    a: Data
    b1: Data
    b2: Data
    l: Data  # noqa: E741  the letter of ePrint 2016/260 and of the file format
    h: Data
    circuit_hash: bytes
    """64 bytes, csHash in snarkjs: BLAKE2b over the key before any contribution."""
    contributions: tuple[Contribution, ...]

    @property
    def is_dev_key(self) -> bool:
        """True when the key says that its secrets are known."""
        return any(c.name == DEV_KEY_NAME for c in self.contributions)

    def verifying_key(self) -> VerifyingKey:
        """The verifying key inside the proving key.

        Raises:
            PointNotCanonical: a coordinate is not below q.
        """
        return verifying_key_of(self.header_points, self.ic)


def verifying_key_of(header_points: Data, ic: Data) -> VerifyingKey:
    """The verifying key of two parts of a proving key.

    Raises:
        PointNotCanonical: a coordinate is not below q.
    """
    evm = points_to_evm
    points, inputs = memoryview(header_points), memoryview(ic)
    return VerifyingKey.from_bytes(
        evm(1, points[:64])
        + evm(2, points[128:384])
        + evm(2, points[448:576])
        + struct.pack(">I", len(inputs) // 64)
        + evm(1, inputs)
    )


def points_to_evm(group: int, points: Data) -> bytes:
    """Points in zkey encoding as EVM words; group is 1 or 2."""
    out = bytearray(len(points))
    load().call("points_zkey_to_evm", DEFAULT_OPTIONS, group, view(points), writable(out))
    return bytes(out)


def read_zkey(source: Path | Data) -> Zkey:
    """Reads a proving key; a file is mapped, not copied.

    Raises:
        ZkeyMalformed: not exactly a Groth16 key over BN254, or sections of sizes that do not belong together.
    """
    if isinstance(source, Path):
        with source.open("rb") as file:
            size = source.stat().st_size
            if not 0 < size <= MAX_ZKEY_BYTES:
                raise ZkeyMalformed(f"{size} bytes")
            source = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    sections = read_sections(memoryview(source), MAGIC, VERSION, ZkeyMalformed)
    if set(sections) != set(range(1, 11)):
        raise ZkeyMalformed(f"sections {sorted(sections)}, expected 1 to 10")
    if bytes(require_section(sections, 1, 4, ZkeyMalformed)) != struct.pack("<I", GROTH16):
        raise ZkeyMalformed("the protocol is not Groth16")
    header = require_section(sections, 2, _HEADER_NUMBERS + 12 + HEADER_POINTS_BYTES, ZkeyMalformed)
    if bytes(header[:_HEADER_NUMBERS]) != BASE_FIELD + SCALAR_FIELD:
        raise ZkeyMalformed("the curve is not BN254")
    wires, public, domain = struct.unpack_from("<III", header, _HEADER_NUMBERS)
    if public >= wires or public > MAX_PUBLIC:
        raise ZkeyMalformed(f"{public} public inputs in {wires} wires")
    if domain.bit_count() != 1 or domain > MAX_DOMAIN:
        raise ZkeyMalformed(f"domain size {domain} is not a power of two up to {MAX_DOMAIN}")
    circuit_hash, contributions = _read_contributions(sections[10])
    return Zkey(
        n_wires=wires,
        n_public=public,
        domain=domain,
        header_points=header[_HEADER_NUMBERS + 12 :],
        ic=require_section(sections, 3, 64 * (public + 1), ZkeyMalformed),
        coefficients=_require_coefficients(sections[4]),
        a=require_section(sections, 5, 64 * wires, ZkeyMalformed),
        b1=require_section(sections, 6, 64 * wires, ZkeyMalformed),
        b2=require_section(sections, 7, 128 * wires, ZkeyMalformed),
        l=require_section(sections, 8, 64 * (wires - public - 1), ZkeyMalformed),
        h=require_section(sections, 9, 64 * domain, ZkeyMalformed),
        circuit_hash=circuit_hash,
        contributions=contributions,
    )


def write_zkey(path: Path, key: Zkey) -> None:
    """Writes a key file beside its final name and renames it, so that no reader ever sees half of one."""
    header = BASE_FIELD + SCALAR_FIELD + struct.pack("<III", key.n_wires, key.n_public, key.domain)
    ledger = key.circuit_hash + struct.pack("<I", len(key.contributions))
    sections: list[tuple[int, Data]] = [
        (1, struct.pack("<I", GROTH16)),
        (2, header + bytes(key.header_points)),
        (3, key.ic),
        (4, key.coefficients),
        (5, key.a),
        (6, key.b1),
        (7, key.b2),
        (8, key.l),
        (9, key.h),
        (10, ledger + b"".join(c.to_bytes() for c in key.contributions)),
    ]
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as sink:
        write_sections(sink, MAGIC, VERSION, sections)
    partial.replace(path)


def is_dev_key(path: Path) -> bool:
    """Whether a key file says that its secrets are known to everybody."""
    return read_zkey(path).is_dev_key


def name_parameter(name: str) -> bytes:
    """A contribution's name as its parameter list; at most 64 bytes of UTF-8."""
    text = name.encode()
    if len(text) > 64:
        raise ValueError(f"a contribution name has at most 64 bytes, this one has {len(text)}")
    return bytes((1, len(text))) + text


def _require_coefficients(section: memoryview) -> memoryview:
    if len(section) < 4 or len(section) - 4 != COEFFICIENT_BYTES * struct.unpack_from("<I", section)[0]:
        raise ZkeyMalformed(f"the coefficient count does not match a section of {len(section)} bytes")
    return section


def _read_contributions(section: memoryview) -> tuple[bytes, tuple[Contribution, ...]]:
    if len(section) < 68:
        raise ZkeyMalformed("section 10 is cut short")
    (count,) = struct.unpack_from("<I", section, 64)
    if count > MAX_CONTRIBUTIONS:
        raise ZkeyMalformed(f"{count} contributions, at most {MAX_CONTRIBUTIONS} are accepted")
    at, found = 68, []
    for _ in range(count):
        if len(section) - at < _CONTRIBUTION_FIXED_BYTES:
            raise ZkeyMalformed("a contribution is cut short")
        fixed = bytes(section[at : at + _CONTRIBUTION_FIXED_BYTES])
        at += _CONTRIBUTION_FIXED_BYTES
        kind, length = struct.unpack_from("<II", fixed, 384)
        if kind > 1 or length > len(section) - at:
            raise ZkeyMalformed(f"a contribution of type {kind} with {length} bytes of parameters")
        found.append(
            Contribution(
                delta_after=fixed[:64],
                public_key=fixed[64:320],
                transcript=fixed[320:384],
                is_beacon=kind == 1,
                parameters=bytes(section[at : at + length]),
            )
        )
        Parameters.from_bytes(found[-1].parameters, found[-1].is_beacon, ZkeyMalformed)
        at += length
    if at != len(section):
        raise ZkeyMalformed(f"{len(section) - at} bytes follow the last contribution")
    return bytes(section[:64]), tuple(found)
