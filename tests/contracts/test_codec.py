"""Solidity and Python read the same bytes the same way: actions, cores, keys, statement words."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Final

import pytest

from protocol import statement
from protocol.actions import CALLS, OWN_FRAME, Action, ActionKind, action_hash, encode_action
from protocol.constants import NONE
from protocol.errors import CodedError, RuleError
from protocol.statement import TIER_S, TIERS, Tier, words
from protocol.table import Core, Entry, Member, core_id, decode_core, encode_core, entry_key, stamp
from protocol.types import ZERO_ADDRESS, Address, Hash32, RollupId
from tests.support.cores import (
    call,
    every_kind_core,
    l2tx,
    oracle_call,
    oracle_core,
    result_of,
    revert_at,
    two_rollup_core,
    with_entry,
)
from tests.support.evmworld import Contract, Reverted, World
from tests.support.make_vectors import encoded_wrongly

EPOCH: Final = 3
U64: Final = (1 << 64) - 1
CONTINUE: Final = ActionKind.REVERT_CONTINUE
NO_STATEMENT: Final = {
    "STATEMENT_EMPTY": "DoesNotFitTier",
    "TIER_ENTRIES": "DoesNotFitTier|Unsupported",
    "TIER_KIND": "UnsupportedKind",
    "TIER_SCOPE": "UnsupportedScope",
}
"""What the contract says where the reference has these reasons."""


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


def configs(members: int) -> bytes:
    """What Rollups tells its reader: each member's id, epoch, threshold 1, and one system with its family."""
    return b"".join(bytes(8) + EPOCH.to_bytes(8, "big") + b"\x01\x01" + bytes(52) for _ in range(members))


