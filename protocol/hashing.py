"""Keccak-256, domain tags and Solidity's `abi.encode` of static words (SPEC §1)."""

from __future__ import annotations

from functools import cache

from Crypto.Hash import keccak as _keccak

from protocol.types import Hash32


def keccak256(data: bytes) -> Hash32:
    """Keccak-256 with the original padding, as the EVM has it."""
    return Hash32(_keccak.new(data=data, digest_bits=256).digest())


@cache
def domain(name: str) -> Hash32:
    """Domain tag D(name) = keccak("unveto/" + name + "/1")."""
    return keccak256(f"unveto/{name}/1".encode("ascii"))


def abi_words(*values: int | bytes) -> bytes:
    """Solidity's abi.encode of static values.

    Args:
        values: unsigned integers below 2^256; 32-byte strings; 20-byte addresses (left-padded).
    """
    return b"".join(v.to_bytes(32, "big") if isinstance(v, int) else v.rjust(32, b"\0") for v in values)


def selector(signature: str) -> int:
    """First four bytes of keccak of a Solidity signature such as "price()", as a number."""
    return int.from_bytes(keccak256(signature.encode("ascii"))[:4], "big")
