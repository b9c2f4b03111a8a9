"""Ten thousand random actions, headers and entries: Python and Solidity read and hash them identically."""

from __future__ import annotations

import itertools
import random
from importlib.util import find_spec

import pytest

from protocol.actions import Action, ActionKind, action_hash, encode_action
from protocol.table import Core, Entry, Member, core_id, encode_core
from protocol.types import Address, Hash32, RollupId
from tests.support.evmworld import Contract, World
from tests.support.flowmaker import FlowMaker
from tests.support.rollupworld import answer, l1_call

BATCH = 250
U64 = (1 << 64) - 1
FIELD_BITS = 253


@pytest.fixture(scope="module")
def harness() -> Contract:
    """The codec libraries behind a door that takes many at once."""
    world = World()
    if find_spec("pyrevm") is not None:
        from tests.support.nativeworld import NativeWorld

        world = NativeWorld()
    return world.deploy("HashHarness")


def number(rng: random.Random, bits: int) -> int:
    """Any number of so many bits, often one at an edge."""
    return rng.choice((0, 1, (1 << bits) - 1, rng.getrandbits(bits), rng.getrandbits(rng.randint(1, bits))))


def random_action(rng: random.Random) -> Action:
    """Any action whose unused fields are zero."""
    kind = rng.choice(list(ActionKind))
    is_call = kind in (ActionKind.CALL, ActionKind.TRY_CALL)
    scope = () if kind is ActionKind.RESULT else tuple(number(rng, 32) for _ in range(rng.randrange(8)))
    is_between = kind in (ActionKind.CALL, ActionKind.TRY_CALL, ActionKind.RESULT)
    is_own = kind in (ActionKind.REVERT, ActionKind.REVERT_CONTINUE)
    rollup_id = RollupId(number(rng, 64))
    return Action(
        kind=kind,
        rollup_id=rollup_id,
        destination=Address(rng.randbytes(20) if is_between else bytes(20)),
        value=number(rng, 128) if is_call else 0,
        gas=max(number(rng, 64), kind is ActionKind.TRY_CALL) if is_call or kind is ActionKind.L2TX else 0,
        failed=kind is ActionKind.RESULT and rng.random() < 0.5,
        opaque=kind is ActionKind.TRY_CALL and rng.random() < 0.5,
        source_rollup=rollup_id if is_own else RollupId(number(rng, 64) if is_between else 0),
        source_address=Address(rng.randbytes(20) if is_between else bytes(20)),
        scope=(scope or (7,)) if is_own else scope if is_call else (),
        data=b"" if is_own else rng.randbytes(number(rng, 10)),
    )


@pytest.mark.parametrize("seed", range(4))
def test_2500_actions(harness: Contract, seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(10):
        actions = [random_action(rng) for _ in range(BATCH)]
        links = [Hash32(rng.randbytes(32)) for _ in actions]
        seen = harness.view("actions", [encode_action(a) for a in actions], links)
        assert list(seen) == [action_hash(a, link) for a, link in zip(actions, links, strict=True)]


def random_header(rng: random.Random) -> Core:
    """A core of one entry whose header is anything."""
    ids = sorted({rng.randint(1, U64) for _ in range(rng.randint(1, 8))})
    trigger = l1_call(rng.randbytes(20), rng.choice(ids), data=rng.randbytes(3))
    entry = Entry(
        mid=rng.random() < 0.5, new_root=rng.getrandbits(FIELD_BITS), trigger=trigger, next_action=answer(trigger)
    )
    return Core(
        lockset=tuple(Member(rollup_id=RollupId(r), pre_root=rng.getrandbits(FIELD_BITS)) for r in ids),
        l2_time=number(rng, 64),
        not_before=number(rng, 64),
        valid_until=number(rng, 64),
        executor=Address(rng.randbytes(20)),
        triggers_hash=Hash32(rng.randbytes(32)),
        fee_recipient=Address(rng.randbytes(20)),
        entries=(entry,),
    )


def assert_alike(harness: Contract, cores: list[Core]) -> None:
    """Ids, and the last action that was read."""
    raw = [encode_core(core) for core in cores]
    ids, lasts = harness.view("cores", raw)
    assert list(ids) == [core_id(each) for each in raw]
    assert list(lasts) == [core.next_hash(len(core.entries) - 1) for core in cores]


@pytest.mark.parametrize("seed", range(4))
def test_2500_headers(harness: Contract, seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(10):
        assert_alike(harness, [random_header(rng) for _ in range(BATCH)])


def test_tables_of_10000_entries(harness: Contract) -> None:
    rng = random.Random(0)
    roots = itertools.count(1)
    left = 10_000
    while left > 0:
        cores = []
        for _ in range(20):
            members = tuple(sorted(rng.sample(range(1, 9), rng.randint(1, 4))))
            maker = FlowMaker(
                rng=rng,
                members=members,
                actors=(b"\xac" * 20, b"\xad" * 20),
                rollups=b"\x11" * 20,
                roots=roots,
                user=b"\x22" * 20,
                spendable=dict.fromkeys(members, 10**18),
            )
            for _ in range(rng.randint(1, 4)):
                maker.flow()
            lockset = tuple(Member(rollup_id=RollupId(r), pre_root=next(roots)) for r in members)
            core = random_header(rng)
            cores.append(Core(**{f: getattr(core, f) for f in HEADER}, lockset=lockset, entries=maker.finish()))
        assert_alike(harness, cores)
        left -= sum(len(core.entries) for core in cores)


HEADER = ("l2_time", "not_before", "valid_until", "executor", "triggers_hash", "fee_recipient")