def random_action(rng: random.Random, kind: ActionKind | None = None, **changes: object) -> Action:
    """Any action that has the fields of its kind."""
    kind = rng.choice(list(ActionKind)) if kind is None else kind
    is_call = kind in CALLS
    is_own, is_tx = kind in OWN_FRAME, kind is ActionKind.L2TX
    rollup_id = RollupId(rng.choice([0, 1, U64]))
    gases = [1, U64] if kind is ActionKind.TRY_CALL else [0, 1, U64] if is_call or is_tx else [0]
    lengths = range(8) if is_call else range(1, 8) if is_own else [0]
    source_rollup = RollupId(rollup_id if is_own else 0 if is_tx else rng.choice([0, 5, U64]))
    fields = {
        "kind": kind,
        "rollup_id": rollup_id,
        "destination": ZERO_ADDRESS if is_own or is_tx else Address(rng.randbytes(20)),
        "value": rng.choice([0, 1, (1 << 128) - 1]) if is_call else 0,
        "gas": rng.choice(gases),
        "failed": kind is ActionKind.RESULT and rng.random() < 0.5,
        "opaque": kind is ActionKind.TRY_CALL and rng.random() < 0.5,
        "source_rollup": source_rollup,
        "source_address": ZERO_ADDRESS if is_own or is_tx else Address(rng.randbytes(20)),
        "scope": tuple(rng.randrange(1 << 32) for _ in range(rng.choice(lengths))),
        "data": b"" if is_own else rng.randbytes(rng.choice([0, 1, 3, 4, 5, 36, 100, 1024])),
    }
    return Action(**(fields | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(30))
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


TRIES: Final = with_entry(
    with_entry(oracle_core(), 0, next_action=oracle_call(kind=ActionKind.TRY_CALL, opaque=True)),
    1,
    trigger=result_of(oracle_call(), b"no", failed=True),
)
SCOPES: Final = oracle_core(
    entries=(
        Entry(mid=True, new_root=102, trigger=call(scope=(3,)), next_action=revert_at(1, (5, 0))),
        Entry(
            parent=0,
            revert_of=0,
            mid=False,
            new_root=103,
            trigger=revert_at(1, (5, 0), CONTINUE),
            next_action=result_of(call()),
        ),
    )
)
CORES: Final = {
    "scopes": SCOPES,
    "oracle": oracle_core(),
    "two rollups": two_rollup_core(),
    "tries": with_entry(TRIES, 0, trigger=call(kind=ActionKind.TRY_CALL, gas=1, opaque=True)),
    "every kind": every_kind_core(),
} | {f"random {seed}": random_core(seed) for seed in range(25)}


@pytest.mark.parametrize("core", CORES.values(), ids=CORES.keys())
def test_keys_and_records_agree(reader: Contract, core: Core) -> None:
    raw = encode_core(core)
    plan = reader.view("plan", raw, core_id(raw), configs(len(core.lockset)), b"\x00" * 20)
    keys, places, _, takes_forced = plan
    at = 98 + 40 * len(core.lockset) + 2
    assert takes_forced == any(e.trigger.kind is ActionKind.L2TX and e.trigger.gas for e in core.entries)
    for index, entry in enumerate(core.entries):
        stamps = [stamp(root, EPOCH) for root in core.roots_before(index)]
        assert keys[index] == entry_key(core_id(raw), core.trigger_hash(index), stamps)
        place, owner = places[index], [m.rollup_id for m in core.lockset].index(entry.owner)
        assert [place >> shift & 0xFFFFFFFF for shift in (0, 96)] == [at, owner]
        next_at, end = (place >> shift & 0xFFFFFFFF for shift in (32, 64))
        assert raw[at + 39 : next_at] == encode_action(entry.trigger)
        assert raw[next_at:end] == encode_action(entry.next_action)
        at = end
    assert at == len(raw)


@pytest.mark.parametrize("tier", TIERS, ids=lambda tier: tier.name)
@pytest.mark.parametrize("core", CORES.values(), ids=CORES.keys())
def test_statement_words_agree(groth16: Contract, core: Core, tier: Tier) -> None:
    raw = encode_core(core)
    for member in core.lockset:
        statement = member.rollup_id.to_bytes(8, "big") + raw
        try:
            expected = words(core, member.rollup_id, tier)
        except RuleError as refusal:
            with pytest.raises(Reverted, match=NO_STATEMENT[refusal.reason]):
                groth16.view("statementWords", statement, tier.number)
        else:
            assert groth16.view("statementWords", statement, tier.number) == expected


def random_tree_of_kinds(seed: int) -> Core:
    """The core of every kind with other scopes, data and values: all kinds, met and said."""
    rng = random.Random(seed)
    scope = tuple(rng.randrange(1 << 32) for _ in range(rng.randrange(1, 7)))
    inside = (*scope, *(rng.randrange(1 << 32) for _ in range(rng.randrange(8 - len(scope)))))
    made: dict[Action, Action] = {}

    def changed(action: Action) -> Action:
        data = rng.randbytes(rng.choice([0, 1, 3, 4, 5, 31, 32, 33, 36, 192, 1024]))
        if action.kind in OWN_FRAME:
            return replace(action, scope=scope)
        if action.kind in CALLS:
            # A call is met as it was made.
            new = replace(action, value=rng.getrandbits(128), scope=inside, data=data)
            return made.setdefault(action, new)
        return replace(action, data=data)

    core = every_kind_core()
    forced = Entry(
        mid=False, new_root=0, trigger=l2tx(gas=rng.choice([1, U64])), next_action=core.entries[5].next_action
    )
    entries = [
        replace(x, trigger=changed(x.trigger), next_action=changed(x.next_action), new_root=rng.getrandbits(250))
        for x in (*core.entries, forced)
    ]
    return replace(core, entries=tuple(entries))


@pytest.mark.parametrize("seed", range(12))
def test_words_of_every_kind_agree(harness: Contract, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """Also of kinds that have no statement yet: layouts are the same before a circuit gives them a meaning."""
    monkeypatch.setattr(statement, "PROVABLE_KINDS", tuple(ActionKind))
    monkeypatch.setattr(statement, "PROVABLE_SCOPES", True)
    core = random_tree_of_kinds(seed)
    raw = encode_core(core)
    for member in core.lockset:
        tier = Tier(name="wide", number=0, entries=7, data_words=32)
        expected = words(core, member.rollup_id, tier)
        assert harness.view("statementWords", raw, member.rollup_id, 7, 32, (1 << 7) - 1) == expected
        assert any(x >> 224 for x in expected)
    assert {x.kind for entry in core.entries for x in (entry.trigger, entry.next_action)} == set(ActionKind)


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
        groth16.view("statementWords", (1).to_bytes(8, "big") + encode_core(oracle_core()), len(TIERS))


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
        reader.view("plan", raw, core_id(raw), configs(members), b"\xff" * 20)
    except Reverted as refused:
        assert refused.revert.name not in ("", "Error", "Panic"), refused  # a named reason, never an accident
        return False
    return True


@pytest.mark.parametrize("name", ["oracle", "two rollups", "every kind"])
def test_every_truncation_and_extension_is_refused_by_both(reader: Contract, name: str) -> None:
    raw = encode_core(CORES[name])
    for length in [*range(0, len(raw), 23), len(raw) - 1]:
        assert not python_accepts(raw[:length])
        assert not solidity_accepts(reader, raw[:length]), length
    assert not solidity_accepts(reader, raw + b"\x00")
    assert not python_accepts(raw + b"\x00")


@pytest.mark.parametrize("seed", range(6))
def test_both_agree_on_mutated_cores(reader: Contract, seed: int) -> None:
    rng = random.Random(seed)
    raw = encode_core(CORES[("oracle", "two rollups", "every kind")[seed % 3]])
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
        reader.view("plan", bytes(raw), core_id(bytes(raw)), configs(1), b"\xff" * 20)


@pytest.mark.parametrize(
    ("raw", "error"),
    [
        (encoded_wrongly(0, trigger=revert_at(1, (0,))), "BadTrigger"),
        (encoded_wrongly(0, next_action=l2tx()), "BadNext"),
        (encoded_wrongly(0, next_action=revert_at(1, (0,), CONTINUE)), "BadNext"),
        (encoded_wrongly(3, next_action=revert_at(2, (0,))), "BadSource"),
        (encoded_wrongly(5, parent=1), "BadParent"),
        (encoded_wrongly(5, parent=4), "BadParent"),
        (encoded_wrongly(5, parent=NONE), "BadParent"),
        (encoded_wrongly(5, revert_of=1), "BadRevertOf"),
        (encoded_wrongly(5, revert_of=5), "BadRevertOf"),
        (encoded_wrongly(5, revert_of=NONE), "BadRevertOf"),
        (encoded_wrongly(5, trigger=revert_at(1, (1,), CONTINUE)), "BadRevertOf"),
        (encoded_wrongly(5, trigger=revert_at(1, (0, 0), CONTINUE)), "BadRevertOf"),
        (encoded_wrongly(1, revert_of=0), "BadRevertOf"),
        (encoded_wrongly(5, reply_to=0), "BadReplyTo"),
        (encoded_wrongly(4, new_root=104), "DuplicateKey"),
        (encoded_wrongly(0, trigger=l2tx(gas=1)), "BadNext"),
    ],
)
def test_each_rule_of_the_new_kinds_is_broken_by_name(reader: Contract, raw: bytes, error: str) -> None:
    members = configs(raw[1])
    whole = encode_core(every_kind_core())
    reader.view("plan", whole, core_id(whole), members, b"\xff" * 20)
    with pytest.raises(Reverted, match=f"^{error}:"):
        reader.view("plan", raw, core_id(raw), members, b"\xff" * 20)


@pytest.mark.parametrize(
    ("action", "changes", "error"),
    [
        (oracle_call(kind=ActionKind.TRY_CALL), {46: bytes(8)}, "MissingGas"),
        (revert_at(1, (0,)), {82: bytes(1)}, "MissingScope"),
        (revert_at(1, (0,)), {61: b"\x02"}, "NotOwnFrame"),
        (revert_at(1, (0,), CONTINUE), {9: b"\x02"}, "NotOwnFrame"),
        *((revert_at(1, (0,)), {at: b"\x01"}, "UnusedFieldSet") for at in (10, 45, 53, 62, 88)),
        *((l2tx(data=b""), {at: b"\x01"}, "UnusedFieldSet") for at in (10, 45, 61, 62, 82)),
        (l2tx(), {1: b"\x01"}, "BadActionFlags"),
        (revert_at(1, (0,)), {1: b"\x02"}, "BadActionFlags"),
    ],
)
def test_each_field_that_a_kind_lacks_is_refused_by_name(
    harness: Contract, action: Action, changes: dict[int, bytes], error: str
) -> None:
    raw = bytearray(encode_action(action) + bytes(4))
    for at, value in changes.items():
        raw[at : at + len(value)] = value
    with pytest.raises(Reverted, match=f"^{error}:"):
        harness.view("hashAction", bytes(raw), bytes(32))


@pytest.mark.parametrize("bit", [3, 4, 5, 6])
def test_what_no_circuit_knows_is_not_proven_by_it(harness: Contract, bit: int) -> None:
    """The decoder reads all kinds; one to which circuits give no meaning is refused, or a prover would choose one."""
    raw, known = encode_core(every_kind_core()), (1 << 7) - 1
    assert harness.view("statementWords", raw, 1, 8, 9, known)
    with pytest.raises(Reverted, match="^UnsupportedScope:" if bit == 6 else "^UnsupportedKind:"):
        harness.view("statementWords", raw, 1, 8, 9, known - (1 << bit))
