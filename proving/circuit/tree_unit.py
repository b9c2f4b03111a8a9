"""Tree units: the places of a circuit at which leaves of the state tree are opened, and in some rewritten.

A *cell* is one key that one stretch touches: a storage slot, the account of its frame, or the account that pays for
it. What a unit does with the key of its cell:

- HIT     the key is present: the unit's leaf holds it. A writing unit puts the cell's last value there.
- ABSENT  the key is absent and stays so: it lies in a *gap*, between a key that is present and the next one.
- NEW     the key is absent and is inserted: it lies in a gap, and the unit's leaf is the new one at `nextIndex`.

A unit without a key of its own can still open a leaf (*bare*): one whose `nextKey` changes, or that shows a gap.

**Each leaf once.** Units of one stretch are a batch of the node pool: no two of them have the same leaf.

**Gaps.** A leaf is linked to the next key. Links are kept by `links.py`: a leaf that is *linked* gives its gap (key,
nextKey) as it is before and takes the one that it has after; NEW takes the gap (p, n) that its key k lies in, with p
< k < n, and gives (p, k) and (k, n). Each gap that is taken lies in one that a leaf gave, because gaps only become
smaller; so keys are inserted in whatever order, each once, and leaves have the right links in the end. ABSENT takes a
gap from another list, to which a leaf gives its gap as often as its unit says: keys that stay absent change nothing.

Storage cells of one stretch must have different keys: with one key under two cells a program could read a value that
it has overwritten. Two leaves of a tree have different keys, and so have two insertions; only absent keys are
compared. A caller that calls itself pays nothing, so that no account has two cells that write."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from protocol.constants import FIELD_ORDER as R
from protocol.constants import MIN_TREE_DEPTH, TREE_DEPTH, TREE_DEPTH_STEP
from proving.circuit.bits import flags, from_bits, is_zero, raw_bits, select, to_bits
from proving.circuit.builder import Builder, Expr, plus, total, value
from proving.circuit.compare import BETWEEN
from proving.circuit.links import Links
from proving.circuit.node_pool import NodeHint, node_pool, root_code
from proving.circuit.poseidon import poseidon

DEPTHS: Final = tuple(range(MIN_TREE_DEPTH, TREE_DEPTH + 1, TREE_DEPTH_STEP))
"""Depths that a tree can have (SPEC §3.1)."""
SHOWN_BITS: Final = 3
"""Of how often a leaf shows its gap to absent keys."""
_CHAIN: Final = 1 << 60
_SHOWN: Final = 1 << 61
"""Added to a batch's number for the two lists of gaps; codes of nodes and leaves are smaller."""


class Kind(IntEnum):
    """What a unit does with its key."""

    HIT = 0
    ABSENT = 1
    NEW = 2


class Role(IntEnum):
    """What a unit is able to do."""

    INSERT = 0
    """Everything."""
    UPDATE = 1
    """HIT, and a bare leaf."""
    SEEK = 2
    """HIT and ABSENT; writes nothing."""
    READ = 3
    """HIT; writes nothing."""
    LINK = 4
    """A bare leaf, whose link may change; it has no key."""

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """What it can do with a key."""
        if self is Role.LINK:
            return ()
        return (Kind.HIT, Kind.ABSENT, Kind.NEW)[: {Role.INSERT: 3, Role.SEEK: 2}.get(self, 1)]

    @property
    def writes(self) -> bool:
        """Whether its leaf can change."""
        return self in (Role.INSERT, Role.UPDATE, Role.LINK)

    @property
    def seeks(self) -> bool:
        """Whether its key can be absent."""
        return Kind.ABSENT in self.kinds


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitHint:
    """What a used unit holds."""

    kind: Kind | None
    """None: it has no key."""
    stretch: int
    """That it serves."""
    is_account: bool = False
    is_payer: bool = False
    """Whether it is the account of the stretch, or that of its caller."""
    slot: int = 0
    """Storage slot; 0 for an account."""
    gap: tuple[int, int] = (0, 0)
    """Where an absent key lies."""
    index: int | None = None
    """Of its leaf; None if it opens none."""
    leaf: tuple[int, int, int, int] = (0, 0, 0, 0)
    """key, nextKey, v0, v1 before; of a new one its key and nextKey."""
    following: int = 0
    """nextKey after."""
    linked: bool = False
    shown: int = 0
    claim: int | None = None
    """Number of the claim that it holds (`claims.py`)."""


