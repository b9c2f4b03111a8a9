"""One entry of a table: what its trigger starts from, and how its run ends (SPEC §4.5, §4.6).

`open_entry` reads the trigger: a CALL starts from nothing, a RESULT from the frame that an earlier own entry suspended.
That frame is taken from the earlier entry's wires directly; the state root commits to its hash, which that entry
computes. `close_entry` reads the last step: the next action, and whether the state is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from protocol.constants import ADDRESS_BITS, DEPLOYER, ENDPOINT_BITS, INT_BITS, MIN_TREE_DEPTH, TAG_DATA, TAG_FRAME
from protocol.constants import FIELD_ORDER as R
from protocol.vm.poseidon import P
from proving.circuit.bits import flags, from_bits, is_zero, raw_bits, select, to_bits, weighted
from proving.circuit.builder import Builder, Expr, plus, total, value
from proving.circuit.compare import CANONICAL_BITS
from proving.circuit.list_hash import CHUNK, absorb, list_hash
from proving.circuit.poseidon import poseidon

_RESULT = 2
_FAILED = 256
_TRY = 1
_OPAQUE = 512
_CALLED = 16
_WAITS_XTRY = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryHint:
    """What the statement words do not show."""

    tree_root: int
    next_index: int
    frames: int
    """The three parts of the pre-root."""
    code_hash: int
    """Of the program that runs or would run; 0 for an account without code."""
    account: bool
    """Whether a tree unit holds the account: for a CALL, and where its balance is read or changes."""
    tried: bool
    """Whether a RESULT answers an XTRY."""


@dataclass(slots=True, kw_only=True)
class Record:
    """An action in the statement (SPEC §6)."""

    head: Expr
    target: Expr
    source: Expr
    value: Expr
    gas: Expr
    scope: Expr
    meta: Expr
    high: list[Expr]
    low: list[Expr]


def read_record(words: Sequence[Expr]) -> Record:
    """Name the words of a record."""
    return Record(
        head=words[0],
        target=words[1],
        source=words[2],
        value=words[3],
        gas=words[4],
        scope=words[5],
        meta=words[6],
        high=list(words[7::2]),
        low=list(words[8::2]),
    )


@dataclass(slots=True, kw_only=True)
class EntryWords:
    """The statement words of one entry place."""

    link: Expr
    pre_root: Expr
    new_root: Expr
    trigger: Record
    next: Record


@dataclass(slots=True, kw_only=True)
class Frame:
    """What a frame keeps when it is suspended. All are single wires or their combinations."""

    address: Expr
    code_hash: Expr
    caller: Expr
    value: Expr
    arguments_hash: Expr
    """Not computed for the last place, which cannot suspend."""
    selector: Expr
    length: Expr
    arguments: list[Expr]
    """hi_0.., then lo_0.."""
    start_tree: Expr
    start_next: Expr
    parent: Expr

    def kept(self) -> list[Expr]:
        """All that does not depend on the run, but the code hash, in a fixed order."""
        return [
            *(self.address, self.caller, self.value, self.arguments_hash, self.selector, self.length),
            *(*self.arguments, self.start_tree, self.start_next, self.parent),
        ]


@dataclass(slots=True, kw_only=True)
class OpenEntry:
    """An entry before its steps."""

    words: EntryWords
    enabled: Expr
    call: Expr
    result: Expr
    """RESULT that succeeded."""
    failed_result: Expr
    """RESULT that failed and ends the frame."""
    tried: Expr
    """1 if a RESULT answers an XTRY; what the earlier entry did decides that (`close_entry`)."""
    account: Expr
    """1 if a tree unit holds the account."""
    credit: Expr
    """Value that the trigger brings, or that comes back."""
    replies: list[Expr]
    """For each earlier place: 1 if this entry continues the frame that it suspended."""
    frames: Expr
    """The frames word of the pre-root."""
    tree_in: Expr
    next_in: Expr
    frame: Frame
    no_code: Expr
    """1 for a CALL to an account without code."""
    run: Expr
    answer: list[Expr]
    """hi_0.., then lo_0.. of the RESULT; zeros for a CALL."""
    answer_length: Expr
    balance: Expr = 0
    """Of the account, the credit included; 0 if no tree unit holds it. Known once units are open."""


def data_meta(b: Builder, meta: Expr, words: int) -> tuple[Expr, Expr, list[Expr]]:
    """Split dataMeta (SPEC §4.4).

    Returns:
        Selector; length in bytes; for each k in 0..words whether a selector is followed by k words (meaningful for call
        data only). Relies on the contract's word being length * 2^32 + selector with both non-negative.
    """
    selector = from_bits(raw_bits(b, lambda: value(meta) & 0xFFFFFFFF, 32))

    def padded() -> int:
        return (value(meta) >> 32) + 27

    remainder = from_bits(raw_bits(b, lambda: padded() & 31, 5))
    count = flags(b, words + 1, lambda: padded() >> 5)
    b.equal(plus(count), 1)
    # length + 27 = 32 * words + remainder is the ceiling of (length - 4) / 32, and 0 words below 4 bytes.
    length = weighted(count) * 32 + remainder - 27
    b.equal(length * (1 << 32) + selector, meta)
    return selector, length, count


def arguments_hash(b: Builder, record: Record, count: Sequence[Expr]) -> Expr:
    """argsHash of call data (SPEC §4.5): the words that are present follow dataMeta; those that are not are zeros."""
    words = [record.meta, *(x for pair in zip(record.high, record.low, strict=True) for x in pair)]
    state = b.define(total((P(2, (TAG_DATA, 1 + 2 * k)), flag) for k, flag in enumerate(count)))
    states = []
    for at in range(0, len(words), CHUNK):
        state = absorb(b, state, words[at : at + CHUNK])
        states.append(state)
    if len(states) == 1:
        return state
    chunks = [-(-(1 + 2 * k) // CHUNK) for k in range(len(count))]
    ends = [plus(flag for flag, n in zip(count, chunks, strict=True) if n == 1 + i) for i in range(len(states))]
    return b.define(select(b, ends, states))


@dataclass(slots=True, kw_only=True)
class EntryRows:
    """How the rows of one entry end. All are 0 if it has none."""

    pc: Expr
    registers: list[Expr]
    """Both are kept for entries that can be suspended only."""
    out: list[Expr]
    immediate: Expr
    operand: Expr
    xcall: Expr
    tries: Expr
    valued: Expr
    sent: Expr
    """Value of an outgoing call, allowed or not."""
    returns: Expr
    reverts: Expr
    trap: Expr
    steps: Expr
    """Executed in this entry, a trapping one included."""


@dataclass(slots=True, kw_only=True)
class CloseEntry:
    """An entry after its steps: what a later RESULT needs of it."""

    opened: OpenEntry
    steps: Expr
    suspended: Expr
    """1 if it ended in an outgoing call."""
    tries: Expr
    """1 if that tries."""
    frame_hash: Expr
    frames: Expr
    """The frames word of the new root."""
    failed: Expr


def open_entry(
    b: Builder,
    *,
    words: EntryWords,
    enabled: Expr,
    rollup_id: Expr,
    earlier: Sequence[OpenEntry],
    can_suspend: bool,
    hint: EntryHint | None,
) -> OpenEntry:
    """Lay out what an entry starts from."""
    trigger = words.trigger
    place = len(earlier)

    def head(*heads: int) -> int:
        return int(value(enabled) == 1 and value(trigger.head) in heads)

    opaque = b.boolean(lambda: head(_TRY + _OPAQUE))
    trying = b.boolean(lambda: head(_TRY, _TRY + _OPAQUE))
    call: Expr = enabled
    result: Expr = 0
    failure: Expr = 0
    tried: Expr = 0
    if place:
        call = b.boolean(lambda: head(0, _TRY, _TRY + _OPAQUE))
        result, failure = b.boolean(lambda: head(_RESULT)), b.boolean(lambda: head(_RESULT + _FAILED))
        tried = b.boolean(lambda: int(hint is not None and hint.tried))
        b.enforce(tried, 1 - result - failure, 0)
    b.equal(call + result + failure, enabled)
    b.enforce(trying, 1 - call, 0)
    b.enforce(opaque, 1 - trying, 0)
    b.equal(trigger.head, trying * _TRY + opaque * _OPAQUE + (result + failure) * _RESULT + failure * _FAILED)
    # A failed answer ends the frame, or it is one that the frame looks at.
    seen = b.mul(failure, tried)
    failed_result, resumed = failure - seen, result + seen
    replies = flags(b, place, lambda: (value(words.link) >> 1 & 0x7FFF) - 1)
    if replies:
        b.equal(plus(replies), result + failure)

    tree_in, next_in, frames = b.choices(
        3, lambda: (hint.tree_root, hint.next_index, hint.frames) if hint else (0, 0, 0)
    )
    (root,) = b.stamp(poseidon(3), [tree_in, next_in, frames])
    b.enforce(enabled, root - words.pre_root, 0)
    # The tree has depth 8. In a deeper one a node could pass for a leaf.
    to_bits(b, b.mul(enabled, next_in - 1), 2 * MIN_TREE_DEPTH)

    selector, length, count = data_meta(b, trigger.meta, len(trigger.high))
    (code_hash,) = b.choices(1, lambda: (hint.code_hash if hint else 0,))
    fresh = Frame(
        address=trigger.target - rollup_id * (1 << ADDRESS_BITS),
        code_hash=code_hash,
        caller=trigger.source,
        value=trigger.value,
        arguments_hash=arguments_hash(b, trigger, count) if can_suspend else 0,
        selector=selector,
        length=length,
        arguments=[*trigger.high, *trigger.low],
        start_tree=tree_in,
        start_next=next_in,
        parent=frames,
    )
    # DEPLOYER's calls have another meaning, which this circuit does not know.
    _require_other(b, call, fresh.address - DEPLOYER)
    frame = _continued(b, call, fresh, replies, [entry.frame for entry in earlier])
    # One wire: the same as the suspended frame's, or what the account leaf of a CALL says (the circuit ties that).
    for reply, entry in zip(replies, earlier, strict=True):
        b.enforce(reply, code_hash - entry.frame.code_hash, 0)
    b.enforce(enabled, trigger.target - frame.address - rollup_id * (1 << ADDRESS_BITS), 0)

    # What an XTRYV sent comes back if it failed.
    returned = b.mul(seen, select(b, replies, [entry.words.next.value for entry in earlier])) if place else 0
    credit = trigger.value + returned
    account = b.boolean(lambda: int(hint is not None and hint.account))
    b.enforce(1 - account, call, 0)
    b.enforce(1 - account, credit, 0)
    b.enforce(account, 1 - enabled, 0)
    no_code = b.mul(call, is_zero(b, code_hash))
    answers: list[Expr] = [0] * len(fresh.arguments)
    if place:
        answers = [b.mul(resumed, x) for x in (*trigger.high, *trigger.low)]
    return OpenEntry(
        words=words,
        enabled=enabled,
        call=call,
        result=result,
        failed_result=failed_result,
        tried=tried,
        account=account,
        credit=credit,
        replies=replies,
        frames=frames,
        tree_in=tree_in,
        next_in=next_in,
        frame=frame,
        no_code=no_code,
        run=call - no_code + resumed,
        answer=answers,
        answer_length=b.mul(resumed, length) if place else 0,
    )


def _require_other(b: Builder, used: Expr, difference: Expr) -> None:
    """Where `used` is 1 the difference is not 0."""
    b.enforce(
        difference, b.hint(lambda: pow(value(difference), -1, R) if value(used) and value(difference) else 0), used
    )


def _continued(b: Builder, call: Expr, fresh: Frame, replies: Sequence[Expr], earlier: Sequence[Frame]) -> Frame:
    """The fresh frame for a CALL, the chosen earlier one for a RESULT, zeros for an unused place."""
    if not earlier:
        return fresh
    columns = zip(fresh.kept(), *(frame.kept() for frame in earlier), strict=True)
    kept = [select(b, (call, *replies), column) for column in columns]
    words = len(fresh.arguments)
    return Frame(
        address=kept[0],
        code_hash=fresh.code_hash,
        caller=kept[1],
        value=kept[2],
        arguments_hash=kept[3],
        selector=kept[4],
        length=kept[5],
        arguments=kept[6 : 6 + words],
        start_tree=kept[6 + words],
        start_next=kept[7 + words],
        parent=kept[8 + words],
    )


def close_entry(
    b: Builder,
    *,
    entry: OpenEntry,
    rollup_id: Expr,
    last: EntryRows,
    earlier: Sequence[CloseEntry],
    can_suspend: bool,
) -> CloseEntry:
    """Constrain the next action of an entry by the end of its rows."""
    frame, following = entry.frame, entry.words.next
    own = frame.address + rollup_id * (1 << ADDRESS_BITS)
    callee = b.mul(last.xcall, last.operand)
    # A call with value looks at the balance, so the account must be there.
    b.enforce(last.valued, 1 - entry.account, 0)
    suspended = b.mul(_call_allowed(b, callee, last.xcall, rollup_id), _at_most(b, last.sent, entry.balance))
    if not can_suspend:
        b.equal(suspended, 0)
    succeeded = last.returns + entry.no_code
    failed = last.reverts + last.trap + (last.xcall - suspended) + entry.failed_result

    tries, opaque = b.mul(suspended, last.tries), b.boolean(lambda: value(following.head) >> 9 & 1)
    ended = (succeeded + failed) * _RESULT + failed * _FAILED
    b.equal(following.head, ended + tries * _TRY + opaque * _OPAQUE)
    _next_data(b, entry, last, suspended, opaque)
    b.enforce(suspended, callee - frame.caller, following.target - frame.caller)
    b.enforce(entry.enabled, own, following.source)
    b.enforce(suspended, last.sent, following.value)
    b.equal(following.scope, 0)

    # The last place cannot suspend, so nothing needs its hash.
    steps: Expr = 0
    frame_hash: Expr = 0
    for reply, before in zip(entry.replies, earlier, strict=True):
        b.enforce(reply, 1 - before.suspended, 0)
        b.enforce(reply, entry.frames - before.frame_hash, 0)
        b.enforce(reply, entry.tried - before.tries, 0)
    if can_suspend:
        steps = b.define(select(b, entry.replies, [before.steps for before in earlier]) + last.steps)
        frame_hash = _frame_hash(b, frame, last, steps)
    mid_hash = b.mul(suspended, frame_hash - frame.parent)
    nested = b.mul(1 - suspended, 1 - is_zero(b, frame.parent))
    ordinal = total((i + 1, reply) for i, reply in enumerate(entry.replies))
    b.equal(entry.words.link, suspended + nested + 2 * ordinal)
    return CloseEntry(
        opened=entry,
        steps=steps,
        suspended=suspended,
        tries=tries,
        frame_hash=frame_hash,
        frames=frame.parent + mid_hash,
        failed=failed,
    )


def _call_allowed(b: Builder, callee: Expr, xcall: Expr, rollup_id: Expr) -> Expr:
    """1 if the last step is an XCALL to an endpoint of another rollup, 0 if it traps ENDPOINT or is no XCALL."""
    bits = b.stamp(CANONICAL_BITS, [callee])
    in_range = is_zero(b, plus(bits[ENDPOINT_BITS:]))
    own = is_zero(b, from_bits(bits[ADDRESS_BITS:ENDPOINT_BITS]) - rollup_id)
    return b.mul(xcall, b.mul(in_range, 1 - own))


def _at_most(b: Builder, x: Expr, limit: Expr) -> Expr:
    """1 if x <= limit, else 0, for two numbers below 2^128."""
    yes = b.boolean(lambda: int(value(x) <= value(limit)))
    rest = limit - x
    # limit - x, or x - limit - 1.
    to_bits(b, b.mul(yes, 2 * rest + 1) - rest - 1, INT_BITS)
    return yes


def _next_data(b: Builder, entry: OpenEntry, last: EntryRows, suspended: Expr, opaque: Expr) -> None:
    """dataMeta, gas and words of the next action: `imm` of the last instruction says how many out words."""
    following, out = entry.words.next, last.out
    words = len(following.high)
    ends = last.returns + last.reverts

    def count() -> int | None:
        if value(suspended):
            return value(last.immediate) >> 32 & 0xFF
        return value(last.immediate) if value(ends) else None

    sizes = flags(b, words + 1, count)
    b.equal(plus(sizes), ends + suspended)
    size = weighted(sizes)
    low = raw_bits(b, lambda: value(last.immediate) & 0xFFFFFFFF if value(suspended) else 0, 32)
    selector = b.define(from_bits(low))
    b.enforce(ends, last.immediate - size, 0)
    call = selector + size * (1 << 32) + following.gas * (1 << 40) + opaque * (1 << 104)
    b.enforce(suspended, last.immediate - call, 0)
    b.enforce(1 - suspended, opaque, 0)
    b.enforce(1 - suspended, following.gas, 0)
    b.enforce(1 - suspended, selector, 0)
    # length * 2^32 + selector, the length with the selector's four bytes for a call.
    b.enforce(suspended, selector + (4 << 32), following.meta - size * (32 << 32))
    for k in range(words):
        kept = plus(sizes[k + 1 :])
        b.enforce(kept, out[k], following.high[k])
        b.enforce(kept, out[words + k], following.low[k])


def _frame_hash(b: Builder, frame: Frame, last: EntryRows, steps: Expr) -> Expr:
    origin = [b.define(x) for x in (frame.caller, frame.value, frame.arguments_hash)]
    undo = [b.define(x) for x in (frame.start_tree, frame.start_next)]
    # Scope [] and meta: a frame of a CALL that waits for an XCALL or an XTRY, and has called.
    fixed = [b.define(0), b.define(_CALLED + last.tries * _WAITS_XTRY)]
    words = [b.define(frame.address), frame.code_hash, b.define(last.pc), steps, *origin, *undo, *fixed]
    return list_hash(b, TAG_FRAME, [*words, *(b.define(x) for x in last.registers), b.define(frame.parent)])
