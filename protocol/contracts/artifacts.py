"""Compiled contracts: ABI, bytecode and storage layout by name, and the meaning of revert data.

API:
    artifact(name) -> Artifact        compiled once by compile.mjs, committed, reproduced by a test
    creation_code(name, *arguments)   bytecode followed by the encoded constructor arguments
    call_data(name, function, *arguments)
    decode_revert(data) -> ContractRevert
    ERRORS                            selector -> declaration, of every contract and library
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Any, Final, cast

from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError

from protocol.hashing import keccak256

_FOLDER: Final = resources.files("protocol.contracts").joinpath("artifacts")
BUILD_FILE: Final = "build.json"

AbiItem = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """One compiled contract, library or interface."""

    name: str
    source: str
    """Path below src/."""
    abi: tuple[AbiItem, ...]
    bytecode: bytes
    """Creation code without constructor arguments; empty for an interface."""
    deployed_bytecode: bytes
    """Runtime code with zeros where immutables go."""
    storage: tuple[AbiItem, ...]
    """Storage layout: label, slot (decimal text), offset in the slot, type."""
    transient: tuple[AbiItem, ...]
    """The same of Solidity's transient variables."""
    immutables: int
    """Places of immutables in the runtime code."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorDeclaration:
    """A named Solidity error."""

    name: str
    argument_names: tuple[str, ...]
    argument_types: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractRevert:
    """What a revert said. Revert data comes from anybody's contract: nothing in it is to be trusted."""

    name: str
    """Error name; empty if the data is of no known error."""
    values: Mapping[str, Any]
    """Arguments by name; bytes as bytes, addresses as 0x-strings."""
    data: bytes
    """The data as it came."""


@cache
def artifact(name: str) -> Artifact:
    """Load a contract by its Solidity name.

    Raises:
        FileNotFoundError: there is no such contract.
    """
    raw = json.loads(_FOLDER.joinpath(f"{name}.json").read_text(encoding="utf-8"))
    return Artifact(
        name=raw["contract"],
        source=raw["source"],
        abi=tuple(raw["abi"]),
        bytecode=bytes.fromhex(raw["bytecode"]),
        deployed_bytecode=bytes.fromhex(raw["deployedBytecode"]),
        storage=tuple(raw["storage"]),
        transient=tuple(raw["transient"]),
        immutables=raw["immutables"],
    )


def artifact_names() -> tuple[str, ...]:
    """Names of all contracts, sorted."""
    names = (entry.name for entry in _FOLDER.iterdir())
    return tuple(sorted(name.removesuffix(".json") for name in names if name.endswith(".json") and name != BUILD_FILE))


def abi_type(parameter: AbiItem) -> str:
    """Canonical type of an ABI parameter, tuples expanded."""
    kind = cast(str, parameter["type"])
    if not kind.startswith("tuple"):
        return kind
    inner = ",".join(abi_type(each) for each in parameter["components"])
    return f"({inner}){kind.removeprefix('tuple')}"


def signature(item: AbiItem) -> str:
    """`name(type,type)` of a function, error or event."""
    return f"{item['name']}({','.join(abi_type(each) for each in item['inputs'])})"


def function_abi(name: str, function: str) -> AbiItem:
    """The ABI item of a function; every name in our contracts is unique within its contract.

    Raises:
        KeyError: no such function.
    """
    for item in artifact(name).abi:
        if item["type"] == "function" and item["name"] == function:
            return item
    raise KeyError(f"{name}.{function}")


def call_data(name: str, function: str, *arguments: object) -> bytes:
    """Selector and encoded arguments of a call."""
    item = function_abi(name, function)
    types = [abi_type(each) for each in item["inputs"]]
    return keccak256(signature(item).encode())[:4] + encode(types, arguments)


def decode_output(name: str, function: str, data: bytes) -> tuple[Any, ...]:
    """Return values of a function."""
    types = [abi_type(each) for each in function_abi(name, function)["outputs"]]
    return decode(types, data)


def creation_code(name: str, *arguments: object) -> bytes:
    """What a deployment transaction carries."""
    constructors = [item for item in artifact(name).abi if item["type"] == "constructor"]
    inputs: Sequence[AbiItem] = constructors[0]["inputs"] if constructors else ()
    return artifact(name).bytecode + encode([abi_type(each) for each in inputs], arguments)


def _error_table() -> dict[bytes, ErrorDeclaration]:
    table = {
        keccak256(b"Error(string)")[:4]: ErrorDeclaration(
            name="Error", argument_names=("message",), argument_types=("string",)
        ),
        keccak256(b"Panic(uint256)")[:4]: ErrorDeclaration(
            name="Panic", argument_names=("code",), argument_types=("uint256",)
        ),
    }
    for name in artifact_names():
        for item in artifact(name).abi:
            if item["type"] == "error":
                table[keccak256(signature(item).encode())[:4]] = ErrorDeclaration(
                    name=item["name"],
                    argument_names=tuple(each["name"] for each in item["inputs"]),
                    argument_types=tuple(abi_type(each) for each in item["inputs"]),
                )
    return table


ERRORS: Final[Mapping[bytes, ErrorDeclaration]] = MappingProxyType(_error_table())


def decode_revert(data: bytes) -> ContractRevert:
    """Name what a revert said; data that fits no declaration comes back with an empty name."""
    declaration = ERRORS.get(data[:4])
    if declaration is not None:
        try:
            values = decode(declaration.argument_types, data[4:])
        except DecodingError:
            return ContractRevert(name="", values={}, data=data)
        named = dict(zip(declaration.argument_names, values, strict=True))
        return ContractRevert(name=declaration.name, values=named, data=data)
    return ContractRevert(name="", values={}, data=data)
