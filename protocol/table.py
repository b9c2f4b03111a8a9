"""Cores (tables): strict codec, rules, derived hashes and identities (SPEC §5.2, §5.3).

API:
    Core, Entry, Member
    encode_core(core) / decode_core(bytes)     exactly one encoding; decoding checks every rule of §5.2
    encode_header(core)                        the core up to and excluding m
    check_core(core)                           the rules alone
    core.owner(i), core.roots_before(i), core.roots_after(i), core.link(i), core.trigger_hash(i), core.next_hash(i)
    core_id, statement_commit, stamp, entry_key, encode_triggers, decode_triggers, triggers_hash, family_hash,
    public_input
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from protocol.actions import CALLS, Action, ActionKind, action_hash, answers, encode_action, read_action
from protocol.constants import FIELD_ORDER, MAX_CORE_BYTES, MAX_ENTRIES, MAX_LOCKSET, NONE
from protocol.errors import DecodeError, RuleError
from protocol.hashing import abi_words, domain, keccak256
from protocol.reader import Reader
from protocol.types import ZERO_HASH, Address, Hash32, RollupId

CORE_VERSION = 1
_U64 = 1 << 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One rollup of the lockset."""

    rollup_id: RollupId
    """u64, not 0."""
    pre_root: int
    """Field element: the root on which the table stands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One execution of a table. `NONE` stands for no index."""

    parent: int = NONE
    """Index of the entry after which this one stands; NONE: on the header's roots."""
    reply_to: int = NONE
    """RESULT triggers: index of the entry whose next action is answered."""
    revert_of: int = NONE
    """REVERT_CONTINUE triggers: index of the entry whose next action is the REVERT."""
    mid: bool
    """Frames are suspended after this entry."""
    new_root: int
    """Field element: the owner's root after this entry."""
    trigger: Action
    next_action: Action

    @property
    def owner(self) -> RollupId:
        """The one rollup that this entry moves: its trigger's target."""
        return self.trigger.rollup_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Core:
    """What happens: header and entries. Construction checks nothing; see `check_core`."""

    lockset: tuple[Member, ...]
    """1..8, strictly ascending by rollup id."""
    l2_time: int
    """unix seconds, u64."""
    not_before: int
    """unix seconds, u64."""
    valid_until: int
    """unix seconds, u64, inclusive."""
    executor: Address
    """Who may load and run; zero: anybody."""
    triggers_hash: Hash32
    """keccak of the triggers; zero: open."""
    fee_recipient: Address
    entries: tuple[Entry, ...]
    """1..256."""

    def member(self, rollup_id: RollupId) -> int:
        """Place of a rollup in the lockset.

        Raises:
            RuleError: CORE_NOT_MEMBER.
        """
        for place, member in enumerate(self.lockset):
            if member.rollup_id == rollup_id:
                return place
        raise RuleError("CORE_NOT_MEMBER", rollup_id=rollup_id)

    def owner(self, index: int) -> RollupId:
        """Rollup that entry `index` moves."""
        return self.entries[index].owner

    def roots_before(self, index: int) -> tuple[int, ...]:
        """Roots of the lockset on which entry `index` stands (rule 2)."""
        parent = self.entries[index].parent
        if parent == NONE:
            return tuple(member.pre_root for member in self.lockset)
        return self.roots_after(parent)

    def roots_after(self, index: int) -> tuple[int, ...]:
        """Roots of the lockset after entry `index`."""
        # The nearest ancestor that a rollup owns decides its root; walking up avoids recursion over 256 parents.
        known: dict[int, int] = {}
        while index != NONE:
            entry = self.entries[index]
            known.setdefault(entry.owner, entry.new_root)
            index = entry.parent
        return tuple(known.get(member.rollup_id, member.pre_root) for member in self.lockset)

    def link(self, index: int) -> Hash32:
        """Link of entry `index`'s trigger: what a RESULT answers or a REVERT_CONTINUE follows (SPEC §5.1)."""
        entry = self.entries[index]
        if entry.reply_to != NONE:
            return action_hash(self.entries[entry.reply_to].next_action)
        if entry.revert_of != NONE:
            undone = self.entries[entry.revert_of]
            return continue_link(action_hash(undone.next_action), undone.new_root)
        return ZERO_HASH

    def frame_scope(self, index: int) -> tuple[int, ...]:
        """The scope in which entry `index` is met (SPEC §5.2): it opens the deeper ones of its next action."""
        entry = self.entries[index]
        if entry.trigger.kind is ActionKind.RESULT:
            return self.entries[entry.reply_to].next_action.scope
        # A REVERT_CONTINUE is met around the scope that was reverted; any other trigger begins.
        return entry.trigger.scope[:-1] if entry.trigger.kind is ActionKind.REVERT_CONTINUE else ()

    def trigger_hash(self, index: int) -> Hash32:
        """actionHash of entry `index`'s trigger under its link."""
        return action_hash(self.entries[index].trigger, self.link(index))

    def next_hash(self, index: int) -> Hash32:
        """actionHash of entry `index`'s next action, whose own link is always 0."""
        return action_hash(self.entries[index].next_action)


