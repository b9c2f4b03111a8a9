"""Names for the values that the protocol passes around, and the only constructors that check their length or range.

A function that takes `Hash32` may rely on 32 bytes; whoever makes one from untrusted bytes calls `hash32`.
"""

from __future__ import annotations

from typing import NewType

from protocol.constants import ADDRESS_BITS, FIELD_ORDER
from protocol.errors import DecodeError

Hash32 = NewType("Hash32", bytes)
"""32 raw bytes."""
Address = NewType("Address", bytes)
"""20 raw bytes: an account on L1 or inside a rollup."""
RollupId = NewType("RollupId", int)
"""u64; 0 is L1 (SPEC §1)."""
Endpoint = NewType("Endpoint", int)
"""rollupId * 2^160 + address, below 2^224 (SPEC §1)."""
Field = NewType("Field", int)
"""An element of the BN254 scalar field in [0, r)."""
Wei = NewType("Wei", int)
"""Unsigned amount in wei."""
UnixSeconds = NewType("UnixSeconds", int)
UnixMillis = NewType("UnixMillis", int)

ZERO_HASH = Hash32(bytes(32))
ZERO_ADDRESS = Address(bytes(20))


def hash32(raw: bytes) -> Hash32:
    """Check that `raw` has 32 bytes.

    Raises:
        DecodeError: HASH_LENGTH.
    """
    if len(raw) != 32:
        raise DecodeError("HASH_LENGTH", length=len(raw))
    return Hash32(bytes(raw))


def address(raw: bytes) -> Address:
    """Check that `raw` has 20 bytes.

    Raises:
        DecodeError: ADDRESS_LENGTH.
    """
    if len(raw) != 20:
        raise DecodeError("ADDRESS_LENGTH", length=len(raw))
    return Address(bytes(raw))


def field(value: int) -> Field:
    """Check that `value` is in [0, r).

    Raises:
        DecodeError: FIELD_RANGE.
    """
    if not 0 <= value < FIELD_ORDER:
        raise DecodeError("FIELD_RANGE", value=value)
    return Field(value)


def field_from_bytes(raw: bytes) -> Field:
    """Decode 32 big-endian bytes; an encoding not below r is refused (SPEC §1)."""
    return field(int.from_bytes(hash32(raw), "big"))


def bytes_from_field(value: int) -> Hash32:
    """Encode a field element in 32 big-endian bytes."""
    return Hash32(value.to_bytes(32, "big"))


def endpoint(rollup_id: int, account: bytes) -> Endpoint:
    """Join a rollup id (u64) and a 20-byte address into one number (SPEC §1)."""
    return Endpoint((rollup_id << ADDRESS_BITS) | int.from_bytes(account, "big"))


def split_endpoint(value: int) -> tuple[RollupId, Address]:
    """Undo `endpoint`; `value` must be below 2^224."""
    account = (value & ((1 << ADDRESS_BITS) - 1)).to_bytes(20, "big")
    return RollupId(value >> ADDRESS_BITS), Address(account)
