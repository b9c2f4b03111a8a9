"""A stretch: a frame from where it begins or goes on to where another frame, or nothing, goes on (SPEC §4.6).

An entry is one stretch or several, one behind the other. How a stretch opens:

- TRIGGER  a fresh frame, begun by the entry's CALL;
- ANSWER   the entry's RESULT lets the frame go on that an earlier stretch suspended;
- INNER    a fresh frame, begun by the ICALL with which the stretch before ended;
- BACK     the frame of the stretch before has ended, and its caller goes on;
- UNWIND   the entry's REVERT_CONTINUE ends a frame whose scope was reverted, and its caller goes on;
- ADMIT    the entry's L2TX is judged, nothing runs (`admission.py`);
- BODY     a fresh frame, begun by the transaction that the stretch before has admitted.

A stretch that begins a frame at DEPLOYER runs nothing, either.

`open_stretch` says which, and takes a frame that goes on from the wires of the stretch that suspended it. What comes in
with it are words of the statement or what the stretch before sent: `close_stretch` reads the last step and ties them.

A stretch that begins a frame by ICALL, or as a transaction's body, gives the frame its number; frames that a CALL began
have none. The number also says where the caller waits: in the stretch before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from protocol.constants import ADDRESS_BITS, DEPLOYER
from protocol.constants import FIELD_ORDER as R
from proving.circuit.admission import (
    NO_ADMISSION,
    NO_DEPLOYMENT,
    Admission,
    AdmissionHint,
    Deployment,
    DeploymentHint,
    open_admission,
    open_deployment,
)
from proving.circuit.bits import flags, is_zero
from proving.circuit.builder import Builder, Expr, plus, value
from proving.circuit.entry import OpenEntry
from proving.circuit.frame import Frame, continued, data_meta


class Opening(IntEnum):
    """How a stretch opens."""

    TRIGGER = 0
    ANSWER = 1
    INNER = 2
    BACK = 3
    UNWIND = 4
    ADMIT = 5
    BODY = 6


_FIRST: Final = (Opening.TRIGGER, Opening.ANSWER, Opening.UNWIND, Opening.ADMIT)
"""What an entry can open with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StretchHint:
    """What a used stretch is."""

    entry: int
    """Place of the entry."""
    opening: Opening
    resumes: int | None
    """Stretch that suspended the frame that goes on."""
    code_hash: int
    """Of the program that runs or would run; 0 for an account without code."""
    account: bool
    """Whether a tree unit holds the account: for a fresh frame, and where its balance is read or changes."""
    pays: bool
    """Whether a tree unit holds the caller's account."""
    tried: bool
    """Whether a RESULT answers an XTRY."""
    returned: int
    """wei that come back because an XTRYV has failed."""
    frame_hash: int
    """Of the frame, if that is needed when it is suspended here; else 0."""
    tree_root: int
    next_index: int
    """Where an INNER, BACK or UNWIND starts from; else 0."""
    came: Sequence[int]
    """What comes in with an INNER or BACK, as `Came.wires`; for UNWIND the data, with zeros before; else zeros."""
    succeeded: bool
    """For BACK: whether the call did."""
    reverted: int | None
    """For UNWIND: the unit that holds the REVERT."""
    opener: int | None
    """For UNWIND: the stretch that waited when the pre-root was made."""
    undone: bool = False
    """For UNWIND: whether the frame was a transaction's body, behind which nothing goes on."""
    admission: AdmissionHint | None = None
    """For ADMIT."""
    deployment: DeploymentHint | None = None
    """For a call to DEPLOYER."""


@dataclass(slots=True, kw_only=True)
class Came:
    """What comes in with a stretch: the parts of an action that a frame sees."""

    target: Expr
    source: Expr
    value: Expr
    meta: Expr
    words: list[Expr]
    """hi_0.., then lo_0.."""

    def wires(self) -> list[Expr]:
        """All, in a fixed order."""
        return [self.target, self.source, self.value, self.meta, *self.words]


@dataclass(slots=True, kw_only=True)
class Place:
    """Where in the table a stretch stands. Flags are 0 for a place that is not used."""

    of: list[Expr]
    """For each entry that it can belong to, from the first: 1 if it does."""
    stays: list[Expr]
    """The same where it is not the first of the entry, for the entries that the stretch before can belong to."""
    starts: list[Expr] | None
    """The same where it is the first, from the second entry on; None for the first stretch, which starts the first."""
    inner: Expr
    back: Expr
    body: Expr

    @property
    def goes_on(self) -> Expr:
        """1 if it is not the first of its entry."""
        return self.inner + self.back + self.body


