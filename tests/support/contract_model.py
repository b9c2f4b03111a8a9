"""What Rollups must do, in Python: tables, lookups, flows, scopes, ether, bonds. Slow, short, and written from SPEC
§5 and §8 alone.

`Model` holds the chain's state as far as Rollups decides it, and the L1 contracts (`actor`) that flows call. A method
that ends with `Failed` has changed nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from eth_abi.abi import decode, encode

from protocol.actions import CALLS, Action, ActionKind, action_hash, encode_action
from protocol.constants import BOND_PER_ENTRY, MAX_ACTION_DATA, MAX_TABLE_BLOCKS
from protocol.contracts.artifacts import call_data
from protocol.hashing import keccak256
from protocol.table import Core, continue_link, core_id, encode_core
from protocol.types import ZERO_ADDRESS, ZERO_HASH, Hash32
from tests.support.actor import SELECTOR, End, parse
from tests.support.rollupworld import answer, continue_action, l1_call, l2_transaction

CALL_L2 = call_data("IRollups", "callL2", 0, b"\0" * 20, b"")[:4]


UNAVAILABLE = ("ExecutionNotFound", "TriggersFixed", "NotExecutor", "ForcedFirst", "TimeSkew")
"""What says of a table that it is not there, or not for this flow: no answer of whoever was called."""


class Failed(Exception):
    """A revert."""

    def __init__(self, name: str, data: bytes = b"") -> None:
        self.name = name
        self.data = data
        """Revert data, where a caller may look at it."""
        super().__init__(name)


class ScopeReverted(Exception):
    """The scope that entry `index`'s REVERT names ends."""

    def __init__(self, index: int) -> None:
        self.index = index
        super().__init__(index)


def error(signature: str, *values: Any) -> bytes:
    """Revert data of an error."""
    kinds = signature[signature.index("(") + 1 : -1].split(",")
    return keccak256(signature.encode())[:4] + encode(kinds, values)


def call_reverted(data: bytes) -> bytes:
    """Revert data of a call from L1 whose RESULT failed."""
    return error("CallReverted(bytes)", data)


def not_found(core_hash: Hash32, action: Action) -> Failed:
    """No entry for an action."""
    return Failed("ExecutionNotFound", error("ExecutionNotFound(bytes32,bytes)", core_hash, encode_action(action)))


@dataclass(slots=True)
class Table:
    """A loaded core."""

    core: Core
    core_id: Hash32
    live: set[int]
    """Entries that were not consumed."""
    persistent: bool
    epochs: tuple[int, ...]
    """Of the lockset when it was loaded."""
    loader: bytes = ZERO_ADDRESS
    block: int = 0
    closed: bool = False
    shared: bool = False
    """Somebody else loaded the core too: its loader cannot end it early."""


@dataclass(slots=True)
class Rollup:
    """What the contract knows of a rollup."""

    root: int
    ether: int = 0
    epoch: int = 1
    last_time: int = 0
    switch_at: int = 0
    """Unix seconds at which epoch + 1 begins; 0: not announced."""


@dataclass(slots=True)
class State:
    """Everything that a revert undoes."""

    rollups: dict[int, Rollup]
    persistent: dict[Hash32, Table] = field(default_factory=dict)
    transient: dict[Hash32, Table] = field(default_factory=dict)
    sessions: dict[int, Hash32] = field(default_factory=dict)
    offers: dict[tuple[int, Hash32, int, int], Hash32] = field(default_factory=dict)
    active: set[Hash32] = field(default_factory=set)
    mid: set[int] = field(default_factory=set)
    credit: dict[bytes, int] = field(default_factory=dict)
    runs: dict[bytes, int] = field(default_factory=dict)
    received: dict[bytes, int] = field(default_factory=dict)
    wei: dict[bytes, int] = field(default_factory=dict)
    log: list[tuple[Hash32, int]] = field(default_factory=list)
    """Consumed entries whose logs are kept."""

    def copy(self) -> State:
        """An independent state; cores are shared, they never change."""
        return State(
            rollups={r: replace(each) for r, each in self.rollups.items()},
            persistent={i: replace(each, live=set(each.live)) for i, each in self.persistent.items()},
            transient={i: replace(each, live=set(each.live)) for i, each in self.transient.items()},
            sessions=dict(self.sessions),
            offers=dict(self.offers),
            active=set(self.active),
            mid=set(self.mid),
            credit=dict(self.credit),
            runs=dict(self.runs),
            received=dict(self.received),
            wei=dict(self.wei),
            log=list(self.log),
        )


