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


def l2tx(rollup_id: int = 1, data: bytes = b"\x02tx", gas: int = 0) -> Action:
    """A transaction of a rollup's own kind."""
    return Action(
        kind=ActionKind.L2TX,
        rollup_id=RollupId(rollup_id),
        destination=ZERO_ADDRESS,
        gas=gas,
        source_rollup=RollupId(0),
        source_address=ZERO_ADDRESS,
        data=data,
    )


def revert_at(rollup_id: int, scope: tuple[int, ...], kind: ActionKind = ActionKind.REVERT) -> Action:
    """REVERT of a scope, or the REVERT_CONTINUE after it."""
    return Action(
        kind=kind,
        rollup_id=RollupId(rollup_id),
        destination=ZERO_ADDRESS,
        source_rollup=RollupId(rollup_id),
        source_address=ZERO_ADDRESS,
        scope=scope,
    )


def every_kind_core() -> Core:
    """A transaction of rollup 1 tries an L1 call in scope [0]; if it succeeds it calls rollup 2. It always reverts the
    scope, and a failed RESULT follows at the roots before it.
    """
    tried = oracle_call(kind=ActionKind.TRY_CALL, scope=(0,), gas=50_000, opaque=True)
    inner = call(
        rollup_id=RollupId(2),
        destination=OTHER_PROGRAM,
        value=0,
        source_rollup=RollupId(1),
        source_address=PROGRAM,
        scope=(0,),
    )
    undo, go_on = revert_at(1, (0,)), revert_at(1, (0,), ActionKind.REVERT_CONTINUE)
    answered, refused = result_of(tried, word(9)), result_of(tried, failed=True)
    end = replace(result_of(l2tx(), b"no", failed=True), source_address=ZERO_ADDRESS)
    return oracle_core(
        lockset=(Member(rollup_id=RollupId(1), pre_root=101), Member(rollup_id=RollupId(2), pre_root=201)),
        executor=ZERO_ADDRESS,
        triggers_hash=ZERO_HASH,
        entries=(
            Entry(mid=True, new_root=102, trigger=l2tx(), next_action=tried),
            Entry(parent=0, reply_to=0, mid=True, new_root=103, trigger=answered, next_action=inner),
            Entry(parent=1, mid=False, new_root=202, trigger=inner, next_action=result_of(inner, word(1))),
            Entry(parent=2, reply_to=1, mid=True, new_root=104, trigger=result_of(inner, word(1)), next_action=undo),
            Entry(parent=0, reply_to=0, mid=True, new_root=105, trigger=refused, next_action=undo),
            Entry(parent=0, revert_of=3, mid=False, new_root=106, trigger=go_on, next_action=end),
            Entry(parent=0, revert_of=4, mid=False, new_root=107, trigger=go_on, next_action=end),
        ),
    )


def with_entry(core: Core, index: int, **changes: Any) -> Core:
    """The core with fields of one entry changed."""
    entries = list(core.entries)
    entries[index] = replace(entries[index], **changes)
    return replace(core, entries=tuple(entries))
