"""Proofs and verifying keys as values, and their byte form in EVM order (SPEC §7.2).

A G1 point is (x, y); a G2 point is ((x.c0, x.c1), (y.c0, y.c1)); infinity is all zero, as the EVM precompiles have it.
Numbers are canonical, not Montgomery. Nothing here checks that a point lies on its curve:
`proving.groth16.verify` does.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self, TypeAlias

from proving.errors import ProofMalformed, PublicMalformed, VerifyingKeyMalformed

G1Point: TypeAlias = tuple[int, int]
G2Point: TypeAlias = tuple[tuple[int, int], tuple[int, int]]

PROOF_BYTES: Final = 256
MAX_PUBLIC: Final = 1 << 20
"""A verifying key with more public inputs is refused: every input costs the verifier a scalar multiplication."""
_VK_FIXED_BYTES: Final = 64 + 3 * 128 + 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """A Groth16 proof (a, b, c) of ePrint 2016/260 §3.2."""

    a: G1Point
    b: G2Point
    c: G1Point

    def to_bytes(self) -> bytes:
        """256 bytes, big-endian: a.x a.y b.x.c1 b.x.c0 b.y.c1 b.y.c0 c.x c.y."""
        try:
            return _words(*self.a, *_evm_order(self.b), *self.c)
        except OverflowError:
            raise ProofMalformed("a coordinate is not an unsigned 256-bit number") from None

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        if len(data) != PROOF_BYTES:
            raise ProofMalformed(f"{len(data)} bytes, expected {PROOF_BYTES}")
        return cls(a=_g1(data[:64]), b=_g2(data[64:192]), c=_g1(data[192:]))


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyingKey:
    """The verifying key of ePrint 2016/260 §3.2."""

    alpha_g1: G1Point
    beta_g2: G2Point
    gamma_g2: G2Point
    delta_g2: G2Point
    gamma_abc_g1: tuple[G1Point, ...]
    """One point for the constant 1 and one for each public input; IC in snarkjs."""

    @property
    def n_public(self) -> int:
        return len(self.gamma_abc_g1) - 1

    def to_bytes(self) -> bytes:
        """alpha 64 | beta 128 | gamma 128 | delta 128 | count u32 | count points of 64, big-endian (SPEC §7.2)."""
        try:
            g2 = (word for point in (self.beta_g2, self.gamma_g2, self.delta_g2) for word in _evm_order(point))
            head = _words(*self.alpha_g1, *g2)
            return head + struct.pack(">I", len(self.gamma_abc_g1)) + b"".join(_words(*p) for p in self.gamma_abc_g1)
        except OverflowError:
            raise VerifyingKeyMalformed("a coordinate is not an unsigned 256-bit number") from None

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        if len(data) < _VK_FIXED_BYTES:
            raise VerifyingKeyMalformed(f"{len(data)} bytes, expected at least {_VK_FIXED_BYTES}")
        (count,) = struct.unpack_from(">I", data, _VK_FIXED_BYTES - 4)
        if not 1 <= count <= MAX_PUBLIC + 1:
            raise VerifyingKeyMalformed(f"{count} input points")
        if len(data) != _VK_FIXED_BYTES + 64 * count:
            raise VerifyingKeyMalformed(f"{len(data)} bytes for {count} input points")
        return cls(
            alpha_g1=_g1(data[:64]),
            beta_g2=_g2(data[64:192]),
            gamma_g2=_g2(data[192:320]),
            delta_g2=_g2(data[320:448]),
            gamma_abc_g1=tuple(_g1(data[at : at + 64]) for at in range(_VK_FIXED_BYTES, len(data), 64)),
        )


def public_bytes(public: Sequence[int]) -> bytes:
    """Public inputs as 32-byte big-endian words; the range below r is the verifier's to check."""
    try:
        return _words(*public)
    except OverflowError:
        raise PublicMalformed("a public input is not an unsigned 256-bit number") from None


def _words(*values: int) -> bytes:
    return b"".join(value.to_bytes(32, "big") for value in values)


def _evm_order(p: G2Point) -> tuple[int, int, int, int]:
    return p[0][1], p[0][0], p[1][1], p[1][0]


def _g1(data: bytes) -> G1Point:
    return int.from_bytes(data[:32], "big"), int.from_bytes(data[32:64], "big")


def _g2(data: bytes) -> G2Point:
    (x_c1, x_c0), (y_c1, y_c0) = _g1(data[:64]), _g1(data[64:128])
    return (x_c0, x_c1), (y_c0, y_c1)
