"""Ready transactions taken apart: a signed transaction that loads and runs one table, whoever made it (SPEC §9.6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from eth_abi.abi import decode
from eth_abi.exceptions import DecodingError

from node.ports import Refused
from node.rawtx import RawCall, decode_raw
from protocol.contracts.artifacts import function_abi, signature
from protocol.errors import ProtocolError
from protocol.hashing import keccak256
from protocol.table import Core, decode_core

MAX_GAS: Final = 1 << 24  # what one transaction may use at most, EIP-7825
LOAD: Final = keccak256(signature(function_abi("IRollups", "loadAndRun")).encode())[:4]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadyCall:
    """A transaction and the table in it. Nothing here was compared with L1."""

    raw: bytes
    tx_hash: bytes
    call: RawCall
    core: Core
    core_bytes: bytes
    proofs: bytes
    """Packed, as L1 reads them."""


def read_ready(raw: bytes, *, chain_id: int, rollups: bytes) -> ReadyCall:
    """Takes a transaction apart, cheapest first; needs no L1.

    Raises:
        Refused: READY_FORM (no EIP-1559 transaction, or a bad signature), READY_CHAIN, READY_TARGET, READY_GAS,
            READY_CALL (it is no load), READY_TABLE (its table breaks a rule).
    """
    call = decode_raw(raw)
    if call.chain_id != chain_id:
        raise Refused("READY_CHAIN", str(call.chain_id))
    if call.to != rollups:
        raise Refused("READY_TARGET", call.to.hex())
    if call.gas > MAX_GAS:
        raise Refused("READY_GAS", str(call.gas))
    if call.data[:4] != LOAD:
        raise Refused("READY_CALL", call.data[:4].hex())
    try:
        core_bytes, proofs, *_ = decode(["bytes"] * 5, call.data[4:])
        core = decode_core(core_bytes)
    except DecodingError as error:
        raise Refused("READY_CALL", str(error)) from error
    except ProtocolError as error:
        raise Refused("READY_TABLE", str(error)) from error
    return ReadyCall(raw=raw, tx_hash=keccak256(raw), call=call, core=core, core_bytes=core_bytes, proofs=proofs)
