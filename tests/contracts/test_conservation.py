"""Random histories of deposits, payments, failures, bonds and credits against a model of who owns what."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass, field, replace

import pytest

from protocol.constants import BOND_PER_ENTRY
from protocol.table import Core, Entry, core_id, encode_core, entry_key, stamp
from protocol.types import ZERO_ADDRESS, ZERO_HASH
from tests.support.evmworld import Contract
from tests.support.rollupworld import (
    OTHER,
    Setup,
    abi_executions,
    answer,
    call_out,
    expect_revert,
    l1_call,
    load_header,
)

STEPS = 24


@dataclass(slots=True)
class Model:
    """What the contract must say after each step."""

    made: Setup
    puppet: Contract
    rng: random.Random
    roots: itertools.count = field(default_factory=lambda: itertools.count(10_000))  # type: ignore[type-arg]
    ether: dict[int, int] = field(default_factory=lambda: {1: 0, 2: 0})
    credit: int = 0
    paid_out: int = 0
    waiting: list[Core] = field(default_factory=list)

    def core(self, entries: list[Entry], members: tuple[int, ...]) -> Core:
        """An open table, valid for a minute."""
        return self.made.core(
            entries,
            members,
            executor=ZERO_ADDRESS,
            triggers_hash=ZERO_HASH,
            valid_until=self.made.world.time + 60,
        )

    def deposit(self) -> None:
        """A user pays in; sometimes the rollup refuses."""
        rollup_id, value = self.rng.choice([1, 2]), self.rng.randrange(100)
        trigger = l1_call(self.made.user, rollup_id, value=value)
        refuses = self.rng.random() < 0.3
        entry = Entry(
            mid=False, new_root=next(self.roots), trigger=trigger, next_action=answer(trigger, failed=refuses)
        )
        core = self.core([entry], (rollup_id,))
        if refuses:
            with expect_revert("CallReverted"):
                self.made.run(core)
        else:
            self.made.run(core)
            self.ether[rollup_id] += value

    def pay(self) -> None:
        """A rollup pays an L1 account or another rollup, sometimes more than it has."""
        rollup_id = self.rng.choice([1, 2])
        target = self.rng.choice([0, 3 - rollup_id])
        value = self.rng.randrange(self.ether[rollup_id] * 5 // 4 + 2)
        trigger = l1_call(self.made.user, rollup_id)
        paid = call_out(rollup_id, target, self.puppet.address if target == 0 else OTHER, b"\x01\x02\x03\x04")
        paid = replace(paid, value=value)
        entries = [Entry(mid=True, new_root=next(self.roots), trigger=trigger, next_action=paid)]
        if target != 0:
            entries.append(
                Entry(parent=0, mid=False, new_root=next(self.roots), trigger=paid, next_action=answer(paid))
            )
        entries.append(
            Entry(
                parent=len(entries) - 1,
                reply_to=0,
                mid=False,
                new_root=next(self.roots),
                trigger=answer(paid),
                next_action=answer(trigger),
            )
        )
        core = self.core(entries, (rollup_id,) if target == 0 else (1, 2))
        if value > self.ether[rollup_id]:
            with expect_revert("InsufficientRollupBalance"):
                self.made.run(core)
            return
        self.made.run(core)
        self.ether[rollup_id] -= value
        if target == 0:
            self.paid_out += value
        else:
            self.ether[target] += value

    def wait(self) -> None:
        """The user loads a table that waits, with a bond for each entry."""
        rollup_id = self.rng.choice([1, 2])
        triggers = [l1_call(self.made.user, rollup_id, data=self.rng.randbytes(4)) for _ in range(2)]
        core = self.core(
            [Entry(mid=False, new_root=next(self.roots), trigger=t, next_action=answer(t)) for t in triggers],
            (rollup_id,),
        )
        value = BOND_PER_ENTRY * len(core.entries)
        proof = load_header(core) + self.made.proofs(core)
        self.made.rollups.send("loadL2Executions", abi_executions(core), proof, sender=self.made.user, value=value)
        if core in self.waiting:
            self.credit += value
        else:
            self.waiting.append(core)

    def meet(self) -> None:
        """The user meets one entry of a waiting table, if its root is still live; the other entry stays."""
        live = [c for c in self.waiting if self.made.root(c.lockset[0].rollup_id) == c.lockset[0].pre_root]
        if not live:
            return
        core = self.rng.choice(live)
        trigger = core.entries[0].trigger
        self.made.rollups.send(
            "callL2Pinned",
            core_id(encode_core(core)),
            trigger.rollup_id,
            trigger.destination,
            trigger.data,
            sender=self.made.user,
        )
        self.credit += BOND_PER_ENTRY
        self.waiting.remove(core)
        self.clean(core, [1])

    def clean(self, core: Core, left: list[int]) -> None:
        """The loader takes the bonds of what is left of a table."""
        stamps = [stamp(m.pre_root, 1) for m in core.lockset]
        identity = core_id(encode_core(core))
        keys = [entry_key(identity, core.trigger_hash(i), stamps) for i in left]
        self.made.rollups.send("cleanup", identity, keys, sender=self.made.user)
        self.credit += BOND_PER_ENTRY * len(left)

    def give_up(self) -> None:
        """The loader cleans a whole table."""
        if self.waiting:
            self.clean(self.waiting.pop(), [0, 1])

    def collect(self) -> None:
        """The user takes its credit."""
        if self.credit:
            self.made.rollups.send("claim", self.made.user, sender=self.made.stranger)
            self.credit = 0

    def check(self) -> None:
        """The contract agrees with the model, and holds exactly what it owes."""
        bonds = BOND_PER_ENTRY * sum(len(core.entries) for core in self.waiting)
        assert {r: self.made.rollup(r)["ether"] for r in (1, 2)} == self.ether
        assert self.made.rollups.view("claimableOf", self.made.user) == self.credit
        assert self.puppet.view("received") == self.paid_out
        assert self.made.world.balance(self.made.rollups.address) == sum(self.ether.values()) + bonds + self.credit


@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_created_or_lost(made: Setup, seed: int) -> None:
    model = Model(made, made.world.deploy("Puppet"), random.Random(seed))
    steps = [model.deposit, model.pay, model.wait, model.meet, model.give_up, model.collect]
    for _ in range(STEPS):
        model.rng.choices(steps, weights=(4, 5, 3, 2, 1, 1))[0]()
        model.made.world.pass_time(1)
        model.check()
    assert model.paid_out > 0
