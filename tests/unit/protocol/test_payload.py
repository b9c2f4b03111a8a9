"""Payload and state witness: canonical bytes, execution from the witness alone, every refusal."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from eth_utils.crypto import keccak

from protocol.errors import CodedError, StateError
from protocol.payload import (
    Payload,
    decode_payload,
    decode_witness,
    encode_payload,
    encode_witness,
    make_witness,
    payload_commit,
    smallest_size_log2,
    state_from_witness,
)
from protocol.types import Hash32, RollupId
from protocol.vm.assembler import assemble
from protocol.vm.machine import run_entry
from protocol.vm.rollup import run_core
from tests.support.cores import OTHER_PROGRAM, call
from tests.support.machines import oracle_state, oracle_table
from tests.support.tools import ROOT

STATE = oracle_state()
TABLE = oracle_table(STATE)
WITNESS = make_witness(STATE, run_core(STATE, TABLE, 1).values())
RAW = encode_witness(WITNESS)
PAYLOAD = Payload(salt=Hash32(b"\x5a" * 32), core=TABLE, witnesses=((RollupId(1), WITNESS),))
VECTORS = json.loads((ROOT / "tests/vectors/vm.json").read_text())


def test_a_prover_executes_from_the_witness_alone() -> None:
    """Same roots, same traces."""
    state = state_from_witness(decode_witness(RAW))
    assert state.root == STATE.root
    full, partial = run_core(STATE, TABLE, 1, trace=True), run_core(state, TABLE, 1, trace=True)
    for index, run in full.items():
        assert [(s.pc, s.before, s.after) for s in run.steps] == [
            (s.pc, s.before, s.after) for s in partial[index].steps
        ]
        assert [o.indices for o in run.operations] == [o.indices for o in partial[index].operations]
        assert partial[index].new_root == run.new_root


def test_the_witness_says_nothing_about_other_accounts() -> None:
    """What it does not hold is an error, not an answer."""
    state = state_from_witness(WITNESS)
    with pytest.raises(StateError) as caught:
        run_entry(state, rollup_id=1, l2_time=0, trigger=call(destination=OTHER_PROGRAM))
    assert caught.value.reason == "NODE_MISSING"
    assert [program.code_hash for program in WITNESS.programs] == [TABLE_CODE]
    assert len(WITNESS.programs) < len(STATE.programs)


TABLE_CODE = run_core(STATE, TABLE, 1)[0].frame.code_hash


def test_bytes_decode_to_the_same_witness_and_payload() -> None:
    """One encoding, both ways, at any padded size."""
    assert decode_witness(RAW) == WITNESS
    smallest = smallest_size_log2(PAYLOAD)
    for size_log2 in (smallest, smallest + 1, 15):
        padded = encode_payload(PAYLOAD, size_log2)
        assert len(padded) == 1 << size_log2
        assert decode_payload(padded) == PAYLOAD
        assert payload_commit(padded) == keccak(keccak(b"unveto/payload/1") + keccak(padded))


def test_the_vector_decodes() -> None:
    """Committed payload bytes, commitment and re-encoding."""
    case = VECTORS["payload"]
    padded = bytes.fromhex(case["payload"]).ljust(1 << case["sizeLog2"], b"\0")
    assert payload_commit(padded).hex() == case["payloadCommit"]
    assert encode_payload(decode_payload(padded), case["sizeLog2"]) == padded


def test_a_pinned_rollup_needs_only_its_root() -> None:
    """No run: the witness is one node."""
    witness = make_witness(STATE, ())
    assert (witness.leaves, witness.programs) == ((), ())
    assert witness.nodes == ((8, 0, STATE.tree.root),)
    assert state_from_witness(decode_witness(encode_witness(witness))).root == STATE.root


def reason_of(raw: bytes) -> str:
    """Why a witness is refused."""
    with pytest.raises(CodedError) as caught:
        decode_witness(raw)
    return caught.value.reason


LEAVES = 72
NODES = LEAVES + 2 + 132 * len(WITNESS.leaves)
PROGRAMS = NODES + 4 + 37 * len(WITNESS.nodes)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "WITNESS_TRUNCATED"),
        (RAW[:-1], "WITNESS_TRUNCATED"),
        (RAW + b"\0", "WITNESS_TRAILING_BYTES"),
        (b"\xff" * 32 + RAW[32:], "FIELD_RANGE"),
        (RAW[:71] + b"\x01" + RAW[72:], "WITNESS_FRAMES"),
        (RAW[:31] + bytes((RAW[31] ^ 1,)) + RAW[32:], "WITNESS_ROOT"),
        (RAW[:39] + bytes((RAW[39] - 1,)) + RAW[40:], "NODE_REDUNDANT"),
        (RAW[:36] + b"\x00\x10\x00\x00" + RAW[40:], "NODE_MISSING"),
        (RAW[:LEAVES] + b"\xff\xff" + RAW[LEAVES + 2 :], "WITNESS_LEAVES"),
        (RAW[:NODES] + b"\xff\xff\xff\xff" + RAW[NODES + 4 :], "WITNESS_NODES"),
        (RAW[: NODES + 4] + b"\x11" + RAW[NODES + 5 :], "WITNESS_LEVEL"),
        (RAW[:PROGRAMS] + b"\xff\xff" + RAW[PROGRAMS + 2 :], "WITNESS_PROGRAMS"),
        (RAW[: PROGRAMS + 2] + b"\0\0" + RAW[PROGRAMS + 4 :], "PROGRAM_LENGTH"),
    ],
)
def test_other_witness_bytes_are_refused(raw: bytes, reason: str) -> None:
    """Each rule of the format by its reason."""
    assert reason_of(raw) == reason


def test_order_and_duplicates_are_refused() -> None:
    """Leaves, nodes and programs have one order."""
    extra = assemble("REVERT 0")
    programs = sorted((*WITNESS.programs, extra), key=lambda p: p.code_hash)
    cases = [
        replace(WITNESS, leaves=WITNESS.leaves[::-1]),
        replace(WITNESS, leaves=(WITNESS.leaves[0], *WITNESS.leaves)),
        replace(WITNESS, nodes=WITNESS.nodes[::-1]),
        replace(WITNESS, programs=tuple(programs[::-1])),
        replace(WITNESS, programs=(extra, extra)),
    ]
    assert [reason_of(encode_witness(case)) for case in cases] == ["WITNESS_ORDER"] * 5


def test_a_changed_leaf_or_node_breaks_the_root() -> None:
    """Every value word is under the root."""
    index, leaf = WITNESS.leaves[2]
    for changed in (replace(leaf, v0=leaf.v0 + 1), replace(leaf, v1=leaf.v1 + 1), replace(leaf, next_key=1)):
        leaves = (*WITNESS.leaves[:2], (index, changed), *WITNESS.leaves[3:])
        assert reason_of(encode_witness(replace(WITNESS, leaves=leaves))) == "WITNESS_ROOT"
    level, place, value = WITNESS.nodes[0]
    nodes = ((level, place, value + 1), *WITNESS.nodes[1:])
    assert reason_of(encode_witness(replace(WITNESS, nodes=nodes))) == "WITNESS_ROOT"


PADDED = encode_payload(PAYLOAD, smallest_size_log2(PAYLOAD))
CORE_END = 37 + int.from_bytes(PADDED[33:37], "big")


@pytest.mark.parametrize(
    ("padded", "reason"),
    [
        (b"", "PAYLOAD_SIZE"),
        (PADDED[:-1], "PAYLOAD_SIZE"),
        (bytes(512), "PAYLOAD_SIZE"),
        (bytes(1 << 23), "PAYLOAD_SIZE"),
        (bytes(1024), "PAYLOAD_VERSION"),
        (PADDED[:33] + b"\x00\x01\x00\x01" + PADDED[37:], "PAYLOAD_CORE_SIZE"),
        (PADDED[:33] + b"\x00\x00\x00\x01" + PADDED[37:], "CORE_TRUNCATED"),
        (PADDED[:CORE_END] + b"\x02" + PADDED[CORE_END + 1 :], "PAYLOAD_MEMBERS"),
        (PADDED[: CORE_END + 8] + b"\x02" + PADDED[CORE_END + 9 :], "PAYLOAD_MEMBERS"),
        (PADDED[: CORE_END + 9] + b"\xff" * 4 + PADDED[CORE_END + 13 :], "PAYLOAD_TRUNCATED"),
        (PADDED[:-1] + b"\x01", "PAYLOAD_PADDING"),
    ],
)
def test_other_payload_bytes_are_refused(padded: bytes, reason: str) -> None:
    """Each rule of the format by its reason."""
    with pytest.raises(CodedError) as caught:
        decode_payload(padded)
    assert caught.value.reason == reason


def test_what_does_not_fit_is_not_encoded() -> None:
    """Too small a size, a size that is not allowed, witnesses of other rollups."""
    smallest = smallest_size_log2(PAYLOAD)
    for payload, size_log2, reason in (
        (PAYLOAD, smallest - 1, "PAYLOAD_SIZE"),
        (PAYLOAD, 23, "PAYLOAD_SIZE"),
        (replace(PAYLOAD, witnesses=()), 15, "PAYLOAD_MEMBERS"),
        (replace(PAYLOAD, witnesses=((RollupId(2), WITNESS),)), 15, "PAYLOAD_MEMBERS"),
    ):
        with pytest.raises(CodedError) as caught:
            encode_payload(payload, size_log2)
        assert caught.value.reason == reason
    huge = replace(PAYLOAD, witnesses=((RollupId(1), replace(WITNESS, programs=(BIG,) * 33)),))
    with pytest.raises(CodedError) as caught:
        smallest_size_log2(huge)
    assert caught.value.reason == "PAYLOAD_SIZE"


BIG = assemble("RETURN 0\n" * 4096)


def test_limits_are_checked_before_anything_is_hashed() -> None:
    """A count above the limit is refused even where the bytes are there."""
    leaf = WITNESS.leaves[0][1]
    leaves = tuple((index, leaf) for index in range(1025))
    nodes = tuple((0, index, 1) for index in range(16385))
    assert reason_of(encode_witness(replace(WITNESS, leaves=leaves))) == "WITNESS_LEAVES"
    assert reason_of(encode_witness(replace(WITNESS, nodes=nodes))) == "WITNESS_NODES"
    assert reason_of(encode_witness(replace(WITNESS, programs=(BIG,) * 17))) == "WITNESS_PROGRAMS"