@dataclass(slots=True, kw_only=True)
class Unit:
    """Wires of one unit that the rest of the circuit meets."""

    role: Role
    hit: Expr = 0
    absent: Expr = 0
    new: Expr = 0
    is_account: Expr = 0
    """1 for an account of either kind."""
    owners: list[Expr]
    """One flag for each stretch."""
    slot: Expr = 0
    key: Expr = 0
    leaf: list[Expr]
    start: tuple[Expr, Expr] = (0, 0)
    """Value and type (for an account: packed balance, code hash) that the stretch finds; zeros if absent."""
    cells: list[Expr] = field(default_factory=list)
    """For each stretch: 1 if this is a storage cell of it."""
    accounts: list[Expr] = field(default_factory=list)
    """For each stretch: 1 if this is its account."""
    claims: list[Expr] = field(default_factory=list)
    """For each claim: 1 if it holds that."""
    payers: list[Expr] = field(default_factory=list)
    """For each stretch from the second: 1 if this is the account of the one before, which pays; empty for a reader."""
    opens: Expr
    """1 if it has a leaf."""
    following: Expr
    """nextKey of the leaf after."""
    linked: Expr = 0
    shown: Expr
    gap: list[Expr] = field(default_factory=list)
    index: list[Expr]
    """Bits of the leaf's index."""
    bits: list[Expr]
    """All choices that are no field elements."""


def open_unit(
    b: Builder, role: Role, *, addresses: Sequence[Expr], claimed: Sequence[Expr] = (), hint: UnitHint | None
) -> Unit:
    """The front half of a unit: kind, owner, key, and what leaf and gap say about the key.

    Args:
        addresses: of the accounts that the stretches run for.
        claimed: keys of claims.
        hint: None if unused or while recording.
    """
    kinds = role.kinds
    chosen = flags(b, len(kinds), lambda: kinds.index(hint.kind) if hint and hint.kind is not None else None)
    kind: dict[Kind, Expr] = {k: 0 for k in Kind}
    kind.update(zip(kinds, chosen, strict=True))
    hit, absent, new = kind[Kind.HIT], kind[Kind.ABSENT], kind[Kind.NEW]
    has_key = plus(chosen)
    if len(kinds) > 1:
        b.enforce(has_key, has_key - 1, 0)
    bare: Expr = 0
    if role is not Role.READ:
        bare = b.boolean(lambda: int(hint is not None and hint.index is not None and hint.kind in (None, Kind.ABSENT)))
        b.enforce(bare, hit + new, 0)
    opens = hit + new + bare
    owners = flags(b, len(addresses), lambda: hint.stretch if hint else None)
    # As many owners as it has a key or a leaf, which is one or none.
    b.equal(plus(owners), has_key + bare - (b.mul(bare, absent) if role.seeks else 0))

    leaf = b.choices(4, lambda: hint.leaf if hint else (0, 0, 0, 0))
    index = raw_bits(b, lambda: hint.index or 0 if hint else 0, 2 * TREE_DEPTH)
    shown = raw_bits(b, lambda: hint.shown if hint else 0, SHOWN_BITS)
    b.enforce(from_bits(shown), 1 - opens + new, 0)
    linked: list[Expr] = []
    following = leaf[1]
    if role.writes:
        linked = [b.boolean(lambda: int(hint is not None and hint.linked))]
        (following,) = b.choices(1, lambda: (hint.following if hint else 0,))
        b.enforce(linked[0], 1 - opens, 0)
        b.enforce(new, 1 - linked[0], 0)
        b.enforce(1 - linked[0], following - leaf[1], 0)
    unit = Unit(
        role=role,
        hit=hit,
        absent=absent,
        new=new,
        owners=owners,
        leaf=leaf,
        opens=opens,
        following=following,
        linked=plus(linked),
        shown=from_bits(shown),
        index=index,
        bits=[*chosen, *([bare] if role is not Role.READ else []), *owners, *index, *shown, *linked],
    )
    if kinds:
        _open_cell(b, unit, has_key, addresses, claimed, hint)
    if role.seeks:
        _open_gap(b, unit, hint)
    return unit


