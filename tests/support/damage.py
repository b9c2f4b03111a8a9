"""Damaged files, drawn from a seed: bytes changed, cut, repeated, and whole sections moved, resized or renumbered.

And what a reader of each kind may do with them: give a coded error, or a value with which the prover then works or
gives a coded error. Anything else (another exception, a crash, a read out of bounds) is a fault.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Final

from proving import errors
from proving.ceremony.phase1_verify import verify_ptau
from proving.ceremony.phase2 import initial_key
from proving.ceremony.phase2_verify import verify_key
from proving.ceremony.ptau import read_ptau
from proving.groth16 import prove, verify
from proving.points import Proof, VerifyingKey
from proving.r1cs import R1cs, check, read_r1cs, write_r1cs
from proving.setup_dev import known_secrets, make_key
from proving.snark_json import (
    proof_json,
    public_json,
    read_proof_json,
    read_public_json,
    read_verifying_key_json,
    verifying_key_json,
)
from proving.wtns import Witness, read_wtns, write_wtns
from tests.unit.proving.ceremony.files import Files, ceremony
from tests.unit.proving.circuits import random_circuit

NUMBERS: Final = (0, 1, 2, 3, 31, 32, 33, 64, 127, 128, 255, 256, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF)


@dataclass(frozen=True)
class Samples:
    """Good files of one small circuit, and what they hold."""

    files: Files
    system: R1cs
    witness: Witness
    vk: VerifyingKey
    proof: Proof
    public: tuple[int, ...]


@cache
def samples() -> Samples:
    circuit = random_circuit(5, 1, seed=4)
    key = make_key(circuit.r1cs(), known_secrets(bytes(32)))
    proof, public = prove(key, circuit.witness())
    return Samples(ceremony(), circuit.r1cs(), circuit.witness(), key.verifying_key(), proof, public)


def _r1cs(data: bytes) -> None:
    system = read_r1cs(data)
    if system.n_wires <= 1 << 12 and system.n_constraints <= 1 << 12:
        check(system, samples().witness)
        make_key(system, known_secrets(bytes(32)))


def _wtns(data: bytes) -> None:
    witness = read_wtns(data)
    check(samples().system, witness)
    prove(samples().files.key, witness)


def _zkey(data: bytes) -> None:
    prove(data, samples().witness)


def _ceremony_key(data: bytes) -> None:
    verify_key(data, samples().files.r1cs, samples().files.prepared)


def _ptau(data: bytes) -> None:
    verify_ptau(data)


def _bases(data: bytes) -> None:
    initial_key(samples().files.r1cs, read_ptau(data))


def _proof_json(data: bytes) -> None:
    verify(samples().vk, samples().public, read_proof_json(data))


def _public_json(data: bytes) -> None:
    verify(samples().vk, read_public_json(data), samples().proof)


def _vk_json(data: bytes) -> None:
    verify(read_verifying_key_json(data), samples().public, samples().proof)


USES: Final[Mapping[str, tuple[Callable[[], bytes], Callable[[bytes], None]]]] = MappingProxyType(
    {
        "r1cs": (lambda: write_r1cs(samples().system), _r1cs),
        "wtns": (lambda: write_wtns(samples().witness), _wtns),
        "zkey": (lambda: samples().files.key, _zkey),
        "zkey of a ceremony": (lambda: samples().files.key, _ceremony_key),
        "ptau": (lambda: samples().files.prepared, _ptau),
        "bases of a ptau": (lambda: samples().files.prepared, _bases),
        "proof": (lambda: proof_json(samples().proof).encode(), _proof_json),
        "public": (lambda: public_json(samples().public).encode(), _public_json),
        "verifying key": (lambda: verifying_key_json(samples().vk).encode(), _vk_json),
    }
)


def survives(kind: str, data: bytes) -> str:
    """Uses a file; the code of its refusal, or an empty text when it was good enough."""
    try:
        USES[kind][1](data)
    except errors.ProvingError as refusal:
        return refusal.code
    return ""


def damaged(kind: str, seed: int) -> bytes:
    """A good file of a kind after one to three changes."""
    rng, data = random.Random(f"{kind} {seed}"), USES[kind][0]()
    for _ in range(rng.choice((1, 1, 2, 3))):
        if kind in ("proof", "public", "verifying key"):
            data = rng.choice((_bytes_changed, _cut, _repeated, _digits))(rng, data)
        else:
            data = rng.choice((_bytes_changed, _cut, _repeated, _number, _number, _sections, _sections))(rng, data)
    return data


def _bytes_changed(rng: random.Random, data: bytes) -> bytes:
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 4))):
        if out:
            out[rng.randrange(len(out))] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
    return bytes(out)


def _cut(rng: random.Random, data: bytes) -> bytes:
    at = rng.randrange(len(data) + 1)
    return rng.choice((data[:at], data[at:], data[:at] + data[at + rng.randrange(200) :]))


def _repeated(rng: random.Random, data: bytes) -> bytes:
    at, size = rng.randrange(len(data) + 1), rng.randrange(200)
    return rng.choice((data + data[at : at + size], data[:at] + data[at : at + size] + data[at:]))


def _digits(rng: random.Random, data: bytes) -> bytes:
    """Words of JSON in the place of others."""
    words = data.split(b'"')
    words[rng.randrange(len(words))] = rng.choice(
        (b"", b"0", b"-1", b"1e9", b"01", b"9" * 77, b"9" * 78, b"[", b"null")
    )
    return b'"'.join(words)


def _number(rng: random.Random, data: bytes) -> bytes:
    """A length, count or index of 4 or 8 bytes, mostly near the beginning."""
    if len(data) < 16:
        return data
    at = rng.randrange(min(len(data) - 8, rng.choice((100, 1000, len(data)))))
    form = rng.choice(("<I", "<Q"))
    value = rng.choice(NUMBERS) if form == "<I" else rng.choice((*NUMBERS, 1 << 63, (1 << 64) - 1))
    return data[:at] + struct.pack(form, value) + data[at + struct.calcsize(form) :]


def _sections(rng: random.Random, data: bytes) -> bytes:
    parts = _split(data)
    if not parts:
        return data
    i, j = rng.randrange(len(parts)), rng.randrange(len(parts))
    number, content = parts[i]
    match rng.randrange(7):
        case 0:
            rng.shuffle(parts)
        case 1:
            parts.insert(j, parts[i])
        case 2:
            del parts[i]
        case 3:
            parts[i] = rng.choice((0, 1, 16, 0xFFFF_FFFF, parts[j][0])), content
        case 4:
            parts[i] = number, content[: -rng.choice((1, 4, 32, 36, 44, 64, 128))]
        case 5:
            parts[i] = number, content + rng.choice((b"\0", bytes(32), content[:64], content))
        case _:
            parts[i] = number, _number(rng, content)
    body = b"".join(struct.pack("<IQ", part, len(inner)) + inner for part, inner in parts)
    return data[:8] + struct.pack("<I", len(parts)) + body


def _split(data: bytes) -> list[tuple[int, bytes]]:
    """As much of the section table as is there."""
    found, at = [], 12
    while at + 12 <= len(data):
        number, size = struct.unpack_from("<IQ", data, at)
        found.append((number, data[at + 12 : at + 12 + size]))
        at += 12 + size
    return found
