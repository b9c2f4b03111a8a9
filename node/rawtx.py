"""Signed EIP-1559 transactions taken apart, whoever made them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import rlp  # type: ignore[import-untyped]
from eth_account import Account
from eth_keys.exceptions import BadSignature
from eth_utils.exceptions import ValidationError
from rlp.exceptions import RLPException  # type: ignore[import-untyped]

from node.ports import Refused

EIP1559: Final = 2
MAX_RAW_BYTES: Final = 1 << 17  # 128 KiB, the largest that execution clients pool
FIELDS: Final = 12  # EIP-1559: nine of the transaction, three of the signature
MAX_S: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141 // 2  # EIP-2

MALFORMED: Final = (
    RLPException,
    BadSignature,
    ValidationError,
    ValueError,
    IndexError,
    TypeError,
    KeyError,
    AttributeError,
)
"""What the libraries raise over bytes that are no transaction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RawCall:
    """What a signed transaction does."""

    chain_id: int
    sender: bytes
    """20 bytes, recovered from the signature."""
    nonce: int
    tip_wei: int
    """Per gas."""
    max_fee_wei: int
    """Per gas, base fee included; at least the tip."""
    gas: int
    """Gas limit."""
    to: bytes
    """20 bytes, empty for a creation."""
    value: int
    """wei"""
    data: bytes


def decode_raw(raw: bytes) -> RawCall:
    """Take apart a signed EIP-1559 transaction.

    Raises:
        Refused: READY_FORM.
    """
    if not raw or raw[0] != EIP1559 or len(raw) > MAX_RAW_BYTES:
        raise Refused("READY_FORM", "not an EIP-1559 transaction of a size that is pooled")
    try:
        fields = rlp.decode(raw[1:], strict=True)
        if len(fields) != FIELDS or fields[8] or int.from_bytes(fields[11], "big") > MAX_S:
            raise Refused("READY_FORM", "an access list, a high s, or not the fields of EIP-1559")
        call = RawCall(
            chain_id=int.from_bytes(fields[0], "big"),
            sender=bytes.fromhex(Account.recover_transaction(raw)[2:]),
            nonce=int.from_bytes(fields[1], "big"),
            tip_wei=int.from_bytes(fields[2], "big"),
            max_fee_wei=int.from_bytes(fields[3], "big"),
            gas=int.from_bytes(fields[4], "big"),
            to=bytes(fields[5]),
            value=int.from_bytes(fields[6], "big"),
            data=bytes(fields[7]),
        )
    except MALFORMED as error:
        raise Refused("READY_FORM", type(error).__name__) from error
    if call.tip_wei > call.max_fee_wei:
        raise Refused("READY_FORM", "the tip is above the largest fee")
    return call