def _open_cell(
    b: Builder,
    unit: Unit,
    has_key: Expr,
    addresses: Sequence[Expr],
    claimed: Sequence[Expr],
    hint: UnitHint | None,
) -> None:
    """The key, and what the leaf says about it."""
    own_account = b.boolean(lambda: int(hint is not None and hint.is_account))
    is_payer: Expr = 0
    if unit.role.writes:
        is_payer = b.boolean(lambda: int(hint is not None and hint.is_payer))
        # Who pays has an account.
        b.enforce(is_payer, 1 - unit.hit + own_account, 0)
    unit.is_account = own_account + is_payer
    b.enforce(unit.is_account, 1 - has_key, 0)
    (unit.slot,) = b.choices(1, lambda: (hint.slot if hint else 0,))
    unit.claims = flags(b, len(claimed), lambda: hint.claim if hint else None)
    is_claim = plus(unit.claims)
    if claimed:
        b.enforce(is_claim, is_claim - 1, 0)
        # A claim is a cell, and no other.
        b.enforce(is_claim, 1 - has_key + unit.is_account, 0)
    b.enforce(unit.is_account + is_claim, unit.slot, 0)

    before: Expr = 0
    if unit.role.writes:
        unit.payers = [b.mul(owner, is_payer) for owner in unit.owners[1:]]
        before = select(b, unit.payers, [x - y for x, y in zip(addresses[:-1], addresses[1:], strict=True)])
    address = b.define(select(b, unit.owners, addresses) + before)
    namespace = b.define(1 + unit.is_account)
    (unit.key,) = b.stamp(poseidon(3), [namespace, address, unit.slot])
    if claimed:
        unit.key = b.define(b.mul(1 - is_claim, unit.key) + select(b, unit.claims, claimed))
    b.enforce(unit.hit + unit.new, unit.leaf[0] - unit.key, 0)
    unit.start = (b.mul(unit.hit, unit.leaf[2]), b.mul(unit.hit, unit.leaf[3]))
    unit.cells = [b.mul(owner, has_key - unit.is_account - is_claim) for owner in unit.owners]
    unit.accounts = [b.mul(owner, own_account) for owner in unit.owners]


def _open_gap(b: Builder, unit: Unit, hint: UnitHint | None) -> None:
    """Where the key lies if it is absent."""
    seeks = unit.absent + unit.new
    unit.gap = b.choices(2, lambda: hint.gap if hint else (0, 0))
    # Behind the only leaf of a tree, 0 with no next one, lie all keys.
    alone = b.boolean(lambda: int(hint is not None and hint.kind is not Kind.HIT and hint.gap == (0, 0)))
    for word in unit.gap:
        b.enforce(alone, word, 0)
    b.enforce(alone, 1 - seeks, 0)
    beside = seeks - alone
    low, high = unit.gap
    b.stamp(BETWEEN, [b.mul(beside, unit.key - low - 1), b.mul(beside, high - unit.key - 1)])


def keep_cells_apart(b: Builder, units: Sequence[Unit]) -> None:
    """Constrain storage cells of one stretch to have different keys, where one of them may be absent."""
    seeking = [unit for unit in units if unit.role.seeks]
    for i, one in enumerate(seeking):
        for other in seeking[:i]:
            same = select(b, one.cells, other.cells)
            difference = one.key - other.key

            def inverse(difference: Expr = difference, same: Expr = same) -> int:
                x = value(difference)
                return pow(x, -1, R) if x and value(same) else 0

            b.enforce(difference, b.hint(inverse), same)