@dataclass(slots=True, kw_only=True)
class OpenStretch:
    """A stretch before its steps. Flags are 0 for a place that is not used."""

    place: Place
    trigger: Expr
    answer: Expr
    """1 for a RESULT."""
    good_result: Expr
    """1 for one that succeeded."""
    seen: Expr
    """1 for one that failed and with which the frame goes on."""
    failed_result: Expr
    """1 for one that ends the frame."""
    tried: Expr
    """1 if a RESULT answers an XTRY; what the earlier stretch did decides that (`close_stretch`)."""
    unwind: Expr
    """1 for a REVERT_CONTINUE."""
    undone: Expr
    """1 for one that ends a transaction."""
    scope: Expr
    """The scope of that."""
    reverted: list[Expr]
    """For each unit that holds a REVERT: 1 if this continues behind it."""
    opener: list[Expr]
    """For each earlier stretch: 1 if the pre-root of a REVERT_CONTINUE has its frame on top."""
    resumes: list[Expr]
    """For each earlier stretch: 1 if the frame that it suspended goes on."""
    number: list[Expr]
    """For each stretch from the second to this: 1 if it began the frame, by ICALL or as a transaction's body."""
    chain: list[Expr]
    """The same for the frame and all below it, down to the one that a CALL began."""
    frames: Expr
    """The frames word of the pre-root for the first stretch of an entry, else 0."""
    tree_in: Expr
    next_in: Expr
    came: Came
    stated: list[Expr]
    """What the statement says of the three above; all of it for the first stretch of an entry, else 0."""
    frame: Frame
    no_code: Expr
    """1 for a call to an account without code."""
    run: Expr
    answers: list[Expr]
    """hi_0.., then lo_0.. of the answer; zeros for a fresh frame."""
    answer_length: Expr
    succeeded: Expr
    """1 for an answer that is a success."""
    account: Expr
    """1 if a tree unit holds the account."""
    pays: Expr
    """1 if one holds the caller's."""
    debit: Expr
    """Value that the caller pays."""
    returned: Expr
    """Value that comes back."""
    credit: Expr
    """Value that comes to the account in all."""
    admission: Admission
    deployment: Deployment
    transacted: Expr
    """1 if a transaction began the frame."""
    confined: Expr
    """1 if the entry is a forced transaction."""
    balance: Expr = 0
    """Of the account, the credit included; 0 if no tree unit holds it. Known once units are open."""

    @property
    def used(self) -> Expr:
        """1 if it belongs to an entry."""
        return plus(self.place.of)

    @property
    def fresh(self) -> Expr:
        """1 if a frame begins."""
        return self.trigger + self.place.inner + self.place.body

    @property
    def address(self) -> Expr:
        """Of its account; for an admission that of the signer, who pays for what comes behind."""
        return self.frame.address + self.admission.sender

    @property
    def inside(self) -> Expr:
        """1 if the frame was begun by ICALL."""
        return plus(self.number) - self.transacted


def at_starts(b: Builder, starts: Sequence[Expr] | None, column: Sequence[Expr]) -> Expr:
    """Of a column of entries that of the one which a stretch starts, else 0; `starts` as in `OpenStretch`."""
    return column[0] if starts is None else plus(b.mul(x, y) for x, y in zip(starts, column[1:], strict=False))


