"""What a user wants to happen, as bytes: the wish that an order keeps, so that it can be planned again."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

from node.errors import PlanError
from node.l1 import address_from_text
from node.planner import Intent, TransactionIntent
from protocol.constants import MAX_CORE_BYTES
from protocol.types import Address

MAX_INTENT_BYTES: Final = 1024 + 2 * MAX_CORE_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class TableIntent:
    """A table that was made elsewhere (a `.uvt` file), to be proven and landed as it is."""

    sender: Address
    """L1 account that loads it."""
    core: bytes
    """Packed (SPEC §5.2)."""


AnyIntent = Intent | TransactionIntent | TableIntent


def encode_intent(intent: AnyIntent) -> bytes:
    """JSON text of an intent, as it is stored."""
    value: dict[str, Any]
    match intent:
        case TransactionIntent():
            value = {
                "kind": "l2tx",
                "rollup_id": intent.rollup_id,
                "data": intent.data.hex(),
                "forced": intent.forced,
            }
        case TableIntent():
            value = {"kind": "table", "core": intent.core.hex()}
        case Intent():
            value = {
                "kind": "l1-call",
                "rollup_id": intent.rollup_id,
                "destination": intent.destination.hex(),
                "value_wei": str(intent.value_wei),
                "data": intent.data.hex(),
            }
    return json.dumps({"sender": intent.sender.hex(), **value}).encode()


def decode_intent(raw: bytes) -> AnyIntent:
    """Undo `encode_intent`.

    Raises:
        PlanError: it is something else.
    """
    if len(raw) > MAX_INTENT_BYTES:
        raise PlanError(reason="intent too long")
    try:
        value = json.loads(raw)
        sender = address_from_text(value["sender"])
        match value["kind"]:
            case "table":
                return TableIntent(sender=sender, core=bytes.fromhex(value["core"]))
            case "l2tx":
                return TransactionIntent(
                    sender=sender,
                    rollup_id=int(value["rollup_id"]),
                    data=bytes.fromhex(value["data"]),
                    forced=None if value["forced"] is None else int(value["forced"]),
                )
            case "l1-call":
                return Intent(
                    sender=sender,
                    rollup_id=int(value["rollup_id"]),
                    destination=address_from_text(value["destination"]),
                    value_wei=int(value["value_wei"]),
                    data=bytes.fromhex(value["data"]),
                )
            case kind:
                raise PlanError(reason=f"unknown kind of intent {kind!r}")
    except (ValueError, KeyError, TypeError) as error:
        raise PlanError(reason="malformed intent") from error
