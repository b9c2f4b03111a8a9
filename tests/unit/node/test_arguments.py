"""Arguments of commands: exact money, call data as Solidity encodes it."""

from __future__ import annotations

import pytest

from node.commands.arguments import call_bytes, request_id, wei
from node.errors import UsageError


@pytest.mark.parametrize(
    ("text", "amount"),
    [("0", 0), ("17", 17), ("1ether", 10**18), ("0.000000000000000001ether", 1), (".5 ether", 5 * 10**17)],
)
def test_amounts_are_exact(text: str, amount: int) -> None:
    assert wei(text) == amount


@pytest.mark.parametrize("text", ["-1", "1.5", "0.0000000000000000001ether", "ten", "1e18", "", "0x10"])
def test_amounts_that_are_not_exact_wei_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        wei(text)


def test_call_data_is_selector_and_words() -> None:
    data = call_bytes("transfer(address,uint256) 0x" + "11" * 20 + " 5", None)

    assert data[:4].hex() == "a9059cbb"
    assert data[4:] == bytes(12) + b"\x11" * 20 + (5).to_bytes(32, "big")


@pytest.mark.parametrize(
    ("call", "data"),
    [
        (None, None),
        ("f()", "00"),
        ("f", None),
        ("f(uint256)", None),
        ("f(uint256) x", None),
        ("f(bool) yes", None),
        (None, "0g"),
    ],
)
def test_calls_that_cannot_be_read_are_refused(call: str | None, data: str | None) -> None:
    with pytest.raises(UsageError):
        call_bytes(call, data)


@pytest.mark.parametrize("text", ["", "00", "zz" * 32, "00" * 33])
def test_request_ids_have_32_bytes(text: str) -> None:
    with pytest.raises(UsageError):
        request_id(text)