def open_stretch(
    b: Builder,
    *,
    entries: Sequence[OpenEntry],
    earlier: Sequence[OpenStretch],
    rollup_id: Expr,
    reverts: int,
    transacts: bool,
    deploys: bool,
    hint: StretchHint | None,
) -> OpenStretch:
    """Lay out what the next stretch starts from.

    Args:
        reverts: units that hold a REVERT.
        transacts, deploys: whether the circuit has places for transactions, and for deployments.
    """
    own = rollup_id * (1 << ADDRESS_BITS)
    place = _place(b, len(entries), earlier, transacts, hint)

    def stated_of(column: Sequence[Expr]) -> Expr:
        return at_starts(b, place.starts, column)

    trigger = stated_of([entry.call for entry in entries])
    answer = stated_of([entry.answer for entry in entries])
    failed = stated_of([entry.failed for entry in entries])
    frames = stated_of([entry.frames for entry in entries])
    unwind, scope = _unwind(b, place, entries, reverts)
    tree = (stated_of([entry.tree for entry in entries]), stated_of([entry.next for entry in entries]))
    triggers = [entry.words.trigger for entry in entries]
    records = [[t.target, t.source, t.value, t.meta, *t.high, *t.low] for t in triggers]
    stated = [stated_of(column) for column in zip(*records, strict=True)]
    said = [*tree, *stated]
    if earlier:
        # What goes on takes the rest from the stretch before (`close_stretch`).
        wanted = [hint.tree_root, hint.next_index, *hint.came] if hint else [0] * len(said)
        came = b.hints(len(said), lambda: [(value(x) + y) % R for x, y in zip(said, wanted, strict=True)])
    else:
        came = said
    tree_in, next_in, *came = came
    coming = Came(target=came[0], source=came[1], value=came[2], meta=came[3], words=came[4:])

    tried: Expr = 0
    if earlier:
        tried = b.boolean(lambda: int(hint is not None and hint.tried))
        b.enforce(tried, 1 - answer, 0)
    # A failed answer ends the frame, or it is one that the frame looks at.
    seen = b.mul(failed, tried) if earlier else 0
    reverted = flags(b, reverts if earlier else 0, lambda: hint.reverted if hint else None)
    opener = flags(b, len(earlier) if reverts else 0, lambda: hint.opener if hint else None)
    if earlier and reverts:
        b.equal(plus(reverted), unwind)
        b.equal(plus(opener), unwind)
    undone: Expr = 0
    if earlier and reverts and transacts:
        undone = b.boolean(lambda: int(hint is not None and hint.undone))
    resumes, number = _resumed(b, place, answer + unwind - undone, earlier, hint)
    chain = _chain(b, place, resumes, earlier) if reverts else []

    admission = NO_ADMISSION
    if transacts:
        admission = open_admission(
            b,
            admits=stated_of([entry.l2tx for entry in entries]),
            gas=stated_of([t.gas for t in triggers]),
            frames=frames,
            hint=hint.admission if hint else None,
        )
    begins = trigger + place.inner + place.body
    words = len(triggers[0].high)
    selector, length = data_meta(b, coming.meta, words)
    (code_hash,) = b.choices(1, lambda: (hint.code_hash if hint else 0,))
    fresh = Frame(
        address=coming.target - own,
        code_hash=code_hash,
        caller=coming.source,
        value=coming.value,
        selector=selector,
        length=length,
        arguments=coming.words,
        start_tree=tree_in,
        start_next=next_in,
    )
    deployment = NO_DEPLOYMENT
    if deploys:
        # Calls to DEPLOYER have another meaning.
        at_deployer = b.mul(begins, is_zero(b, fresh.address - DEPLOYER))
        deployment = open_deployment(b, deploys=at_deployer, hint=hint.deployment if hint else None)
        b.enforce(at_deployer, code_hash, 0)
    else:
        _require_other(b, begins, fresh.address - DEPLOYER)
    runs = begins - deployment.deploys
    frame = continued(b, fresh, begins, resumes, [stretch.frame for stretch in earlier])
    # One wire: the same as the suspended frame's, or what the account leaf of a call says (the circuit ties that).
    for resume, stretch in zip(resumes, earlier, strict=True):
        b.enforce(resume, code_hash - stretch.frame.code_hash, 0)
    b.enforce(plus(place.of) - unwind, coming.target - frame.address - own, 0)
    no_code = b.mul(runs, is_zero(b, code_hash))
    succeeded: Expr = 0
    answers: list[Expr] = [0] * (2 * words)
    answer_length: Expr = 0
    if earlier:
        succeeded = b.boolean(lambda: value(answer - failed) or int(hint is not None and hint.succeeded))
        resumed = answer + place.back + unwind
        answers = [b.mul(resumed, x) for x in coming.words]
        answer_length = b.mul(resumed, length)
    value_in = b.mul(1 - deployment.deploys, coming.value) if deploys else coming.value
    account, pays, debit, returned = _value(b, runs, place, value_in, frame, earlier, hint)
    b.enforce(account, 1 - plus(place.of), 0)
    return OpenStretch(
        place=place,
        trigger=trigger,
        answer=answer,
        seen=seen,
        tried=tried,
        failed_result=failed - seen,
        good_result=answer - failed,
        unwind=unwind,
        undone=undone,
        scope=scope,
        reverted=reverted,
        opener=opener,
        resumes=resumes,
        number=number,
        chain=chain,
        frames=frames,
        came=coming,
        stated=said,
        tree_in=tree_in,
        next_in=next_in,
        frame=frame,
        no_code=no_code,
        run=runs - no_code + answer - failed + seen + place.back + unwind - undone,
        answers=answers,
        answer_length=answer_length,
        succeeded=succeeded,
        account=account,
        pays=pays,
        debit=debit,
        returned=returned[0],
        credit=returned[1],
        admission=admission,
        deployment=deployment,
        transacted=_transacted(b, place, resumes, earlier) if transacts else 0,
        confined=_confined(b, place, admission, earlier) if transacts else 0,
    )


def _transacted(b: Builder, place: Place, resumes: Sequence[Expr], earlier: Sequence[OpenStretch]) -> Expr:
    return place.body + plus(b.mul(x, stretch.transacted) for x, stretch in zip(resumes, earlier, strict=True))


