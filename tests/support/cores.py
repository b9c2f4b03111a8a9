"""Sample cores: an L1 call into rollup 1 that asks an L1 oracle in the middle, and variations of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from protocol.actions import Action, ActionKind
from protocol.hashing import selector
from protocol.table import Core, Entry, Member, triggers_hash
from protocol.types import ZERO_ADDRESS, ZERO_HASH, Address, RollupId

USER = Address(bytes.fromhex("11" * 20))
PROGRAM = Address(bytes.fromhex("a1" * 20))
ORACLE = Address(bytes.fromhex("0c" * 20))
OTHER_PROGRAM = Address(bytes.fromhex("b2" * 20))


def word(value: int) -> bytes:
    """One ABI word."""
    return value.to_bytes(32, "big")


def call(**changes: Any) -> Action:
    """The user's call of rollup 1's program."""
    fields: dict[str, Any] = {
        "kind": ActionKind.CALL,
        "rollup_id": RollupId(1),
        "destination": PROGRAM,
        "value": 7,
        "source_rollup": RollupId(0),
        "source_address": USER,
        "data": selector("settle()").to_bytes(4, "big"),
    }
    return Action(**(fields | changes))


def oracle_call(**changes: Any) -> Action:
    """The program's call of the L1 oracle."""
    return call(
        **{
            "rollup_id": RollupId(0),
            "destination": ORACLE,
            "value": 0,
            "gas": 100000,
            "source_rollup": RollupId(1),
            "source_address": PROGRAM,
            "data": selector("price()").to_bytes(4, "big"),
            **changes,
        }
    )


def result_of(action: Action, data: bytes = b"", failed: bool = False) -> Action:
    """The RESULT that goes back along a call."""
    return Action(
        kind=ActionKind.RESULT,
        rollup_id=action.source_rollup,
        destination=action.source_address,
        failed=failed,
        source_rollup=action.rollup_id,
        source_address=action.destination,
        data=data,
    )


def oracle_core(**changes: Any) -> Core:
    """Two entries: CALL to rollup 1 -> CALL to the oracle; RESULT of the oracle -> RESULT to the user."""
    fields: dict[str, Any] = {
        "lockset": (Member(rollup_id=RollupId(1), pre_root=101),),
        "l2_time": 1_800_000_000,
        "not_before": 1_799_999_990,
        "valid_until": 1_800_000_120,
        "executor": USER,
        "triggers_hash": triggers_hash((0,)),
        "fee_recipient": Address(bytes.fromhex("fe" * 20)),
        "entries": (
            Entry(mid=True, new_root=102, trigger=call(), next_action=oracle_call()),
            Entry(
                parent=0,
                reply_to=0,
                mid=False,
                new_root=103,
                trigger=result_of(oracle_call(), word(2500)),
                next_action=result_of(call(), word(1)),
            ),
        ),
    }
    return Core(**(fields | changes))


def two_rollup_core() -> Core:
    """Rollup 1 calls rollup 2 in the middle; a failed direct call of rollup 2 stands beside it. Open table."""
    inner = call(
        rollup_id=RollupId(2),
        destination=OTHER_PROGRAM,
        value=0,
        gas=5,
        source_rollup=RollupId(1),
        source_address=PROGRAM,
        data=selector("add(uint256)").to_bytes(4, "big") + word(1 << 200),
    )
    direct = call(rollup_id=RollupId(2), destination=OTHER_PROGRAM, value=0, data=b"\x01\x02\x03")
    return oracle_core(
        lockset=(Member(rollup_id=RollupId(1), pre_root=101), Member(rollup_id=RollupId(2), pre_root=201)),
        executor=ZERO_ADDRESS,
        triggers_hash=ZERO_HASH,
        entries=(
            Entry(mid=True, new_root=102, trigger=call(), next_action=inner),
            Entry(parent=0, mid=False, new_root=202, trigger=inner, next_action=result_of(inner, word(9))),
            Entry(
                parent=1,
                reply_to=0,
                mid=False,
                new_root=103,
                trigger=result_of(inner, word(9)),
                next_action=result_of(call(), word(9) + b"tail"),
            ),
            Entry(mid=False, new_root=201, trigger=direct, next_action=result_of(direct, b"no", failed=True)),
        ),
    )


def with_entry(core: Core, index: int, **changes: Any) -> Core:
    """The core with fields of one entry changed."""
    entries = list(core.entries)
    entries[index] = replace(entries[index], **changes)
    return replace(core, entries=tuple(entries))
