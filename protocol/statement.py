"""Statement words: a rollup's own view of a core as field elements in a fixed layout (SPEC §6).

API:
    TIERS, tier_by_number(n), Tier
    words(core, rollup_id, tier) -> tuple of tier.words_total field elements
    smallest_tier(core, rollup_id) -> Tier
    own_entries(core, rollup_id) -> indices of the entries that the rollup owns
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from protocol.actions import Action, ActionKind, action_words, pack_scope
from protocol.constants import NONE
from protocol.errors import RuleError
from protocol.table import Core
from protocol.types import RollupId

_HEADER_WORDS = 4
_ENTRY_WORDS = 3
_RECORD_WORDS = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """One size of the table-VM circuit."""

    name: str
    number: int
    """Number in proofs and in the family."""
    entries: int
    """Places for own entries."""
    data_words: int
    """Data words of an action."""

    @property
    def record_words(self) -> int:
        """Words of one action record."""
        return _RECORD_WORDS + 2 * self.data_words

    @property
    def words_total(self) -> int:
        """Words of the whole statement."""
        return _HEADER_WORDS + self.entries * (_ENTRY_WORDS + 2 * self.record_words)


TIER_S: Final = Tier(name="S", number=0, entries=3, data_words=4)
TIER_M: Final = Tier(name="M", number=1, entries=8, data_words=9)
TIER_L: Final = Tier(name="L", number=2, entries=16, data_words=16)
TIER_XL: Final = Tier(name="XL", number=3, entries=32, data_words=16)
TIERS: Final = (TIER_S, TIER_M, TIER_L, TIER_XL)
PROVABLE_KINDS: Final = tuple(ActionKind)
"""Kinds that have a statement: what circuits give a meaning to. Any other would be laid out, but refused."""
PROVABLE_SCOPES: Final = True
"""Whether actions with a scope have one."""


def tier_by_number(number: int) -> Tier:
    """Find a tier.

    Raises:
        RuleError: TIER_UNKNOWN.
    """
    for tier in TIERS:
        if tier.number == number:
            return tier
    raise RuleError("TIER_UNKNOWN", number=number)


def own_entries(core: Core, rollup_id: int) -> tuple[int, ...]:
    """Indices of the entries that `rollup_id` owns, in table order."""
    return tuple(i for i, entry in enumerate(core.entries) if entry.owner == rollup_id)


def _require_provable(index: int, action: Action) -> None:
    """What the circuit does not know it cannot have shown (SPEC §6)."""
    if action.kind not in PROVABLE_KINDS:
        raise RuleError("TIER_KIND", entry=index, kind=int(action.kind))
    if action.scope and not PROVABLE_SCOPES:
        raise RuleError("TIER_SCOPE", entry=index)


def _record(action: Action, tier: Tier) -> list[int]:
    meta, data = action_words(action)
    if len(data) > tier.data_words:
        raise RuleError("TIER_DATA", words=len(data), limit=tier.data_words)
    head = int(action.kind) + 256 * int(action.failed) + 512 * int(action.opaque)
    record = [head, action.target, action.source, action.value, action.gas, pack_scope(action.scope), meta]
    for hi, lo in data:
        record += (hi, lo)
    return record + [0] * (tier.record_words - len(record))


def words(core: Core, rollup_id: int, tier: Tier) -> tuple[int, ...]:
    """Lay out the statement of `rollup_id`.

    Args:
        core: a valid core (as `decode_core` returns).
        rollup_id: a member of the lockset that owns at least one entry.

    Raises:
        RuleError: STATEMENT_EMPTY, TIER_ENTRIES, TIER_KIND, TIER_SCOPE, TIER_DATA.
    """
    own = own_entries(core, rollup_id)
    if not own:
        raise RuleError("STATEMENT_EMPTY", rollup_id=rollup_id)
    if len(own) > tier.entries:
        raise RuleError("TIER_ENTRIES", entries=len(own), limit=tier.entries)
    member = core.member(RollupId(rollup_id))
    ordinal = {NONE: 0} | {index: place + 1 for place, index in enumerate(own)}
    out = [rollup_id, core.l2_time, int.from_bytes(core.fee_recipient, "big"), len(own)]
    for index in own:
        entry = core.entries[index]
        _require_provable(index, entry.trigger)
        _require_provable(index, entry.next_action)
        out.append(int(entry.mid) + 2 * ordinal[entry.reply_to] + (ordinal[entry.revert_of] << 16))
        out += (core.roots_before(index)[member], entry.new_root)
        out += _record(entry.trigger, tier)
        out += _record(entry.next_action, tier)
    return tuple(out + [0] * (tier.words_total - len(out)))


def smallest_tier(core: Core, rollup_id: int) -> Tier:
    """The first tier, by number, that the rollup's part of the core fits.

    Raises:
        RuleError: the reason of the largest tier's refusal.
    """
    refusal: RuleError | None = None
    for tier in TIERS:
        try:
            words(core, rollup_id, tier)
        except RuleError as error:
            refusal = error
        else:
            return tier
    assert refusal is not None
    raise refusal