# -- rules -------------------------------------------------------------------------------------------------------------


def check_core(core: Core) -> None:
    """Check every rule of SPEC §5.2 that needs no chain.

    Raises:
        RuleError: CORE_LOCKSET, CORE_ENTRIES, CORE_RANGE, CORE_OWNER, CORE_PARENT, CORE_NEXT_SOURCE,
            CORE_SELF_CALL, CORE_TRIGGER_KIND, CORE_NEXT_KIND, CORE_REPLY, CORE_REVERT_OF, CORE_SCOPE_OPENER,
            CORE_ROOT_TRIGGER, CORE_DUPLICATE_KEY, CORE_TWO_FORCED; values name the entry.
        DecodeError: an action breaks `check_action` (only possible for a core that was not decoded).
    """
    _check_header(core)
    keys: set[tuple[Hash32, tuple[int, ...]]] = set()
    forced: set[int] = set()
    for index, entry in enumerate(core.entries):
        _check_entry(core, index, entry)
        if entry.trigger.kind is ActionKind.L2TX and entry.trigger.gas:
            if entry.next_action.kind is not ActionKind.RESULT:
                raise RuleError("CORE_NEXT_KIND", entry=index, kind=int(entry.next_action.kind))
            if entry.owner in forced:
                raise RuleError("CORE_TWO_FORCED", entry=index)
            forced.add(entry.owner)
        key = (core.trigger_hash(index), core.roots_before(index))
        # Epochs are fixed while a core lives, so equal roots and equal action hashes are equal keys (rule 6).
        if key in keys:
            raise RuleError("CORE_DUPLICATE_KEY", entry=index)
        keys.add(key)
    # Rule 5 needs no search for a parentless entry: entry 0 cannot have a smaller parent.


def _check_header(core: Core) -> None:
    if not 1 <= len(core.lockset) <= MAX_LOCKSET:
        raise RuleError("CORE_LOCKSET", count=len(core.lockset))
    previous = 0
    for member in core.lockset:
        if not previous < member.rollup_id < _U64:
            raise RuleError("CORE_LOCKSET", rollup_id=member.rollup_id)
        previous = member.rollup_id
        if not 0 <= member.pre_root < FIELD_ORDER:
            raise RuleError("CORE_RANGE", field="pre_root", rollup_id=member.rollup_id)
    if not all(0 <= x < _U64 for x in (core.l2_time, core.not_before, core.valid_until)):
        raise RuleError("CORE_RANGE", field="times")
    if (len(core.executor), len(core.triggers_hash), len(core.fee_recipient)) != (20, 32, 20):
        raise RuleError("CORE_RANGE", field="header bytes")
    if not 1 <= len(core.entries) <= MAX_ENTRIES:
        raise RuleError("CORE_ENTRIES", count=len(core.entries))


def _check_entry(core: Core, index: int, entry: Entry) -> None:
    trigger, following = entry.trigger, entry.next_action
    if all(entry.owner != member.rollup_id for member in core.lockset):
        raise RuleError("CORE_OWNER", entry=index, rollup_id=entry.owner)
    if not 0 <= entry.new_root < FIELD_ORDER:
        raise RuleError("CORE_RANGE", field="new_root", entry=index)
    if entry.parent != NONE and not 0 <= entry.parent < index:
        raise RuleError("CORE_PARENT", entry=index, parent=entry.parent)
    if trigger.kind is ActionKind.REVERT:
        raise RuleError("CORE_TRIGGER_KIND", entry=index, kind=int(trigger.kind))
    if following.kind in (ActionKind.L2TX, ActionKind.REVERT_CONTINUE):
        raise RuleError("CORE_NEXT_KIND", entry=index, kind=int(following.kind))
    if following.source_rollup != entry.owner:
        raise RuleError("CORE_NEXT_SOURCE", entry=index, source=following.source_rollup)
    if following.kind in CALLS and following.rollup_id == entry.owner:
        raise RuleError("CORE_SELF_CALL", entry=index)
    if trigger.kind is ActionKind.RESULT:
        _check_reply(core, index, entry)
    elif entry.reply_to != NONE:
        raise RuleError("CORE_REPLY", entry=index, reply_to=entry.reply_to)
    if trigger.kind is ActionKind.REVERT_CONTINUE:
        _check_continue(core, index, entry)
    elif entry.revert_of != NONE:
        raise RuleError("CORE_REVERT_OF", entry=index, revert_of=entry.revert_of)


