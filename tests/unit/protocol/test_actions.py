"""Actions: canonical bytes, the hash against an independent ABI encoder, and every refusal."""

from __future__ import annotations

import pytest
from eth_abi.abi import encode
from eth_utils.crypto import keccak

from protocol.actions import (
    Action,
    ActionKind,
    action_hash,
    action_words,
    answers,
    bytes_from_words,
    decode_action,
    encode_action,
)
from protocol.constants import MAX_ACTION_DATA
from protocol.errors import DecodeError
from protocol.types import Hash32
from tests.support.cores import ORACLE, call, l2tx, oracle_call, result_of, revert_at, word

SAMPLES = [
    call(),
    oracle_call(scope=(0, 1, 0xFFFFFFFF)),
    call(kind=ActionKind.TRY_CALL, opaque=True, value=(1 << 128) - 1, gas=(1 << 64) - 1),
    result_of(oracle_call(), word(5), failed=True),
    call(value=0, data=bytes(MAX_ACTION_DATA)),
    l2tx(gas=3),
    revert_at(7, (1, 0, 5)),
    revert_at(7, (0,), ActionKind.REVERT_CONTINUE),
]


@pytest.mark.parametrize("action", SAMPLES)
def test_bytes_decode_to_the_same_action(action: Action) -> None:
    """One encoding, both ways."""
    raw = encode_action(action)
    assert decode_action(raw) == action
    assert len(raw) == 85 + 4 * len(action.scope) + len(action.data)


@pytest.mark.parametrize("action", SAMPLES)
def test_hash_equals_solidity_encoding(action: Action) -> None:
    """eth-abi lays the preimage out on its own."""
    link = Hash32(b"\x07" * 32)
    scope = keccak(encode(["uint256"] * len(action.scope), action.scope))
    types = ["bytes32", "uint8", "uint64", "address", "uint128", "uint64", "uint8", "uint64", "address"]
    values = [
        keccak(b"unveto/action/1"),
        int(action.kind),
        action.rollup_id,
        action.destination,
        action.value,
        action.gas,
        action.failed + 2 * action.opaque,
        action.source_rollup,
        action.source_address,
    ]
    preimage = encode([*types, "bytes32", "bytes32", "bytes32"], [*values, scope, link, keccak(action.data)])
    assert action_hash(action, link) == keccak(preimage)


def patched(offset: int, value: bytes, action: Action | None = None) -> bytes:
    """Bytes of an action with some replaced."""
    raw = bytearray(encode_action(action or call()))
    raw[offset : offset + len(value)] = value
    return bytes(raw)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "ACTION_TRUNCATED"),
        (encode_action(call())[:-1], "ACTION_TRUNCATED"),
        (encode_action(call()) + b"\0", "ACTION_TRAILING_BYTES"),
        (patched(0, b"\x06"), "ACTION_KIND"),
        (patched(1, b"\x04"), "ACTION_FLAGS"),
        (patched(1, b"\x01"), "ACTION_UNUSED_FIELD"),
        (patched(1, b"\x02"), "ACTION_UNUSED_FIELD"),
        (patched(1, b"\x02", result_of(call())), "ACTION_UNUSED_FIELD"),
        (patched(45, b"\x01", result_of(call())), "ACTION_UNUSED_FIELD"),
        (patched(53, b"\x01", result_of(call())), "ACTION_UNUSED_FIELD"),
        (patched(82, b"\x08"), "ACTION_SCOPE_LENGTH"),
        (patched(83, b"\x04\x01"), "ACTION_DATA_LENGTH"),
        (patched(83, b"\0\x05"), "ACTION_TRUNCATED"),
        (patched(0, b"\x02", oracle_call(value=0, gas=0, scope=(1,))), "ACTION_UNUSED_FIELD"),
        (patched(53, b"\x00", oracle_call(kind=ActionKind.TRY_CALL, gas=1)), "ACTION_GAS_MISSING"),
        *((patched(at, b"\x01", l2tx()), "ACTION_UNUSED_FIELD") for at in (10, 45, 61, 62)),
        *((patched(at, b"\x01", revert_at(7, (0,))), "ACTION_UNUSED_FIELD") for at in (10, 45, 53, 62)),
        (encode_action(l2tx(data=b""))[:82] + b"\x01" + bytes(6), "ACTION_UNUSED_FIELD"),
        (encode_action(revert_at(7, (0,)))[:-1] + b"\x01x", "ACTION_UNUSED_FIELD"),
        (encode_action(revert_at(7, (0,)))[:82] + bytes(3), "ACTION_SCOPE_MISSING"),
        (patched(61, b"\x08", revert_at(7, (0,))), "ACTION_OWN_FRAME"),
        (patched(9, b"\x08", revert_at(7, (0,), ActionKind.REVERT_CONTINUE)), "ACTION_OWN_FRAME"),
    ],
)
def test_other_bytes_are_refused(raw: bytes, reason: str) -> None:
    """Each rule of the format by its reason."""
    with pytest.raises(DecodeError) as caught:
        decode_action(raw)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"value": 1 << 128}, "ACTION_RANGE"),
        ({"value": -1}, "ACTION_RANGE"),
        ({"gas": 1 << 64}, "ACTION_RANGE"),
        ({"rollup_id": 1 << 64}, "ACTION_RANGE"),
        ({"scope": (1 << 32,)}, "ACTION_RANGE"),
        ({"scope": (0,) * 8}, "ACTION_SCOPE_LENGTH"),
        ({"destination": b"short"}, "ACTION_RANGE"),
        ({"data": bytes(MAX_ACTION_DATA + 1)}, "ACTION_DATA_LENGTH"),
    ],
)
def test_an_action_out_of_range_is_not_encoded(changes: dict[str, object], reason: str) -> None:
    """Encoding checks what decoding checks."""
    with pytest.raises(DecodeError) as caught:
        encode_action(call(**changes))
    assert caught.value.reason == reason


def test_data_words_follow_the_kind() -> None:
    """A call has a selector; a result is cut from byte 0; the length tells padding apart."""
    meta, words = action_words(call(data=b"\xaa\xbb\xcc\xdd" + word(3) + b"\x01"))
    assert meta == (37 << 32) + 0xAABBCCDD
    assert words == ((0, 3), (1 << 120, 0))
    assert action_words(call(data=b"\xaa")) == ((1 << 32) + 0xAA000000, ())
    meta, words = action_words(result_of(call(), b"\x01"))
    assert (meta, words) == (1 << 32, ((1 << 120, 0),))
    assert bytes_from_words(((1, 2),)) == (1).to_bytes(16, "big") + (2).to_bytes(16, "big")


def test_a_result_answers_only_the_call_it_goes_back_along() -> None:
    """Target and source both count, rollup included."""
    assert answers(result_of(oracle_call()), oracle_call())
    assert not answers(result_of(oracle_call()), call())
    assert not answers(result_of(oracle_call(rollup_id=3)), oracle_call())
    assert not answers(result_of(oracle_call(source_address=ORACLE)), oracle_call())
