"""Tree units: the places of a circuit at which leaves of the state tree are opened, and in some rewritten.

A *cell* is one key that one stretch touches: a storage slot, the account of its frame, or the account that pays for it.
A reading unit opens one leaf. Writing units come in pairs; each can replace one leaf, and a pair can insert one. Kinds
of a unit:

- HIT     the key is present: the leaf holds it. A writing unit puts the cell's last value there.
- ABSENT  the key is absent: the leaf is the one before it. Nothing changes.
- LOW     first of a pair: the key is absent and is inserted; the leaf before it gets the key as its `nextKey`.
- NEW     second of that pair: an empty place at `nextIndex` gets the new leaf. It is not a cell.
- unused  belongs to no stretch and says nothing.

Storage cells of one stretch must have different keys: with one key under two cells a program could read a value that it
has overwritten. A caller that calls itself pays nothing, so that no account has two cells that write.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import partial
from typing import Final

from protocol.constants import FIELD_ORDER as R
from proving.circuit.bits import flags, is_zero, select
from proving.circuit.builder import Builder, Expr, plus, value
from proving.circuit.compare import BETWEEN
from proving.circuit.merkle import PathHint, climb
from proving.circuit.poseidon import poseidon


class Kind(IntEnum):
    """What a unit does."""

    HIT = 0
    ABSENT = 1
    LOW = 2
    NEW = 3


class Role(IntEnum):
    """Where a unit stands."""

    READ = 0
    FIRST = 1
    """First of a writing pair."""
    SECOND = 2


KINDS: Final = {
    Role.READ: (Kind.HIT, Kind.ABSENT),
    Role.FIRST: (Kind.HIT, Kind.ABSENT, Kind.LOW),
    Role.SECOND: (Kind.HIT, Kind.NEW),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitHint:
    """What a used unit holds."""

    kind: Kind
    stretch: int
    """That it serves."""
    is_account: bool
    is_payer: bool
    """Whether it is the account of the stretch, or that of its caller."""
    slot: int
    """Storage slot; 0 for an account."""
    leaf: tuple[int, int, int, int]
    """key, nextKey, v0, v1 of the leaf before; of the new leaf for NEW."""
    claim: int | None = None
    """Number of the claim that it holds (`claims.py`)."""


@dataclass(slots=True, kw_only=True)
class Unit:
    """Wires of one unit that the rest of the circuit meets."""

    role: Role
    hit: Expr
    absent: Expr
    low: Expr
    new: Expr
    is_account: Expr
    """1 for an account of either kind."""
    owners: list[Expr]
    """One flag for each stretch."""
    slot: Expr
    key: Expr
    leaf: list[Expr]
    start: tuple[Expr, Expr]
    """Value and type (for an account: packed balance, code hash) that the stretch finds; zeros if absent."""
    cells: list[Expr]
    """For each stretch: 1 if this is a storage cell of it."""
    accounts: list[Expr]
    """For each stretch: 1 if this is its account."""
    claims: list[Expr]
    """For each claim: 1 if it holds that."""
    payers: list[Expr]
    """For each stretch from the second: 1 if this is the account of the one before, which pays; empty for a reader."""


def open_unit(
    b: Builder, role: Role, *, addresses: Sequence[Expr], claimed: Sequence[Expr] = (), hint: UnitHint | None
) -> Unit:
    """The front half of a unit: kind, owner, key, and what the leaf says about the key.

    Args:
        addresses: of the accounts that the stretches run for.
        claimed: keys of claims.
        hint: None if unused or while recording.
    """
    kinds = KINDS[role]
    chosen = flags(b, len(kinds), lambda: kinds.index(hint.kind) if hint else None)
    kind: dict[Kind, Expr] = {k: 0 for k in Kind}
    kind.update(zip(kinds, chosen, strict=True))
    own_account = b.boolean(lambda: int(hint is not None and hint.is_account))
    is_payer: Expr = 0
    if role is not Role.READ:
        is_payer = b.boolean(lambda: int(hint is not None and hint.is_payer))
        # Who pays has an account.
        b.enforce(is_payer, 1 - kind[Kind.HIT] + own_account, 0)
    is_account = own_account + is_payer
    owners = flags(b, len(addresses), lambda: hint.stretch if hint else None)
    # At most one kind, exactly as many owners.
    used = plus(chosen)
    b.enforce(used, used - 1, 0)
    b.equal(plus(owners), used)
    has_key = kind[Kind.HIT] + kind[Kind.ABSENT] + kind[Kind.LOW]
    b.enforce(is_account, 1 - has_key, 0)
    (slot,) = b.choices(1, lambda: (hint.slot if hint else 0,))
    claims = flags(b, len(claimed), lambda: hint.claim if hint else None)
    is_claim = plus(claims)
    if claims:
        b.enforce(is_claim, is_claim - 1, 0)
        # A claim is a cell, and no other.
        b.enforce(is_claim, 1 - has_key + is_account, 0)
    b.enforce(is_account + is_claim, slot, 0)

    payers = [b.mul(owner, is_payer) for owner in owners[1:]] if role is not Role.READ else []
    before = select(b, payers, [x - y for x, y in zip(addresses[:-1], addresses[1:], strict=True)]) if payers else 0
    address = b.define(select(b, owners, addresses) + before)
    namespace = b.define(1 + is_account)
    (key,) = b.stamp(poseidon(3), [namespace, address, slot])
    if claims:
        key = b.define(b.mul(1 - is_claim, key) + select(b, claims, claimed))
    leaf = b.choices(4, lambda: hint.leaf if hint else (0, 0, 0, 0))
    b.enforce(kind[Kind.HIT], leaf[0] - key, 0)
    if role is not Role.SECOND:
        # Behind the only leaf of a tree, 0 with no next one, lie all keys.
        alone = b.boolean(lambda: int(hint is not None and hint.leaf[:2] == (0, 0) and hint.kind is not Kind.HIT))
        for word in leaf[:2]:
            b.enforce(alone, word, 0)
        absent = kind[Kind.ABSENT] + kind[Kind.LOW]
        b.enforce(alone, 1 - absent, 0)
        beside = absent - alone
        b.stamp(BETWEEN, [b.mul(beside, key - leaf[0] - 1), b.mul(beside, leaf[1] - key - 1)])
    return Unit(
        role=role,
        hit=kind[Kind.HIT],
        absent=kind[Kind.ABSENT],
        low=kind[Kind.LOW],
        new=kind[Kind.NEW],
        is_account=is_account,
        owners=owners,
        slot=slot,
        key=key,
        leaf=leaf,
        start=(b.mul(kind[Kind.HIT], leaf[2]), b.mul(kind[Kind.HIT], leaf[3])),
        cells=[b.mul(owner, has_key - is_account - is_claim) for owner in owners],
        claims=claims,
        accounts=[b.mul(owner, own_account) for owner in owners],
        payers=payers,
    )


def keep_cells_apart(b: Builder, units: Sequence[Unit]) -> None:
    """Constrain storage cells of one stretch to have different keys."""
    for i, one in enumerate(units):
        for other in units[:i]:
            same = select(b, one.cells, other.cells)
            difference = one.key - other.key

            def inverse(difference: Expr = difference, same: Expr = same) -> int:
                x = value(difference)
                return pow(x, -1, R) if x and value(same) else 0

            b.enforce(difference, b.hint(inverse), same)


def insertion_orders(b: Builder, units: Sequence[Unit], place: int) -> list[Expr]:
    """For each two first units, in a fixed order: 1 if the stretch inserts storage at both."""
    first = [unit for unit in units if unit.role is Role.FIRST]
    inserts = [b.mul(unit.cells[place], unit.low) for unit in first]
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
    """Paths of a table."""

    paths: Sequence[PathHint]
    """For each unit, used or not, from its leaf to the block's root."""
    block: PathHint
    """From the block's root to the tree's root, before the first stretch."""
    blocks_in: Sequence[int]
    """For each stretch the block's root before it."""
    versions: Sequence[int | None]
    """For each stretch the version of the tree it starts from: 0 is the first one's, i + 1 what stretch i left."""