def _check_reply(core: Core, index: int, entry: Entry) -> None:
    if entry.parent == NONE:
        raise RuleError("CORE_ROOT_TRIGGER", entry=index)
    if not 0 <= entry.reply_to < index:
        raise RuleError("CORE_REPLY", entry=index, reply_to=entry.reply_to)
    call = core.entries[entry.reply_to].next_action
    # That both entries have one owner follows: the call's source is its entry's owner, and this RESULT's target.
    if call.kind not in CALLS or not answers(entry.trigger, call):
        raise RuleError("CORE_REPLY", entry=index, reply_to=entry.reply_to)


def _check_continue(core: Core, index: int, entry: Entry) -> None:
    if not 0 <= entry.revert_of < index:
        raise RuleError("CORE_REVERT_OF", entry=index, revert_of=entry.revert_of)
    scope = entry.trigger.scope
    undone = core.entries[entry.revert_of].next_action
    if undone.kind is not ActionKind.REVERT or undone.rollup_id != entry.owner or undone.scope != scope:
        raise RuleError("CORE_REVERT_OF", entry=index, revert_of=entry.revert_of)
    if entry.parent == NONE:
        raise RuleError("CORE_ROOT_TRIGGER", entry=index)
    at = entry.revert_of
    while at != entry.parent:
        at = core.entries[at].parent
        if at == NONE:
            raise RuleError("CORE_SCOPE_OPENER", entry=index, parent=entry.parent)
    inside = core.entries[at].next_action.scope[: len(scope)] == scope
    if core.owner(at) != entry.owner or not inside or core.frame_scope(at)[: len(scope)] == scope:
        raise RuleError("CORE_SCOPE_OPENER", entry=index, parent=entry.parent)


# -- codec -------------------------------------------------------------------------------------------------------------


def encode_header(core: Core) -> bytes:
    """The core up to and excluding its entry count."""
    return b"".join(
        (
            bytes((CORE_VERSION, len(core.lockset))),
            *(m.rollup_id.to_bytes(8, "big") + m.pre_root.to_bytes(32, "big") for m in core.lockset),
            *(x.to_bytes(8, "big") for x in (core.l2_time, core.not_before, core.valid_until)),
            core.executor,
            core.triggers_hash,
            core.fee_recipient,
        )
    )


def encode_core(core: Core) -> bytes:
    """Canonical bytes of a core; also the `.uvt` table file.

    Raises:
        RuleError, DecodeError: the core breaks a rule, or CORE_SIZE.
    """
    check_core(core)
    parts = [encode_header(core), len(core.entries).to_bytes(2, "big")]
    for entry in core.entries:
        parts += [x.to_bytes(2, "big") for x in (entry.parent, entry.reply_to, entry.revert_of)]
        parts += [bytes((entry.mid,)), entry.new_root.to_bytes(32, "big")]
        parts += [encode_action(entry.trigger), encode_action(entry.next_action)]
    raw = b"".join(parts)
    if len(raw) > MAX_CORE_BYTES:
        raise DecodeError("CORE_SIZE", size=len(raw))
    return raw


