"""Random histories of Rollups against the model of tests/support/contract_model.py: what holds after every step.

I1 the contract's wei are what it owes; I3, I4 a root or ether moves only with an entry its rollup owns, as the model
says; I5 an entry is met or cleaned once, its bond paid once; I7 a reverted transaction changes nothing; I8 no table
of the transient lane outlives its transaction; I9 a reverted scope leaves what the model without it leaves; I10
proxies, callL2 and loadAndRun are drawn at random and judged by one model; I11 a failed call moves nothing; I12 a
repeated load does nothing; I13 expired entries are not met and live ones not cleaned; I14 an epoch ends every older
table; I15 logs alone give roots and balances; I16 independent tables commute.
"""

from __future__ import annotations

import itertools
import os
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from protocol.actions import CALLS, ActionKind
from protocol.constants import BOND_PER_ENTRY, NONE
from protocol.table import Core, core_id, decode_core, encode_core, entry_key, stamp, triggers_hash
from protocol.types import ZERO_ADDRESS, ZERO_HASH
from tests.support.contract_model import Failed, Model, Rollup, State
from tests.support.evmworld import Contract, Receipt, Reverted
from tests.support.flowmaker import FlowMaker
from tests.support.rollupworld import FAMILY, Setup, abi_executions, load_header, proxy_of, root_of

STEPS = 220
SEEDS = int(os.environ.get("UNVETO_INVARIANT_SEEDS") or (1 if os.environ.get("UNVETO_TEST_EVM") == "anvil" else 48))
"""48 histories are 10,560 steps; anvil, which is slower, plays one."""
ROLLUPS = (1, 2, 3)