def insertion_orders(b: Builder, units: Sequence[Unit], place: int) -> list[Expr]:
    """For each two units that insert, in a fixed order: 1 if the stretch inserts storage at both."""
    inserts = [b.mul(unit.cells[place], unit.new) for unit in units if unit.role is Role.INSERT]
    return [b.mul(inserts[i], inserts[j]) for i, j in ordered_pairs(len(inserts))]


def ordered_pairs(count: int) -> list[tuple[int, int]]:
    """All (i, j) with i < j < count."""
    return [(i, j) for j in range(count) for i in range(j)]


@dataclass(slots=True, kw_only=True)
class CellEnd:
    """A cell after the last step."""

    value: Expr
    type: Expr
    present: Expr
    """1 if the key is present: found, or written with something other than integer zero."""


@dataclass(slots=True, kw_only=True)
class StretchView:
    """What units need to know about one stretch."""

    used: Expr
    credit: Expr
    """What the account's balance grows by, perhaps less than 0."""
    debit: Expr
    """What the balance of the caller's account shrinks by."""
    failed: Expr
    """1 if the stretch's effects are undone."""
    tree_in: Expr
    next_in: Expr


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeHint:
    """Trees of a table."""

    depth: int
    """Of all of them."""
    roots: Sequence[int]
    """For each stretch the root after it."""
    opened: Sequence[bool]
    """For each stretch whether it opens a leaf."""
    nodes: Sequence[NodeHint | None]


@dataclass(slots=True, kw_only=True)
class Trees:
    """What closing the units leaves."""

    after: list[tuple[Expr, Expr]]
    """For each stretch the tree root and nextIndex after its units."""
    words: list[Expr]
    """Field elements, and lists of bits, that must be fixed before z."""
    bits: list[list[Expr]]


def tree_depths(b: Builder, nexts: Sequence[tuple[Expr, Expr]], hint: int | None) -> list[Expr]:
    """The depth of all trees of a table, as one flag for each of `DEPTHS`, from how many leaves each has (SPEC §3.1).

    In a tree that is deeper than it seems a node could pass for a leaf.

    Args:
        nexts: for each entry whether it is used, and nextIndex before it.
    """
    chosen = flags(b, len(DEPTHS), lambda: None if hint is None else DEPTHS.index(hint))
    b.equal(plus(chosen), 1)
    for used, following in nexts:
        # nextIndex - 1 is the last index; the first of a depth are all those below 4^depth of the depth before.
        bits = to_bits(b, b.mul(used, following - 1), 2 * TREE_DEPTH)
        _limit_index(b, bits, chosen)
        for flag, below in zip(chosen[1:], DEPTHS, strict=False):
            large = 1 - is_zero(b, plus(bits[2 * below :]))
            b.enforce(flag, b.mul(used, 1 - large), 0)
    return chosen


def _limit_index(b: Builder, bits: Sequence[Expr], depths: Sequence[Expr]) -> None:
    for flag, depth in zip(depths[:-1], DEPTHS, strict=False):
        b.enforce(flag, plus(bits[2 * depth :]), 0)


