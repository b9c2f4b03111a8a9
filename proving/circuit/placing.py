"""The cells that stretches touch, and the tree units that hold them.

API:
    touched(place, piece) -> cells of one stretch;  needs_account(piece), pays(piece)
    allot(shape, cells, pieces) -> for each unit its cell, and which unit opens which leaf
    unit_hints(shape, allotted, leaves, pieces) -> (UnitHint of each unit, TreeHint)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from protocol.constants import ADDRESS_BITS
from protocol.vm.isa import Op
from protocol.vm.state import account_key, storage_key
from protocol.vm.state_tree import Insertion, StateTree
from proving.circuit.climbing import Batch, climb
from proving.circuit.errors import check
from proving.circuit.serving import Access
from proving.circuit.stretch import Opening
from proving.circuit.tiers import Shape
from proving.circuit.tree_unit import SHOWN_BITS, Kind, Role, TreeHint, UnitHint
from proving.circuit.unrolling import Piece

VALUED_OPS: Final = (Op.XCALLV, Op.XTRYV, Op.ICALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One key that one stretch touches."""

    stretch: int
    is_account: bool
    is_payer: bool
    slot: int
    key: int
    kind: Kind
    last: tuple[int, int]
    """v0, v1 in the tree after the stretch; meaningful for HIT and NEW."""
    writes: bool
    claim: int | None = None
    """Number of the claim among all; None for an account or a slot."""


def claimed(stretch: int, first: int, accesses: Sequence[Access], tree: StateTree) -> list[Cell]:
    """Cells of claims.

    Args:
        first: number of the first claim of the place that serves the stretch.
        tree: on which the stretch starts.
    """
    cells = []
    for access in accesses:
        found = tree.open(access.key).found
        cells.append(
            Cell(
                stretch=stretch,
                is_account=False,
                is_payer=False,
                slot=0,
                key=access.key,
                kind=Kind.HIT if found else Kind.ABSENT if access.after is None else Kind.NEW,
                last=access.found if access.after is None else access.after,
                writes=access.after is not None,
                claim=first + access.claim,
            )
        )
    return cells


def touched(place: int, piece: Piece) -> list[Cell]:
    """All cells of a stretch: who pays, the account, storage in the order of its insertions, the others after it."""
    cells = [_account_cell(place, piece, payer=True)] if pays(piece) else []
    if needs_account(piece):
        cells.append(_account_cell(place, piece, payer=False))
    return [*cells, *_storage_cells(place, piece)]


def needs_account(piece: Piece) -> bool:
    """Whether a tree unit shows the account of a stretch: for a fresh frame, and where its balance matters."""
    if piece.deploys:
        return False
    if piece.fresh or piece.returned:
        return True
    steps = piece.stretch.steps
    if any(step.instruction.op == Op.BALANCE for step in steps):
        return True
    last = steps[-1] if steps else None
    return last is not None and last.instruction.op in VALUED_OPS and last.before[last.instruction.rb] > 0


def pays(piece: Piece) -> bool:
    """Whether the account of the stretch before pays for what is called."""
    called = piece.opening in (Opening.INNER, Opening.BODY) and not piece.deploys
    return called and piece.frame.value > 0 and _payer(piece) != piece.frame.address


def _payer(piece: Piece) -> int:
    return piece.frame.caller % (1 << ADDRESS_BITS)


def _account_cell(place: int, piece: Piece, *, payer: bool) -> Cell:
    frame = piece.frame
    key = account_key(_payer(piece) if payer else frame.address)
    before = piece.tree.open(key)
    called = piece.opening in (Opening.INNER, Opening.BODY)
    came = 0 if called and not pays(piece) else frame.value if piece.fresh else piece.returned
    change = -frame.value if payer else came - piece.sent
    kind = Kind.HIT if before.found else Kind.NEW if came and not piece.failed else Kind.ABSENT
    v0, v1 = before.values
    return Cell(
        stretch=place,
        is_account=not payer,
        is_payer=payer,
        slot=0,
        key=key,
        kind=kind,
        last=(v0 + change, v1),
        writes=payer or (not piece.failed and change != 0),
    )