def _version(hint: TreeHint | None, stretch: int) -> int | None:
    return hint.versions[stretch] if hint else None


def close_units(
    b: Builder,
    units: Sequence[Unit],
    ends: Sequence[CellEnd],
    stretches: Sequence[StretchView],
    *,
    block_levels: int,
    tree_levels: int,
    hint: TreeHint | None,
) -> list[tuple[Expr, Expr]]:
    """The back half: rewrite leaves, chain the roots of the block, and climb to the roots of the tree.

    Args:
        units: all units; writing pairs act in this order.
        ends: for each unit its cell's end.

    Returns:
        For each stretch the tree root and nextIndex after its units.
    """
    blocks_in = b.choices(len(stretches), lambda: hint.blocks_in if hint else ())
    blocks, nexts = list(blocks_in), [stretch.next_in for stretch in stretches]
    places: list[tuple[Expr, Expr, Expr]] = []
    for i, (unit, end) in enumerate(zip(units, ends, strict=True)):
        path = hint.paths[i] if hint else None
        undone = select(b, unit.owners, [stretch.failed for stretch in stretches])
        credit = select(b, unit.accounts, [stretch.credit for stretch in stretches])
        if unit.payers:
            credit = credit - select(b, unit.payers, [stretch.debit for stretch in stretches[1:]])
        last = (end.value + credit, end.type)
        if unit.role is not Role.SECOND:
            # An absent key stays absent, and no value arrives there, unless all is undone.
            unchanged = b.mul(unit.absent, 1 - undone)
            b.enforce(unchanged, end.present, 0)
            b.enforce(unchanged, credit, 0)
        (before,) = b.stamp(poseidon(4), unit.leaf)
        if unit.role is Role.READ:
            kept = b.mul(unit.hit, 1 - undone)
            b.enforce(kept, last[0] - unit.leaf[2], 0)
            b.enforce(kept, last[1] - unit.leaf[3], 0)
            root, _ = b.stamp(climb(1, block_levels), [before], path)
            for owner, block in zip(unit.owners, blocks_in, strict=True):
                b.enforce(owner, root - block, 0)
            continue
        old, link = before, unit.leaf[1]
        if unit.role is Role.FIRST:
            # A key is inserted only by a write of something, or by value for an account.
            credited = 1 - is_zero(b, credit)
            inserted = b.mul(unit.is_account, credited - end.present)
            b.enforce(unit.low, b.mul(1 - end.present - inserted, 1 - undone), 0)
            link = b.mul_add(unit.low, unit.key - unit.leaf[1], unit.leaf[1])
            first, written = unit, last
        else:
            b.equal(unit.new, first.low)
            for owner, other in zip(unit.owners, first.owners, strict=True):
                b.enforce(unit.new, owner - other, 0)
            for content, wanted in zip(unit.leaf, (first.key, first.leaf[1], *written), strict=True):
                b.enforce(unit.new, content - wanted, 0)
            old = b.mul(1 - unit.new, before)
        stored = [b.mul_add(unit.hit, x - y, y) for x, y in zip(last, unit.leaf[2:], strict=True)]
        after = b.stamp(poseidon(4), [unit.leaf[0], link, *stored])
        root, new_root, index = b.stamp(climb(2, block_levels), [old, *after], path)
        for e, owner in enumerate(unit.owners):
            b.enforce(owner, root - blocks[e], 0)
            if unit.role is Role.SECOND:
                fills = b.mul(owner, unit.new)
                places.append((fills, index, nexts[e]))
                nexts[e] = nexts[e] + fills
            blocks[e] = b.mul_add(owner, new_root - blocks[e], blocks[e])

    versions = [blocks_in[0], *blocks]
    above = climb(len(versions), tree_levels - block_levels)
    *trees, block = b.stamp(above, versions, hint.block if hint else None)
    for fills, index, following in places:
        b.enforce(fills, block * 4**block_levels + index - following, 0)
    b.equal(trees[0], stretches[0].tree_in)
    for e in range(1, len(stretches)):
        # A stretch starts from the tree that the table starts from, or that an earlier stretch made.
        version = flags(b, e + 1, partial(_version, hint, e))
        b.equal(plus(version), stretches[e].used)
        for k, flag in enumerate(version):
            b.enforce(flag, stretches[e].tree_in - trees[k], 0)
            b.enforce(flag, blocks_in[e] - versions[k], 0)
    return list(zip(trees[1:], nexts, strict=True))
