"""Arguments that several commands read."""

from __future__ import annotations

from eth_abi.abi import encode
from eth_abi.exceptions import EncodingError, ParseError

from node.errors import UsageError
from protocol.hashing import selector
from protocol.types import Endpoint, endpoint
from proving.backends import Chosen, choose


def wei(text: str) -> int:
    """Wei as a decimal number, or ether with the suffix `ether`, exactly.

    Raises:
        UsageError.
    """
    number, scale = (text.removesuffix("ether").strip(), 18) if text.endswith("ether") else (text, 0)
    whole, _, part = number.partition(".")
    if not (whole + part).isdecimal() or len(part) > scale:
        raise UsageError(problem=f"not an amount: {text}")
    return int(whole.rjust(1, "0") + part.ljust(scale, "0"))


def request_id(text: str) -> bytes:
    """32 bytes from 64 hex digits.

    Raises:
        UsageError.
    """
    try:
        raw = bytes.fromhex(text.removeprefix("0x"))
    except ValueError as error:
        raise UsageError(problem="a request id is 64 hex digits") from error
    if len(raw) != 32:
        raise UsageError(problem="a request id is 64 hex digits")
    return raw


def call_bytes(call: str | None, data: str | None) -> bytes:
    """Call data from `name(type,...) value ...`, or from hexadecimal.

    Raises:
        UsageError: both or neither are given, or they cannot be read.
    """
    if (call is None) == (data is None):
        raise UsageError(problem="give either --call or --data")
    if data is not None:
        return hexadecimal("--data", data)
    assert call is not None
    declaration, *values = call.split()
    if "(" not in declaration or not declaration.endswith(")"):
        raise UsageError(problem=f"not a signature: {declaration}")
    kinds = [kind for kind in declaration[declaration.index("(") + 1 : -1].split(",") if kind]
    if len(kinds) != len(values):
        raise UsageError(problem=f"{declaration} takes {len(kinds)} values, {len(values)} given")
    try:
        arguments = encode(kinds, [_value(kind, value) for kind, value in zip(kinds, values, strict=True)])
    except (EncodingError, ParseError, ValueError, TypeError, KeyError) as error:
        raise UsageError(problem=f"{declaration}: {error}") from error
    return selector(declaration).to_bytes(4, "big") + arguments


def hexadecimal(name: str, text: str) -> bytes:
    """Bytes from hex digits, with or without 0x.

    Raises:
        UsageError: naming the argument.
    """
    try:
        return bytes.fromhex(text.removeprefix("0x"))
    except ValueError as error:
        raise UsageError(problem=f"{name} is not hexadecimal") from error


def endpoint_of(text: str) -> Endpoint:
    """An endpoint from `ADDRESS` (of L1) or `ROLLUP:ADDRESS`.

    Raises:
        UsageError.
    """
    rollup, _, account = text.rpartition(":")
    address = hexadecimal("an address", account)
    if len(address) != 20 or not (rollup or "0").isdecimal() or int(rollup or "0") >= 1 << 64:
        raise UsageError(problem=f"not an account: {text} (20 bytes as 0x and 40 digits; of a rollup: ROLLUP:ADDRESS)")
    return endpoint(int(rollup or "0"), address)


def slot_of(text: str) -> tuple[int, int]:
    """A storage slot and its word from `SLOT=VALUE`, decimal or 0x-hexadecimal; their ranges are not checked.

    A value may be an endpoint, `ROLLUP:ADDRESS`.

    Raises:
        UsageError.
    """
    slot, _, value = text.partition("=")
    try:
        return int(slot, 0), endpoint_of(value) if ":" in value else int(value, 0)
    except ValueError as error:
        raise UsageError(problem=f"not SLOT=VALUE: {text}") from error


def _value(kind: str, text: str) -> object:
    if kind.startswith(("uint", "int")):
        return int(text, 0)
    if kind == "bool":
        return {"true": True, "false": False}[text.lower()]
    if kind.startswith("bytes"):
        return bytes.fromhex(text.removeprefix("0x"))
    return text


def backend_of(device: str) -> Chosen:
    """The Groth16 backend that `--device auto|cpu|cuda` means.

    Raises:
        BackendUnavailable: CUDA was named and does not work here.
    """
    return choose(device if device == "auto" else f"groth16-{device}")