@dataclass(slots=True)
class History:
    """One chain and its model, moved in step."""

    made: Setup
    rng: random.Random
    actors: tuple[Contract, ...]
    model: Model
    roots: Any = field(default_factory=lambda: itertools.count(100_000))
    known: list[Core] = field(default_factory=list)
    """Cores that were loaded at some time."""
    logged: dict[int, tuple[int, int]] = field(default_factory=lambda: {r: (root_of(r), 0) for r in ROLLUPS})
    """(root, ether) of each rollup from logs alone."""
    met: Counter[str] = field(default_factory=Counter)

    # -- tables --------------------------------------------------------------------------------------------------------

    def members(self) -> tuple[int, ...]:
        """A lockset."""
        return tuple(sorted(self.rng.sample(ROLLUPS, self.rng.choice((1, 1, 2, 3)))))

    def table(self, flows: int, members: tuple[int, ...] | None = None) -> tuple[Core, list[int]]:
        """A core on the live roots and its triggers."""
        members = members or self.members()
        maker = FlowMaker(
            rng=self.rng,
            members=members,
            actors=tuple(actor.address for actor in self.actors),
            rollups=self.made.rollups.address,
            roots=self.roots,
            user=self.made.user,
            spendable={r: self.model.state.rollups[r].ether for r in members},
        )
        firsts = [maker.flow(failing=self.rng.random() < 0.1) for _ in range(flows)]
        core = self.made.core(maker.finish(), members, **self.who())
        return replace(
            core, triggers_hash=triggers_hash(firsts) if core.executor != ZERO_ADDRESS else ZERO_HASH
        ), firsts

    def who(self) -> dict[str, Any]:
        """Mostly the user's own table, sometimes an open one."""
        time = self.made.world.time
        window = {"l2_time": time, "valid_until": time + self.rng.choice((30, 200))}
        return window | ({"executor": ZERO_ADDRESS, "triggers_hash": ZERO_HASH} if self.rng.random() < 0.4 else {})

    def spoil(self, core: Core) -> Core:
        """A table that says something else than what will happen."""
        entries = list(core.entries)
        index = self.rng.randrange(len(entries))
        entry = entries[index]
        match self.rng.randrange(4):
            case 0 if index == len(entries) - 1 and entry.trigger.kind is ActionKind.RESULT:
                entries.pop()
            case 1 if entry.trigger.kind is ActionKind.RESULT:
                entries[index] = replace(entry, trigger=replace(entry.trigger, data=entry.trigger.data + b"?"))
            case 2 if entry.next_action.kind in CALLS:
                more = replace(entry.next_action, value=entry.next_action.value + 10**18)
                entries[index] = replace(entry, next_action=more)
            case _:
                entries[index] = replace(entry, mid=not entry.mid)
        return replace(core, entries=tuple(entries))

    # -- both sides ----------------------------------------------------------------------------------------------------

    def both(self, on_chain: Callable[[], Receipt], in_model: Callable[[], Any]) -> Any:
        """The same transaction on both sides; they succeed alike, or fail with the same error."""
        wanted, failure = None, None
        try:
            wanted = self.model.transact(in_model)
        except Failed as failed:
            failure = failed.name
        try:
            receipt = on_chain()
        except Reverted as reverted:
            assert failure is not None and reverted.revert.name == failure, (reverted, failure)
            self.met[failure] += 1
            return None
        assert failure is None, f"the model says {failure}"
        self.met["ok"] += 1
        self.follow(receipt)
        if wanted is not None:
            assert receipt.value == (tuple(wanted) if isinstance(wanted, list) else wanted)
        return receipt

    def follow(self, receipt: Receipt) -> None:
        """Roots and balances from the logs of a transaction (I15)."""
        for event in receipt.events:
            if event.name == "TableLoaded":
                self.known.append(decode_core(event.values["core"]))
            if event.name != "ExecutionConsumed":
                continue
            core = next(c for c in reversed(self.known) if core_id(encode_core(c)) == event.values["coreId"])
            entry = core.entries[event.values["index"]]
            self.met[entry.trigger.kind.name + " failed" * entry.trigger.failed] += 1
            ether = self.logged[entry.owner][1]
            if entry.trigger.kind in CALLS:
                ether += entry.trigger.value
            if entry.trigger.kind is ActionKind.RESULT and entry.trigger.failed:
                ether += core.entries[entry.reply_to].next_action.value
            if entry.next_action.kind in CALLS:
                ether -= entry.next_action.value
            if entry.trigger.kind is ActionKind.REVERT_CONTINUE:
                # the entry that opened the scope is logged, but its call was undone with the scope
                ether += core.entries[entry.parent].next_action.value
            self.logged[entry.owner] = (int.from_bytes(event.values["newRoot"], "big"), ether)

    # -- steps ---------------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """loadAndRun, sometimes of a spoiled table, by a stranger, or with the wrong value."""
        core, firsts = self.table(self.rng.choice((1, 1, 2)))
        if self.rng.random() < 0.2:
            core = self.spoil(core)
        sender = self.made.stranger if self.rng.random() < 0.05 else self.made.user
        value = sum(core.entries[i].trigger.value for i in firsts) + (self.rng.random() < 0.03)
        if self.rng.random() < 0.05:
            firsts = firsts[:-1]
        self.land(core, firsts, sender, value)
        if self.rng.random() < 0.2:
            self.land(core, firsts, sender, value)  # again, in a block of its own: stale, or the same failure

    def land(self, core: Core, firsts: list[int], sender: bytes, value: int) -> None:
        """loadAndRun on both sides."""
        self.both(
            lambda: self.made.run(core, firsts, sender=sender, value=value),
            lambda: self.model.load_and_run(core, firsts, sender, value),
        )

    def wait(self) -> None:
        """loadL2Executions; sometimes of a table that is loaded already, or with the wrong bond."""
        if self.known and self.rng.random() < 0.2:
            core = self.rng.choice(self.known)
        else:
            core, _ = self.table(self.rng.choice((1, 1, 2)))
            if self.rng.random() < 0.8:
                core = replace(core, triggers_hash=ZERO_HASH)
        sender = self.rng.choice((self.made.user, self.made.stranger))
        value = BOND_PER_ENTRY * len(core.entries) + (self.rng.random() < 0.05)
        proof = load_header(core) + self.made.proofs(core)
        self.both(
            lambda: self.made.rollups.send("loadL2Executions", abi_executions(core), proof, sender=sender, value=value),
            lambda: self.model.load(core, sender, value),
        )

    def meet(self) -> None:
        """A trigger of some table, by name or not, through callL2, a proxy or executeL2TX."""
        if not self.known:
            return
        core = self.rng.choice(self.known[-12:])
        candidates = [e.trigger for e in core.entries if self.model.is_trigger(e.trigger) and e.parent == NONE]
        if not candidates:
            return
        trigger = self.rng.choice(candidates)
        pin = core_id(encode_core(core)) if self.rng.random() < 0.6 else None
        sender, value = trigger.source_address, trigger.value
        rollup_id, destination, data = trigger.rollup_id, trigger.destination, trigger.data
        rollups = self.made.rollups
        if trigger.kind is ActionKind.L2TX:
            sender = self.made.user
            named = ("executeL2TXPinned", pin) if pin else ("executeL2TX",)
            self.both(
                lambda: rollups.send(*named, rollup_id, data, sender=sender),
                lambda: self.model.execute_l2_tx(sender, rollup_id, data, pin),
            )
            return

        def in_model() -> bytes:
            self.model.pay(sender, rollups.address, value)
            return self.model.call_l2(sender, rollup_id, destination, data, value, pin)

        if pin:
            self.both(
                lambda: rollups.send("callL2Pinned", pin, rollup_id, destination, data, sender=sender, value=value),
                in_model,
            )
        elif self.rng.random() < 0.5:
            self.both(
                lambda: rollups.send("callL2", rollup_id, destination, data, sender=sender, value=value), in_model
            )
        else:
            self.through_proxy(sender, rollup_id, destination, data, value, in_model)

    def through_proxy(
        self, sender: bytes, rollup_id: int, destination: bytes, data: bytes, value: int, in_model: Any
    ) -> None:
        """The same call by way of a proxy; it answers with raw data, so only success and state are compared."""
        proxy = proxy_of(self.made, destination, rollup_id)
        self.both(lambda: self.made.raw(proxy.address, data, sender=sender, value=value), lambda: (in_model(), None)[1])

    def clean(self) -> None:
        """cleanup by the loader or a stranger, of some or all entries, early or late."""
        tables = list(self.model.state.persistent.values())
        if not tables:
            return
        table = self.rng.choice(tables)
        count = self.rng.randint(1, len(table.live))
        entries = self.rng.sample(sorted(table.live), count)
        core = table.core
        keys = [self.key(core, i, table.epochs) for i in entries]
        if self.rng.random() < 0.1:
            keys[0], entries[0] = b"\x55" * 32, NONE
        sender = self.rng.choice((self.made.user, self.made.stranger))
        self.both(
            lambda: self.made.rollups.send("cleanup", table.core_id, keys, sender=sender),
            lambda: self.model.clean(table.core_id, entries, sender),
        )

    @staticmethod
    def key(core: Core, index: int, epochs: tuple[int, ...]) -> bytes:
        """Where the contract keeps an entry."""
        roots = core.roots_before(index)
        stamps = [stamp(root, epoch) for root, epoch in zip(roots, epochs, strict=True)]
        return entry_key(core_id(encode_core(core)), core.trigger_hash(index), stamps)

    def claim(self) -> None:
        """Somebody takes its credit."""
        account = self.rng.choice((self.made.user, self.made.stranger))
        self.both(
            lambda: self.made.rollups.send("claim", account, sender=self.made.stranger),
            lambda: self.model.claim(account),
        )

    def schedule(self) -> None:
        """An owner announces a configuration; all older tables of the rollup die when it is due."""
        rollup_id = self.rng.choice(ROLLUPS)
        rollup = self.model.state.rollups[rollup_id]
        config = ([self.made.accept_all.hex], [FAMILY], 1)
        owner = self.made.world.account("owner")
        receipt = self.made.rollups.send("scheduleConfig", rollup_id, config, sender=owner)
        rollup.epoch, rollup.switch_at = self.model.epoch(rollup_id), receipt.value

    def pass_time(self) -> None:
        """Time and blocks."""
        self.made.world.pass_time(self.rng.choice((1, 12, 60, 700)))
        self.model.time, self.model.number = self.made.world.time, self.made.world.number

    def commute(self) -> None:
        """Two tables without a common rollup give the same state in either order (I16)."""
        one, first = self.table(1, (1,))
        two, second = self.table(1, (2, 3))
        if any(e.next_action.rollup_id == 0 and e.next_action.kind in CALLS for e in (*one.entries, *two.entries)):
            return  # they might meet in an actor
        seen = []
        for order in ((0, 1), (1, 0)):
            point = self.made.world.snapshot()
            outcome: list[Any] = ["", ""]
            for place in order:
                core, triggers = ((one, first), (two, second))[place]
                try:
                    self.made.run(core, triggers)
                except Reverted as reverted:
                    outcome[place] = reverted.revert.name
            views = [self.made.rollup(r) for r in ROLLUPS]
            seen.append((*outcome, *((view["root"], view["ether"]) for view in views)))
            self.made.world.restore(point)
        assert seen[0] == seen[1]

    # -- what holds ----------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """The contract says what the model says."""
        state, rollups = self.model.state, self.made.rollups
        for rollup_id, expected in state.rollups.items():
            seen = self.made.rollup(rollup_id)
            assert (seen["root"], seen["ether"], seen["last_l2_time"]) == (
                expected.root,
                expected.ether,
                expected.last_time,
            )
            assert self.logged[rollup_id] == (expected.root, expected.ether)
        for account in (self.made.user, self.made.stranger):
            assert rollups.view("claimableOf", account) == state.credit.get(account, 0)
        owed = sum(each.ether for each in state.rollups.values()) + sum(state.credit.values())
        owed += BOND_PER_ENTRY * sum(len(table.live) for table in state.persistent.values())
        assert self.made.world.balance(rollups.address) == owed == state.wei.get(rollups.address, 0)

    def check_actors(self) -> None:
        """Nothing that was undone left a trace on L1."""
        for actor in self.actors:
            assert actor.view("runs") == self.model.state.runs.get(actor.address, 0)
            assert actor.view("received") == self.model.state.received.get(actor.address, 0)


