"""What the node reads from L1, parsed strictly out of JSON: blocks, logs, receipts, fees."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final, Literal

from node.chain.errors import RpcMisbehaved

Json = Any
Tag = Literal["latest", "pending", "earliest", "safe", "finalized"] | int | bytes
"""A block: a named tag, a height, or a 32-byte hash (EIP-1898)."""
_QUANTITY: Final = re.compile(r"0x[0-9a-fA-F]{1,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """The header fields that the node uses."""

    number: int
    hash: bytes
    """32 bytes."""
    parent_hash: bytes
    """32 bytes."""
    timestamp: int
    """Seconds since the epoch."""
    base_fee_wei: int
    """Per gas; 0 where the chain has none."""
    gas_limit: int
    gas_used: int
    coinbase: bytes
    """20 bytes."""
    prev_randao: bytes
    """32 bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """One log and its place in the chain."""

    address: bytes
    """20 bytes."""
    topics: tuple[bytes, ...]
    """0 to 4, each 32 bytes."""
    data: bytes
    block_number: int
    block_hash: bytes
    tx_hash: bytes
    tx_index: int
    log_index: int
    """Position within the block."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What became of a mined transaction."""

    tx_hash: bytes
    block_number: int
    block_hash: bytes
    succeeded: bool
    gas_used: int
    effective_gas_price_wei: int
    created: bytes | None
    """Address of the contract that the transaction created."""
    logs: tuple[Log, ...]

    @property
    def fee_wei(self) -> int:
        """What the sender paid for gas."""
        return self.gas_used * self.effective_gas_price_wei


@dataclass(frozen=True, slots=True, kw_only=True)
class Fees:
    """Prices of the block to come, wei per gas."""

    base_wei: int
    tip_wei: int

    @property
    def max_fee_wei(self) -> int:
        """Enough for the base fee to double, which takes six full blocks."""
        return 2 * self.base_wei + self.tip_wei


def tag_json(tag: Tag) -> Json:
    """Block parameter of a JSON-RPC call."""
    if isinstance(tag, bytes):
        return {"blockHash": hex_of(tag)}
    return hex(tag) if isinstance(tag, int) else tag


def hex_of(data: bytes) -> str:
    """0x-prefixed lower-case hex."""
    return "0x" + data.hex()


def quantity(method: str, value: Json) -> int:
    """Non-negative integer of at most 256 bits."""
    if not isinstance(value, str) or not _QUANTITY.fullmatch(value):
        raise RpcMisbehaved(method, "a quantity is not hex")
    return int(value, 16)


def data(method: str, value: Json, size: int | None = None) -> bytes:
    """Bytes, of exactly `size` where given."""
    if not isinstance(value, str) or not value.startswith("0x") or (size is not None and len(value) != 2 + 2 * size):
        raise RpcMisbehaved(method, "data is not hex" if size is None else f"data is not {size} bytes of hex")
    try:
        return bytes.fromhex(value[2:])
    except ValueError as error:
        raise RpcMisbehaved(method, "data is not hex") from error


def block_from_json(method: str, value: Json) -> Block:
    """Parse a block object; its transactions are not looked at."""
    return Block(
        number=quantity(method, _field(method, value, "number")),
        hash=data(method, _field(method, value, "hash"), 32),
        parent_hash=data(method, _field(method, value, "parentHash"), 32),
        timestamp=quantity(method, _field(method, value, "timestamp")),
        base_fee_wei=quantity(method, value.get("baseFeePerGas") or "0x0"),
        gas_limit=quantity(method, _field(method, value, "gasLimit")),
        gas_used=quantity(method, _field(method, value, "gasUsed")),
        coinbase=data(method, _field(method, value, "miner"), 20),
        prev_randao=data(method, value.get("mixHash") or hex_of(bytes(32)), 32),
    )


def log_from_json(method: str, value: Json) -> Log:
    """Parse a mined log."""
    topics = _field(method, value, "topics")
    if not isinstance(topics, list) or len(topics) > 4:
        raise RpcMisbehaved(method, "topics are not a list of at most 4")
    return Log(
        address=data(method, _field(method, value, "address"), 20),
        topics=tuple(data(method, topic, 32) for topic in topics),
        data=data(method, _field(method, value, "data")),
        block_number=quantity(method, _field(method, value, "blockNumber")),
        block_hash=data(method, _field(method, value, "blockHash"), 32),
        tx_hash=data(method, _field(method, value, "transactionHash"), 32),
        tx_index=quantity(method, _field(method, value, "transactionIndex")),
        log_index=quantity(method, _field(method, value, "logIndex")),
    )


def logs_from_json(method: str, value: Json) -> tuple[Log, ...]:
    """Parse a list of logs."""
    if not isinstance(value, list):
        raise RpcMisbehaved(method, "logs are not a list")
    return tuple(log_from_json(method, each) for each in value)


def receipt_from_json(method: str, value: Json) -> Receipt:
    """Parse a receipt object."""
    created = _field(method, value, "contractAddress") if "contractAddress" in value else None
    return Receipt(
        tx_hash=data(method, _field(method, value, "transactionHash"), 32),
        block_number=quantity(method, _field(method, value, "blockNumber")),
        block_hash=data(method, _field(method, value, "blockHash"), 32),
        succeeded=quantity(method, _field(method, value, "status")) == 1,
        gas_used=quantity(method, _field(method, value, "gasUsed")),
        effective_gas_price_wei=quantity(method, _field(method, value, "effectiveGasPrice")),
        created=None if created is None else data(method, created, 20),
        logs=logs_from_json(method, _field(method, value, "logs")),
    )


def _field(method: str, value: Json, name: str) -> Json:
    if not isinstance(value, dict) or name not in value:
        raise RpcMisbehaved(method, f"no field {name}")
    return value[name]