@dataclass(slots=True)
class Model:
    """Rollups, its rollups and its callers."""

    state: State
    address: bytes
    actors: tuple[bytes, ...]
    time: int
    number: int = 1
    max_table_blocks: int = MAX_TABLE_BLOCKS
    depth: int = 0

    # -- transactions --------------------------------------------------------------------------------------------------

    def transact(self, work: Any) -> Any:
        """Run `work()` as a transaction: all or nothing, transient storage empty before and after."""
        before = self.state.copy()
        self.depth = 0
        try:
            return work()
        except Failed:
            self.state = before
            raise
        finally:
            self.state.transient, self.state.sessions = {}, {}
            self.state.active, self.state.mid = set(), set()

    def load_and_run(self, core: Core, triggers: Sequence[int], sender: bytes, value: int) -> list[bytes]:
        """loadAndRun with good proofs, no expectations and no settlement."""
        identity = core_id(encode_core(core))
        if core.executor != ZERO_ADDRESS and sender != core.executor:
            raise Failed("NotExecutor")
        if (
            core.triggers_hash != ZERO_HASH
            and keccak256(b"".join(i.to_bytes(2, "big") for i in triggers)) != core.triggers_hash
        ):
            raise Failed("WrongTriggers")
        total = 0
        for index in triggers:
            trigger = core.entries[index].trigger if index < len(core.entries) else None
            if trigger is None or not self.is_trigger(trigger):
                raise Failed("NotATrigger")
            if trigger.kind is ActionKind.CALL and trigger.source_address != sender:
                raise Failed("NotTriggerSource")
            total += trigger.value
        if value != total:
            raise Failed("WrongValue")
        present = identity in self.state.transient
        if not present or all(self.state.rollups[m.rollup_id].root == m.pre_root for m in core.lockset):
            self.check_live(core)
            self.state.transient[identity] = self.table(core, identity, persistent=False)
            for member in core.lockset:
                self.state.sessions[member.rollup_id] = identity
        self.pay(sender, self.address, value)
        return [self.fire(core.entries[i].trigger, sender, pin=identity, listed=True)[1] for i in triggers]

    @staticmethod
    def is_trigger(action: Action) -> bool:
        """May loadAndRun fire it."""
        return action.kind is ActionKind.L2TX or (action.kind is ActionKind.CALL and action.source_rollup == 0)

    def load(self, core: Core, sender: bytes, value: int) -> None:
        """loadL2Executions with good proofs."""
        identity = core_id(encode_core(core))
        bond = BOND_PER_ENTRY * len(core.entries)
        if value != bond:
            raise Failed("WrongValue")
        self.pay(sender, self.address, value)
        present = self.state.persistent.get(identity)
        if present is not None:
            if self.is_over(present):
                raise Failed("TableOver")
            present.shared = present.shared or sender != present.loader
            self.give_credit(sender, bond)
            member = core.lockset[0]
            live = (self.state.rollups[member.rollup_id].root, self.epoch(member.rollup_id))
            if live == (member.pre_root, present.epochs[0]):
                self.offer(present)
            return
        self.check_live(core)
        if core.triggers_hash != ZERO_HASH:
            raise Failed("TriggersFixed")
        table = self.table(core, identity, persistent=True)
        table.loader, table.block = sender, self.number
        self.state.persistent[identity] = table
        self.offer(table)

    def table(self, core: Core, identity: Hash32, persistent: bool) -> Table:
        """A table of which nothing was consumed."""
        epochs = tuple(self.epoch(m.rollup_id) for m in core.lockset)
        return Table(core, identity, set(range(len(core.entries))), persistent, epochs)

    def offer(self, table: Table) -> None:
        """One entry that anybody may meet is found without a name: the youngest live one, of equals the first."""
        core = table.core
        first = core.entries[0]
        is_open = core.executor == ZERO_ADDRESS and len(core.lockset) == len(core.entries) == 1
        if not is_open or first.trigger.kind is not ActionKind.CALL or first.next_action.kind is not ActionKind.RESULT:
            return
        key = (first.owner, core.trigger_hash(0), core.lockset[0].pre_root, table.epochs[0])
        present = self.state.persistent.get(self.state.offers.get(key, ZERO_HASH))
        if present is None or not self.is_usable(present) or present.core.l2_time < core.l2_time:
            self.state.offers[key] = table.core_id

    def check_live(self, core: Core) -> None:
        """Times and pre-roots."""
        if self.time < core.not_before:
            raise Failed("NotYetValid")
        if self.time > core.valid_until:
            raise Failed("TableExpired")
        if not core.l2_time <= self.time <= core.l2_time + 3600:
            raise Failed("TimeSkew")
        for member in core.lockset:
            rollup = self.state.rollups[member.rollup_id]
            if core.l2_time < rollup.last_time:
                raise Failed("TimeSkew")
            if rollup.root != member.pre_root:
                raise Failed("StaleTable")

    def epoch(self, rollup_id: int) -> int:
        """The epoch in force."""
        rollup = self.state.rollups[rollup_id]
        return rollup.epoch + (rollup.switch_at != 0 and self.time >= rollup.switch_at)

    # -- triggers ------------------------------------------------------------------------------------------------------

    def call_l2(
        self, source: bytes, rollup_id: int, destination: bytes, data: bytes, value: int, pin: Hash32 | None = None
    ) -> bytes:
        """callL2, callL2Pinned, or a call to a proxy. The value is the contract's already."""
        return self.fire(l1_call(source, rollup_id, destination, data, value), source, pin=pin)[1]

    def execute_l2_tx(
        self, sender: bytes, rollup_id: int, data: bytes, pin: Hash32 | None = None
    ) -> tuple[bool, bytes]:
        """executeL2TX, executeL2TXPinned."""
        return self.fire(l2_transaction(rollup_id, data), sender, pin=pin)

    def fire(self, action: Action, sender: bytes, *, pin: Hash32 | None, listed: bool = False) -> tuple[bool, bytes]:
        """A trigger from L1: a failed call is a revert, a failed L2TX is kept."""
        failed, data = self.trigger(action, sender, pin, listed)
        if failed and action.kind is ActionKind.CALL:
            raise Failed("CallReverted", call_reverted(data))
        return not failed, data

    def is_usable(self, table: Table) -> bool:
        """A persistent table within its life."""
        return bool(table.live) and not self.is_over(table) and table.core.not_before <= self.time

    def is_behind(self, table: Table) -> bool:
        """Its only rollup has moved on in time; its root may have come back. One that only reads does not mind."""
        if table.core.entries[0].new_root == table.core.lockset[0].pre_root:
            return False
        return table.core.l2_time < self.state.rollups[table.core.lockset[0].rollup_id].last_time

    def is_expired(self, table: Table) -> bool:
        """By time or by blocks."""
        return self.time > table.core.valid_until or self.number > table.block + self.max_table_blocks

    def is_over(self, table: Table) -> bool:
        """Expired, or ended by its loader."""
        return table.closed or self.is_expired(table)

    def find(self, action: Action, pin: Hash32 | None) -> Table:
        """The table in which a trigger resolves."""
        hashed = action_hash(action)
        identity = pin or self.state.sessions.get(action.rollup_id)
        if pin is None and action.kind in CALLS and not self.holds(identity, hashed):
            rollup = self.state.rollups[action.rollup_id]
            found = self.state.offers.get((action.rollup_id, hashed, rollup.root, self.epoch(action.rollup_id)))
            offered = self.state.persistent.get(found or ZERO_HASH)
            if offered is not None and not self.is_behind(offered):
                identity = found
        table = self.state.transient.get(identity or ZERO_HASH)
        if table is None:
            table = self.state.persistent.get(identity or ZERO_HASH)
            if table is not None and not self.is_usable(table):
                table = None
        if table is None:
            raise not_found(hashed, action)
        return table

    def holds(self, identity: Hash32 | None, hashed: Hash32) -> bool:
        """The session's table hides open ones: it runs, or has the entry."""
        if identity is None or identity in self.state.active:
            return identity is not None
        table = self.state.transient.get(identity)
        if table is None or table.core.triggers_hash != ZERO_HASH:
            return False
        return self.met_by(table, hashed) is not None

    def met_by(self, table: Table, hashed: Hash32) -> int | None:
        """The entry that an action meets at the live roots."""
        members = [m.rollup_id for m in table.core.lockset]
        if tuple(self.epoch(r) for r in members) != table.epochs:
            return None
        roots = tuple(self.state.rollups[r].root for r in members)
        here = (i for i in sorted(table.live) if table.core.roots_before(i) == roots)
        return next((i for i in here if table.core.trigger_hash(i) == hashed), None)

    def trigger(
        self, action: Action, sender: bytes, pin: Hash32 | None = None, listed: bool = False
    ) -> tuple[bool, bytes]:
        """Meet a CALL, TRY_CALL or L2TX and run its flow to the RESULT."""
        table = self.find(action, pin)
        self.depth += 1
        outer: dict[int, Hash32 | None] | None = None
        if table.core_id not in self.state.active:
            if table.core.triggers_hash != ZERO_HASH and not listed:
                raise Failed("TriggersFixed")
            self.check_executor(table, action, sender)
            self.state.active.add(table.core_id)
            members = [m.rollup_id for m in table.core.lockset]
            outer = {r: self.state.sessions.get(r) for r in members}
            self.state.sessions.update({r: table.core_id for r in members})
        mid_before = len(self.state.mid)
        self.move(action.source_rollup, action.rollup_id, action.value)
        index = self.consume(table, action, action_hash(action))
        index = self.run(table, (), index)
        if len(self.state.mid) != mid_before:
            raise Failed("FlowNotFinal", error("FlowNotFinal(uint256)", len(self.state.mid)))
        if outer is not None:
            self.state.active.discard(table.core_id)
            for rollup_id, identity in outer.items():
                self.state.sessions.pop(rollup_id)
                if identity is not None:
                    self.state.sessions[rollup_id] = identity
        self.depth -= 1
        result = table.core.entries[index].next_action
        return result.failed, result.data

    def check_executor(self, table: Table, action: Action, sender: bytes) -> None:
        """Who may start a flow of a table."""
        executor = table.core.executor
        if executor == ZERO_ADDRESS:
            return
        if action.kind is ActionKind.L2TX:
            allowed = sender == executor
        else:
            allowed = not table.persistent or (action.source_rollup == 0 and action.source_address == executor)
        if not allowed:
            raise Failed("NotExecutor")

    # -- flows ---------------------------------------------------------------------------------------------------------

    def run(self, table: Table, scope: tuple[int, ...], index: int) -> int:
        """Run what follows entry `index` as long as it belongs to `scope`; returns the last entry met."""
        while True:
            following = table.core.entries[index].next_action
            inside = following.scope[: len(scope)] == scope
            if following.kind is ActionKind.RESULT or not inside:
                return index
            if len(following.scope) > len(scope):
                index = self.enter_scope(table, following.scope[: len(scope) + 1], index)
            elif following.kind in CALLS:
                index = self.call_out(table, index)
            else:
                raise ScopeReverted(index)

    def enter_scope(self, table: Table, scope: tuple[int, ...], index: int) -> int:
        """A frame that a REVERT undoes as a whole."""
        before = self.remember()
        try:
            return self.run(table, scope, index)
        except ScopeReverted as ended:
            self.forget(before)
            revert = table.core.entries[ended.index].next_action
            if revert.scope != scope:
                raise
            following = continue_action(revert.rollup_id, scope)
            link = continue_link(action_hash(revert), table.core.entries[ended.index].new_root)
            return self.consume(table, following, action_hash(following, link))

    def remember(self) -> tuple[State, int]:
        """A point to go back to."""
        return self.state.copy(), self.depth

    def forget(self, point: tuple[State, int]) -> None:
        """Undo everything since."""
        self.state, self.depth = point

    def call_out(self, table: Table, index: int) -> int:
        """Make the call of entry `index`; returns the entry that its answer met."""
        call = table.core.entries[index].next_action
        tries = call.kind is ActionKind.TRY_CALL
        before = self.remember()
        failed, data = False, b""
        if call.rollup_id == 0:
            self.move(call.source_rollup, 0, call.value)
            try:
                data = self.on_l1(self.proxy(call), call.destination, call.value, call.data)
            except Failed as failure:
                if failure.name in UNAVAILABLE:
                    raise
                if not tries:
                    raise Failed("CallFailed", error("CallFailed(bytes)", failure.data)) from failure
                self.forget(before)
                failed, data = True, failure.data[:MAX_ACTION_DATA]
        else:
            failed, data = self.trigger(call, ZERO_ADDRESS)
            if failed and not tries:
                raise Failed("CallReverted", call_reverted(data))
            if failed:
                self.forget(before)
        if failed and call.opaque:
            data = b""
        # what was undone includes the model's own view of the table
        table = self.current(table)
        result = answer(call, data, failed=failed)
        return self.consume(table, result, action_hash(result, action_hash(call)))

    def current(self, table: Table) -> Table:
        """The table as it is in the present state."""
        lane = self.state.persistent if table.persistent else self.state.transient
        return lane[table.core_id]

    @staticmethod
    def proxy(call: Action) -> bytes:
        """A name for the account that makes a rollup's call."""
        return b"proxy" + call.source_rollup.to_bytes(8, "big") + call.source_address

    def consume(self, table: Table, action: Action, hashed: Hash32) -> int:
        """Meet an action at the live roots."""
        table = self.current(table) if self.is_loaded(table) else table
        index = self.met_by(table, hashed)
        if index is None:
            raise not_found(hashed, action)
        entry = table.core.entries[index]
        table.live.discard(index)
        if table.persistent:
            self.give_credit(table.loader, BOND_PER_ENTRY)
            if not table.live:
                del self.state.persistent[table.core_id]
        rollup = self.state.rollups[entry.owner]
        if rollup.root != entry.new_root:
            if table.core.l2_time < rollup.last_time:
                raise Failed("TimeSkew")
            rollup.root, rollup.last_time = entry.new_root, table.core.l2_time
        (self.state.mid.add if entry.mid else self.state.mid.discard)(entry.owner)
        self.state.log.append((table.core_id, index))
        return index

    def is_loaded(self, table: Table) -> bool:
        """Whether the present state has the table."""
        return table.core_id in (self.state.persistent if table.persistent else self.state.transient)

    # -- ether and L1 --------------------------------------------------------------------------------------------------

    def move(self, source: int, target: int, value: int) -> None:
        """Booked ether."""
        if source != 0 and value:
            if self.state.rollups[source].ether < value:
                raise Failed(
                    "InsufficientRollupBalance",
                    error(
                        "InsufficientRollupBalance(uint64,uint256,uint256)",
                        source,
                        self.state.rollups[source].ether,
                        value,
                    ),
                )
            self.state.rollups[source].ether -= value
        if target != 0:
            self.state.rollups[target].ether += value

    def pay(self, source: bytes, target: bytes, value: int) -> None:
        """wei between L1 accounts."""
        self.state.wei[source] = self.state.wei.get(source, 0) - value
        self.state.wei[target] = self.state.wei.get(target, 0) + value

    def give_credit(self, account: bytes, value: int) -> None:
        """What an account can claim."""
        self.state.credit[account] = self.state.credit.get(account, 0) + value

    def on_l1(self, caller: bytes, target: bytes, value: int, data: bytes) -> bytes:
        """An L1 call of a proxy to a contract: undone as a whole if it fails."""
        before = self.remember()
        try:
            self.pay(self.address, target, value)
            if target not in self.actors:
                return b""
            self.state.received[target] = self.state.received.get(target, 0) + value
            if data[:4] != SELECTOR:
                return b""
            return self.act(target, data)
        except Failed:
            self.forget(before)
            raise

    def act(self, actor: bytes, data: bytes) -> bytes:
        """Run an actor's program."""
        program = parse(data)
        self.state.runs[actor] = self.state.runs.get(actor, 0) + 1
        for step in program.steps:
            before = self.remember()
            try:
                assert step.target == self.address and step.data[:4] == CALL_L2
                rollup_id, destination, inner = decode(["uint64", "address", "bytes"], step.data[4:])
                self.pay(actor, self.address, step.value)
                self.call_l2(actor, rollup_id, bytes.fromhex(destination[2:]), inner, step.value)
            except Failed:
                self.forget(before)
                if not step.swallow:
                    raise
        if program.end is not End.ANSWER:
            raise Failed("Actor", program.data if program.end is End.FAIL else b"")
        return program.data

    # -- removal -------------------------------------------------------------------------------------------------------

    def clean(self, identity: Hash32, entries: Sequence[int], sender: bytes) -> None:
        """cleanup."""
        table = self.state.persistent.get(identity)
        if table is None:
            raise Failed("NoSuchTable")
        expired = self.is_expired(table)
        may_end = sender == table.loader and not table.shared and len(entries) == len(table.live)
        if not expired and not table.closed and not may_end:
            raise Failed("NotCleanable")
        if not set(entries) <= table.live:
            raise Failed("WrongKey")
        table.live -= set(entries)
        bond = BOND_PER_ENTRY * len(entries)
        bounty = bond // 2 if expired and sender != table.loader else 0
        self.give_credit(sender, bounty)
        self.give_credit(table.loader, bond - bounty)
        if not table.live:
            del self.state.persistent[identity]

    def claim(self, account: bytes) -> None:
        """claim."""
        value = self.state.credit.pop(account, 0)
        if not value:
            raise Failed("NothingToClaim")
        self.pay(self.address, account, value)