STEPS_BY_WEIGHT = (
    (History.run, 50),
    (History.wait, 10),
    (History.meet, 14),
    (History.clean, 5),
    (History.claim, 3),
    (History.schedule, 1),
    (History.pass_time, 6),
    (History.commute, 2),
)


@pytest.fixture
def history(made: Setup, seed: int) -> History:
    """Three rollups, two actors with money."""
    made.create_rollup(3)
    actors = tuple(made.world.deploy("Actor") for _ in range(2))
    for actor in actors:
        made.world.fund(actor.address)
    model = Model(
        state=State(rollups={r: Rollup(root=root_of(r)) for r in ROLLUPS}),
        address=made.rollups.address,
        actors=tuple(actor.address for actor in actors),
        time=made.world.time,
        number=made.world.number,
    )
    return History(made=made, rng=random.Random(seed), actors=actors, model=model)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_history(history: History) -> None:
    steps, weights = zip(*STEPS_BY_WEIGHT, strict=True)
    for _ in range(STEPS):
        history.rng.choices(steps, weights)[0](history)
        history.check()
    history.check_actors()
    assert history.met["ok"] > STEPS // 4
    assert all(history.met[kind] for kind in ("CALL", "TRY_CALL", "L2TX", "RESULT failed", "REVERT_CONTINUE"))
