"""From a core and a rollup's state to the free choices of a witness: execute the own entries, place what they touch.

API:
    execute(core, rollup_id, state) -> runs            the reference machine on every own entry, compared with the core
    plan(shape, core, rollup_id, runs) -> Hints        raises TierExceeded
    fits(shape, core, rollup_id, runs) -> None or TierExceeded
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

from protocol.actions import ActionKind
from protocol.constants import MIN_TREE_DEPTH, NONE
from protocol.errors import RuleError
from protocol.statement import own_entries, words
from protocol.table import Core
from protocol.types import RollupId
from protocol.vm.execution import Outcome
from protocol.vm.frames import sent_value
from protocol.vm.isa import Op, Program
from protocol.vm.machine import EntryRun, run_entry
from protocol.vm.poseidon import P
from protocol.vm.state import VmState, Waits, account_key, frames_hash, storage_key
from protocol.vm.state_tree import Leaf, StateTree
from proving.circuit.entry import EntryHint
from proving.circuit.errors import ClaimMismatch, TierExceeded
from proving.circuit.list_hash import CHUNK
from proving.circuit.merkle import PathHint
from proving.circuit.operations import CODES, GROUP_OF, GROUPS
from proving.circuit.table_vm import Hints
from proving.circuit.tiers import Shape
from proving.circuit.tree_unit import Kind, Role, TreeHint, UnitHint

_UNPROVEN = (Outcome.UNFUNDED, Outcome.DEPLOYED, Outcome.REFUSED, Outcome.UNDONE, Outcome.SKIP)
_BALANCES = (Op.BALANCE, Op.XCALLV, Op.XTRYV)
_WORD_READS = (Op.ARGHI, Op.ARGLO, Op.RETHI, Op.RETLO, Op.OUT)


def execute(core: Core, rollup_id: int, state: VmState) -> tuple[EntryRun, ...]:
    """Run every own entry of a rollup.

    Args:
        core: decoded and checked.
        state: the rollup at the header's pre-root, whole or partial.

    Raises:
        ClaimMismatch: PRE_ROOT, NEW_ROOT, MID, NEXT_ACTION.
        StateError: an entry is not provable, or the state lacks a node.
    """
    member = core.member(RollupId(rollup_id))
    states = {state.root: state}
    by_index: dict[int, EntryRun] = {}
    for index in own_entries(core, rollup_id):
        entry = core.entries[index]
        pre = states.get(core.roots_before(index)[member])
        if pre is None:
            raise ClaimMismatch("PRE_ROOT", index)
        run = run_entry(
            pre,
            rollup_id=rollup_id,
            l2_time=core.l2_time,
            trigger=entry.trigger,
            fee_recipient=core.fee_recipient,
            unwound=None if entry.revert_of == NONE else by_index[entry.revert_of].unwound,
            trace=True,
        )
        if run.next_action != entry.next_action:
            raise ClaimMismatch("NEXT_ACTION", index)
        if run.new_root != entry.new_root:
            raise ClaimMismatch("NEW_ROOT", index)
        if run.mid != entry.mid:
            raise ClaimMismatch("MID", index)
        states[run.new_root] = run.post
        by_index[index] = run
    return tuple(by_index.values())


def fits(shape: Shape, core: Core, rollup_id: int, runs: Sequence[EntryRun]) -> TierExceeded | None:
    """Whether a witness of this tier exists; the reason if not."""
    try:
        plan(shape, core, rollup_id, runs)
    except TierExceeded as error:
        return error
    return None


# -- cells -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cell:
    """One key that one entry touches."""

    entry: int
    is_account: bool
    slot: int
    key: int
    kind: Kind
    """HIT, ABSENT or LOW (an insertion)."""
    last: tuple[int, int]
    """v0, v1 in the tree after the entry; meaningful for HIT and LOW."""
    writes: bool


def _kept(run: EntryRun) -> bool:
    """Whether the state that the run made is that after the entry."""
    return not run.next_action.failed


def _needs_account(run: EntryRun) -> bool:
    if run.trigger.kind is not ActionKind.RESULT:
        return True
    return any(step.instruction.op in _BALANCES for step in run.steps) or _returned(run) > 0


def _returned(run: EntryRun) -> int:
    """wei that come back because the XTRYV that a RESULT answers has failed."""
    frame = run.frame
    if run.trigger.kind is not ActionKind.RESULT or not run.trigger.failed or frame.waits is not Waits.XTRY:
        return 0
    assert run.program is not None
    return sent_value(frame, run.program.instructions[frame.pc])


def _account_cell(place: int, run: EntryRun) -> _Cell:
    key = account_key(run.frame.address)
    before, value = run.pre.tree.open(key), run.trigger.value + _returned(run)
    change = value - run.next_action.value
    kind = Kind.HIT if before.found else Kind.LOW if value else Kind.ABSENT
    v0, v1 = before.values
    return _Cell(
        entry=place,
        is_account=True,
        slot=0,
        key=key,
        kind=kind,
        last=(v0 + change, v1),
        writes=_kept(run) and change != 0,
    )


def _storage_cells(place: int, run: EntryRun) -> list[_Cell]:
    """Cells in the order of their insertions, the others after them."""
    kept = _kept(run)
    first: dict[int, bool] = {}
    last: dict[int, tuple[int, int]] = {}
    inserted: list[int] = []
    for step in run.steps:
        access = step.storage
        if access is None:
            continue
        found = run.pre.tree.open(access.key).found
        first.setdefault(access.slot, found)
        last[access.slot] = access.new
        if not found and access.slot not in inserted and access.new != (0, 0):
            inserted.append(access.slot)
    cells = []
    for slot in (*inserted, *(slot for slot in first if slot not in inserted)):
        key = storage_key(run.frame.address, slot)
        changed = slot in inserted or last[slot] != run.pre.tree.get(key)
        kind = Kind.HIT if first[slot] else Kind.LOW if slot in inserted and kept else Kind.ABSENT
        cells.append(
            _Cell(
                entry=place,
                is_account=False,
                slot=slot,
                key=key,
                kind=kind,
                last=last[slot],
                writes=kept and changed,
            )
        )
    return cells


# -- placing -----------------------------------------------------------------------------------------------------------


def _path(tree: StateTree, index: int, levels: range) -> PathHint:
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


def _allot(shape: Shape, cells: Sequence[_Cell]) -> list[_Cell | None]:
    """Give each cell a unit. An insertion takes a pair: it stands at the first, None at the second.

    Insertions of one entry keep their order. Absent keys fit first and reading units only, so they choose before
    present ones, and rewrites prefer second units.
    """
    roles = shape.roles
    units: list[_Cell | None] = [None] * len(roles)
    insertions = [cell for cell in cells if cell.writes and cell.kind is Kind.LOW]
    rewrites = [cell for cell in cells if cell.writes and cell.kind is Kind.HIT]
    absent = [cell for cell in cells if not cell.writes and cell.kind is Kind.ABSENT]
    present = [cell for cell in cells if not cell.writes and cell.kind is Kind.HIT]
    needed = 2 * len(insertions) + len(rewrites)
    _check("TIER_WRITES", "tree updates (an insertion is two)", needed, 2 * shape.pairs)
    for pair, cell in enumerate(insertions):
        units[2 * pair] = cell
    free = {
        role: [i for i, r in enumerate(roles) if r is role and (i >= 2 * len(insertions) or r is Role.READ)]
        for role in Role
    }

    def place(what: str, group: Sequence[_Cell], order: Sequence[Role]) -> None:
        _check("TIER_READS", what, len(group), sum(len(free[role]) for role in order))
        for cell in group:
            role = next(role for role in order if free[role])
            units[free[role].pop(0)] = cell

    place("rewrites", rewrites, (Role.SECOND, Role.FIRST))
    place("reads of absent keys beside the writes", absent, (Role.READ, Role.FIRST))
    place("reads of present keys beside all else", present, (Role.READ, Role.SECOND, Role.FIRST))
    return units


def _unit_hints(
    shape: Shape, allotted: Sequence[_Cell | None], runs: Sequence[EntryRun]
) -> tuple[list[UnitHint | None], TreeHint]:
    trees = [run.pre.tree for run in runs]
    hints: list[UnitHint | None] = []
    paths: list[PathHint] = []
    leaves: list[int] = []
    low_levels, high_levels = range(shape.block_levels), range(shape.block_levels, MIN_TREE_DEPTH)

    def put(hint: UnitHint, tree: StateTree, index: int) -> None:
        hints.append(hint)
        paths.append(_path(tree, index, low_levels))
        leaves.append(index)

    for number, cell in enumerate(allotted):
        if len(hints) > number:
            continue  # the second half of an insertion
        if cell is None:
            hints.append(None)
            paths.append(_idle_path(shape.block_levels))
            continue
        reads = shape.roles[number] is Role.READ
        tree = runs[cell.entry].pre.tree if reads else trees[cell.entry]
        opening = tree.open(cell.key)
        hint = UnitHint(
            kind=cell.kind,
            entry=cell.entry,
            is_account=cell.is_account,
            slot=cell.slot,
            leaf=_content(opening.leaf),
        )
        put(hint, tree, opening.index)
        if reads or cell.kind is Kind.ABSENT:
            continue
        if cell.kind is Kind.HIT:
            # Also where nothing is kept: a writing unit always puts the cell's last value there.
            trees[cell.entry], _ = tree.update(cell.key, *cell.last)
            continue
        trees[cell.entry], insertion = tree.insert(cell.key, *cell.last)
        _check_depth(trees[cell.entry])
        new = insertion.new
        fill = replace(hint, kind=Kind.NEW, is_account=False, slot=0, leaf=_content(new.new))
        put(fill, new.before, new.index)

    blocks = {leaf >> 2 * shape.block_levels for leaf in leaves} or {0}
    _check("TIER_BLOCK", f"blocks of {4**shape.block_levels} leaves", len(blocks), 1)
    (block,) = blocks

    def block_root(tree: StateTree) -> int:
        return tree.node_hash(shape.block_levels, block)

    # Each entry starts from the first tree or from what an earlier entry made of its own.
    made = [runs[0].pre.tree.root, *(tree.root for tree in trees)]
    versions: list[int | None] = [made.index(run.pre.tree.root) for run in runs]
    unused = shape.tier.entries - len(runs)
    start = block_root(runs[0].pre.tree)
    return hints, TreeHint(
        paths=paths,
        block=_path(runs[0].pre.tree, block << 2 * shape.block_levels, high_levels),
        blocks_in=[*(block_root(run.pre.tree) for run in runs), *[start] * unused],
        versions=[*versions, *[None] * unused],
    )


# -- limits ------------------------------------------------------------------------------------------------------------


def _check(reason: str, what: str, needed: int, available: int) -> None:
    if needed > available:
        raise TierExceeded(reason, what, needed, available)


def _check_depth(tree: StateTree) -> None:
    _check("TIER_DEPTH", "levels of the tree", tree.depth, MIN_TREE_DEPTH)


def _programs(runs: Sequence[EntryRun]) -> list[Program]:
    return list({run.program.code_hash: run.program for run in runs if run.program is not None}.values())


def _check_run(shape: Shape, run: EntryRun) -> None:
    limit = shape.tier.data_words
    _check("TIER_OUTCOME", f"calls that end as {run.outcome.value}", int(run.outcome in _UNPROVEN), 0)
    _check_depth(run.pre.tree)
    for step in run.steps:
        op = Op(step.instruction.op)
        _check("TIER_OPERATION", f"operations {op.name}", int(op.name not in CODES), 0)
        if op in _WORD_READS:
            _check("TIER_DATA", "data words that the program names", step.instruction.imm + 1, limit)


def _integers(runs: Sequence[EntryRun]) -> list[tuple[int, int, int]]:
    """What integer units do: opcode and operands, 0 for an operand that the operation does not have."""
    wanted = []
    for step in (step for run in runs for step in run.steps):
        i = step.instruction
        name = Op(i.op).name
        if name in GROUP_OF:
            second = step.before[i.rb] if name in GROUPS["INTEGERS"] else 0
            wanted.append((int(i.op), step.before[i.ra], second))
    return list(dict.fromkeys(wanted))


def _segments(shape: Shape, runs: Sequence[EntryRun]) -> list[int | None]:
    """Entry of each segment: as many for each run as its steps take."""
    owners: list[int | None] = []
    for place, run in enumerate(runs):
        owners += [place] * -(-len(run.steps) // shape.segment_rows)
    _check("TIER_ROWS", f"segments of {shape.segment_rows} steps of one entry", len(owners), shape.segments)
    return owners + [None] * (shape.segments - len(owners))


def plan(shape: Shape, core: Core, rollup_id: int, runs: Sequence[EntryRun]) -> Hints:
    """Place executed entries in a circuit.

    Args:
        runs: of `execute`, one for each own entry.

    Raises:
        TierExceeded: TIER_ENTRIES, TIER_KIND, TIER_SCOPE, TIER_DATA, TIER_ROWS, TIER_PROGRAMS, TIER_PROGRAM,
            TIER_HASHES, TIER_INTEGERS, TIER_WRITES, TIER_READS, TIER_BLOCK, TIER_DEPTH, TIER_SUSPENDED, TIER_OPERATION,
            TIER_OUTCOME.
    """
    try:
        statement = words(core, rollup_id, shape.tier)
    except RuleError as error:
        available = error.values.get("limit")
        needed = error.values.get("entries", error.values.get("words"))
        if error.reason in ("TIER_KIND", "TIER_SCOPE"):
            # A kind or a scope to which the circuit gives no meaning.
            raise TierExceeded(error.reason, "actions with a kind or scope of no meaning here", 1, 0) from error
        if not isinstance(available, int) or not isinstance(needed, int):
            raise
        raise TierExceeded(error.reason, "statement", needed, available) from error
    for run in runs:
        _check_run(shape, run)
    segments = _segments(shape, runs)
    last = len(runs) == shape.tier.entries and runs[-1].suspended is not None
    _check("TIER_SUSPENDED", "entries after the last outgoing call", int(last), 0)
    programs = _programs(runs)
    _check("TIER_PROGRAMS", "different programs", len(programs), shape.programs)
    chunks = sum(-(-len(program.instructions) // CHUNK) for program in programs)
    _check("TIER_PROGRAM", f"chunks of {CHUNK} instructions", chunks, shape.chunks)
    numbers = {program.code_hash: number for number, program in enumerate(programs)}
    steps = [step for run in runs for step in run.steps if step.instruction.op == Op.HASH]
    hashes = list(dict.fromkeys((s.before[s.instruction.ra], s.before[s.instruction.rb]) for s in steps))
    _check("TIER_HASHES", "different HASH inputs", len(hashes), shape.hashes)
    integers = _integers(runs)
    _check("TIER_INTEGERS", "different products, quotients, shifts and the like", len(integers), shape.integers)

    cells: list[_Cell] = []
    for place, run in enumerate(runs):
        if _needs_account(run):
            cells.append(_account_cell(place, run))
        cells += _storage_cells(place, run)
    allotted = _allot(shape, cells)
    units, tree = _unit_hints(shape, allotted, runs)
    slots: list[dict[int, int]] = [{} for _ in range(shape.tier.entries)]
    for number, cell in enumerate(allotted):
        if cell is not None and not cell.is_account:
            slots[cell.entry][cell.slot] = number
    entries = [
        EntryHint(
            tree_root=run.pre.tree.root,
            next_index=run.pre.tree.next_index,
            frames=frames_hash(run.pre.frames),
            code_hash=run.frame.code_hash,
            account=_needs_account(run),
            tried=run.trigger.kind is ActionKind.RESULT and run.frame.waits is Waits.XTRY,
        )
        for run in runs
    ]
    unused = shape.tier.entries - len(runs)
    return Hints(
        public=(0, 0, 0),
        words=statement,
        programs=[[(i.word0, i.imm) for i in program.instructions] for program in programs],
        runs=[*(numbers.get(run.frame.code_hash) if run.steps else None for run in runs), *[None] * unused],
        hashes=[*hashes, *[(0, 0)] * (shape.hashes - len(hashes))],
        integers=[*integers, *[None] * (shape.integers - len(integers))],
        entries=[*entries, *[None] * unused],
        units=units,
        tree=tree,
        cells=slots,
        segments=segments,
    )
