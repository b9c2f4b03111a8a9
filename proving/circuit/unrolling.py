"""The stretches of a table as the circuit counts them: of all own entries, one behind the other (`stretch.py`).

API:
    unroll(core, rollup_id, runs) -> list of Piece
    waiting_pieces(pieces) -> indices;  came(pieces, at, rollup_id, words) -> wires
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from protocol.actions import ActionKind, action_words
from protocol.constants import DEPLOYER
from protocol.statement import own_entries
from protocol.table import Core
from protocol.types import Address, endpoint
from protocol.vm.execution import Outcome
from protocol.vm.frames import Stretch, fresh_frame, sent_value
from protocol.vm.machine import EntryRun
from protocol.vm.state import Frame, Waits
from protocol.vm.state_tree import StateTree
from proving.circuit.serving import Admitted, admitted
from proving.circuit.stretch import Opening

_FAILURES = (Outcome.REVERT, Outcome.TRAP, Outcome.FAILED_RESULT, Outcome.UNFUNDED, Outcome.REFUSED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One stretch, with what the machine's own record of it does not say."""

    run: EntryRun
    entry: int
    """Place of its entry."""
    opening: Opening
    resumes: int | None
    """Piece that suspended the frame that goes on."""
    caller: int | None
    """Piece that suspended the frame's caller; None if a CALL began the frame."""
    opener: int | None
    """For UNWIND: the piece that waited when the scope was opened."""
    reverted: int | None
    """For UNWIND: the piece that left with the REVERT."""
    stretch: Stretch
    tree: StateTree
    """From which it starts, before value is moved."""
    suspended: Frame | None
    """The frame as it waits behind the stretch, hashes and all; None if it is over."""
    returned: int
    """wei that come back because the XTRYV that a RESULT answers has failed."""
    sent: int
    """wei that go out with the next action."""
    admission: Admitted | None = None
    """For the first stretch of a transaction."""

    @property
    def failed(self) -> bool:
        """Whether the state is then that from before the frame began."""
        return self.stretch.outcome in _FAILURES

    @property
    def reverts(self) -> bool:
        """Whether the entry leaves with a REVERT behind it."""
        return self.run.next_action.kind is ActionKind.REVERT and self.stretch is self.run.stretches[-1]

    @property
    def frame(self) -> Frame:
        """As it begins or goes on."""
        return self.stretch.frame

    @property
    def fresh(self) -> bool:
        """Whether a frame begins."""
        return self.opening in (Opening.TRIGGER, Opening.INNER, Opening.BODY)

    @property
    def deploys(self) -> bool:
        """Whether it is a call to DEPLOYER."""
        return self.fresh and self.frame.address == DEPLOYER

    @property
    def tried(self) -> bool:
        """Whether it opens with the answer to an XTRY."""
        return self.opening is Opening.ANSWER and self.frame.waits is Waits.XTRY


def unroll(core: Core, rollup_id: int, runs: Sequence[EntryRun]) -> list[Piece]:
    """Line up the stretches of all own entries.

    Args:
        runs: traced, one for each own entry.
    """
    own = own_entries(core, rollup_id)
    pieces: list[Piece] = []
    last: dict[int, int] = {}
    for entry, (index, run) in enumerate(zip(own, runs, strict=True)):
        row = core.entries[index]
        if run.trigger.kind is ActionKind.L2TX:
            pieces.append(_admission(core, entry, run))
        for at, stretch in enumerate(run.stretches):
            if run.trigger.kind is ActionKind.L2TX and not at and not _goes(pieces[-1]):
                break  # the signer lacks the value: there is no body
            opening, resumes, opener, reverted = _opening(run, at), None, None, None
            if stretch.outcome is Outcome.UNDONE and len(run.stretches) > 1:
                continue  # the frame that was reverted; its caller goes on behind it
            if opening is Opening.ANSWER:
                resumes = last[row.reply_to]
            elif opening is Opening.UNWIND:
                opener, reverted = last[row.parent], last[row.revert_of]
                resumes = None if stretch.outcome is Outcome.UNDONE else pieces[reverted].caller
            elif opening is Opening.BACK:
                resumes = pieces[-1].caller
            caller = None if resumes is None else pieces[resumes].caller
            if opening is Opening.INNER:
                caller = len(pieces) - 1
            piece = _piece(run, entry, at, opening, resumes, caller)
            pieces.append(replace(piece, opener=opener, reverted=reverted))
        last[index] = len(pieces) - 1
    return pieces


