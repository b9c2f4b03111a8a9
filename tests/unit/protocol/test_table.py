"""Cores: vectors, both directions of the codec, derived roots and links, and every rule of SPEC §5.2."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from eth_abi.abi import encode
from eth_utils.crypto import keccak

from protocol.actions import Action, ActionKind, action_hash
from protocol.constants import FIELD_ORDER, NONE
from protocol.errors import CodedError, DecodeError, RuleError
from protocol.table import (
    Core,
    Entry,
    Member,
    check_core,
    continue_link,
    core_id,
    decode_core,
    decode_triggers,
    encode_core,
    encode_header,
    encode_triggers,
    entry_key,
    family_hash,
    public_input,
    stamp,
    statement_commit,
    triggers_hash,
)
from protocol.types import ZERO_HASH, Hash32, RollupId
from tests.support.cores import (
    ORACLE,
    USER,
    call,
    every_kind_core,
    l2tx,
    oracle_call,
    oracle_core,
    result_of,
    revert_at,
    two_rollup_core,
    with_entry,
    word,
)
from tests.support.tools import ROOT

CONTINUE = ActionKind.REVERT_CONTINUE
VECTORS = json.loads((ROOT / "tests/vectors/core.json").read_text())


def taken(index: int) -> Entry:
    """An entry that takes an item of the forced queue."""
    trigger = l2tx(gas=1 + index)
    return Entry(mid=False, new_root=102 + index, trigger=trigger, next_action=result_of(trigger))


@pytest.mark.parametrize("core", [oracle_core(), two_rollup_core()])
def test_bytes_decode_to_the_same_core(core: Core) -> None:
    """One encoding, both ways, and the header is its front."""
    raw = encode_core(core)
    assert decode_core(raw) == core
    assert raw.startswith(encode_header(core) + len(core.entries).to_bytes(2, "big"))


@pytest.mark.parametrize("case", VECTORS["valid"], ids=lambda case: str(case["name"]))
def test_identities_equal_the_vectors(case: dict[str, object]) -> None:
    """coreId, links, action hashes, roots and keys of committed cores."""
    raw = bytes.fromhex(str(case["core"]))
    core = decode_core(raw)
    identity = core_id(raw)
    assert identity.hex() == case["coreId"]
    assert statement_commit(Hash32(b"\x55" * 32), identity).hex() == case["statementCommit"]
    entries = case["entries"]
    assert isinstance(entries, list)
    assert len(entries) == len(core.entries)
    for index, expected in enumerate(entries):
        stamps = [stamp(root, 3) for root in core.roots_before(index)]
        assert {
            "link": core.link(index).hex(),
            "trigger": core.trigger_hash(index).hex(),
            "next": core.next_hash(index).hex(),
            "rootsBefore": [str(x) for x in core.roots_before(index)],
            "rootsAfter": [str(x) for x in core.roots_after(index)],
            "keyAtEpoch3": entry_key(identity, core.trigger_hash(index), stamps).hex(),
        } == expected


@pytest.mark.parametrize("case", VECTORS["invalid"], ids=lambda case: str(case["name"]))
def test_invalid_vectors_are_refused(case: dict[str, str]) -> None:
    """Whoever decodes refuses these for this reason."""
    with pytest.raises(CodedError) as caught:
        decode_core(bytes.fromhex(case["core"]))
    assert caught.value.reason == case["reason"]


def test_hashes_equal_solidity_encoding() -> None:
    """eth-abi lays the preimages out on its own."""
    core = Hash32(b"\x01" * 32)
    tag = keccak(b"unveto/input/1")
    types = ["bytes32", "uint256", "address", "bytes32", "uint64", "uint64", "bytes32", "address", "bytes32"]
    values = [tag, 31337, ORACLE, core, 4, 2, b"\x02" * 32, USER, b"\x03" * 32]
    assert public_input(
        chain_id=31337,
        rollups_contract=ORACLE,
        core=core,
        rollup_id=4,
        epoch=2,
        family=Hash32(b"\x02" * 32),
        payee=USER,
        agreement_hash=Hash32(b"\x03" * 32),
    ) == keccak(encode(types, values))
    stamps = [stamp(7, 1), stamp(8, 0)]
    assert stamps[0] == keccak(encode(["uint256", "uint64"], [7, 1]))
    preimage = [keccak(b"unveto/key/1"), core, b"\x09" * 32, keccak(b"".join(stamps))]
    assert entry_key(core, Hash32(b"\x09" * 32), stamps) == keccak(encode(["bytes32"] * 4, preimage))
    hashes = [Hash32(b"\x0a" * 32), Hash32(b"\x0b" * 32)]
    preimage = [keccak(b"unveto/family/1"), keccak(b"".join(hashes))]
    assert family_hash(hashes) == keccak(encode(["bytes32"] * 2, preimage))


def tried(**changes: Any) -> Action:
    """The TRY_CALL of `every_kind_core`, changed."""
    return replace(every_kind_core().entries[0].next_action, **changes)


def test_two_reverts_of_one_scope_are_continued_apart() -> None:
    """Both continuations stand on the roots before the scope; what was undone tells them apart."""
    core = every_kind_core()
    assert core.next_hash(3) == core.next_hash(4)
    assert core.link(5) == continue_link(core.next_hash(3), 104) != core.link(6)
    assert core.roots_before(5) == core.roots_before(6) == (102, 201)
    same = with_entry(core, 4, new_root=104)
    with pytest.raises(RuleError) as caught:
        check_core(same)
    assert caught.value.reason == "CORE_DUPLICATE_KEY"


def test_links_and_roots_follow_the_table() -> None:
    """A RESULT's link is the hash of the call it answers; a parent's owner moves only its own root."""
    core = two_rollup_core()
    assert [core.link(i) for i in (0, 1, 3)] == [ZERO_HASH] * 3
    assert core.link(2) == core.next_hash(0) == core.trigger_hash(1)
    assert core.trigger_hash(2) == action_hash(core.entries[2].trigger, core.link(2))
    assert [core.roots_before(i) for i in range(4)] == [(101, 201), (102, 201), (102, 202), (101, 201)]
    assert core.roots_after(2) == (103, 202)
    assert core.owner(1) == 2


@pytest.mark.parametrize(
    ("core", "reason"),
    [
        (oracle_core(lockset=()), "CORE_LOCKSET"),
        (oracle_core(lockset=(Member(rollup_id=RollupId(0), pre_root=1),)), "CORE_LOCKSET"),
        (replace(two_rollup_core(), lockset=two_rollup_core().lockset[::-1]), "CORE_LOCKSET"),
        (oracle_core(lockset=(Member(rollup_id=RollupId(1), pre_root=FIELD_ORDER),)), "CORE_RANGE"),
        (oracle_core(l2_time=1 << 64), "CORE_RANGE"),
        (oracle_core(executor=b"short"), "CORE_RANGE"),
        (oracle_core(entries=()), "CORE_ENTRIES"),
        (oracle_core(lockset=(Member(rollup_id=RollupId(9), pre_root=1),)), "CORE_OWNER"),
        (with_entry(oracle_core(), 1, new_root=FIELD_ORDER), "CORE_RANGE"),
        (with_entry(oracle_core(), 0, parent=0), "CORE_PARENT"),
        (with_entry(oracle_core(), 1, parent=1), "CORE_PARENT"),
        (with_entry(oracle_core(), 1, parent=NONE), "CORE_ROOT_TRIGGER"),
        (with_entry(oracle_core(), 0, next_action=oracle_call(source_rollup=0)), "CORE_NEXT_SOURCE"),
        (with_entry(oracle_core(), 0, next_action=oracle_call(rollup_id=1)), "CORE_SELF_CALL"),
        (with_entry(oracle_core(), 0, trigger=revert_at(1, (0,))), "CORE_TRIGGER_KIND"),
        (with_entry(oracle_core(), 0, next_action=l2tx()), "CORE_NEXT_KIND"),
        (with_entry(every_kind_core(), 0, trigger=l2tx(gas=1)), "CORE_NEXT_KIND"),
        (oracle_core(entries=(taken(0), taken(1))), "CORE_TWO_FORCED"),
        (with_entry(oracle_core(), 1, next_action=revert_at(1, (0,), CONTINUE)), "CORE_NEXT_KIND"),
        (with_entry(oracle_core(), 0, next_action=revert_at(2, (0,))), "CORE_NEXT_SOURCE"),
        (with_entry(every_kind_core(), 0, next_action=tried(rollup_id=RollupId(1))), "CORE_SELF_CALL"),
        (with_entry(every_kind_core(), 5, revert_of=NONE), "CORE_REVERT_OF"),
        (with_entry(every_kind_core(), 5, revert_of=5), "CORE_REVERT_OF"),
        (with_entry(every_kind_core(), 5, revert_of=6), "CORE_REVERT_OF"),
        (with_entry(every_kind_core(), 5, revert_of=1), "CORE_REVERT_OF"),
        (with_entry(every_kind_core(), 5, trigger=revert_at(1, (0, 0), CONTINUE)), "CORE_REVERT_OF"),
        (with_entry(every_kind_core(), 5, trigger=revert_at(2, (0,), CONTINUE)), "CORE_NEXT_SOURCE"),
        (with_entry(every_kind_core(), 5, parent=NONE), "CORE_ROOT_TRIGGER"),
        (with_entry(every_kind_core(), 5, parent=4), "CORE_SCOPE_OPENER"),
        (with_entry(every_kind_core(), 5, parent=1), "CORE_SCOPE_OPENER"),
        (with_entry(every_kind_core(), 5, parent=2), "CORE_SCOPE_OPENER"),
        (with_entry(every_kind_core(), 0, next_action=tried(scope=(1,))), "CORE_SCOPE_OPENER"),
        (with_entry(every_kind_core(), 0, next_action=tried(scope=())), "CORE_SCOPE_OPENER"),
        (with_entry(oracle_core(), 0, revert_of=0), "CORE_REVERT_OF"),
        (with_entry(oracle_core(), 0, reply_to=0), "CORE_REPLY"),
        (with_entry(oracle_core(), 1, reply_to=NONE), "CORE_REPLY"),
        (with_entry(oracle_core(), 1, reply_to=1), "CORE_REPLY"),
        (with_entry(oracle_core(), 1, trigger=result_of(oracle_call(destination=USER))), "CORE_REPLY"),
        (with_entry(oracle_core(), 0, next_action=result_of(call())), "CORE_REPLY"),
        (with_entry(two_rollup_core(), 2, reply_to=1), "CORE_REPLY"),
        (oracle_core(entries=oracle_core().entries[:1] * 2), "CORE_DUPLICATE_KEY"),
    ],
)
def test_each_rule_refuses(core: Core, reason: str) -> None:
    """By its own reason, and nothing is encoded."""
    with pytest.raises(RuleError) as caught:
        check_core(core)
    assert caught.value.reason == reason
    with pytest.raises(CodedError):
        encode_core(core)


def test_the_same_trigger_on_other_roots_is_another_key() -> None:
    """The second call of the same thing stands on the roots that the first one left."""
    first, second = oracle_core().entries
    again = replace(first, parent=1, new_root=104)
    result = replace(second, parent=2, reply_to=2, trigger=result_of(oracle_call(), word(1)), new_root=105)
    check_core(oracle_core(entries=(first, second, again, result)))


def changed(where: Callable[[bytearray], object]) -> bytes:
    """The sample's bytes after a change in place."""
    raw = bytearray(encode_core(oracle_core()))
    where(raw)
    return bytes(raw)