def close_units(
    b: Builder,
    links: Links,
    units: Sequence[Unit],
    ends: Sequence[CellEnd],
    stretches: Sequence[StretchView],
    *,
    depths: Sequence[Expr],
    nodes: int,
    hint: TreeHint | None,
) -> Trees:
    """The back half: rewrite leaves, and link them to the roots of their stretches.

    Args:
        units: all units; those that insert do so in this order.
        ends: for each unit that has a key its cell's end.
        depths: of `tree_depths`.
        nodes: units of the node pool.
    """
    count = len(stretches)
    codes = [root_code(e, count) for e in range(count)]
    scale = total((4**depth, flag) for depth, flag in zip(DEPTHS, depths, strict=True))
    nexts = [stretch.next_in for stretch in stretches]
    words: list[Expr] = []
    for unit, end in zip(units, [*ends, *[None] * (len(units) - len(ends))], strict=True):
        owner = total(zip(codes, unit.owners, strict=True))
        _limit_index(b, unit.index, depths)
        index = from_bits(unit.index)
        fixed, before, after = _leaf(b, unit, end, stretches)
        links.take(unit.opens, b.mul(scale, owner) + index, before, after)
        links.give(unit.shown, _SHOWN + owner, unit.leaf[0], unit.leaf[1])
        words.append(after)
        if unit.role.writes:
            links.give(unit.linked - unit.new, _CHAIN + owner, unit.leaf[0], unit.leaf[1])
            links.take(unit.linked, _CHAIN + owner, unit.leaf[0], unit.following)
            words.append(fixed)
        if unit.role.seeks:
            low, high = unit.gap
            links.take(unit.absent + unit.new, _CHAIN + owner + unit.absent * (_SHOWN - _CHAIN), low, high)
            links.give(unit.new, _CHAIN + owner, low, unit.key)
            links.give(unit.new, _CHAIN + owner, unit.key, high)
            words += unit.gap
        if unit.role is Role.INSERT:
            for e, flag in enumerate(unit.owners):
                fills = b.mul(flag, unit.new)
                b.enforce(fills, index - nexts[e], 0)
                nexts[e] = nexts[e] + fills

    roots = b.choices(count, lambda: hint.roots if hint else ())
    opened = b.hints(count, lambda: [int(x) for x in hint.opened] if hint else ())
    for stretch, code, root, opens in zip(stretches, codes, roots, opened, strict=True):
        b.enforce(opens, opens - 1, 0)
        b.enforce(opens, 1 - stretch.used, 0)
        b.enforce(1 - opens, root - stretch.tree_in, 0)
        links.give(opens, code, stretch.tree_in, root)
        words += [b.define(stretch.tree_in), root]
    digests, *bits = node_pool(b, links, batches=count, hints=hint.nodes if hint else [None] * nodes)
    return Trees(
        after=list(zip(roots, nexts, strict=True)),
        words=[*words, *digests],
        bits=[[*depths, *opened], *(unit.bits for unit in units), *bits],
    )


def _leaf(b: Builder, unit: Unit, end: CellEnd | None, stretches: Sequence[StretchView]) -> tuple[Expr, Expr, Expr]:
    """Hash of the leaf's words, and hashes of the leaf before and after; 0 for an empty place.

    The first goes under h: it fixes all words of the leaf before z, also those of a place that was empty. A word that
    could be chosen after z would let a link that is given no times take any share of the sum (`links.py`).
    """
    (fixed,) = b.stamp(poseidon(4), unit.leaf)
    before: Expr = fixed
    if end is None:
        (after,) = b.stamp(poseidon(4), [unit.leaf[0], unit.following, *unit.leaf[2:]])
        return fixed, before, after
    undone = select(b, unit.owners, [stretch.failed for stretch in stretches])
    credit = select(b, unit.accounts, [stretch.credit for stretch in stretches])
    if unit.payers:
        credit = credit - select(b, unit.payers, [stretch.debit for stretch in stretches[1:]])
    last = (end.value + credit, end.type)
    if unit.role.seeks:
        # An absent key stays absent, and no value arrives there, unless all is undone.
        unchanged = b.mul(unit.absent, 1 - undone)
        b.enforce(unchanged, end.present, 0)
        b.enforce(unchanged, credit, 0)
    kept = b.mul(unit.hit, 1 - undone)
    if not unit.role.writes:
        for x, y in zip(last, unit.leaf[2:], strict=True):
            b.enforce(kept, x - y, 0)
        return fixed, before, before
    if unit.role is Role.INSERT:
        # A key is inserted only by a write of something, or by value for an account.
        inserted = b.mul(unit.is_account, 1 - is_zero(b, credit) - end.present)
        b.enforce(unit.new, 1 - end.present - inserted, 0)
        b.enforce(unit.new, undone, 0)
        before = b.mul(1 - unit.new, before)
    stored = [b.mul_add(kept + unit.new, x - y, y) for x, y in zip(last, unit.leaf[2:], strict=True)]
    (after,) = b.stamp(poseidon(4), [unit.leaf[0], unit.following, *stored])
    return fixed, before, after
