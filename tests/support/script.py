"""Tables written in the order in which they happen, with made-up roots: for flows that no circuit expresses yet.

    s = Script(made, 1, 2)
    s.begins(l2tx(1))                     an entry opens with its trigger
    s.calls(0, actor, data, scope=(0,))   ... and closes with its next action: rollup 1 calls L1 in scope [0]
    s.answered(b"ok")                     the answer opens the next one
    s.reverts(0)                          its next action undoes scope [0]
    s.continues()                         what follows, at the roots from before the scope
    s.returns(b"", failed=True)           RESULT of the trigger
    core = s.core()

`mark()` and `back_to(mark)` write another branch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from protocol.actions import Action, ActionKind
from protocol.constants import NONE
from protocol.table import Core, Entry
from protocol.types import ZERO_ADDRESS, Address, RollupId
from tests.support.cores import revert_at
from tests.support.rollupworld import PROGRAM, Setup, answer

Scope = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A trigger that has no RESULT yet."""

    trigger: Action
    program: Address
    """Who acts on the rollup."""
    pending: int = NONE
    """Entry whose call is not answered."""
    scope: Scope = ()
    """In which the last entry was met."""
    openers: tuple[tuple[Scope, int], ...] = ()
    """Open scopes and the entries after which they were opened."""
    undone: tuple[int, int, Scope] | None = None
    """REVERT that waits to be continued: its entry, the opener of its scope, the scope."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A place in a script."""

    position: int
    stack: tuple[Running, ...]


@dataclass(slots=True)
class Opened:
    """An entry without a next action."""

    trigger: Action
    parent: int
    reply_to: int = NONE
    revert_of: int = NONE


