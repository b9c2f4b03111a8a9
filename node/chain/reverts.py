"""Turns revert data into a named error with arguments, by the contracts' ABIs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError, EncodingError
from eth_hash.auto import keccak

from node.chain.errors import DecodedError

MAX_DECODED_BYTES: Final = 1 << 16  # 64 KiB: the called contract chooses this data
_BUILT_IN: Final = (
    {"type": "error", "name": "Error", "inputs": [{"name": "reason", "type": "string"}]},
    {"type": "error", "name": "Panic", "inputs": [{"name": "code", "type": "uint256"}]},
)


@dataclass(frozen=True, slots=True)
class _Shape:
    name: str
    argument_names: tuple[str, ...]
    types: tuple[str, ...]


class ErrorBook:
    """Known Solidity errors by selector. Error(string) and Panic(uint256) are always known."""

    def __init__(self, abi: Iterable[Mapping[str, Any]] = ()) -> None:
        """Take the entries of type "error" of one or more concatenated contract ABIs."""
        self._shapes: dict[bytes, _Shape] = {}
        for entry in (*_BUILT_IN, *abi):
            if entry.get("type") == "error":
                inputs = entry["inputs"]
                types = tuple(_canonical_type(each) for each in inputs)
                names = tuple(each.get("name") or str(position) for position, each in enumerate(inputs))
                self._shapes[selector(entry["name"], types)] = _Shape(entry["name"], names, types)

    def decode(self, revert_data: bytes) -> DecodedError | None:
        """The error, or None when it is unknown, oversize or not canonically encoded."""
        shape = self._shapes.get(revert_data[:4])
        if shape is None or len(revert_data) > MAX_DECODED_BYTES:
            return None
        try:
            values = decode(shape.types, revert_data[4:])
            if encode(shape.types, values) != revert_data[4:]:
                return None
        except (DecodingError, EncodingError, UnicodeError, OverflowError):
            return None
        return DecodedError(name=shape.name, arguments=dict(zip(shape.argument_names, values, strict=True)))


def selector(name: str, types: Iterable[str]) -> bytes:
    """First 4 bytes of the hash of an error's or function's signature."""
    return keccak(f"{name}({','.join(types)})".encode())[:4]


def _canonical_type(entry: Mapping[str, Any]) -> str:
    kind: str = entry["type"]
    if kind.startswith("tuple"):
        return f"({','.join(_canonical_type(each) for each in entry['components'])}){kind.removeprefix('tuple')}"
    return kind
