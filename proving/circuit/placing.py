"""The cells that stretches touch, and the tree units that hold them.

API:
    touched(place, piece) -> cells of one stretch;  needs_account(piece), pays(piece)
    allot(shape, cells) -> for each unit its cell
    unit_hints(shape, allotted, pieces) -> (UnitHint of each unit, TreeHint)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Final

from protocol.constants import ADDRESS_BITS, MIN_TREE_DEPTH
from protocol.vm.isa import Op
from protocol.vm.poseidon import P
from protocol.vm.state import account_key, storage_key
from protocol.vm.state_tree import Leaf, StateTree
from proving.circuit.errors import check
from proving.circuit.merkle import PathHint
from proving.circuit.serving import Access
from proving.circuit.stretch import Opening
from proving.circuit.tiers import Shape
from proving.circuit.tree_unit import Kind, Role, TreeHint, UnitHint
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
    """HIT, ABSENT or LOW (an insertion)."""
    last: tuple[int, int]
    """v0, v1 in the tree after the stretch; meaningful for HIT and LOW."""
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
                kind=Kind.HIT if found else Kind.ABSENT if access.after is None else Kind.LOW,
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
    kind = Kind.HIT if before.found else Kind.LOW if came else Kind.ABSENT
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
        kind = Kind.HIT if first[slot] else Kind.LOW if slot in inserted and not piece.failed else Kind.ABSENT
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


def path_of(tree: StateTree, index: int, levels: range) -> PathHint:
    """The way from the node above a leaf at the first level to the root behind the last."""
    siblings, children = tree.siblings(index), []
    for level in levels:
        digit = index >> 2 * level & 3
        own = tree.node_hash(level, index >> 2 * level)
        children.append((*siblings[level][:digit], own, *siblings[level][digit:]))
    return PathHint(index=(index >> 2 * levels.start) % 4 ** len(levels), children=children)


@cache
def _idle_path(levels: int) -> PathHint:
    """A path for unused units: an all-zero leaf alone."""
    node, children = P(4, (0, 0, 0, 0)), []
    for _ in range(levels):
        children.append((node, 0, 0, 0))
        node = P(4, children[-1])
    return PathHint(index=0, children=children)


def _content(leaf: Leaf) -> tuple[int, int, int, int]:
    return leaf.key, leaf.next_key, leaf.v0, leaf.v1


def allot(shape: Shape, cells: Sequence[Cell]) -> list[Cell | None]:
    """Give each cell a unit. An insertion takes a pair: it stands at the first, None at the second.

    Insertions of one stretch keep their order. Absent keys fit first and reading units only, so they choose before
    present ones, and rewrites prefer second units.
    """
    roles = shape.roles
    units: list[Cell | None] = [None] * len(roles)
    insertions = [cell for cell in cells if cell.writes and cell.kind is Kind.LOW]
    rewrites = [cell for cell in cells if cell.writes and cell.kind is Kind.HIT]
    absent = [cell for cell in cells if not cell.writes and cell.kind is Kind.ABSENT]
    present = [cell for cell in cells if not cell.writes and cell.kind is Kind.HIT]
    needed = 2 * len(insertions) + len(rewrites)
    check("TIER_WRITES", "tree updates (an insertion is two)", needed, 2 * shape.pairs)
    for pair, cell in enumerate(insertions):
        units[2 * pair] = cell
    free = {
        role: [i for i, r in enumerate(roles) if r is role and (i >= 2 * len(insertions) or r is Role.READ)]
        for role in Role
    }

    def place(what: str, group: Sequence[Cell], order: Sequence[Role]) -> None:
        check("TIER_READS", what, len(group), sum(len(free[role]) for role in order))
        for cell in group:
            role = next(role for role in order if free[role])
            units[free[role].pop(0)] = cell

    place("rewrites", rewrites, (Role.SECOND, Role.FIRST))
    place("reads of absent keys beside the writes", absent, (Role.READ, Role.FIRST))
    place("reads of present keys beside all else", present, (Role.READ, Role.SECOND, Role.FIRST))
    return units


def unit_hints(
    shape: Shape, allotted: Sequence[Cell | None], pieces: Sequence[Piece]
) -> tuple[list[UnitHint | None], TreeHint]:
    trees = [piece.tree for piece in pieces]
    hints: list[UnitHint | None] = []
    paths: list[PathHint] = []
    leaves: list[int] = []
    low_levels, high_levels = range(shape.block_levels), range(shape.block_levels, MIN_TREE_DEPTH)

    def put(hint: UnitHint, tree: StateTree, index: int) -> None:
        hints.append(hint)
        paths.append(path_of(tree, index, low_levels))
        leaves.append(index)

    for number, cell in enumerate(allotted):
        if len(hints) > number:
            continue  # the second half of an insertion
        if cell is None:
            hints.append(None)
            paths.append(_idle_path(shape.block_levels))
            continue
        reads = shape.roles[number] is Role.READ
        tree = pieces[cell.stretch].tree if reads else trees[cell.stretch]
        opening = tree.open(cell.key)
        hint = UnitHint(
            kind=cell.kind,
            stretch=cell.stretch,
            is_account=cell.is_account,
            is_payer=cell.is_payer,
            slot=cell.slot,
            leaf=_content(opening.leaf),
            claim=cell.claim,
        )
        put(hint, tree, opening.index)
        if reads or cell.kind is Kind.ABSENT:
            continue
        if cell.kind is Kind.HIT:
            # Also where nothing is kept: a writing unit always puts the cell's last value there.
            trees[cell.stretch], _ = tree.update(cell.key, *cell.last)
            continue
        trees[cell.stretch], insertion = tree.insert(cell.key, *cell.last)
        check_depth(trees[cell.stretch])
        new = insertion.new
        fill = replace(
            hint, kind=Kind.NEW, is_account=False, is_payer=False, slot=0, leaf=_content(new.new), claim=None
        )
        put(fill, new.before, new.index)

    blocks = {leaf >> 2 * shape.block_levels for leaf in leaves} or {0}
    check("TIER_BLOCK", f"blocks of {4**shape.block_levels} leaves", len(blocks), 1)
    (block,) = blocks

    def block_root(tree: StateTree) -> int:
        return tree.node_hash(shape.block_levels, block)

    # Each stretch starts from the first tree or from what an earlier one made of its own.
    made = [pieces[0].tree.root, *(tree.root for tree in trees)]
    versions: list[int | None] = [made.index(piece.tree.root) for piece in pieces]
    unused = shape.stretches - len(pieces)
    start = block_root(pieces[0].tree)
    return hints, TreeHint(
        paths=paths,
        block=path_of(pieces[0].tree, block << 2 * shape.block_levels, high_levels),
        blocks_in=[*(block_root(piece.tree) for piece in pieces), *[start] * unused],
        versions=[*versions, *[None] * unused],
    )


def check_depth(tree: StateTree) -> None:
    """Require a tree that is no deeper than the tier's.

    Raises:
        TierExceeded: TIER_DEPTH.
    """
    check("TIER_DEPTH", "levels of the tree", tree.depth, MIN_TREE_DEPTH)