def _admission(core: Core, entry: int, run: EntryRun) -> Piece:
    """A transaction's first stretch, of which the machine has none: it belongs to no account and runs nothing."""
    frame = _nobody(run.pre.tree)
    return Piece(
        run=run,
        entry=entry,
        opening=Opening.ADMIT,
        resumes=None,
        caller=None,
        opener=None,
        reverted=None,
        stretch=Stretch(
            frame=frame,
            tree=run.pre.tree,
            program=None,
            answer=None,
            outcome=Outcome.SKIP,
            trap=None,
            pc=0,
            out_words=(),
            step_count=0,
            steps=(),
        ),
        tree=run.pre.tree,
        suspended=None,
        returned=0,
        sent=0,
        admission=admitted(core, run),
    )


def _nobody(tree: StateTree) -> Frame:
    return fresh_frame(address=0, caller=0, value=0, meta=0, args=(), start_tree=tree)


def _goes(piece: Piece) -> bool:
    return piece.admission is not None and piece.admission.hint.goes


def _opening(run: EntryRun, at: int) -> Opening:
    if run.trigger.kind is ActionKind.REVERT_CONTINUE and (at == 1 or run.stretches[at].outcome is Outcome.UNDONE):
        return Opening.UNWIND
    if at == 0 and run.trigger.kind is ActionKind.L2TX:
        return Opening.BODY
    if at == 0:
        return Opening.ANSWER if run.trigger.kind is ActionKind.RESULT else Opening.TRIGGER
    return Opening.INNER if run.stretches[at].answer is None else Opening.BACK


def _piece(run: EntryRun, entry: int, at: int, opening: Opening, resumes: int | None, caller: int | None) -> Piece:
    stretch = run.stretches[at]
    frame = stretch.frame
    if opening is Opening.UNWIND and stretch.outcome is Outcome.UNDONE:
        # The end of a transaction: no frame goes on.
        stretch = replace(stretch, frame=_nobody(frame.start_tree), tree=frame.start_tree)
    tree = frame.start_tree if opening in (Opening.TRIGGER, Opening.INNER, Opening.BODY) else stretch.tree
    returned = 0
    if opening is Opening.ANSWER:
        tree = run.pre.tree
        if run.trigger.failed and frame.waits is Waits.XTRY:
            program = stretch.program
            assert program is not None
            returned = sent_value(frame, program.instructions[frame.pc])
    is_last = at == len(run.stretches) - 1
    return Piece(
        run=run,
        entry=entry,
        opening=opening,
        resumes=resumes,
        caller=caller,
        opener=None,
        reverted=None,
        stretch=stretch,
        tree=tree,
        suspended=run.suspended if is_last else _waiting(run, at),
        returned=returned,
        sent=run.next_action.value if is_last else 0,
    )


def _waiting(run: EntryRun, at: int) -> Frame | None:
    """The frame that an ICALL suspended: the parent of the one that begins behind it."""
    return run.stretches[at + 1].frame.parent if run.stretches[at].outcome is Outcome.ICALL else None


def waiting_pieces(pieces: Sequence[Piece]) -> list[int]:
    """Those that suspend frames to which a root commits, each once: whole chains."""
    needed: set[int] = set()
    for at, piece in enumerate(pieces):
        below: int | None = at if piece.suspended is not None and piece.run.suspended is piece.suspended else None
        while below is not None:
            needed.add(below)
            below = pieces[below].caller
    return sorted(needed)


def came(pieces: Sequence[Piece], at: int, rollup_id: int, words: int) -> tuple[int, ...]:
    """What the statement does not say of what comes in with a stretch, as `stretch.Came.wires` has it."""
    piece, before = pieces[at], pieces[at - 1]
    frame = piece.frame
    if piece.opening in (Opening.TRIGGER, Opening.ANSWER, Opening.ADMIT):
        return (0,) * (4 + 2 * words)
    source = _endpoint(rollup_id, before.frame)
    if before.admission is not None:
        source += before.admission.hint.sender
    if piece.opening in (Opening.INNER, Opening.BODY):
        return (_endpoint(rollup_id, frame), source, frame.value, frame.args_meta, *halves(frame.args, words))
    answer = piece.stretch.answer
    if piece.opening is Opening.UNWIND and answer is None:
        meta, data = action_words(piece.run.next_action)
        return (0, 0, 0, meta, *halves(data, words))
    assert answer is not None
    if piece.opening is Opening.UNWIND:
        return (0, 0, 0, answer.meta, *halves(answer.words, words))
    return (_endpoint(rollup_id, frame), source, 0, answer.meta, *halves(answer.words, words))


def _endpoint(rollup_id: int, frame: Frame) -> int:
    return endpoint(rollup_id, Address(frame.address.to_bytes(20, "big")))


def halves(pairs: Sequence[tuple[int, int]], words: int) -> list[int]:
    """hi_0.., then lo_0.., zeros behind those that there are."""
    padded = [*pairs, *[(0, 0)] * (words - len(pairs))]
    return [hi for hi, _ in padded] + [lo for _, lo in padded]