@dataclass(slots=True)
class Script:
    """A table in the making."""

    made: Setup
    members: tuple[int, ...]
    entries: list[Entry] = field(default_factory=list)
    position: int = NONE
    stack: tuple[Running, ...] = ()
    opened: Opened | None = None

    def mark(self) -> Mark:
        """The place reached: after the last entry."""
        assert self.opened is None
        return Mark(position=self.position, stack=self.stack)

    def back_to(self, mark: Mark) -> None:
        """Go on from there: another branch."""
        assert self.opened is None
        self.position, self.stack = mark.position, mark.stack

    # -- triggers

    def begins(self, trigger: Action, program: Address | None = None) -> Action:
        """A trigger is met; `program` acts, by default the trigger's destination."""
        acting = program or (PROGRAM if trigger.kind is ActionKind.L2TX else trigger.destination)
        self.stack += (Running(trigger=trigger, program=acting),)
        self.opened = Opened(trigger=trigger, parent=self.position)
        return trigger

    def enters(self) -> Action:
        """The call that the running program made to another rollup is met there."""
        return self.begins(self.entries[self.stack[-1].pending].next_action)

    def answered(self, data: bytes = b"", failed: bool = False) -> None:
        """The answer to the pending call is met."""
        top = self.stack[-1]
        call = self.entries[top.pending].next_action
        self._top(replace(top, pending=NONE, scope=call.scope))
        self.opened = Opened(trigger=answer(call, data, failed), parent=self.position, reply_to=top.pending)

    def continues(self) -> None:
        """The REVERT_CONTINUE of the REVERT that came last is met."""
        top = self.stack[-1]
        assert top.undone is not None
        index, opener, scope = top.undone
        self.position = opener
        outer = tuple((s, i) for s, i in top.openers if len(s) < len(scope))
        self._top(replace(top, undone=None, scope=scope[:-1], openers=outer))
        trigger = revert_at(top.trigger.rollup_id, scope, ActionKind.REVERT_CONTINUE)
        self.opened = Opened(trigger=trigger, parent=opener, revert_of=index)

    # -- next actions

    def calls(self, target: int, destination: bytes, data: bytes = b"", **changes: Any) -> Action:
        """The running program makes a call; returns it."""
        top = self.stack[-1]
        fields: dict[str, Any] = {
            "kind": ActionKind.CALL,
            "rollup_id": RollupId(target),
            "destination": Address(destination),
            "source_rollup": top.trigger.rollup_id,
            "source_address": top.program,
            "data": data,
        }
        action = Action(**(fields | changes))
        index = self._closes(action, mid=True)
        self._top(replace(top, pending=index, openers=self._openers(top, action.scope, index)))
        return action

    def tries(self, target: int, destination: bytes, data: bytes = b"", **changes: Any) -> Action:
        """The running program makes a TRY_CALL."""
        return self.calls(target, destination, data, **({"kind": ActionKind.TRY_CALL, "gas": 200_000} | changes))

    def reverts(self, *scope: int) -> None:
        """The running program undoes a scope."""
        top = self.stack[-1]
        index = self._closes(revert_at(top.trigger.rollup_id, scope), mid=True)
        openers = self._openers(top, scope, index)
        self._top(replace(top, openers=openers, undone=(index, dict(openers)[scope], scope)))

    def returns(self, data: bytes = b"", failed: bool = False) -> None:
        """RESULT of the trigger."""
        top, self.stack = self.stack[-1], self.stack[:-1]
        result = answer(top.trigger, data, failed)
        if top.trigger.kind is ActionKind.L2TX:
            result = replace(result, destination=ZERO_ADDRESS, source_address=top.program)
        self._closes(result, mid=any(each.trigger.rollup_id == top.trigger.rollup_id for each in self.stack))

    # -- the table

    def core(self, **changes: Any) -> Core:
        """The table, open unless `changes` say otherwise."""
        assert self.opened is None and not any(each.pending != NONE for each in self.stack)
        return self.made.open_core(self.entries, self.members, **changes)

    def incomplete(self, **changes: Any) -> Core:
        """The table as far as it is written."""
        return self.made.open_core(self.entries, self.members, **changes)

    def root(self, index: int = -1) -> int:
        """The new root of an entry, by default of the last."""
        return self.entries[index].new_root

    def _top(self, running: Running) -> None:
        self.stack = (*self.stack[:-1], running)

    def _openers(self, top: Running, scope: Scope, index: int) -> tuple[tuple[Scope, int], ...]:
        paths = [scope[: n + 1] for n in range(len(scope))]
        known = {s: i for s, i in top.openers if top.scope[: len(s)] == s}
        return tuple((path, known.get(path, index)) for path in paths)

    def _closes(self, action: Action, *, mid: bool) -> int:
        assert self.opened is not None
        opened, self.opened = self.opened, None
        self.entries.append(
            Entry(
                parent=opened.parent,
                reply_to=opened.reply_to,
                revert_of=opened.revert_of,
                mid=mid,
                new_root=1000 * opened.trigger.rollup_id + 1 + len(self.entries),
                trigger=opened.trigger,
                next_action=action,
            )
        )
        self.position = len(self.entries) - 1
        return self.position


def script(made: Setup, *members: int) -> Script:
    """An empty table over these rollups."""
    return Script(made=made, members=members or (1,))


def steps(*calls: tuple[bytes, int, bytes] | tuple[bytes, int, bytes, bool]) -> list[tuple[str, int, bytes, bool]]:
    """Steps of a Player's part: (target, value, data, whether a failure is swallowed)."""
    return [("0x" + c[0].hex(), c[1], c[2], c[3:] == (True,)) for c in calls]


RETURN, REVERT, RELAY, BOMB, REVERT_BOMB, BURN = range(6)
"""Endings of a Player's part."""


def teach(
    made: Setup, actor: Any, selector: bytes, calls: Sequence[Any] = (), answer: bytes = b"", ending: int = RETURN
) -> None:
    """Teach a Player what to do when it is called with `selector`."""
    actor.send("teach", selector, steps(*calls), answer, ending, sender=made.stranger)
