"""Tree units: the places of a circuit at which leaves of the state tree are opened, and in some rewritten.

A *cell* is one key that one entry touches: a storage slot, or the account that a CALL goes to. Reading units open one
leaf; writing units replace one leaf. Kinds of a unit:

- HIT   the key is present: the leaf holds it. A writing unit puts the cell's last value there.
- ABSENT  the key is absent: the leaf is the one before it. Nothing changes.
- LOW   the key is absent and is inserted: the leaf before it gets the key as its `nextKey`. The next unit must be
- NEW   the second half of an insertion: an empty place at `nextIndex` gets the new leaf. It is not a cell.
- unused  belongs to no entry and says nothing.

Cells of one entry must have different keys: with one key under two cells a program could read a value that it has
overwritten.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from protocol.constants import FIELD_ORDER as MODULUS
from proving.circuit.bits import flags, is_zero
from proving.circuit.builder import Builder, Expr, plus, value
from proving.circuit.compare import BETWEEN
from proving.circuit.merkle import OPEN_PATH, UPDATE_PATH, PathHint
from proving.circuit.poseidon import poseidon


class Kind(IntEnum):
    """What a unit does."""

    HIT = 0
    ABSENT = 1
    LOW = 2
    NEW = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitHint:
    """What a used unit holds."""

    kind: Kind
    entry: int
    """Place of the entry that it serves."""
    is_account: bool
    slot: int
    """Storage slot; 0 for an account."""
    leaf: tuple[int, int, int, int]
    """key, nextKey, v0, v1 of the leaf before; of the new leaf for NEW."""
    path: PathHint
    """Of the leaf, in the tree on which the unit acts."""


@dataclass(slots=True, kw_only=True)
class EntryView:
    """What units need to know about one entry."""

    address: Expr
    credit: Expr
    """Value that a CALL brings to the account."""
    failed: Expr
    """1 if the entry's effects are undone."""
    tree_in: Expr
    next_in: Expr


@dataclass(slots=True, kw_only=True)
class Unit:
    """Wires of one unit that the rest of the circuit meets."""

    number: int
    writes: bool
    hit: Expr
    absent: Expr
    low: Expr
    new: Expr
    is_account: Expr
    owners: list[Expr]
    """One flag for each entry."""
    slot: Expr
    key: Expr
    leaf: list[Expr]
    start: tuple[Expr, Expr]
    """Value and type (for an account: packed balance, code hash) that the entry finds; zeros if absent."""
    cells: list[Expr]
    """For each entry: 1 if this is a storage cell of it."""
    accounts: list[Expr]
    """For each entry: 1 if this is its account."""


def open_unit(b: Builder, number: int, *, writes: bool, addresses: Sequence[Expr], hint: UnitHint | None) -> Unit:
    """The front half of a unit: kind, owner, key, and what the leaf says about the key.

    Args:
        addresses: of the accounts that the entries run for.
        hint: None if unused or while recording.
    """
    kind = hint.kind if hint else None
    kinds = flags(b, 4 if writes else 2, lambda: kind)
    hit, absent = kinds[0], kinds[1]
    low, new = (kinds[2], kinds[3]) if writes else (0, 0)
    is_account = b.boolean(lambda: int(hint is not None and hint.is_account))
    owners = flags(b, len(addresses), lambda: hint.entry if hint else None)
    # At most one kind, exactly as many owners.
    used = plus(kinds)
    b.enforce(used, used - 1, 0)
    b.equal(plus(owners), used)
    has_key = hit + absent + low
    b.enforce(is_account, 1 - has_key, 0)
    slot = b.hint(lambda: hint.slot if hint else 0)
    b.enforce(is_account, slot, 0)

    address = b.define(plus(b.mul(owner, x) for owner, x in zip(owners, addresses, strict=True)))
    namespace = b.define(1 + is_account)
    (key,) = b.stamp(poseidon(3), [namespace, address, slot])
    leaf = b.hints(4, lambda: hint.leaf if hint else (0, 0, 0, 0))
    b.enforce(hit, leaf[0] - key, 0)
    before = b.mul(absent + low, key - leaf[0] - 1)
    after = b.mul(absent + low, leaf[1] - key - 1)
    b.stamp(BETWEEN, [before, after])
    start = (b.mul(hit, leaf[2]), b.mul(hit, leaf[3]))
    return Unit(
        number=number,
        writes=writes,
        hit=hit,
        absent=absent,
        low=low,
        new=new,
        is_account=is_account,
        owners=owners,
        slot=slot,
        key=key,
        leaf=leaf,
        start=start,
        cells=[b.mul(owner, has_key - is_account) for owner in owners],
        accounts=[b.mul(owner, is_account) for owner in owners],
    )


