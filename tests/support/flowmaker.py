"""Random flows, right by construction: calls between L1 and rollups, nested, re-entrant, tried, with scopes that
revert.

Roots are made-up numbers; each entry's new root is fresh. What L1 contracts do is written in their call data
(`actor`), so a core says everything that happens.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from protocol.actions import Action, ActionKind
from protocol.constants import NONE
from protocol.contracts.artifacts import call_data
from protocol.table import Entry
from tests.support.actor import End, Program, Step
from tests.support.contract_model import call_reverted
from tests.support.rollupworld import answer, call_out, continue_action, l1_call, l2_transaction, revert_action

GAS = 24_000_000
"""For a call that names a limit, halved with each level of nesting: more than any program here needs."""
BURNT = 60_000
"""For a call that burns what it gets."""
MAX_DEPTH = 3


@dataclass(slots=True)
class Draft:
    """An entry whose next action is not known yet."""

    parent: int
    trigger: Action
    new_root: int
    reply_to: int = NONE
    revert_of: int = NONE
    mid: bool = True
    next_action: Action | None = None

    def entry(self) -> Entry:
        """The finished entry."""
        assert self.next_action is not None
        return Entry(
            parent=self.parent,
            reply_to=self.reply_to,
            revert_of=self.revert_of,
            mid=self.mid,
            new_root=self.new_root,
            trigger=self.trigger,
            next_action=self.next_action,
        )


@dataclass(slots=True)
class FlowMaker:
    """Builds the entries of one table."""

    rng: random.Random
    members: tuple[int, ...]
    actors: tuple[bytes, ...]
    """Addresses of `Actor` contracts."""
    rollups: bytes
    """Address of Rollups, which actors call."""
    roots: Iterator[int]
    """Fresh field elements."""
    user: bytes
    spendable: dict[int, int]
    """wei that each rollup may still send; sums of what is drawn here stay within it."""
    scopes: float = 0.35
    """Odds of an inner scope where a call could be."""
    tries: float = 0.4
    """Odds of TRY_CALL."""
    transactions: float = 0.3
    """Odds of L2TX as a flow's trigger."""
    entries: list[Draft] = field(default_factory=list)
    at: int = NONE
    """The entry after which the next one stands."""
    suspended: dict[int, int] = field(default_factory=dict)
    tags: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    depth: int = 0

    def flow(self, failing: bool = False) -> int:
        """A flow that the user starts; returns the index of its trigger's entry."""
        rollup_id = self.rng.choice(self.members)
        if self.rng.random() < self.transactions:
            trigger = l2_transaction(rollup_id, self.tag())
            failing = self.rng.random() < 0.2
        else:
            trigger = l1_call(self.user, rollup_id, data=self.tag(), value=self.rng.choice((0, 0, 7, 50)))
        first = len(self.entries)
        self.body(rollup_id, trigger, failing)
        return first

    def tag(self) -> bytes:
        """Data that no other action of the table has."""
        return b"tag!" + next(self.tags).to_bytes(2, "big")

    def add(self, trigger: Action, **links: int) -> int:
        """The next entry, after the current one."""
        self.entries.append(Draft(parent=self.at, trigger=trigger, new_root=next(self.roots), **links))
        self.at = len(self.entries) - 1
        return self.at

    def body(self, rollup_id: int, trigger: Action, failing: bool) -> Action:
        """What a rollup does with a trigger; returns its RESULT."""
        self.depth += 1
        if trigger.source_rollup == 0:
            self.spendable[rollup_id] += trigger.value
        index = self.add(trigger)
        if len(self.entries) < 24:
            index = self.block(rollup_id, index, ())
        result = answer(trigger, b"r" + self.tag(), failed=failing)
        self.entries[index].next_action = result
        self.entries[index].mid = self.suspended.get(rollup_id, 0) > 0
        self.depth -= 1
        return result

    def block(self, rollup_id: int, index: int, scope: tuple[int, ...]) -> int:
        """Calls and inner scopes of one scope; returns the last entry."""
        children = itertools.count()
        for _ in range(self.rng.choice((0, 1, 1, 2)) if self.depth < MAX_DEPTH else self.rng.choice((0, 0, 1))):
            if len(scope) < 3 and self.rng.random() < self.scopes:
                index = self.inner(rollup_id, index, (*scope, next(children)))
            else:
                index = self.call(rollup_id, index, scope)
        return index

    def inner(self, rollup_id: int, index: int, scope: tuple[int, ...]) -> int:
        """A scope below the current one, which sometimes reverts."""
        opened, spendable = index, dict(self.spendable)
        index = self.call(rollup_id, index, scope)
        index = self.block(rollup_id, index, scope)
        if self.rng.random() < 0.5:
            return index
        self.entries[index].next_action = revert_action(rollup_id, scope)
        self.at, self.spendable = opened, spendable
        return self.add(continue_action(rollup_id, scope), revert_of=index)

    def call(self, rollup_id: int, index: int, scope: tuple[int, ...]) -> int:
        """One outgoing call and its answer; returns the answer's entry."""
        tries = self.rng.random() < self.tries
        others = [r for r in self.members if r != rollup_id]
        self.suspended[rollup_id] = self.suspended.get(rollup_id, 0) + 1
        value = self.draw(rollup_id)
        links = {
            "kind": ActionKind.TRY_CALL if tries else ActionKind.CALL,
            "value": value,
            "scope": scope,
            "gas": GAS >> self.depth if tries else self.rng.choice((0, GAS >> self.depth)),
            "opaque": tries and self.rng.random() < 0.3,
        }
        before = dict(self.spendable)
        self.spendable[rollup_id] -= value
        if others and self.rng.random() < 0.35:
            target = self.rng.choice(others)
            outgoing = call_out(rollup_id, target, b"\xb2" * 20, self.tag(), **links)
            self.entries[index].next_action = outgoing
            self.spendable[target] += value
            result = self.body(target, outgoing, failing=tries and self.rng.random() < 0.4)
            failed, data = result.failed, result.data
        else:
            actor = self.rng.choice(self.actors)
            program, failed, data = self.program(actor, index, may_fail=tries)
            if program.end is End.BURN:
                links["gas"] = BURNT
            outgoing = call_out(rollup_id, 0, actor, program.encode(), **links)
            self.entries[index].next_action = outgoing
        self.suspended[rollup_id] -= 1
        if failed:
            self.at, self.spendable = index, before
            data = b"" if outgoing.opaque else data
        return self.add(answer(outgoing, data, failed=failed), reply_to=index)

    def draw(self, rollup_id: int) -> int:
        """wei for a call."""
        return self.rng.choice((0, 0, self.spendable[rollup_id] // 2))

    def program(self, actor: bytes, index: int, may_fail: bool) -> tuple[Program, bool, bytes]:
        """What the L1 contract does; whether it fails, and with which data it comes back."""
        steps: list[Step] = []
        for _ in range(self.rng.choice((0, 0, 1, 1, 2)) if self.depth < MAX_DEPTH else 0):
            rollup_id = self.rng.choice(self.members)
            at, spendable = self.at, dict(self.spendable)
            trigger = l1_call(actor, rollup_id, data=self.tag(), value=self.rng.choice((0, 0, 3)))
            swallow = self.rng.random() < 0.5
            failing = (swallow or may_fail) and self.rng.random() < 0.3
            result = self.body(rollup_id, trigger, failing)
            steps.append(self.step(trigger, swallow))
            if failing:
                self.at, self.spendable = at, spendable
                if not swallow:
                    return Program(steps=tuple(steps)), True, call_reverted(result.data)
        if may_fail and self.rng.random() < 0.4:
            end = End.FAIL if steps else self.rng.choice((End.FAIL, End.BURN))
            data = b"no" + self.tag() if end is End.FAIL else b""
            self.at = index
            return Program(steps=tuple(steps), end=end, data=data), True, data
        data = b"a" + self.tag()
        return Program(steps=tuple(steps), data=data), False, data

    def step(self, trigger: Action, swallow: bool) -> Step:
        """The actor's call that is this trigger."""
        data = call_data("IRollups", "callL2", trigger.rollup_id, trigger.destination, trigger.data)
        return Step(target=self.rollups, value=trigger.value, data=data, swallow=swallow)

    def finish(self) -> tuple[Entry, ...]:
        """All entries."""
        return tuple(draft.entry() for draft in self.entries)
