"""What the proof-system contract needs of a verifying key, and the proof layout it reads (SPEC §5.3, §7.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

from protocol.hashing import keccak256
from protocol.types import Hash32
from proving.errors import ProofMalformed
from proving.points import PROOF_BYTES, Proof, VerifyingKey

TABLE_PROOF_BYTES: Final = 1 + 32 + PROOF_BYTES
"""tier u8 | h b32 | a 64 | b 128 | c 64."""


def vk_bytes(vk: VerifyingKey) -> bytes:
    """The key as the contract registers it: alpha 64 | beta 128 | gamma 128 | delta 128 | count u32 | points of 64."""
    return vk.to_bytes()


def vk_hash(vk: VerifyingKey) -> Hash32:
    """Keccak-256 of `vk_bytes`; families of proof systems are made of these."""
    return keccak256(vk.to_bytes())


@dataclass(frozen=True, slots=True, kw_only=True)
class TableProof:
    """A proof as it travels to the contract: which key of the family, the statement digest, the Groth16 proof."""

    tier: int
    """0..255, index into the family's keys."""
    h: int
    """First public input: the Poseidon digest of the statement words. Its range below r is checked by the verifier."""
    proof: Proof

    def to_bytes(self) -> bytes:
        return bytes((self.tier,)) + self.h.to_bytes(32, "big") + self.proof.to_bytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        if len(data) != TABLE_PROOF_BYTES:
            raise ProofMalformed(f"{len(data)} bytes, expected {TABLE_PROOF_BYTES}")
        return cls(tier=data[0], h=int.from_bytes(data[1:33], "big"), proof=Proof.from_bytes(data[33:]))