def keep_cells_apart(b: Builder, units: Sequence[Unit]) -> None:
    """Constrain storage cells of one entry to have different keys."""
    for i, one in enumerate(units):
        for other in units[:i]:
            same = plus(b.mul(x, y) for x, y in zip(one.cells, other.cells, strict=True))
            difference = one.key - other.key

            def inverse(difference: Expr = difference, same: Expr = same) -> int:
                x = value(difference)
                return pow(x, -1, MODULUS) if x and value(same) else 0

            b.enforce(difference, b.hint(inverse), same)


@dataclass(slots=True, kw_only=True)
class CellEnd:
    """A cell after the last step."""

    value: Expr
    type: Expr
    present: Expr
    """1 if the key is present: found, or written with something other than integer zero."""


def close_units(
    b: Builder,
    units: Sequence[Unit],
    ends: Sequence[CellEnd],
    entries: Sequence[EntryView],
    paths: Sequence[PathHint | None],
) -> list[tuple[Expr, Expr]]:
    """The back half: rewrite leaves and chain roots.

    Args:
        units: all units, writing units first among themselves in the order in which they act.
        ends: for each unit its cell's end.
        paths: for each unit the hint of its path.

    Returns:
        For each entry the tree root and nextIndex after its units.
    """
    trees = [entry.tree_in for entry in entries]
    nexts = [entry.next_in for entry in entries]
    previous: Unit | None = None
    written: tuple[Expr, Expr] = (0, 0)
    writing = [unit for unit in units if unit.writes]
    for unit, end, path in zip(units, ends, paths, strict=True):
        undone = plus(b.mul(owner, entry.failed) for owner, entry in zip(unit.owners, entries, strict=True))
        credit = plus(b.mul(account, entry.credit) for account, entry in zip(unit.accounts, entries, strict=True))
        last = (end.value + credit, end.type)
        # An absent key stays absent, and no value arrives there, unless all is undone.
        unchanged = b.mul(unit.absent, 1 - undone)
        b.enforce(unchanged, end.present, 0)
        b.enforce(unchanged, credit, 0)
        (before,) = b.stamp(poseidon(4), unit.leaf)
        if not unit.writes:
            kept = b.mul(unit.hit, 1 - undone)
            b.enforce(kept, last[0] - unit.leaf[2], 0)
            b.enforce(kept, last[1] - unit.leaf[3], 0)
            root, _ = b.stamp(OPEN_PATH, [before], path)
            for owner, entry in zip(unit.owners, entries, strict=True):
                b.enforce(owner, root - entry.tree_in, 0)
            continue
        # A key is inserted only by a write of something, or by value for an account.
        credited = 1 - is_zero(b, credit)
        inserted = b.mul(unit.is_account, credited - end.present)
        b.enforce(unit.low, b.mul(1 - end.present - inserted, 1 - undone), 0)
        if previous is None:
            b.equal(unit.new, 0)
        else:
            b.equal(unit.new, previous.low)
            for owner, other in zip(unit.owners, previous.owners, strict=True):
                b.enforce(unit.new, owner - other, 0)
            for content, wanted in zip(unit.leaf, (previous.key, previous.leaf[1], *written), strict=True):
                b.enforce(unit.new, content - wanted, 0)
        if unit is writing[-1]:
            b.equal(unit.low, 0)
        after = [
            unit.leaf[0],
            b.mul_add(unit.low, unit.key - unit.leaf[1], unit.leaf[1]),
            b.mul_add(unit.hit, last[0] - unit.leaf[2], unit.leaf[2]),
            b.mul_add(unit.hit, last[1] - unit.leaf[3], unit.leaf[3]),
        ]
        old = b.mul(1 - unit.new, before)
        root, new_root, index = b.stamp(UPDATE_PATH, [old, *b.stamp(poseidon(4), after)], path)
        for e, owner in enumerate(unit.owners):
            b.enforce(owner, root - trees[e], 0)
            fills = b.mul(owner, unit.new)
            b.enforce(fills, index - nexts[e], 0)
            nexts[e] = nexts[e] + fills
            trees[e] = b.mul_add(owner, new_root - trees[e], trees[e])
        previous, written = unit, last
    return list(zip(trees, nexts, strict=True))