def decode_core(raw: bytes) -> Core:
    """Decode and check a core; what it accepts re-encodes to the same bytes.

    Raises:
        DecodeError: CORE_SIZE, CORE_VERSION, CORE_FLAGS, CORE_TRUNCATED, CORE_TRAILING_BYTES, FIELD_RANGE, or an
            action's reason.
        RuleError: the reasons of `check_core`.
    """
    if len(raw) > MAX_CORE_BYTES:
        raise DecodeError("CORE_SIZE", size=len(raw))
    reader = Reader(raw, "CORE")
    version = reader.uint(1)
    if version != CORE_VERSION:
        raise DecodeError("CORE_VERSION", version=version)
    count = reader.uint(1)
    if not 1 <= count <= MAX_LOCKSET:
        raise RuleError("CORE_LOCKSET", count=count)
    lockset = tuple(Member(rollup_id=RollupId(reader.uint(8)), pre_root=reader.field()) for _ in range(count))
    l2_time, not_before, valid_until = reader.uint(8), reader.uint(8), reader.uint(8)
    executor, triggers, fee_recipient = reader.address(), reader.hash32(), reader.address()
    entry_count = reader.uint(2)
    if not 1 <= entry_count <= MAX_ENTRIES:
        raise RuleError("CORE_ENTRIES", count=entry_count)
    entries = tuple(_read_entry(reader) for _ in range(entry_count))
    reader.end()
    core = Core(
        lockset=lockset,
        l2_time=l2_time,
        not_before=not_before,
        valid_until=valid_until,
        executor=executor,
        triggers_hash=triggers,
        fee_recipient=fee_recipient,
        entries=entries,
    )
    check_core(core)
    return core


def _read_entry(reader: Reader) -> Entry:
    parent, reply_to, revert_of = reader.uint(2), reader.uint(2), reader.uint(2)
    flags = reader.uint(1)
    if flags > 1:
        raise DecodeError("CORE_FLAGS", flags=flags)
    return Entry(
        parent=parent,
        reply_to=reply_to,
        revert_of=revert_of,
        mid=bool(flags),
        new_root=reader.field(),
        trigger=read_action(reader),
        next_action=read_action(reader),
    )


# -- identities, SPEC §5.3 ---------------------------------------------------------------------------------------------


def core_id(core_bytes: bytes) -> Hash32:
    """What happens: keccak over the domain and the hash of the core's bytes."""
    return keccak256(abi_words(domain("core"), keccak256(core_bytes)))


def continue_link(revert: Hash32, root: int) -> Hash32:
    """Link of a REVERT_CONTINUE.

    Args:
        revert: actionHash of the REVERT.
        root: its rollup's root when it was met, a field element.
    """
    return keccak256(abi_words(revert, root))


def statement_commit(salt: Hash32, core: Hash32) -> Hash32:
    """What an auction is about.

    Args:
        salt: 32 random bytes.
        core: coreId.
    """
    return keccak256(abi_words(domain("statement"), salt, core))


def stamp(root: int, epoch: int) -> Hash32:
    """A rollup's root (field element) in an epoch (u64)."""
    return keccak256(abi_words(root, epoch))


def entry_key(core: Hash32, action: Hash32, stamps: Sequence[Hash32]) -> Hash32:
    """Where the contract stores an entry.

    Args:
        core: coreId.
        action: the trigger's actionHash.
        stamps: of the lockset, in order.
    """
    return keccak256(abi_words(domain("key"), core, action, keccak256(b"".join(stamps))))


def encode_triggers(indices: Sequence[int]) -> bytes:
    """Entries to fire, in order, as u16 each."""
    return b"".join(i.to_bytes(2, "big") for i in indices)


def decode_triggers(raw: bytes) -> tuple[int, ...]:
    """Undo `encode_triggers`.

    Raises:
        DecodeError: TRIGGERS_LENGTH: odd, or more than MAX_ENTRIES of them.
    """
    if len(raw) % 2 or len(raw) > 2 * MAX_ENTRIES:
        raise DecodeError("TRIGGERS_LENGTH", length=len(raw))
    return tuple(int.from_bytes(raw[i : i + 2], "big") for i in range(0, len(raw), 2))


def triggers_hash(indices: Sequence[int]) -> Hash32:
    """The header's triggersHash for these triggers."""
    return keccak256(encode_triggers(indices))


def family_hash(vk_hashes: Sequence[Hash32]) -> Hash32:
    """A family of verifying keys, in tier order."""
    return keccak256(abi_words(domain("family"), keccak256(b"".join(vk_hashes))))


def public_input(
    *,
    chain_id: int,
    rollups_contract: Address,
    core: Hash32,
    rollup_id: int,
    epoch: int,
    family: Hash32,
    payee: Address,
    agreement_hash: Hash32,
) -> Hash32:
    """What one proof says, and for whom (SPEC §5.3)."""
    return keccak256(
        abi_words(domain("input"), chain_id, rollups_contract, core, rollup_id, epoch, family, payee, agreement_hash)
    )
