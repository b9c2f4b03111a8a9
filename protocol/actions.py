"""Cross-domain actions: fields, canonical bytes, hash (SPEC §5.1), and data words (SPEC §4.4).

API:
    Action, ActionKind
    encode_action(action) / decode_action(bytes) / read_action(reader)
    action_hash(action, link)
    check_action(action)            the rules of one action; decoding calls it
    answers(result, call)           does a RESULT go back along a call
    call_words / answer_words       data cut into (hi, lo) pairs;  data_meta(action), action_words(action)
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from protocol.constants import MAX_ACTION_DATA, MAX_SCOPE
from protocol.errors import DecodeError
from protocol.hashing import abi_words, domain, keccak256
from protocol.reader import Reader
from protocol.types import ZERO_HASH, Address, Endpoint, Hash32, RollupId, endpoint

_U128 = 1 << 128
_U64 = 1 << 64

Words = tuple[tuple[int, int], ...]
"""Data words as (hi, lo) pairs of integers below 2^128."""


class ActionKind(IntEnum):
    """Kind of an action; the numbers are part of the format."""

    CALL = 0
    TRY_CALL = 1
    RESULT = 2
    L2TX = 3
    REVERT = 4
    REVERT_CONTINUE = 5


CALLS = (ActionKind.CALL, ActionKind.TRY_CALL)
OWN_FRAME = (ActionKind.REVERT, ActionKind.REVERT_CONTINUE)
"""What a rollup says of its own frames."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One cross-domain action. Its link is derived from the table and is not a field (SPEC §5.1)."""

    kind: ActionKind
    rollup_id: RollupId
    """Rollup of the target, u64; 0 is L1."""
    destination: Address
    """Account of the target."""
    value: int = 0
    """wei, u128."""
    gas: int = 0
    """u64; 0 for calls made on L1. L2TX: 0, or 1 + the place in the forced queue."""
    failed: bool = False
    """RESULT only: the call failed and data is its revert data."""
    opaque: bool = False
    """TRY_CALL only: revert data is not handed to the caller."""
    source_rollup: RollupId
    """u64."""
    source_address: Address
    scope: tuple[int, ...] = ()
    """0..7 numbers below 2^32."""
    data: bytes = b""
    """At most MAX_ACTION_DATA bytes."""

    @property
    def target(self) -> Endpoint:
        """Target endpoint."""
        return endpoint(self.rollup_id, self.destination)

    @property
    def source(self) -> Endpoint:
        """Source endpoint."""
        return endpoint(self.source_rollup, self.source_address)


def check_action(action: Action) -> None:
    """Check the ranges of an action's fields and that the fields its kind does not use are zero.

    Raises:
        DecodeError: ACTION_SCOPE_LENGTH, ACTION_DATA_LENGTH, ACTION_RANGE, ACTION_UNUSED_FIELD, ACTION_GAS_MISSING,
            ACTION_SCOPE_MISSING, ACTION_OWN_FRAME.
    """
    if len(action.scope) > MAX_SCOPE:
        raise DecodeError("ACTION_SCOPE_LENGTH", length=len(action.scope))
    if len(action.data) > MAX_ACTION_DATA:
        raise DecodeError("ACTION_DATA_LENGTH", length=len(action.data))
    in_range = (
        0 <= action.value < _U128
        and all(0 <= x < _U64 for x in (action.gas, action.rollup_id, action.source_rollup))
        and all(0 <= x < 1 << 32 for x in action.scope)
        and len(action.destination) == len(action.source_address) == 20
    )
    if not in_range:
        raise DecodeError("ACTION_RANGE")
    if action.failed and action.kind is not ActionKind.RESULT:
        raise DecodeError("ACTION_UNUSED_FIELD", field="failed", kind=int(action.kind))
    if action.opaque and action.kind is not ActionKind.TRY_CALL:
        raise DecodeError("ACTION_UNUSED_FIELD", field="opaque", kind=int(action.kind))
    if action.kind is ActionKind.TRY_CALL and not action.gas:
        raise DecodeError("ACTION_GAS_MISSING")
    if action.kind in CALLS:
        return
    is_own = action.kind in OWN_FRAME
    no_address = action.kind is not ActionKind.RESULT
    unused = {
        "value": action.value,
        "gas": action.gas if action.kind is not ActionKind.L2TX else 0,
        "scope": action.scope if not is_own else (),
        "destination": any(action.destination) and no_address,
        "source_address": any(action.source_address) and no_address,
        "source_rollup": action.source_rollup if action.kind is ActionKind.L2TX else 0,
        "data": action.data if is_own else b"",
    }
    for field, value in unused.items():
        if value:
            raise DecodeError("ACTION_UNUSED_FIELD", field=field, kind=int(action.kind))
    if is_own and not action.scope:
        raise DecodeError("ACTION_SCOPE_MISSING", kind=int(action.kind))
    if is_own and action.source_rollup != action.rollup_id:
        raise DecodeError("ACTION_OWN_FRAME", source_rollup=action.source_rollup)


