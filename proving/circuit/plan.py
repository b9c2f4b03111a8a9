"""From a core and a rollup's state to the free choices of a witness: execute the own entries, place what they touch.

API:
    execute(core, rollup_id, state) -> runs            the reference machine on every own entry, compared with the core
    plan(shape, core, rollup_id, runs) -> Hints        raises TierExceeded
    fits(shape, core, rollup_id, runs) -> None or TierExceeded
    smallest_that_fits(core, rollup_id, runs) -> number of a tier
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from protocol.constants import NONE
from protocol.errors import RuleError
from protocol.statement import own_entries, words
from protocol.table import Core
from protocol.types import RollupId
from protocol.vm.execution import Outcome
from protocol.vm.isa import Op, Program
from protocol.vm.machine import EntryRun, run_entry
from protocol.vm.state import VmState, frames_hash
from proving.circuit.admission import DeploymentHint
from proving.circuit.entry import EntryHint
from proving.circuit.errors import ClaimMismatch, TierExceeded, check
from proving.circuit.list_hash import CHUNK
from proving.circuit.operations import CODES, GROUP_OF, GROUPS
from proving.circuit.placing import Cell, allot, claimed, needs_account, pays, touched, unit_hints
from proving.circuit.services import DEPLOYMENT_CLAIMS, TRANSACTION_CLAIMS, ServiceHint
from proving.circuit.serving import arrived
from proving.circuit.stretch import Opening, StretchHint
from proving.circuit.table_vm import Hints
from proving.circuit.tiers import SHAPES, Shape
from proving.circuit.unrolling import Piece, came, unroll, waiting_pieces

_UNPROVEN = (Outcome.UNFUNDED,)
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


# -- limits ------------------------------------------------------------------------------------------------------------


def smallest_that_fits(core: Core, rollup_id: int, runs: Sequence[EntryRun]) -> int:
    """Number of the first tier that has room.

    Raises:
        TierExceeded: none has; the reason is that of the largest.
    """
    refusal: TierExceeded | None = None
    for number, shape in sorted(SHAPES.items()):
        refusal = fits(shape, core, rollup_id, runs)
        if refusal is None:
            return number
    assert refusal is not None
    raise refusal


def _programs(pieces: Sequence[Piece]) -> list[Program]:
    programs = [piece.stretch.program for piece in pieces]
    return list({program.code_hash: program for program in programs if program is not None}.values())


def _check_piece(shape: Shape, piece: Piece) -> None:
    limit, outcome = shape.tier.data_words, piece.stretch.outcome
    check("TIER_OUTCOME", f"calls that end as {outcome.value}", int(outcome in _UNPROVEN), 0)
    for step in piece.stretch.steps:
        op = Op(step.instruction.op)
        check("TIER_OPERATION", f"operations {op.name}", int(op.name not in CODES), 0)
        if op in _WORD_READS:
            check("TIER_DATA", "data words that the program names", step.instruction.imm + 1, limit)
    # What frames of one rollup send each other is in no statement.
    check("TIER_DATA", "data words inside the rollup", len(piece.frame.args), limit)
    if piece.stretch.answer is not None:
        check("TIER_DATA", "data words inside the rollup", len(piece.stretch.answer.words), limit)


def _integers(pieces: Sequence[Piece]) -> list[tuple[int, int, int]]:
    """What integer units do: opcode and operands, 0 for an operand that the operation does not have."""
    wanted = []
    for step in (step for piece in pieces for step in piece.stretch.steps):
        i = step.instruction
        name = Op(i.op).name
        if name in GROUP_OF:
            second = step.before[i.rb] if name in GROUPS["INTEGERS"] else 0
            wanted.append((int(i.op), step.before[i.ra], second))
    return list(dict.fromkeys(wanted))


def _segments(shape: Shape, pieces: Sequence[Piece]) -> list[int | None]:
    """Stretch of each segment: as many for each one as its steps take."""
    owners: list[int | None] = []
    for at, piece in enumerate(pieces):
        owners += [at] * -(-len(piece.stretch.steps) // shape.segment_rows)
    check("TIER_ROWS", f"segments of {shape.segment_rows} steps of one stretch", len(owners), shape.segments)
    return owners + [None] * (shape.segments - len(owners))


def plan(shape: Shape, core: Core, rollup_id: int, runs: Sequence[EntryRun]) -> Hints:
    """Place executed entries in a circuit.

    Args:
        runs: of `execute`, one for each own entry.

    Raises:
        TierExceeded: TIER_ENTRIES, TIER_KIND, TIER_SCOPE, TIER_DATA, TIER_ROWS, TIER_PROGRAMS, TIER_PROGRAM,
            TIER_HASHES, TIER_INTEGERS, TIER_WRITES, TIER_READS, TIER_NODES, TIER_DEPTH, TIER_SUSPENDED, TIER_OPERATION,
            TIER_OUTCOME, TIER_STRETCHES, TIER_FRAMES, TIER_REVERTS, TIER_TRANSACTIONS, TIER_DEPLOYMENTS.
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
    pieces = unroll(core, rollup_id, runs)
    check("TIER_STRETCHES", "runs of one frame", len(pieces), shape.stretches)
    for piece in pieces:
        _check_piece(shape, piece)
    segments = _segments(shape, pieces)
    last = len(pieces) == shape.stretches and pieces[-1].suspended is not None
    check("TIER_SUSPENDED", "stretches after the last outgoing call", int(last), 0)
    waiting = waiting_pieces(pieces)
    check("TIER_FRAMES", "frames that wait", len(waiting), shape.waiting)
    reverted = [at for at, piece in enumerate(pieces) if piece.reverts]
    check("TIER_REVERTS", "reverted scopes", len(reverted), shape.reverts)
    programs = _programs(pieces)
    check("TIER_PROGRAMS", "different programs", len(programs), shape.programs)
    chunks = sum(-(-len(program.instructions) // CHUNK) for program in programs)
    check("TIER_PROGRAM", f"chunks of {CHUNK} instructions", chunks, shape.chunks)
    numbers = {program.code_hash: number for number, program in enumerate(programs)}
    steps = [step for piece in pieces for step in piece.stretch.steps if step.instruction.op == Op.HASH]
    hashes = list(dict.fromkeys((s.before[s.instruction.ra], s.before[s.instruction.rb]) for s in steps))
    check("TIER_HASHES", "different HASH inputs", len(hashes), shape.hashes)
    integers = _integers(pieces)
    check("TIER_INTEGERS", "different products, quotients, shifts and the like", len(integers), shape.integers)

    cells = [cell for at, piece in enumerate(pieces) for cell in touched(at, piece)]
    services, deployments, served = _services(shape, pieces)
    cells += served
    allotted, leaves = allot(shape, cells, pieces)
    units, tree = unit_hints(shape, allotted, leaves, pieces)
    slots: list[dict[int, int]] = [{} for _ in range(shape.stretches)]
    for number, cell in enumerate(allotted):
        if cell is not None and not cell.is_account and not cell.is_payer and cell.claim is None:
            slots[cell.stretch][cell.slot] = number
    entries = [
        EntryHint(tree_root=run.pre.tree.root, next_index=run.pre.tree.next_index, frames=frames_hash(run.pre.frames))
        for run in runs
    ]
    sizes = rollup_id, shape.tier.data_words
    stretches = [
        replace(
            _stretch_hint(pieces, at, waiting, reverted, *sizes),
            admission=piece.admission.hint if piece.admission else None,
            deployment=deployments.get(at),
        )
        for at, piece in enumerate(pieces)
    ]
    unused: list[None] = [None] * (shape.stretches - len(pieces))
    runs_of = (numbers[piece.stretch.program.code_hash] if piece.stretch.program else None for piece in pieces)
    return Hints(
        public=(0, 0, 0),
        words=statement,
        programs=[[(i.word0, i.imm) for i in program.instructions] for program in programs],
        runs=[*runs_of, *unused],
        hashes=[*hashes, *[(0, 0)] * (shape.hashes - len(hashes))],
        integers=[*integers, *[None] * (shape.integers - len(integers))],
        entries=[*entries, *[None] * (shape.tier.entries - len(runs))],
        stretches=[*stretches, *unused],
        waiting=[*waiting, *[None] * (shape.waiting - len(waiting))],
        reverted=[*reverted, *[None] * (shape.reverts - len(reverted))],
        services=services,
        units=units,
        tree=tree,
        cells=slots,
        segments=segments,
    )


def _services(
    shape: Shape, pieces: Sequence[Piece]
) -> tuple[list[ServiceHint | None], dict[int, DeploymentHint], list[Cell]]:
    """Give each admission and each deployment a place.

    Returns:
        For each place whom it serves; how deployments come out; the cells of all claims.
    """
    admissions = [(at, piece.admission) for at, piece in enumerate(pieces) if piece.admission is not None]
    check("TIER_TRANSACTIONS", "transactions in one table", len(admissions), shape.transactions)
    arrivals = [(at, arrived(piece.frame, piece.tree)) for at, piece in enumerate(pieces) if piece.deploys]
    check("TIER_DEPLOYMENTS", "parts of programs in one table", len(arrivals), shape.deployments)
    hints: list[ServiceHint | None] = []
    cells: list[Cell] = []
    first = 0
    for served, places, size in (
        (admissions, shape.transactions, TRANSACTION_CLAIMS),
        (arrivals, shape.deployments, DEPLOYMENT_CLAIMS),
    ):
        for at, service in served:
            found = {access.claim: access.found for access in service.accesses}
            hints.append(ServiceHint(stretch=at, found=[found.get(i, (0, 0)) for i in range(size)]))
            cells += claimed(at, first, service.accesses, pieces[at].tree)
            first += size
        hints += [None] * (places - len(served))
        first += size * (places - len(served))
    return hints, {at: arrival.hint for at, arrival in arrivals}, cells


def _stretch_hint(
    pieces: Sequence[Piece],
    at: int,
    waiting: Sequence[int],
    reverted: Sequence[int],
    rollup_id: int,
    words: int,
) -> StretchHint:
    piece = pieces[at]
    stated = piece.opening in (Opening.TRIGGER, Opening.ANSWER, Opening.ADMIT)
    known = piece.suspended.hash if piece.suspended is not None and at in waiting else 0
    if at in reverted:
        known = frames_hash(piece.run.post.frames)
    return StretchHint(
        entry=piece.entry,
        opening=piece.opening,
        resumes=piece.resumes,
        code_hash=piece.frame.code_hash,
        account=needs_account(piece),
        pays=pays(piece),
        tried=piece.tried,
        returned=piece.returned,
        frame_hash=known,
        tree_root=0 if stated else piece.tree.root,
        next_index=0 if stated else piece.tree.next_index,
        came=came(pieces, at, rollup_id, words),
        succeeded=piece.opening is Opening.BACK and not pieces[at - 1].failed,
        reverted=None if piece.reverted is None else reverted.index(piece.reverted),
        opener=piece.opener,
        undone=piece.opening is Opening.UNWIND and piece.resumes is None,
    )
