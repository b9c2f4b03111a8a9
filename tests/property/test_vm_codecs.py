"""Codecs have one encoding: whatever bytes they accept, they give back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.actions import Action, ActionKind, check_action, decode_action, encode_action
from protocol.errors import CodedError, DecodeError
from protocol.payload import (
    Payload,
    decode_payload,
    decode_witness,
    encode_payload,
    encode_witness,
    make_witness,
    smallest_size_log2,
)
from protocol.statement import TIER_S, words
from protocol.table import decode_core, encode_core
from protocol.types import Address, Hash32, RollupId
from protocol.vm.genesis import decode_genesis, encode_genesis
from protocol.vm.isa import decode_program, encode_program
from protocol.vm.programs import program
from protocol.vm.rollup import run_core
from tests.support.cores import PROGRAM, oracle_core, two_rollup_core
from tests.support.machines import oracle_state, oracle_table
from tests.unit.protocol.vm.test_genesis import FULL

SETTINGS = settings(max_examples=150, deadline=None, derandomize=True)
STATE = oracle_state()
TABLE = oracle_table(STATE)
WITNESS = make_witness(STATE, run_core(STATE, TABLE, 1).values())
PAYLOAD = Payload(salt=Hash32(b"\x11" * 32), core=TABLE, witnesses=((RollupId(1), WITNESS),))
SIZE = smallest_size_log2(PAYLOAD)

Codec = tuple[bytes, Callable[[bytes], Any], Callable[[Any], bytes]]
CODECS: dict[str, Codec] = {
    "action": (encode_action(TABLE.entries[1].next_action), decode_action, encode_action),
    "core": (encode_core(oracle_core()), decode_core, encode_core),
    "core of two": (encode_core(two_rollup_core()), decode_core, encode_core),
    "genesis": (encode_genesis(FULL), decode_genesis, encode_genesis),
    "program": (encode_program(program("counter")), decode_program, encode_program),
    "witness": (encode_witness(WITNESS), decode_witness, encode_witness),
    "payload": (encode_payload(PAYLOAD, SIZE), decode_payload, lambda x: encode_payload(x, SIZE)),
}


def require_canonical(codec: Codec, raw: bytes) -> bool:
    """Refused with a coded error, or given back; tells which."""
    _, decode, encode = codec
    try:
        value = decode(raw)
    except CodedError:
        return False
    assert encode(value) == raw
    return True


@SETTINGS
@given(st.sampled_from(sorted(CODECS)), st.data())
def test_mutated_bytes_are_refused_or_given_back(name: str, data: st.DataObject) -> None:
    """One to three changes: a bit, a byte, a cut, an insertion, a doubled run."""
    codec = CODECS[name]
    raw = bytearray(codec[0])
    assert require_canonical(codec, bytes(raw))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, max(0, len(raw) - 1)))
        match data.draw(st.sampled_from(["flip", "set", "cut", "insert", "double"])):
            case "flip":
                raw[at : at + 1] = bytes(x ^ 1 << data.draw(st.integers(0, 7)) for x in raw[at : at + 1])
            case "set":
                raw[at : at + 1] = bytes((data.draw(st.sampled_from([0, 1, 2, 0x7F, 0xFF])),))
            case "cut":
                del raw[at : at + data.draw(st.integers(1, 40))]
            case "insert":
                raw[at:at] = data.draw(st.binary(min_size=1, max_size=4))
            case _:
                raw[at:at] = raw[at : at + data.draw(st.integers(1, 40))]
    require_canonical(codec, bytes(raw))


def test_every_single_bit_of_a_core_counts() -> None:
    """A flipped bit is refused or gives other statement words or other header fields; nothing is ignored."""
    raw = encode_core(oracle_core())
    accepted = 0
    for position in range(8 * len(raw)):
        changed = bytearray(raw)
        changed[position // 8] ^= 1 << position % 8
        if require_canonical(CODECS["core"], bytes(changed)):
            accepted += 1
            assert decode_core(bytes(changed)) != oracle_core()
    assert 0 < accepted < 8 * len(raw)


@SETTINGS
@given(st.binary(max_size=300), st.sampled_from(sorted(CODECS)))
def test_random_bytes_raise_only_coded_errors(raw: bytes, name: str) -> None:
    """Nothing but a CodedError leaves a decoder."""
    require_canonical(CODECS[name], raw)


ADDRESSES = st.binary(min_size=20, max_size=20).map(Address)
ACTIONS = st.builds(
    Action,
    kind=st.sampled_from(ActionKind),
    rollup_id=st.integers(0, (1 << 64) - 1).map(RollupId),
    destination=ADDRESSES,
    value=st.sampled_from([0, 1, (1 << 128) - 1]),
    gas=st.sampled_from([0, 1, (1 << 64) - 1]),
    failed=st.booleans(),
    opaque=st.booleans(),
    source_rollup=st.integers(0, (1 << 64) - 1).map(RollupId),
    source_address=ADDRESSES,
    scope=st.lists(st.integers(0, (1 << 32) - 1), max_size=8).map(tuple),
    data=st.binary(max_size=40),
)


@SETTINGS
@given(ACTIONS)
def test_an_action_is_refused_or_round_trips(action: Action) -> None:
    """Fields in any combination."""
    try:
        check_action(action)
    except DecodeError:
        return
    assert decode_action(encode_action(action)) == action


@SETTINGS
@given(ACTIONS, ACTIONS)
def test_statement_words_tell_actions_apart(first: Action, second: Action) -> None:
    """Two tables that differ in an action that fits the tier have different words."""
    tables = []
    for action in (first, second):
        entry = oracle_core().entries[0]
        trigger = Action(
            kind=ActionKind.CALL,
            rollup_id=RollupId(1),
            destination=PROGRAM,
            value=action.value,
            source_rollup=action.source_rollup,
            source_address=action.source_address,
            data=action.data,
        )
        tables.append(oracle_core(entries=(replace(entry, trigger=trigger),)))
    same_words = words(tables[0], 1, TIER_S) == words(tables[1], 1, TIER_S)
    assert same_words == (tables[0] == tables[1])
