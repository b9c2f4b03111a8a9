"""Stories of one rollup: a state, and entries made by the reference machine, as a core."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from protocol.actions import Action, ActionKind
from protocol.constants import NONE
from protocol.table import Core, Entry, Member, triggers_hash
from protocol.types import ZERO_ADDRESS, Address, RollupId
from protocol.vm.isa import Program
from protocol.vm.machine import EntryRun, run_entry
from protocol.vm.state import Unwind, VmState, account_key, storage_key
from protocol.vm.state_tree import StateTree

ROLLUP = 5
ACCOUNT = Address(bytes.fromhex("a1" * 20))
USER = Address(bytes.fromhex("11" * 20))
TIME = 1_800_000_000
Slots = Mapping[int, tuple[int, int]]
"""slot -> (value, type)"""


def state_of(program: Program, slots: Slots | None = None, *, balance: int = 0, account: Address = ACCOUNT) -> VmState:
    """A rollup with one account that runs a program."""
    address = int.from_bytes(account, "big")
    tree, _ = StateTree.empty().insert(account_key(address), balance, program.code_hash)
    for slot, (value, kind) in (slots or {}).items():
        tree, _ = tree.insert(storage_key(address, slot), value, kind)
    return VmState(tree=tree, frames=None, programs={program.code_hash: program})


def words(*values: int) -> bytes:
    """ABI words."""
    return b"".join(value.to_bytes(32, "big") for value in values)


@dataclass(slots=True)
class Story:
    """Entries of one rollup, each on the state that the one before left."""

    state: VmState
    rollup_id: int = ROLLUP
    runs: list[EntryRun] = field(init=False, default_factory=list)
    entries: list[Entry] = field(init=False, default_factory=list)
    first: VmState = field(init=False)

    def __post_init__(self) -> None:
        self.first = self.state

    def call(
        self, data: bytes = b"", *, value: int = 0, to: Address = ACCOUNT, source: Address = USER, **fields: Any
    ) -> EntryRun:
        """A CALL from L1; `fields` of its action may differ."""
        return self._add(
            NONE,
            replace(
                Action(
                    kind=ActionKind.CALL,
                    rollup_id=RollupId(self.rollup_id),
                    destination=to,
                    value=value,
                    source_rollup=RollupId(0),
                    source_address=source,
                    data=data,
                ),
                **fields,
            ),
        )

    def answer(self, data: bytes = b"", *, of: int | None = None, failed: bool = False) -> EntryRun:
        """The RESULT of the outgoing call of an entry, by default the last one."""
        index = len(self.entries) - 1 if of is None else of
        call = self.entries[index].next_action
        return self._add(
            index,
            Action(
                kind=ActionKind.RESULT,
                rollup_id=call.source_rollup,
                destination=call.source_address,
                failed=failed,
                source_rollup=call.rollup_id,
                source_address=call.destination,
                data=data,
            ),
        )

    def go_on(self, *, opener: int) -> EntryRun:
        """The REVERT_CONTINUE behind the last entry, on what entry `opener` left when it called out in the scope."""
        reverted = self.runs[-1]
        trigger = replace(reverted.next_action, kind=ActionKind.REVERT_CONTINUE)
        self.state = self.runs[opener].post
        return self._add(NONE, trigger, parent=opener, revert_of=len(self.entries) - 1, unwound=reverted.unwound)

    def _add(
        self,
        reply_to: int,
        trigger: Action,
        *,
        parent: int | None = None,
        revert_of: int = NONE,
        unwound: Unwind | None = None,
    ) -> EntryRun:
        run = run_entry(
            self.state, rollup_id=self.rollup_id, l2_time=TIME, trigger=trigger, unwound=unwound, trace=True
        )
        before = len(self.entries) - 1 if self.entries else NONE
        self.entries.append(
            Entry(
                parent=before if parent is None else parent,
                reply_to=reply_to,
                revert_of=revert_of,
                mid=run.mid,
                new_root=run.new_root,
                trigger=trigger,
                next_action=run.next_action,
            )
        )
        self.runs.append(run)
        self.state = run.post
        return run

    def core(self) -> Core:
        """The table."""
        return Core(
            lockset=(Member(rollup_id=RollupId(self.rollup_id), pre_root=self.first.root),),
            l2_time=TIME,
            not_before=0,
            valid_until=TIME + 60,
            executor=ZERO_ADDRESS,
            triggers_hash=triggers_hash((0,)),
            fee_recipient=Address(bytes.fromhex("fe" * 20)),
            entries=tuple(self.entries),
        )