def _storage_cells(place: int, piece: Piece) -> list[Cell]:
    first: dict[int, bool] = {}
    last: dict[int, tuple[int, int]] = {}
    inserted: list[int] = []
    for step in piece.stretch.steps:
        access = step.storage
        if access is None:
            continue
        found = piece.tree.open(access.key).found
        first.setdefault(access.slot, found)
        last[access.slot] = access.new
        if not found and access.slot not in inserted and access.new != (0, 0):
            inserted.append(access.slot)
    cells = []
    for slot in (*inserted, *(slot for slot in first if slot not in inserted)):
        key = storage_key(piece.frame.address, slot)
        changed = slot in inserted or last[slot] != piece.tree.get(key)
        kind = Kind.HIT if first[slot] else Kind.NEW if slot in inserted and not piece.failed else Kind.ABSENT
        cells.append(
            Cell(
                stretch=place,
                is_account=False,
                is_payer=False,
                slot=slot,
                key=key,
                kind=kind,
                last=last[slot],
                writes=not piece.failed and changed,
            )
        )
    return cells


@dataclass(slots=True, kw_only=True)
class _Leaves:
    """Which unit opens which leaf of a stretch, while units are given out."""

    pieces: Sequence[Piece]
    units: dict[tuple[int, int], int] = field(default_factory=dict)
    """(stretch, index) -> unit."""
    shown: Counter[tuple[int, int]] = field(default_factory=Counter)
    """How many absent keys each of them shows its gap to."""
    linked: set[tuple[int, int]] = field(default_factory=set)
    """Those whose link changes: a key is inserted behind them."""

    def below(self, cell: Cell) -> tuple[int, int]:
        """The leaf of the cell's key, or the one before it."""
        return cell.stretch, self.pieces[cell.stretch].tree.open(cell.key).index


def allot(shape: Shape, cells: Sequence[Cell], pieces: Sequence[Piece]) -> tuple[list[Cell | None], _Leaves]:
    """Give each cell a unit, and each leaf that the table opens.

    Insertions of one stretch keep their order. A leaf that an absent key lies behind is opened by whatever unit needs
    it otherwise, or by the absent key's own.

    Raises:
        TierExceeded: TIER_WRITES, TIER_READS.
    """
    roles = shape.roles
    units: list[Cell | None] = [None] * len(roles)
    leaves = _Leaves(pieces=pieces)
    free = {role: [i for i, r in enumerate(roles) if r is role] for role in Role}

    def take(what: str, reason: str, order: Sequence[Role], count: int) -> list[int]:
        check(reason, what, count, sum(len(free[role]) for role in order))
        return [free[next(role for role in order if free[role])].pop(0) for _ in range(count)]

    def place(what: str, reason: str, group: Sequence[Cell], order: Sequence[Role]) -> None:
        for cell, unit in zip(group, take(what, reason, order, len(group)), strict=True):
            units[unit] = cell
            if cell.kind is Kind.HIT:
                leaves.units[leaves.below(cell)] = unit

    new = [cell for cell in cells if cell.kind is Kind.NEW]
    leaves.linked = {leaves.below(cell) for cell in new}
    present = [cell for cell in cells if cell.kind is Kind.HIT]
    changed = [cell for cell in present if cell.writes or leaves.below(cell) in leaves.linked]
    absent = [cell for cell in cells if cell.kind is Kind.ABSENT]
    place("insertions", "TIER_WRITES", new, (Role.INSERT,))
    place("leaves that change, beside insertions", "TIER_WRITES", changed, (Role.UPDATE, Role.INSERT))
    place("reads of absent keys beside the writes", "TIER_READS", absent, (Role.SEEK, Role.INSERT))
    others = [cell for cell in present if cell not in changed]
    order: tuple[Role, ...] = (Role.READ, Role.SEEK, Role.UPDATE, Role.INSERT)
    place("reads of present keys beside all else", "TIER_READS", others, order)

    for number, cell in enumerate(units):
        if cell is None or cell.kind is not Kind.ABSENT:
            continue
        leaf = leaves.below(cell)
        if leaf not in leaves.units and (leaf not in leaves.linked or roles[number].writes):
            leaves.units[leaf] = number
    rest = sorted(leaves.linked - leaves.units.keys())
    order = (Role.LINK, Role.UPDATE, Role.INSERT)
    what = "leaves before inserted keys, beside all else"
    leaves.units.update(zip(rest, take(what, "TIER_WRITES", order, len(rest)), strict=True))
    leaves.shown.update(leaves.below(cell) for cell in absent)
    check("TIER_READS", "absent keys behind one leaf", max(leaves.shown.values(), default=0), (1 << SHOWN_BITS) - 1)
    return units, leaves


