"""Packed arguments of a load: proofs and expectations (SPEC §8).

API:
    ProofItem, Proofs, encode_proofs(proofs) / decode_proofs(bytes)
    Expectation, encode_expects(expectations)
    config_hash(threshold, systems, families), lockset_systems_hash(configs)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from protocol.errors import RuleError
from protocol.hashing import abi_words, keccak256
from protocol.reader import Reader
from protocol.types import ZERO_HASH, Address, Hash32

MAX_PROOF_ITEMS = 64  # 8 rollups of 8 systems each
MAX_EXPECTS = 255  # the count is a u8


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofItem:
    """One proof system's proof for one rollup of the lockset."""

    rollup_id: int
    """u64."""
    system: Address
    proof: bytes
    """At most 65535 bytes, in the system's own format."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proofs:
    """Everything that proves a core, and for whom."""

    payee: Address
    agreement_hash: Hash32
    """0: nobody is paid."""
    items: tuple[ProofItem, ...]
    """Strictly ascending by (rollup, system)."""


def encode_proofs(proofs: Proofs) -> bytes:
    """Packed bytes.

    Raises:
        RuleError: PROOFS_COUNT, PROOFS_ORDER, PROOF_SIZE.
    """
    if len(proofs.items) > MAX_PROOF_ITEMS:
        raise RuleError("PROOFS_COUNT", count=len(proofs.items))
    parts = [proofs.payee, proofs.agreement_hash, bytes((len(proofs.items),))]
    previous: tuple[int, bytes] | None = None
    for item in proofs.items:
        place = (item.rollup_id, bytes(item.system))
        if previous is not None and place <= previous:
            raise RuleError("PROOFS_ORDER", rollup_id=item.rollup_id)
        previous = place
        if len(item.proof) > 0xFFFF:
            raise RuleError("PROOF_SIZE", size=len(item.proof))
        parts += [item.rollup_id.to_bytes(8, "big"), item.system, len(item.proof).to_bytes(2, "big"), item.proof]
    return b"".join(parts)


def decode_proofs(raw: bytes) -> Proofs:
    """Decodes packed proofs; what it accepts packs to the same bytes.

    Raises:
        DecodeError: PROOFS_TRUNCATED, PROOFS_TRAILING_BYTES.
        RuleError: PROOFS_COUNT, PROOFS_ORDER.
    """
    reader = Reader(raw, "PROOFS")
    payee, agreement_hash, count = reader.address(), reader.hash32(), reader.uint(1)
    if count > MAX_PROOF_ITEMS:
        raise RuleError("PROOFS_COUNT", count=count)
    items: list[ProofItem] = []
    for _ in range(count):
        rollup_id, system = reader.uint(8), reader.address()
        if items and (rollup_id, bytes(system)) <= (items[-1].rollup_id, bytes(items[-1].system)):
            raise RuleError("PROOFS_ORDER", rollup_id=rollup_id)
        items.append(ProofItem(rollup_id=rollup_id, system=system, proof=reader.take(reader.uint(2))))
    reader.end()
    return Proofs(payee=payee, agreement_hash=agreement_hash, items=tuple(items))


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """What a sender insists on for one rollup before anything moves."""

    rollup_id: int
    root: int
    """Field element."""
    epoch: int
    """u64."""
    config_hash: Hash32 = ZERO_HASH
    """0: not compared."""


def encode_expects(expectations: Sequence[Expectation]) -> bytes:
    """Packed bytes.

    Raises:
        RuleError: EXPECTS_COUNT.
    """
    if len(expectations) > MAX_EXPECTS:
        raise RuleError("EXPECTS_COUNT", count=len(expectations))
    parts = [bytes((len(expectations),))]
    for each in expectations:
        parts += [each.rollup_id.to_bytes(8, "big"), each.root.to_bytes(32, "big"), each.epoch.to_bytes(8, "big")]
        parts += [each.config_hash]
    return b"".join(parts)


def config_hash(threshold: int, systems: Sequence[Address], families: Sequence[Hash32]) -> Hash32:
    """What an expectation compares a rollup's configuration with."""
    joined = keccak256(b"".join(system.rjust(32, b"\0") for system in systems))
    return keccak256(abi_words(threshold, joined, keccak256(b"".join(families))))


def lockset_systems_hash(config_hashes: Sequence[Hash32]) -> Hash32:
    """An agreement's systemsHash, who decides what is a proof of its table: of the lockset's configHashes in order."""
    return keccak256(b"".join(config_hashes))