ENTRY_0 = 42 + 24 + 72 + 2


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "CORE_TRUNCATED"),
        (bytes(65537), "CORE_SIZE"),
        (changed(lambda b: b.__setitem__(0, 2)), "CORE_VERSION"),
        (changed(lambda b: b.__setitem__(1, 9)), "CORE_LOCKSET"),
        (changed(lambda b: b.__setitem__(slice(10, 42), b"\xff" * 32)), "FIELD_RANGE"),
        (changed(lambda b: b.__setitem__(slice(ENTRY_0 - 2, ENTRY_0), b"\x01\x01")), "CORE_ENTRIES"),
        (changed(lambda b: b.__setitem__(slice(ENTRY_0 - 2, ENTRY_0), b"\x00\x01")), "CORE_TRAILING_BYTES"),
        (changed(lambda b: b.__setitem__(ENTRY_0 + 6, 3)), "CORE_FLAGS"),
        (changed(lambda b: b.__setitem__(slice(ENTRY_0 + 7, ENTRY_0 + 39), b"\xff" * 32)), "FIELD_RANGE"),
        (changed(lambda b: b.append(0)), "CORE_TRAILING_BYTES"),
        (changed(lambda b: b.pop()), "CORE_TRUNCATED"),
    ],
)
def test_other_bytes_are_refused(raw: bytes, reason: str) -> None:
    """Each rule of the format by its reason."""
    with pytest.raises(CodedError) as caught:
        decode_core(raw)
    assert caught.value.reason == reason


def test_triggers_are_a_list_of_indices() -> None:
    """Both ways, its hash, and refusal of half an index and of too many."""
    assert decode_triggers(encode_triggers((0, 3, 1))) == (0, 3, 1)
    assert triggers_hash((0, 3)) == keccak(b"\0\0\0\x03")
    for raw in (b"\0", bytes(2 * 257)):
        with pytest.raises(DecodeError):
            decode_triggers(raw)
