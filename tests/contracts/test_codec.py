"""Solidity and Python read the same bytes the same way: actions, cores, keys, statement words."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Final

import pytest

from protocol.actions import Action, ActionKind, action_hash, encode_action
from protocol.constants import NONE
from protocol.errors import CodedError
from protocol.statement import TIER_S, own_entries, words
from protocol.table import Core, Entry, Member, core_id, decode_core, encode_core, entry_key, stamp
from protocol.types import Address, Hash32, RollupId
from tests.support.cores import oracle_core, two_rollup_core
from tests.support.evmworld import Contract, Reverted, World

EPOCH: Final = 3
U64: Final = (1 << 64) - 1


@pytest.fixture(scope="module")
def world() -> World:
    return World()


@pytest.fixture(scope="module")
def harness(world: World) -> Contract:
    return world.deploy("CodecHarness")


@pytest.fixture(scope="module")
def reader(world: World) -> Contract:
    return world.deploy("TableReader")


@pytest.fixture(scope="module")
def groth16(world: World) -> Contract:
    return world.deploy("Groth16ProofSystem")


def random_action(rng: random.Random, kind: ActionKind | None = None, **changes: object) -> Action:
    """Any action whose unused fields are zero."""
    kind = rng.choice(list(ActionKind)) if kind is None else kind
    is_call = kind in (ActionKind.CALL, ActionKind.TRY_CALL)
    fields = {
        "kind": kind,
        "rollup_id": RollupId(rng.choice([0, 1, U64])),
        "destination": Address(rng.randbytes(20)),
        "value": rng.choice([0, 1, (1 << 128) - 1]) if is_call else 0,
        "gas": rng.choice([0, 1, U64]) if is_call else 0,
        "failed": kind is ActionKind.RESULT and rng.random() < 0.5,
        "opaque": kind is ActionKind.TRY_CALL and rng.random() < 0.5,
        "source_rollup": RollupId(rng.choice([0, 5, U64])),
        "source_address": Address(rng.randbytes(20)),
        "scope": () if kind is ActionKind.RESULT else tuple(rng.randrange(1 << 32) for _ in range(rng.randrange(8))),
        "data": rng.randbytes(rng.choice([0, 1, 3, 4, 5, 36, 100, 1024])),
    }
    return Action(**(fields | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(20))
def test_action_hash_agrees(harness: Contract, seed: int) -> None:
    rng = random.Random(seed)
    action, link = random_action(rng), Hash32(rng.randbytes(32))
    assert harness.view("hashAction", encode_action(action), link) == action_hash(action, link)


def random_core(seed: int) -> Core:
    """A valid core over one to three rollups: chains of calls out and answers, and direct calls."""
    rng = random.Random(seed)
    ids = sorted(rng.sample(range(1, 50), rng.randrange(1, 4)))
    entries: list[Entry] = []
    while len(entries) < rng.randrange(1, 7):
        owner = rng.choice(ids)
        parent = rng.choice([NONE, *range(len(entries))])
        trigger = random_action(
            rng, ActionKind.CALL, scope=(), rollup_id=RollupId(owner), gas=0, data=rng.randbytes(rng.randrange(133))
        )
        back = {"rollup_id": trigger.source_rollup, "destination": trigger.source_address}
        out = {"source_rollup": RollupId(owner), "source_address": trigger.destination, "scope": ()}
        if rng.random() < 0.5:
            asked = random_action(rng, ActionKind.CALL, rollup_id=RollupId(0), data=rng.randbytes(36), **out)
            entries.append(
                Entry(parent=parent, mid=True, new_root=rng.getrandbits(250), trigger=trigger, next_action=asked)
            )
            answered = Action(
                kind=ActionKind.RESULT,
                rollup_id=asked.source_rollup,
                destination=asked.source_address,
                source_rollup=asked.rollup_id,
                source_address=asked.destination,
                failed=rng.random() < 0.3,
                data=rng.randbytes(rng.randrange(129)),
            )
            parent, trigger, reply_to = len(entries) - 1, answered, len(entries) - 1
        else:
            reply_to = NONE
        entries.append(
            Entry(
                parent=parent,
                reply_to=reply_to,
                mid=False,
                new_root=rng.getrandbits(250),
                trigger=trigger,
                next_action=random_action(
                    rng, ActionKind.RESULT, data=rng.randbytes(rng.randrange(129)), **back, **out
                ),
            )
        )
    return oracle_core(
        lockset=tuple(Member(rollup_id=RollupId(r), pre_root=rng.getrandbits(250)) for r in ids),
        entries=tuple(entries),
    )


CORES: Final = {"oracle": oracle_core(), "two rollups": two_rollup_core()} | {
    f"random {seed}": random_core(seed) for seed in range(25)
}


@pytest.mark.parametrize("core", CORES.values(), ids=CORES.keys())
def test_keys_and_records_agree(reader: Contract, core: Core) -> None:
    raw = encode_core(core)
    keys, records, triggers, _ = reader.view("plan", raw, core_id(raw), [EPOCH] * len(core.lockset), b"\x00" * 20)
    for index, entry in enumerate(core.entries):
        stamps = [stamp(root, EPOCH) for root in core.roots_before(index)]
        assert keys[index] == entry_key(core_id(raw), core.trigger_hash(index), stamps)
        head = index.to_bytes(2, "big") + bytes((entry.mid,)) + entry.new_root.to_bytes(32, "big")
        assert records[index] == head + encode_action(entry.next_action)
        packed = encode_action(entry.trigger)
        assert raw[triggers[index] : triggers[index] + len(packed)] == packed


@pytest.mark.parametrize("core", CORES.values(), ids=CORES.keys())
def test_statement_words_agree(groth16: Contract, core: Core) -> None:
    raw = encode_core(core)
    for member in core.lockset:
        statement = member.rollup_id.to_bytes(8, "big") + raw
        if 1 <= len(own_entries(core, member.rollup_id)) <= TIER_S.entries:
            expected = words(core, member.rollup_id, TIER_S)
            assert groth16.view("statementWords", statement, TIER_S.number) == expected
        else:
            with pytest.raises(Reverted, match="DoesNotFitTier"):
                groth16.view("statementWords", statement, TIER_S.number)


def test_statement_of_a_rollup_outside_the_lockset_is_refused(groth16: Contract) -> None:
    with pytest.raises(Reverted, match="NotInLockset"):
        groth16.view("statementWords", (9).to_bytes(8, "big") + encode_core(oracle_core()), 0)


def test_statement_with_more_data_than_the_tier_has_words_is_refused(groth16: Contract) -> None:
    core = oracle_core()
    fits, too_long = bytes(4 + 128), bytes(4 + 129)
    for data, accepted in ((fits, True), (too_long, False)):
        entry = replace(core.entries[0], trigger=replace(core.entries[0].trigger, data=data))
        raw = encode_core(replace(core, entries=(entry, core.entries[1])))
        if accepted:
            assert len(groth16.view("statementWords", (1).to_bytes(8, "big") + raw, 0)) == TIER_S.words_total
        else:
            with pytest.raises(Reverted, match="DoesNotFitTier"):
                groth16.view("statementWords", (1).to_bytes(8, "big") + raw, 0)


def test_unknown_tier_is_refused(groth16: Contract) -> None:
    with pytest.raises(Reverted, match="UnknownTier"):
        groth16.view("statementWords", (1).to_bytes(8, "big") + encode_core(oracle_core()), 1)


def python_accepts(raw: bytes) -> bool:
    """Whether Python decodes these bytes."""
    try:
        decode_core(raw)
    except CodedError:
        return False
    return True


def solidity_accepts(reader: Contract, raw: bytes) -> bool:
    """Whether a load would; `members` is what the header says, for the epochs."""
    members = raw[1] if len(raw) > 1 else 0
    try:
        reader.view("plan", raw, core_id(raw), [EPOCH] * members, b"\xff" * 20)
    except Reverted as refused:
        assert refused.revert.name not in ("", "Error", "Panic"), refused  # a named reason, never an accident
        return False
    return True


@pytest.mark.parametrize("name", ["oracle", "two rollups"])
def test_every_truncation_and_extension_is_refused_by_both(reader: Contract, name: str) -> None:
    raw = encode_core(CORES[name])
    for length in [*range(0, len(raw), 23), len(raw) - 1]:
        assert not python_accepts(raw[:length])
        assert not solidity_accepts(reader, raw[:length]), length
    assert not solidity_accepts(reader, raw + b"\x00")
    assert not python_accepts(raw + b"\x00")


@pytest.mark.parametrize("seed", range(4))
def test_both_agree_on_mutated_cores(reader: Contract, seed: int) -> None:
    rng = random.Random(seed)
    raw = encode_core(CORES["oracle" if seed % 2 else "two rollups"])
    verdicts = set()
    for _ in range(25):
        changed = bytearray(raw)
        # fields that steer the reading lie at the start of header, entries and actions
        changed[rng.randrange(len(raw))] = rng.choice([0, 1, 2, 3, 5, 6, 0x7F, 0xFF])
        verdict = python_accepts(bytes(changed))
        assert solidity_accepts(reader, bytes(changed)) == verdict, bytes(changed).hex()
        verdicts.add(verdict)
    assert verdicts == {True, False}


def test_a_second_entry_under_the_same_key_is_refused(reader: Contract) -> None:
    core = oracle_core()
    twin = replace(core.entries[0], new_root=999)
    raw = bytearray(encode_core(core))
    # not encodable in Python, which refuses it too: append a copy of entry 0 by hand
    entry = encode_core(replace(core, entries=(twin,)))[98 + 40 + 2 :]
    raw[98 + 40 : 98 + 42] = (3).to_bytes(2, "big")
    raw += entry
    assert not python_accepts(bytes(raw))
    with pytest.raises(Reverted, match="DuplicateKey"):
        reader.view("plan", bytes(raw), core_id(bytes(raw)), [EPOCH], b"\xff" * 20)


@pytest.mark.parametrize("kind", [1, 3, 4, 5])
@pytest.mark.parametrize("place", ["trigger", "next_action"])
def test_kinds_that_are_not_built_are_refused_by_name(reader: Contract, kind: int, place: str) -> None:
    core = oracle_core()
    entry = core.entries[0]
    raw = bytearray(encode_core(core))
    at = 98 + 40 + 2 + 39 + (len(encode_action(entry.trigger)) if place == "next_action" else 0)
    raw[at] = kind
    for unused in (30, 46):  # kinds without value and gas must not carry them
        raw[at + unused : at + unused + (16 if unused == 30 else 8)] = bytes(16 if unused == 30 else 8)
    with pytest.raises(Reverted, match="UnsupportedKind"):
        reader.view("plan", bytes(raw), core_id(bytes(raw)), [EPOCH], b"\xff" * 20)


def test_a_scope_is_refused_by_name(reader: Contract) -> None:
    raw = encode_core(oracle_core())
    at = 98 + 40 + 2 + 39 + 82
    scoped = raw[:at] + b"\x01" + (7).to_bytes(4, "big") + raw[at + 1 :]
    with pytest.raises(Reverted, match="UnsupportedScope"):
        reader.view("plan", scoped, core_id(scoped), [EPOCH], b"\xff" * 20)