def unit_hints(
    shape: Shape, allotted: Sequence[Cell | None], leaves: _Leaves, pieces: Sequence[Piece]
) -> tuple[list[UnitHint | None], TreeHint]:
    """What each unit holds, and how its leaf is linked to the roots.

    Raises:
        TierExceeded: TIER_DEPTH, TIER_NODES.
    """
    depth = pieces[0].tree.depth
    after: list[StateTree] = []
    gaps: dict[int, Insertion] = {}
    for at, piece in enumerate(pieces):
        tree = piece.tree
        for number, cell in enumerate(allotted):
            if cell is None or cell.stretch != at or piece.failed:
                continue
            if cell.kind is Kind.NEW:
                tree, gaps[number] = tree.insert(cell.key, *cell.last)
            elif cell.kind is Kind.HIT and cell.writes:
                tree, _ = tree.update(cell.key, *cell.last)
        check("TIER_DEPTH", "depths of the tree", len({depth, piece.tree.depth, tree.depth}), 1)
        after.append(tree)

    opened: dict[int, tuple[int, int]] = {unit: leaf for leaf, unit in leaves.units.items()}
    opened |= {number: (_stretch(allotted[number]), insertion.new.index) for number, insertion in gaps.items()}
    hints: list[UnitHint | None] = []
    for number, cell in enumerate(allotted):
        hint = None if cell is None else _cell_hint(cell, pieces, gaps.get(number))
        if number in opened:
            stretch, index = opened[number]
            last = after[stretch].leaf(index)
            is_new = number in gaps
            first = last if is_new else pieces[stretch].tree.leaf(index)
            leaf = (first.key, first.next_key, 0, 0) if is_new else (first.key, first.next_key, first.v0, first.v1)
            hint = replace(
                hint or UnitHint(kind=None, stretch=stretch),
                index=index,
                leaf=leaf,
                following=last.next_key,
                linked=is_new or opened[number] in leaves.linked,
                shown=leaves.shown[opened[number]],
            )
        hints.append(hint)

    batches = [
        Batch(before=piece.tree, after=tree, leaves={index for stretch, index in opened.values() if stretch == at})
        for at, (piece, tree) in enumerate(zip(pieces, after, strict=True))
    ]
    unused = shape.stretches - len(pieces)
    return hints, TreeHint(
        depth=depth,
        roots=[*(tree.root for tree in after), *[0] * unused],
        opened=[*(bool(batch.leaves) for batch in batches), *[False] * unused],
        nodes=climb(batches, depth, numbers=shape.stretches, available=shape.nodes),
    )


def _stretch(cell: Cell | None) -> int:
    assert cell is not None
    return cell.stretch


def _cell_hint(cell: Cell, pieces: Sequence[Piece], insertion: Insertion | None) -> UnitHint:
    gap = (0, 0)
    if insertion is not None:
        assert insertion.low.old is not None
        gap = insertion.low.old.key, insertion.low.old.next_key
    elif cell.kind is Kind.ABSENT:
        before = pieces[cell.stretch].tree.open(cell.key).leaf
        gap = before.key, before.next_key
    return UnitHint(
        kind=cell.kind,
        stretch=cell.stretch,
        is_account=cell.is_account,
        is_payer=cell.is_payer,
        slot=cell.slot,
        gap=gap,
        claim=cell.claim,
    )
