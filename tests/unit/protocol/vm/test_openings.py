"""Openings and buckets that a light client checks, and snapshots (SPEC §3.5)."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest

from protocol.constants import FIELD_ORDER
from protocol.errors import CodedError, RuleError
from protocol.types import Address
from protocol.vm.assembler import assemble
from protocol.vm.deployment import deploy_calls
from protocol.vm.genesis import Genesis, GenesisAccount, GenesisSlot, state_from_genesis
from protocol.vm.machine import run_entry
from protocol.vm.openings import (
    KEY_BITS,
    Bucket,
    KeyProof,
    check_bucket,
    check_key,
    decode_bucket,
    decode_key_proof,
    decode_snapshot,
    encode_bucket,
    encode_key_proof,
    encode_snapshot,
    make_bucket,
    prove_key,
)
from protocol.vm.state import VmState, storage_key
from protocol.vm.state_tree import Leaf
from tests.support.cores import PROGRAM, call
from tests.support.machines import run, state_of


@cache
def state() -> VmState:
    """Forty slots, and half a program."""
    slots = tuple(GenesisSlot(slot=i, kind=0, value=100 + i) for i in range(40))
    account = GenesisAccount(address=PROGRAM, program=assemble("RETURN 0"), slots=slots)
    made = state_from_genesis(Genesis(accounts=(account,)))
    first, _ = deploy_calls(assemble("MOV r1, r1\n" * 20 + "RETURN 0"), salt=1)
    trigger = call(destination=Address(bytes(19) + b"\1"), value=0, data=first)
    return run_entry(made, rollup_id=1, l2_time=0, trigger=trigger).post


KEY = storage_key(int.from_bytes(PROGRAM, "big"), 7)
ABSENT = storage_key(int.from_bytes(PROGRAM, "big"), 1000)


def test_a_key_is_opened_or_shown_absent() -> None:
    """From bytes."""
    for key, values in ((KEY, (107, 0)), (ABSENT, (0, 0)), (1, (0, 0)), (FIELD_ORDER - 1, (0, 0))):
        proof = decode_key_proof(encode_key_proof(prove_key(state(), key)))
        assert check_key(state().root, key, proof) == values


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"index": 3}, "OPENING_ROOT"),
        ({"frames": 1}, "OPENING_ROOT"),
        ({"next_index": 41}, "OPENING_ROOT"),
        ({"next_index": 0}, "OPENING_SHAPE"),
        ({"index": 1 << 31}, "OPENING_SHAPE"),
        ({"siblings": ()}, "OPENING_SHAPE"),
        ({"siblings": (0,) * 48, "next_index": 4**12 + 1}, "OPENING_ROOT"),
        ({"leaf": Leaf(KEY, 0, 1, 0)}, "OPENING_ROOT"),
        ({"leaf": Leaf(KEY - 1, KEY + 1, 0, 0)}, "OPENING_ROOT"),
        ({"leaf": Leaf(KEY - 1, KEY - 1, 0, 0)}, "OPENING_KEY"),
        ({"leaf": Leaf(KEY + 1, 0, 0, 0)}, "OPENING_KEY"),
    ],
)
def test_a_wrong_opening_is_refused(changes: dict[str, object], reason: str) -> None:
    """By reason."""
    proof: KeyProof = replace(prove_key(state(), KEY), **changes)  # type: ignore[arg-type]
    with pytest.raises(RuleError) as caught:
        check_key(state().root, KEY, proof)
    assert caught.value.reason == reason


def test_a_present_key_is_not_shown_absent() -> None:
    """By the leaf before it, which names it."""
    before = prove_key(state(), KEY - 1)
    assert before.leaf.next_key == KEY
    with pytest.raises(RuleError, match="OPENING_KEY"):
        check_key(state().root, KEY, before)


def expected(bits: int, prefix: int) -> dict[int, tuple[int, int]]:
    """By looking at all leaves."""
    leaves = (leaf for leaf in state().tree.leaves() if leaf.key)
    return {leaf.key: (leaf.v0, leaf.v1) for leaf in leaves if leaf.key >> (KEY_BITS - bits) == prefix}


@pytest.mark.parametrize("bits", [0, 1, 3, 6])
def test_buckets_hold_all_their_keys(bits: int) -> None:
    """And together the whole state."""
    total = 0
    for prefix in range(1 << bits):
        bucket = decode_bucket(encode_bucket(make_bucket(state(), bits, prefix)))
        found = check_bucket(state().root, bucket)
        assert found == expected(bits, prefix)
        total += len(found)
    assert total == state().tree.next_index - 1


def test_a_bucket_of_one_key() -> None:
    """The longest prefix is a key."""
    for key, values in ((KEY, {KEY: (107, 0)}), (ABSENT, {})):
        assert check_bucket(state().root, make_bucket(state(), KEY_BITS, key)) == values


def test_a_bucket_that_leaves_something_out_is_refused() -> None:
    """A leaf in the middle, at an end, one too many, another prefix, another node, no leaf."""
    bucket = make_bucket(state(), 2, 1)
    by_key = sorted(bucket.leaves, key=lambda item: item[1].key)
    assert len(by_key) > 3
    wrong: list[Bucket] = [
        replace(bucket, leaves=tuple(x for x in bucket.leaves if x != by_key[place])) for place in (0, 1, -1)
    ]
    wider = make_bucket(state(), 1, 0)
    wrong += [
        replace(bucket, leaves=()),
        replace(bucket, prefix=0),
        replace(bucket, prefix=4),
        replace(wider, bits=2, prefix=1),
        replace(bucket, nodes=bucket.nodes[1:]),
        replace(bucket, nodes=((*bucket.nodes[0][:2], 5), *bucket.nodes[1:])),
        replace(bucket, nodes=(bucket.nodes[0], *bucket.nodes)),
        replace(bucket, frames=1),
    ]
    for each in wrong:
        with pytest.raises(CodedError):
            check_bucket(state().root, each)


def test_a_snapshot_is_the_state() -> None:
    """Root, programs, half-deployed programs; the next entries run on it."""
    again = decode_snapshot(encode_snapshot(state()))
    assert (again.root, again.programs, again.drafts) == (state().root, state().programs, state().drafts)
    _, second = deploy_calls(assemble("MOV r1, r1\n" * 20 + "RETURN 0"), salt=1)
    trigger = call(destination=Address(bytes(19) + b"\1"), value=0, data=second)
    runs = [run_entry(x, rollup_id=1, l2_time=0, trigger=trigger) for x in (state(), again)]
    assert runs[0].new_root == runs[1].new_root
    assert runs[1].post.programs == runs[0].post.programs != again.programs


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda raw: b"\2" + raw[1:], "SNAPSHOT_VERSION"),
        (lambda raw: raw[:1] + bytes(8) + raw[9:], "SNAPSHOT_NEXT_INDEX"),
        (lambda raw: raw[:1] + b"\0\0\0\0\xff\0\0\0" + raw[9:], "SNAPSHOT_TRUNCATED"),
        (lambda raw: raw[:-1], "SNAPSHOT_TRUNCATED"),
        (lambda raw: raw + b"\0", "SNAPSHOT_TRAILING_BYTES"),
        (lambda raw: raw[:-1] + b"\1", "SNAPSHOT_DRAFT"),
    ],
)
def test_a_damaged_snapshot_is_refused(change: object, reason: str) -> None:
    """Before any root is compared."""
    with pytest.raises(CodedError) as caught:
        decode_snapshot(change(encode_snapshot(state())))  # type: ignore[operator]
    assert caught.value.reason == reason


def test_a_mid_state_has_no_snapshot() -> None:
    """It is nobody's state between transactions."""
    asked = run(state_of("LDF f1, 5\nXCALL f1, 0, 0, 0\nRETURN 0"))
    with pytest.raises(CodedError, match="NOT_CANONICAL"):
        encode_snapshot(asked.post)
