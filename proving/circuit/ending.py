"""How a stretch ends, and what that means for the stretch behind it or for the entry's next action (SPEC §4.5, §4.6).

`close_stretch` reads the last step. A frame is suspended by an outgoing call or by ICALL, or it is over: then its
caller goes on, or, if a CALL began it, a RESULT answers. `waiting_frames` hashes the frames to which roots commit:
those that wait when an entry ends, all the frames of a chain.

A frame that ICALL began and that fails after an outgoing call leaves with a REVERT. What its REVERT_CONTINUE needs of
it is in a unit (`revert_units`): scope, data, the tree from before, and who called it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from protocol.constants import ADDRESS_BITS, ENDPOINT_BITS
from proving.circuit.admission import body_call
from proving.circuit.bits import flags, from_bits, is_zero, raw_bits, select, weighted
from proving.circuit.builder import Builder, Expr, plus, value
from proving.circuit.compare import CANONICAL_BITS, at_most
from proving.circuit.entry import FAILED, OPAQUE, RESULT, REVERT, TRY, OpenEntry, Record
from proving.circuit.frame import Suspended, frame_hash, unwind_hash
from proving.circuit.rows import StretchRows
from proving.circuit.stretch import OpenStretch, Place

_CALLED = 16
_CHILD = 32
_TRANSACTED, _ICALLED = 1, 2
"""Origins of frames: begun by a transaction, and by ICALL."""
_WAITS_XTRY, _WAITS_ICALL = 4, 8
_MAX_DEPTH = 7
_SCOPE_BITS = 32
_LENGTH = 1 << 224
"""One number of a scope, and its count (SPEC §6)."""


@dataclass(slots=True, kw_only=True)
class CloseStretch:
    """A stretch after its steps: what later ones need of it."""

    opened: OpenStretch
    steps: Expr
    called: Expr
    children: Expr
    scope: Expr
    weight: Expr
    """2^(32 * numbers of the scope)."""
    parent: Expr
    """The frames word below the frame."""
    rooted: Expr
    """1 if `parent` is that: the hash of a frame that waits inside the same trigger is known only if it is needed."""
    hashed: Expr
    frame_hash: Expr
    """The frames word as it is then: of the frame that is suspended here, 0 if nobody needs it; of a REVERT."""
    suspended: Expr
    """1 if it ended in an outgoing call."""
    tries: Expr
    """1 if that tries."""
    icalls: Expr
    """1 if it ended in a call inside the rollup."""
    succeeded: Expr
    failed: Expr
    """1 if the frame is over."""
    reverts: Expr
    """1 if its scope has to be reverted."""
    leaves: list[Expr]
    """What it sends, as `Came.wires`: to the stretch behind it, or with the next action."""
    sent: Expr
    frames: Expr
    """The frames word of the new root, if it is the last one of its entry."""
    mid: Expr
    """1 if that is not 0."""
    ends: list[Expr]
    """For each entry that it can belong to: 1 if it is the last one of it."""
    last: StretchRows

    def suspension(self) -> Suspended:
        """What is hashed of the frame if it is suspended here."""
        waits = self.tries * _WAITS_XTRY + self.icalls * _WAITS_ICALL
        return Suspended(
            frame=self.opened.frame,
            pc=self.last.pc,
            steps=self.steps,
            scope=self.scope,
            meta=self.opened.transacted * _TRANSACTED
            + self.opened.inside * _ICALLED
            + waits
            + self.called * _CALLED
            + self.children * _CHILD,
            registers=self.last.registers,
            parent=self.parent,
        )


@dataclass(slots=True, kw_only=True)
class _Books:
    """What a frame has on record when a stretch of it opens; `steps` when it closes."""

    steps: Expr
    called: Expr
    children: Expr
    scope: Expr
    weight: Expr
    parent: Expr
    rooted: Expr


def close_stretch(
    b: Builder,
    *,
    stretch: OpenStretch,
    behind: Place | None,
    entries: Sequence[OpenEntry],
    rollup_id: Expr,
    last: StretchRows,
    hashed: Expr,
    known_hash: int,
    can_revert: bool,
    earlier: Sequence[CloseStretch],
) -> CloseStretch:
    """Constrain what a stretch sends by the end of its rows.

    Args:
        behind: the place of the next stretch; None for the last one, which can neither suspend nor call.
        hashed: 1 if the frame's hash is needed.
        known_hash: hint.
        can_revert: whether there are units for a REVERT.
    """
    frame, place = stretch.frame, stretch.place
    own = frame.address + rollup_id * (1 << ADDRESS_BITS)
    books = _books(b, stretch, last, earlier)
    ends = [x - y for x, y in zip(place.of, behind.stays if behind else [0] * len(place.of), strict=True)]

    calls = last.xcall + last.icall
    callee = b.mul(calls, last.operand)
    outgoing, inside = _destination(b, callee, last, rollup_id)
    # Who sends something looks at the balance, so the account must be there.
    b.enforce(1 - is_zero(b, last.sent), 1 - stretch.account, 0)
    funded = at_most(b, last.sent, stretch.balance)
    shallow = 1 - is_zero(b, books.weight - (1 << _SCOPE_BITS * _MAX_DEPTH))
    if stretch.admission.possible:
        # A forced transaction ends here.
        outgoing = b.mul(outgoing, 1 - stretch.confined)
    suspended, icalls = b.mul(outgoing, funded), b.mul(b.mul(inside, shallow), funded)
    if behind is None:
        b.equal(suspended, 0)
        b.equal(icalls, 0)
    deployment, admission = stretch.deployment, stretch.admission
    succeeded = last.returns + stretch.no_code + deployment.deployed
    refused = deployment.deploys - deployment.deployed
    failed = last.reverts + last.trap + (calls - suspended - icalls) + stretch.failed_result + refused
    # A frame that ICALL began answers its caller.
    over = succeeded + failed
    within = b.mul(stretch.inside, over) if earlier else 0
    within_failed = b.mul(stretch.inside, failed) if earlier else 0
    undoes = b.mul(within_failed, books.called) if earlier else 0
    pops = within - undoes
    body_undoes: Expr = 0
    if stretch.admission.possible and earlier:
        body_undoes = b.mul(b.mul(stretch.transacted, failed), books.called)
    reverts = undoes + body_undoes
    if behind is None or not can_revert:
        b.equal(reverts, 0)
    if behind is None:
        b.equal(pops, 0)
    else:
        b.equal(behind.inner, icalls)
        b.equal(behind.back, pops)
    if admission.possible:
        b.equal(behind.body if behind else 0, admission.goes)

    following = [plus(b.mul(x, y) for x, y in zip(ends, column, strict=False)) for column in _next_columns(entries)]
    words = len(frame.arguments) // 2
    record = Record(
        head=following[0],
        target=following[1],
        source=following[2],
        value=following[3],
        gas=following[4],
        scope=following[5],
        meta=following[6],
        high=following[7 : 7 + words],
        low=following[7 + words :],
    )
    tries, opaque = b.mul(suspended, last.tries), b.boolean(lambda: value(record.head) >> 9 & 1)
    # A transaction whose body does not begin has failed, but nothing is undone; behind its REVERT it is undone already.
    denied = admission.admits - admission.goes + stretch.undone - body_undoes
    answer = (over - within + denied) * RESULT + (failed - within_failed + denied) * FAILED
    b.equal(record.head, answer + tries * TRY + opaque * OPAQUE + reverts * REVERT)
    meta, data = _data(b, last, suspended, icalls, record.gas, opaque)
    target = b.mul_add(suspended + icalls, callee - frame.caller, frame.caller)
    sent = b.mul(suspended + icalls, last.sent)
    leaves = _said(b, stretch, over, [target, own, sent, meta, *data], rollup_id)
    # A REVERT says nothing but its scope.
    itself = b.mul(reverts, rollup_id) * (1 << ADDRESS_BITS) if can_revert and earlier else 0
    said = [record.target - itself, record.source - itself, record.value, record.meta, *record.high, *record.low]
    for x, y in zip(leaves, said, strict=True):
        b.enforce(plus(ends) - reverts, x, y)
    b.equal(record.scope, b.mul(suspended + reverts, books.scope))

    frame_hash_: Expr = 0
    if behind is not None:
        frame_hash_ = b.hint(lambda: known_hash if value(hashed + reverts) else 0)
        b.enforce(1 - hashed - reverts, frame_hash_, 0)
        b.enforce(suspended, 1 - hashed, 0)
        b.enforce(hashed + reverts, 1 - books.rooted, 0)
    nested = b.mul(over - within, 1 - is_zero(b, books.parent))
    _answered(b, stretch, earlier, succeeded_before=earlier[-1].succeeded if earlier else 0)
    return CloseStretch(
        opened=stretch,
        steps=books.steps,
        called=books.called + suspended - b.mul(books.called, suspended),
        children=books.children,
        scope=books.scope,
        weight=books.weight,
        parent=books.parent,
        rooted=books.rooted,
        hashed=hashed,
        frame_hash=frame_hash_,
        suspended=suspended,
        tries=tries,
        icalls=icalls,
        succeeded=succeeded,
        failed=failed,
        reverts=reverts,
        leaves=leaves,
        sent=sent,
        frames=b.mul(suspended + reverts, frame_hash_) + b.mul(over - within, books.parent),
        mid=suspended + reverts + nested,
        ends=ends,
        last=last,
    )


def _said(b: Builder, stretch: OpenStretch, over: Expr, leaves: Sequence[Expr], rollup_id: Expr) -> list[Expr]:
    """What a stretch sends, where it is about a transaction or a deployment; else as it is."""
    said = list(leaves)
    if stretch.admission.possible:
        call = body_call(stretch.admission, stretch.came.meta, stretch.came.words, rollup_id)
        said = [x + b.mul(stretch.admission.goes, y) for x, y in zip(said, call, strict=True)]
        # The RESULT of a transaction goes from nowhere to nowhere.
        ended = b.mul(stretch.transacted, over)
        said[0] = said[0] - b.mul(ended, stretch.frame.caller)
        said[1] = said[1] - b.mul(ended, stretch.frame.address)
        data = [stretch.came.meta, *stretch.came.words]
        said[3:] = [x + b.mul(stretch.undone, y) for x, y in zip(said[3:], data, strict=True)]
    if stretch.deployment.possible:
        words = (len(said) - 4) // 2
        high0, low0, high1, low1 = (b.mul(stretch.deployment.deployed, x) for x in stretch.deployment.answer)
        said[3] = said[3] + stretch.deployment.deployed * (64 << 32)
        for at, x in ((4, high0), (5, high1), (4 + words, low0), (5 + words, low1)):
            said[at] = said[at] + x
    return said


def _next_columns(entries: Sequence[OpenEntry]) -> list[tuple[Expr, ...]]:
    return list(zip(*(entry.words.next.wires() for entry in entries), strict=True))


def _books(b: Builder, stretch: OpenStretch, last: StretchRows, earlier: Sequence[CloseStretch]) -> _Books:
    """Steps go from frame to frame of a trigger; called and children come back with a frame that ends inside."""
    if not earlier:
        return _Books(steps=last.steps, called=0, children=0, scope=0, weight=1, parent=stretch.frames, rooted=1)
    place, before = stretch.place, earlier[-1]
    begun = stretch.trigger + place.body

    def kept(column: Sequence[Expr]) -> Expr:
        return select(b, stretch.resumes, column)

    called, ended = kept([s.called for s in earlier]), b.mul(place.back, before.called) + stretch.unwind
    deeper = before.scope + b.mul(before.children, before.weight) + _LENGTH
    # An answer goes on with the steps of its own frame, everything inside an entry with those of the stretch before.
    steps = kept([s.steps for s in earlier])
    return _Books(
        steps=b.define(b.mul(1 - place.back, steps) + b.mul(place.goes_on, before.steps) + last.steps),
        called=called + ended - b.mul(called, ended),
        children=kept([s.children for s in earlier]) + ended,
        # The body of a transaction has scope [0].
        scope=kept([s.scope for s in earlier]) + b.mul(place.inner, deeper) + place.body * _LENGTH,
        weight=kept([s.weight for s in earlier])
        + stretch.trigger
        + place.body * (1 << _SCOPE_BITS)
        + b.mul(place.inner, before.weight) * (1 << _SCOPE_BITS),
        parent=kept([s.parent for s in earlier])
        + b.mul(stretch.trigger, stretch.frames)
        + b.mul(place.inner, before.frame_hash),
        rooted=kept([s.rooted for s in earlier]) + begun + b.mul(place.inner, before.hashed),
    )


def _answered(b: Builder, stretch: OpenStretch, earlier: Sequence[CloseStretch], *, succeeded_before: Expr) -> None:
    """Tie what came in with a stretch to the stretch that sent it, or to the one that waits for it."""
    if not earlier:
        return
    place = stretch.place
    b.enforce(place.back, succeeded_before, stretch.succeeded - stretch.good_result)
    for resume, other in zip(stretch.resumes, earlier, strict=True):
        answers = b.mul(stretch.answer, resume)
        b.enforce(answers, 1 - other.suspended, 0)
        b.enforce(answers, stretch.frames - other.frame_hash, 0)
        b.enforce(answers, stretch.tried - other.tries, 0)
    b.enforce(stretch.seen, select(b, stretch.resumes, [other.sent for other in earlier]), stretch.returned)


def reply_ordinal(b: Builder, stretch: OpenStretch, earlier: Sequence[OpenStretch]) -> Expr:
    """1 + the place of the entry that a RESULT replies to; 0 for what is none."""
    places = [weighted(other.place.of) + 1 for other in earlier]
    return b.mul(stretch.answer, select(b, stretch.resumes, places)) if earlier else 0


def _destination(b: Builder, callee: Expr, last: StretchRows, rollup_id: Expr) -> tuple[Expr, Expr]:
    """Whether the last step calls an endpoint of another rollup, or by ICALL one of the own; else it traps ENDPOINT."""
    bits = b.stamp(CANONICAL_BITS, [callee])
    in_range = is_zero(b, plus(bits[ENDPOINT_BITS:]))
    own = b.mul(in_range, is_zero(b, from_bits(bits[ADDRESS_BITS:ENDPOINT_BITS]) - rollup_id))
    return b.mul(last.xcall, in_range - own), b.mul(last.icall, own)


def _data(
    b: Builder, last: StretchRows, suspended: Expr, icalls: Expr, gas: Expr, opaque: Expr
) -> tuple[Expr, list[Expr]]:
    """dataMeta and words of what is sent: `imm` of the last instruction says how many out words."""
    words = len(last.out) // 2
    calls, ends = suspended + icalls, last.returns + last.reverts

    def count() -> int | None:
        if value(calls):
            return value(last.immediate) >> 32 & 0xFF
        return value(last.immediate) if value(ends) else None

    sizes = flags(b, words + 1, count)
    b.equal(plus(sizes), ends + calls)
    size = weighted(sizes)
    low = raw_bits(b, lambda: value(last.immediate) & 0xFFFFFFFF if value(calls) else 0, 32)
    selector = b.define(from_bits(low))
    b.enforce(ends, last.immediate - size, 0)
    call = selector + size * (1 << 32) + gas * (1 << 40) + opaque * (1 << 104)
    b.enforce(calls, last.immediate - call, 0)
    b.enforce(1 - suspended, opaque, 0)
    b.enforce(1 - suspended, gas, 0)
    b.enforce(1 - calls, selector, 0)
    kept = [plus(sizes[k % words + 1 :]) for k in range(2 * words)]
    # length * 2^32 + selector, the length with the selector's four bytes for a call.
    return selector + (size * 32 + calls * 4) * (1 << 32), [b.mul(x, y) for x, y in zip(kept, last.out, strict=True)]


def units_for(b: Builder, count: int, stretches: int, hints: Sequence[int | None] | None) -> list[list[Expr]]:
    """For each unit which stretch it serves; the last one suspends and reverts nothing."""
    units = []
    for i in range(count):
        chosen = flags(b, stretches - 1, lambda i=i: hints[i] if hints else None)  # type: ignore[misc]
        b.enforce(plus(chosen), plus(chosen) - 1, 0)
        units.append(chosen)
    return units


def waiting_frames(b: Builder, units: Sequence[Sequence[Expr]], closed: Sequence[CloseStretch]) -> None:
    """Hash the frames that wait."""
    frames = [stretch.suspension() for stretch in closed[:-1]]
    for chosen in units:
        digest = frame_hash(b, chosen, frames)
        for flag, stretch in zip(chosen, closed, strict=False):
            b.enforce(flag, stretch.frame_hash - digest, 0)


@dataclass(slots=True, kw_only=True)
class Reverted:
    """What a REVERT_CONTINUE needs of the REVERT's stretch; zeros if the unit is not used."""

    ordinal: Expr
    """1 + the place of its entry."""
    scope: Expr
    transacted: Expr
    start: list[Expr]
    """Tree and nextIndex from before the frame began."""
    meta: Expr
    words: list[Expr]
    """Of the data that the frame failed with."""
    number: list[Expr]
    """Of the frame, as `OpenStretch.number`."""

    def wires(self) -> list[Expr]:
        """All, in a fixed order."""
        return [self.ordinal, self.scope, self.transacted, *self.start, self.meta, *self.words, *self.number]


