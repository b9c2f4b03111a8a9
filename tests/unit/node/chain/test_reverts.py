"""Revert data is chosen by the called contract: decoded strictly, or not at all."""

from __future__ import annotations

import pytest
from eth_abi.abi import encode
from eth_hash.auto import keccak

from node.chain.errors import DecodedError, ExecutionReverted
from node.chain.reverts import MAX_DECODED_BYTES, ErrorBook

ABI = (
    {"type": "function", "name": "Missing", "inputs": []},
    {
        "type": "error",
        "name": "Missing",
        "inputs": [
            {
                "name": "action",
                "type": "tuple[]",
                "components": [
                    {"name": "kind", "type": "uint8"},
                    {"name": "at", "type": "tuple", "components": [{"name": "where", "type": "address"}]},
                    {"name": "data", "type": "bytes"},
                ],
            },
            {"name": "", "type": "bytes32"},
        ],
    },
)
SELECTOR = keccak(b"Missing((uint8,(address),bytes)[],bytes32)")[:4]
TYPES = ["(uint8,(address),bytes)[]", "bytes32"]
ADDRESS = "0x" + "11" * 20
VALUES = [[(3, (ADDRESS,), b"abc")], b"\x07" * 32]


def test_structs_and_unnamed_arguments_are_decoded() -> None:
    """Tuples nest in the selector; an unnamed argument is called by its position."""
    decoded = ErrorBook(ABI).decode(SELECTOR + encode(TYPES, VALUES))
    expected = {"action": ((3, (ADDRESS,), b"abc"),), "1": b"\x07" * 32}
    assert decoded == DecodedError(name="Missing", arguments=expected)


def test_the_built_in_errors_need_no_abi() -> None:
    """Error(string) and Panic(uint256)."""
    book = ErrorBook()
    reason = book.decode(bytes.fromhex("08c379a0") + encode(["string"], ["why"]))
    assert reason == DecodedError(name="Error", arguments={"reason": "why"})
    panic = book.decode(bytes.fromhex("4e487b71") + (17).to_bytes(32, "big"))
    assert panic == DecodedError(name="Panic", arguments={"code": 17})


GOOD = encode(TYPES, VALUES)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        SELECTOR[:3],
        b"\x00" * 4,
        SELECTOR,
        SELECTOR + GOOD[:-1],
        SELECTOR + GOOD + bytes(32),
        SELECTOR + b"\xff" * 64,
        SELECTOR + GOOD[:31] + b"\x60" + GOOD[32:],
        SELECTOR + encode(TYPES, [[(3, (ADDRESS,), bytes(MAX_DECODED_BYTES))], bytes(32)]),
        bytes.fromhex("08c379a0") + encode(["bytes"], [b"\xff\xfe"]),
    ],
)
def test_anything_else_stays_undecoded(data: bytes) -> None:
    """Unknown, cut, padded, misdirected, oversize, not UTF-8."""
    assert ErrorBook(ABI).decode(data) is None


def test_the_message_shows_bytes_as_hex_and_bounds_unknown_data() -> None:
    """What an operator reads."""
    known = ExecutionReverted(b"", DecodedError(name="Gone", arguments={"id": 3, "hash": b"\x0a"}))
    assert str(known) == "execution reverted: Gone(id=3, hash=0x0a)"
    assert len(str(ExecutionReverted(bytes(10_000), None))) < 200
    assert str(ExecutionReverted(b"", None)) == "execution reverted: no data"