def _flags(action: Action) -> int:
    return int(action.failed) + 2 * int(action.opaque)


def encode_action(action: Action) -> bytes:
    """Packed bytes of an action.

    Raises:
        DecodeError: the action breaks `check_action`.
    """
    check_action(action)
    return b"".join(
        (
            bytes((action.kind, _flags(action))),
            action.rollup_id.to_bytes(8, "big"),
            action.destination,
            action.value.to_bytes(16, "big"),
            action.gas.to_bytes(8, "big"),
            action.source_rollup.to_bytes(8, "big"),
            action.source_address,
            bytes((len(action.scope),)),
            *(x.to_bytes(4, "big") for x in action.scope),
            len(action.data).to_bytes(2, "big"),
            action.data,
        )
    )


def read_action(reader: Reader) -> Action:
    """Read one packed action.

    Raises:
        DecodeError: truncated, ACTION_KIND, ACTION_FLAGS, or the reasons of `check_action`.
    """
    kind = reader.uint(1)
    if kind > ActionKind.REVERT_CONTINUE:
        raise DecodeError("ACTION_KIND", kind=kind)
    flags = reader.uint(1)
    if flags > 3:
        raise DecodeError("ACTION_FLAGS", flags=flags)
    rollup_id = RollupId(reader.uint(8))
    destination = reader.address()
    value, gas = reader.uint(16), reader.uint(8)
    source_rollup = RollupId(reader.uint(8))
    source_address = reader.address()
    scope_length = reader.uint(1)
    if scope_length > MAX_SCOPE:
        raise DecodeError("ACTION_SCOPE_LENGTH", length=scope_length)
    scope = tuple(reader.uint(4) for _ in range(scope_length))
    data_length = reader.uint(2)
    if data_length > MAX_ACTION_DATA:
        raise DecodeError("ACTION_DATA_LENGTH", length=data_length)
    action = Action(
        kind=ActionKind(kind),
        rollup_id=rollup_id,
        destination=destination,
        value=value,
        gas=gas,
        failed=bool(flags & 1),
        opaque=bool(flags & 2),
        source_rollup=source_rollup,
        source_address=source_address,
        scope=scope,
        data=reader.take(data_length),
    )
    check_action(action)
    return action


def decode_action(raw: bytes) -> Action:
    """Decode exactly one packed action, for example the one that `ExecutionNotFound` carries.

    Raises:
        DecodeError: not the canonical bytes of an action.
    """
    reader = Reader(raw, "ACTION")
    action = read_action(reader)
    reader.end()
    return action


def action_hash(action: Action, link: Hash32 = ZERO_HASH) -> Hash32:
    """Hash of an action under its derived link (SPEC §5.1)."""
    return keccak256(
        abi_words(
            domain("action"),
            int(action.kind),
            action.rollup_id,
            action.destination,
            action.value,
            action.gas,
            _flags(action),
            action.source_rollup,
            action.source_address,
            keccak256(abi_words(*action.scope)),
            link,
            keccak256(action.data),
        )
    )


def answers(result: Action, call: Action) -> bool:
    """Whether a RESULT goes back exactly along `call`: target and source swapped."""
    return result.target == call.source and result.source == call.target


# -- data words, SPEC §4.4 ---------------------------------------------------------------------------------------------


def answer_words(data: bytes) -> Words:
    """Cut bytes into 32-byte words, the last one zero-padded."""
    chunks = (data[i : i + 32].ljust(32, b"\0") for i in range(0, len(data), 32))
    return tuple((int.from_bytes(c[:16], "big"), int.from_bytes(c[16:], "big")) for c in chunks)


def call_words(data: bytes) -> tuple[int, Words]:
    """Split call data into its selector (zero-padded to four bytes) and words."""
    return int.from_bytes(data[:4].ljust(4, b"\0"), "big"), answer_words(data[4:])


def bytes_from_words(words: Words) -> bytes:
    """32 bytes for each word."""
    return b"".join(hi.to_bytes(16, "big") + lo.to_bytes(16, "big") for hi, lo in words)


def pack_scope(scope: tuple[int, ...]) -> int:
    """A scope as one field element (SPEC §6): sum scope[i] * 2^(32 i) + len * 2^224."""
    return sum(x << (32 * i) for i, x in enumerate(scope)) + (len(scope) << 224)


def action_words(action: Action) -> tuple[int, Words]:
    """dataMeta and words of an action's data: those of a call are cut after a selector (SPEC §4.4, §6)."""
    if action.kind not in CALLS:
        return len(action.data) << 32, answer_words(action.data)
    selector, words = call_words(action.data)
    return (len(action.data) << 32) + selector, words