def revert_units(b: Builder, units: Sequence[Sequence[Expr]], closed: Sequence[CloseStretch]) -> list[Reverted]:
    """Collect what each REVERT leaves, and hash the frames word."""
    if not units:
        return []
    sources = closed[:-1]
    longest = len(sources) - 1
    for at, stretch in enumerate(sources):
        b.equal(plus(chosen[at] for chosen in units), stretch.reverts)
    out = []
    for chosen in units:

        def of(column: Sequence[Expr], chosen: Sequence[Expr] = chosen) -> Expr:
            return select(b, chosen, column)

        frames = [stretch.opened.frame for stretch in sources]
        numbers = [[*s.opened.number, *[0] * (longest - len(s.opened.number))] for s in sources]
        unit = Reverted(
            ordinal=of([weighted(s.opened.place.of) + 1 for s in sources]),
            scope=of([s.scope for s in sources]),
            transacted=of([s.opened.transacted for s in sources]),
            start=[of([f.start_tree for f in frames]), of([f.start_next for f in frames])],
            meta=of([s.leaves[3] for s in sources]),
            words=[of(column) for column in zip(*(s.leaves[4:] for s in sources), strict=True)],
            number=[of(column) for column in zip(*numbers, strict=True)],
        )
        digest = unwind_hash(b, unit.scope, unit.meta, unit.words, of([s.parent for s in sources]))
        for flag, stretch in zip(chosen, sources, strict=True):
            b.enforce(flag, stretch.frame_hash - digest, 0)
        out.append(unit)
    return out