def _confined(b: Builder, place: Place, admission: Admission, earlier: Sequence[OpenStretch]) -> Expr:
    return admission.forced + b.mul(place.goes_on, earlier[-1].confined) if earlier else admission.forced


def _place(
    b: Builder, entries: int, earlier: Sequence[OpenStretch], transacts: bool, hint: StretchHint | None
) -> Place:
    """Which entry a stretch belongs to, and whether it is its first."""
    if not earlier:
        return Place(of=[1], stays=[], starts=None, inner=0, back=0, body=0)
    before = earlier[-1].place.of
    opening = None if hint is None else hint.opening
    first = b.boolean(lambda: int(opening in _FIRST))
    inner, back = b.boolean(lambda: int(opening is Opening.INNER)), b.boolean(lambda: int(opening is Opening.BACK))
    body = b.boolean(lambda: int(opening is Opening.BODY)) if transacts else 0
    b.enforce(first, inner + back + body, 0)
    stays = [b.mul(inner + back + body, x) for x in before]
    starts = [b.mul(first, x) for x in before[: entries - 1]]
    b.equal(plus(starts), first)
    count = 1 + len(starts)
    of = [plus(x) for x in zip([*stays, 0][:count], [0, *starts], strict=True)]
    return Place(of=of, stays=stays, starts=starts, inner=inner, back=back, body=body)


def _resumed(
    b: Builder, place: Place, answer: Expr, earlier: Sequence[OpenStretch], hint: StretchHint | None
) -> tuple[list[Expr], list[Expr]]:
    """Which stretch suspended the frame that goes on, and the frame's number."""
    if not earlier:
        return [], []
    resumes = flags(b, len(earlier), lambda: hint.resumes if hint else None)
    b.equal(plus(resumes), answer + place.back)
    # Where the caller of the frame of the stretch before waits.
    for resume, caller in zip(resumes, [*earlier[-1].number, 0], strict=True):
        b.enforce(place.back, resume - caller, 0)
    number = [
        plus(
            b.mul(resume, stretch.number[j])
            for resume, stretch in zip(resumes, earlier, strict=True)
            if j < len(stretch.number)
        )
        for j in range(len(earlier) - 1)
    ]
    return resumes, [*number, place.inner + place.body]


def _unwind(b: Builder, place: Place, entries: Sequence[OpenEntry], reverts: int) -> tuple[Expr, Expr]:
    """Whether the entry is a REVERT_CONTINUE, and its trigger's scope."""
    if place.starts is None or not reverts:
        return 0, 0
    unwind = at_starts(b, place.starts, [entry.unwind for entry in entries])
    return unwind, at_starts(b, place.starts, [entry.words.trigger.scope for entry in entries])


def _chain(b: Builder, place: Place, resumes: Sequence[Expr], earlier: Sequence[OpenStretch]) -> list[Expr]:
    """A frame that begins inside stands on those of the stretch before; one that goes on has what it had below it."""
    if not earlier:
        return []
    before = earlier[-1].chain
    out = []
    for j in range(len(earlier) - 1):
        parts = [b.mul(place.inner, before[j])]
        parts += [b.mul(r, s.chain[j]) for r, s in zip(resumes, earlier, strict=True) if j < len(s.chain)]
        out.append(plus(parts))
    return [*out, place.inner + place.body]


def _require_other(b: Builder, used: Expr, difference: Expr) -> None:
    """Where `used` is 1 the difference is not 0."""
    b.enforce(
        difference, b.hint(lambda: pow(value(difference), -1, R) if value(used) and value(difference) else 0), used
    )


def _value(
    b: Builder,
    runs: Expr,
    place: Place,
    value_in: Expr,
    frame: Frame,
    earlier: Sequence[OpenStretch],
    hint: StretchHint | None,
) -> tuple[Expr, Expr, Expr, tuple[Expr, Expr]]:
    """Whether tree units hold the account and the caller's, what it pays, what comes back, what comes in all."""
    account = b.boolean(lambda: int(hint is not None and hint.account))
    b.enforce(1 - account, runs, 0)
    if not earlier:
        return account, 0, 0, (0, value_in)
    pays = b.boolean(lambda: int(hint is not None and hint.pays))
    called = place.inner + place.body
    moved = b.mul(called, value_in)
    # Who pays itself moves nothing.
    debit = b.mul(moved, 1 - is_zero(b, frame.address - earlier[-1].address))
    b.enforce(pays, 1 - called, 0)
    b.enforce(1 - pays, debit, 0)
    # What an XTRYV sent comes back if it failed.
    returned = b.hint(lambda: hint.returned if hint else 0)
    credit = value_in - moved + debit + returned
    b.enforce(1 - account, credit, 0)
    return account, pays, debit, (returned, credit)
