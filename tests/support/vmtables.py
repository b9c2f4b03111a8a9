"""Tables that the machine makes: what happens is told, entries, roots and next actions are its own.

t = VmTable(states, l2_time=..)
at = t.begins(call(..))                 a trigger on the pre-roots; returns the entry's index
at = t.enters(at)                       the call that entry `at` makes, met by the rollup that it goes to
at = t.answered(at, data, after=..)     the answer to entry `at`'s call, on the roots after another entry
at = t.continues(at)                    the REVERT_CONTINUE of entry `at`'s REVERT
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from protocol.actions import Action, ActionKind
from protocol.constants import NONE
from protocol.table import Core, Entry, Member
from protocol.types import ZERO_ADDRESS, ZERO_HASH, Address, RollupId
from protocol.vm.machine import EntryRun, run_entry
from protocol.vm.state import Unwind, VmState
from tests.support.cores import result_of

FEE_RECIPIENT = Address(b"\xfe" * 20)


class VmTable:
    """Entries so far, and the states after each."""

    def __init__(self, states: Mapping[int, VmState], *, l2_time: int) -> None:
        self.first = dict(states)
        self.l2_time = l2_time
        self.entries: list[Entry] = []
        self.runs: list[EntryRun] = []
        self._after: list[dict[int, VmState]] = []

    def begins(self, trigger: Action, after: int = NONE) -> int:
        """A trigger on the roots after an entry."""
        return self._add(trigger, parent=after)

    def enters(self, index: int) -> int:
        """The call that an entry makes to another rollup, met there."""
        return self._add(self.entries[index].next_action, parent=index)

    def answered(self, index: int, data: bytes = b"", *, failed: bool = False, after: int | None = None) -> int:
        """The answer to an entry's call; `after` another entry than that one if the callee moved roots."""
        result = result_of(self.entries[index].next_action, data, failed)
        return self._add(result, parent=index if after is None else after, reply_to=index)

    def continues(self, index: int) -> int:
        """What follows an entry's REVERT, on the roots from before its scope."""
        revert = self.entries[index].next_action
        owner, at = self.entries[index].owner, index
        while not (self.entries[at].owner == owner and self._opens(at, revert.scope)):
            at = self.entries[at].parent
        trigger = replace(revert, kind=ActionKind.REVERT_CONTINUE)
        return self._add(trigger, parent=at, revert_of=index, unwound=self.runs[index].unwound)

    def state(self, rollup_id: int, index: int = -1) -> VmState:
        """A rollup after an entry."""
        return self._after[index][rollup_id]

    def core(self, **changes: object) -> Core:
        """The table, open unless `changes` say otherwise."""
        fields = {
            "lockset": tuple(Member(rollup_id=RollupId(r), pre_root=self.first[r].root) for r in sorted(self.first)),
            "l2_time": self.l2_time,
            "not_before": self.l2_time - 10,
            "valid_until": self.l2_time + 1000,
            "executor": ZERO_ADDRESS,
            "triggers_hash": ZERO_HASH,
            "fee_recipient": FEE_RECIPIENT,
            "entries": tuple(self.entries),
        }
        return Core(**(fields | changes))  # type: ignore[arg-type]

    def _opens(self, index: int, scope: tuple[int, ...]) -> bool:
        inside = self.entries[index].next_action.scope[: len(scope)] == scope
        return inside and self.core().frame_scope(index)[: len(scope)] != scope

    def _add(
        self,
        trigger: Action,
        *,
        parent: int,
        reply_to: int = NONE,
        revert_of: int = NONE,
        unwound: Unwind | None = None,
    ) -> int:
        states = self.first if parent == NONE else self._after[parent]
        owner = trigger.rollup_id
        run = run_entry(
            states[owner],
            rollup_id=owner,
            l2_time=self.l2_time,
            trigger=trigger,
            fee_recipient=FEE_RECIPIENT,
            unwound=unwound,
            trace=True,
        )
        self.runs.append(run)
        self._after.append({**states, owner: run.post})
        self.entries.append(
            Entry(
                parent=parent,
                reply_to=reply_to,
                revert_of=revert_of,
                mid=run.mid,
                new_root=run.new_root,
                trigger=trigger,
                next_action=run.next_action,
            )
        )
        return len(self.entries) - 1