def continue_reverted(
    b: Builder, closed: Sequence[CloseStretch], units: Sequence[Reverted]
) -> list[tuple[list[Expr], Expr]]:
    """Tie each REVERT_CONTINUE to its REVERT and to the frames that waited when the scope was opened.

    Returns:
        For each stretch what it adds to `OpenStretch.stated`, and 1 + the place of the REVERT's entry; zeros if none.
    """
    said = 2 + len(closed[0].leaves)
    out: list[tuple[list[Expr], Expr]] = [([0] * said, 0)]
    for at, stretch in enumerate(closed):
        if at == 0:
            continue
        opened = stretch.opened
        if not units:
            out.append(([0] * said, 0))
            continue
        ordinal, scope, transacted, *rest = (
            select(b, opened.reverted, x) for x in zip(*(u.wires() for u in units), strict=True)
        )
        words = said - 6
        start, meta, data, number = rest[:2], rest[2], rest[3 : 3 + words], rest[3 + words :]
        b.enforce(opened.unwind, opened.scope - scope, 0)
        # Its caller goes on: it waits where the frame was begun. Behind a transaction's body nothing does.
        b.equal(opened.undone, transacted)
        for p, resume in enumerate(opened.resumes):
            b.enforce(opened.unwind - opened.undone, resume - (number[p] if p < len(number) else 0), 0)
        # The frame is one of those that waited at the pre-root.
        below: list[list[Expr]] = [[] for _ in number]
        for flag, other in zip(opened.opener, closed, strict=False):
            b.enforce(flag, 1 - other.suspended, 0)
            b.enforce(flag, opened.frames - other.frame_hash, 0)
            for j, x in enumerate(other.opened.chain):
                below[j].append(b.mul(flag, x))
        b.equal(plus(b.mul(plus(xs), x) for xs, x in zip(below, number, strict=True)), opened.unwind)
        out.append(([*start, 0, 0, 0, meta, *data], ordinal))
    return out


def link_parts(b: Builder, closed: Sequence[CloseStretch], reverted: Sequence[Expr], entries: int) -> list[Expr]:
    """The first word of each entry: whether frames wait behind it, and which entry it replies to or continues.

    Args:
        reverted: for each stretch 1 + the place of the REVERT's entry, or 0.
    """
    opened = [stretch.opened for stretch in closed]
    parts: list[list[Expr]] = [[] for _ in range(entries)]
    for at, stretch in enumerate(closed):
        for e, ends in enumerate(stretch.ends):
            parts[e].append(b.mul(ends, stretch.mid))
        ordinal = reply_ordinal(b, stretch.opened, opened[:at])
        for e, starts in enumerate(stretch.opened.place.starts or (), start=1):
            parts[e].append(b.mul(starts, 2 * ordinal + reverted[at] * (1 << 16)))
    return [plus(part) for part in parts]


def chosen_end(b: Builder, closed: Sequence[CloseStretch], column: Sequence[Expr], entry: int) -> Expr:
    """Of a column of stretches that of the last one of an entry; 0 if the entry is not used."""
    pairs = zip(closed, column, strict=True)
    return plus(b.mul(stretch.ends[entry], x) for stretch, x in pairs if entry < len(stretch.ends))
