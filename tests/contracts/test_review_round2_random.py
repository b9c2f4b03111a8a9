"""A second review: random flows, in either lane, whose callees do other things beside their part.

Whatever a callee adds (queueing, crediting, claiming, proxies, refused calls) changes neither what the flow does nor
that the contract holds exactly what it owes.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from protocol.actions import ActionKind
from protocol.constants import BOND_PER_ENTRY, FORCE_BOUNTY, MAX_ACTION_DATA
from protocol.contracts.artifacts import call_data
from protocol.load import ProofItem, Proofs, encode_proofs
from protocol.table import Core, encode_core
from protocol.types import ZERO_ADDRESS, ZERO_HASH, Address, RollupId
from tests.contracts.test_forced_queue import TX, credit
from tests.contracts.test_review_round2_flows import create_with_queue
from tests.contracts.test_table_ends import identity, load
from tests.support.actor import End, Program
from tests.support.actor import Step as ActorStep
from tests.support.evmworld import Contract, Reverted
from tests.support.flowmaker import FlowMaker
from tests.support.playing import give_ether
from tests.support.rollupworld import DELAY, FAMILY, GENESIS, PROGRAM, Setup, direct, word

MEMBERS = (1, 2, 3)
GIVEN = 1000
Extra = Callable[[random.Random, bytes], ActorStep]


@dataclass(slots=True)
class Distracted(FlowMaker):
    """Makes flows whose callees do more than the table knows of; what they add may fail."""

    extra: Extra | None = None

    def program(self, actor: bytes, index: int, may_fail: bool) -> tuple[Program, bool, bytes]:
        """A program of FlowMaker with up to two more steps, none after one that ends it."""
        program, failed, data = FlowMaker.program(self, actor, index, may_fail)
        steps = list(program.steps)
        last = 0 if failed and program.end is End.ANSWER else len(steps)
        assert self.extra is not None
        for _ in range(self.rng.choice((0, 1, 2))):
            more = [*steps]
            more.insert(self.rng.randint(0, last), self.extra(self.rng, actor))
            longer = Program(steps=tuple(more), end=program.end, data=program.data)
            if len(longer.encode()) <= MAX_ACTION_DATA:
                steps, program = more, longer
        return program, failed, data


def distractions(made: Setup, actors: tuple[bytes, ...]) -> Extra:
    """What callees add."""
    config = ([made.accept_all.hex], [FAMILY], 1)
    arguments = (config, made.user, DELAY, bytes(32), b"")

    def extra(rng: random.Random, actor: bytes) -> ActorStep:
        rollup_id, account = rng.choice(MEMBERS), rng.choice(actors)
        value, function, *given = rng.choice(
            (
                (FORCE_BOUNTY, "forceL2TX", 3, TX),
                (7, "tryCallL2", rollup_id, PROGRAM, b"nobody answers", 0),
                (3, "callL2", rollup_id, PROGRAM, b"nobody answers"),
                (0, "claim", account),
                (0, "getOrCreateProxy", actor, rollup_id),
                (0, "createRollup", *arguments),
                (0, "scheduleConfig", 1, config),
                (0, "executeL2TX", rollup_id, b"nobody answers"),
            )
        )
        data = call_data("IRollups", function, *given)
        return ActorStep(target=made.rollups.address, value=value, data=data, swallow=True)

    return extra


def fire_stored(made: Setup, core: Core, index: int) -> None:
    """The user meets a trigger of a stored table by name."""
    trigger, name = core.entries[index].trigger, identity(core)
    if trigger.kind is ActionKind.L2TX:
        made.rollups.send("executeL2TXPinned", name, trigger.rollup_id, trigger.data, sender=made.user)
    else:
        arguments = (name, trigger.rollup_id, trigger.destination, trigger.data)
        made.rollups.send("callL2Pinned", *arguments, sender=made.user, value=trigger.value)


@pytest.mark.parametrize("lane", ["transient", "persistent"])
@pytest.mark.parametrize("seed", range(5))
def test_what_callees_do_beside_their_part_changes_nothing_of_the_flow(made: Setup, seed: int, lane: str) -> None:
    create_with_queue(made, 100)
    actors = tuple(made.world.deploy("Actor").address for _ in range(2))
    for actor in actors:
        made.world.fund(actor, 10**19)
    for rollup_id in MEMBERS:
        give_ether(made, rollup_id, GIVEN)
    maker = Distracted(
        rng=random.Random(seed),
        members=MEMBERS,
        actors=actors,
        rollups=made.rollups.address,
        roots=itertools.count(50_000),
        user=made.user,
        spendable=dict.fromkeys(MEMBERS, GIVEN),
        extra=distractions(made, actors),
    )
    triggers = [maker.flow(), maker.flow()]
    core = made.open_core(maker.finish(), MEMBERS)
    stored = 0
    if lane == "transient":
        made.run(core, triggers)
    else:
        load(made, core)
        for index in triggers:
            fire_stored(made, core, index)
        stored = made.rollups.view("table", identity(core))[2] * BOND_PER_ENTRY
    ether = {r: made.rollup(r)["ether"] for r in MEMBERS}
    assert ether == maker.spendable
    _, head, tail, _ = made.rollups.view("forcedQueue", 3)
    credits = sum(credit(made, account) for account in (*actors, made.user))
    owed = sum(ether.values()) + credits + (tail - head) * FORCE_BOUNTY + stored
    assert made.world.balance(made.rollups.address) == owed
    assert not any(made.rollups.view("isMid", r) for r in MEMBERS)


@pytest.mark.parametrize("seed", range(4))
def test_proofs_are_asked_for_by_the_configuration_of_their_time_in_any_history(made: Setup, seed: int) -> None:
    """Announced, announced anew, due at once or later, several in a second: one system at each time, and no other."""
    rng = random.Random(seed)
    delay = (0, 1, 13, 50)[seed]
    systems = [made.world.deploy("OddProofSystem") for _ in range(3)]
    for system in systems:
        system.send("set", 1, sender=made.stranger)
    configs = [([system.hex], [FAMILY], 1) for system in systems]
    made.rollups.send("createRollup", configs[0], made.user, delay, word(3000), GENESIS, sender=made.stranger)
    core = made.open_core([direct(made, 3, 3001)], (3,))
    history = [(made.world.time, 0)]
    for _ in range(10):
        made.world.pass_time(rng.choice((0, 1, 12, 60)))
        if history[-1][0] > made.world.time:
            history.pop()
        place = rng.randrange(len(systems))
        made.rollups.send("scheduleConfig", 3, configs[place], sender=made.user)
        history.append((made.world.time + delay, place))

    def answering(time: int) -> list[int]:
        return [i for i, system in enumerate(systems) if answers(made, core, system, time)]

    made.world.pass_time(rng.choice((0, delay)))
    due = [each for each in history if each[0] <= made.world.time]
    assert made.rollup(3)["epoch"] == len(due)
    for time in {made.world.time + 9, *(start + shift for start, _ in due for shift in (-1, 0, 1))}:
        begun = [place for start, place in due if start <= time or time >= made.world.time]
        assert answering(time) == [(begun or [0])[-1]]


def answers(made: Setup, core: Core, system: Contract, time: int) -> bool:
    """Whether a proof of this system counts for rollup 3 at a time."""
    item = ProofItem(rollup_id=RollupId(3), system=Address(system.address), proof=b"")
    proofs = encode_proofs(Proofs(payee=ZERO_ADDRESS, agreement_hash=ZERO_HASH, items=(item,)))
    try:
        made.rollups.view("checkProofs", encode_core(core), proofs, time)
    except Reverted as reverted:
        assert reverted.revert.name == "NotActiveSystem"
        return False
    return True
