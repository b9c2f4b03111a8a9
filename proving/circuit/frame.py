"""What a frame keeps, what is hashed of it when it is suspended, and the data that it begins with (SPEC §4.4, §4.5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from protocol.constants import TAG_DATA, TAG_FRAME, TAG_UNWIND
from protocol.vm.poseidon import P
from proving.circuit.bits import flags, from_bits, raw_bits, select, weighted
from proving.circuit.builder import Builder, Expr, plus, total, value
from proving.circuit.list_hash import CHUNK, absorb, list_hash


@dataclass(slots=True, kw_only=True)
class Frame:
    """What does not change while a frame runs. All are single wires or their combinations."""

    address: Expr
    code_hash: Expr
    caller: Expr
    value: Expr
    selector: Expr
    length: Expr
    arguments: list[Expr]
    """hi_0.., then lo_0.."""
    start_tree: Expr
    start_next: Expr

    def kept(self) -> list[Expr]:
        """All but the code hash, in a fixed order."""
        return [
            *(self.address, self.caller, self.value, self.selector, self.length),
            *(*self.arguments, self.start_tree, self.start_next),
        ]


def continued(b: Builder, fresh: Frame, begins: Expr, resumes: Sequence[Expr], earlier: Sequence[Frame]) -> Frame:
    """The fresh frame if one begins, the chosen earlier one if that goes on, else zeros."""
    if not earlier:
        return fresh
    columns = zip(fresh.kept(), *(frame.kept() for frame in earlier), strict=True)
    kept = [select(b, (begins, *resumes), column) for column in columns]
    words = len(fresh.arguments)
    return Frame(
        address=kept[0],
        code_hash=fresh.code_hash,
        caller=kept[1],
        value=kept[2],
        selector=kept[3],
        length=kept[4],
        arguments=kept[5 : 5 + words],
        start_tree=kept[5 + words],
        start_next=kept[6 + words],
    )


def data_meta(b: Builder, meta: Expr, words: int) -> tuple[Expr, Expr]:
    """Split dataMeta (SPEC §4.4) into selector and length in bytes.

    Relies on a word that is length * 2^32 + selector, with both non-negative and a length for at most `words` words.
    """
    selector = from_bits(raw_bits(b, lambda: value(meta) & 0xFFFFFFFF, 32))
    length = from_bits(raw_bits(b, lambda: value(meta) >> 32, (4 + 32 * words).bit_length()))
    b.equal(length * (1 << 32) + selector, meta)
    return selector, length


def _present(b: Builder, length: Expr, words: int) -> list[Expr]:
    """For each k in 0..words whether call data of some length has k words behind the selector."""
    remainder = from_bits(raw_bits(b, lambda: value(length) + 27 & 31, 5))
    count = flags(b, words + 1, lambda: value(length) + 27 >> 5)
    b.equal(plus(count), 1)
    # length + 27 = 32 * words + remainder is the ceiling of (length - 4) / 32, and 0 words below 4 bytes.
    b.equal(weighted(count) * 32 + remainder - 27, length)
    return count


@dataclass(slots=True, kw_only=True)
class Suspended:
    """What is hashed of a suspended frame, but for the words of its arguments."""

    frame: Frame
    pc: Expr
    steps: Expr
    scope: Expr
    meta: Expr
    """origin, waits, called, children (SPEC §4.5)."""
    registers: list[Expr]
    parent: Expr

    def columns(self) -> list[Expr]:
        """All, in a fixed order."""
        frame = self.frame
        return [
            *(frame.address, frame.code_hash, self.pc, self.steps, frame.caller, frame.value),
            *(frame.start_tree, frame.start_next, self.scope, self.meta, *self.registers, self.parent),
            *(frame.selector, frame.length, *frame.arguments),
        ]


def frame_hash(b: Builder, chosen: Sequence[Expr], frames: Sequence[Suspended]) -> Expr:
    """The hash of the chosen one of some suspended frames, of anything if none is chosen.

    Args:
        chosen: a flag for each, of which at most one is 1.
    """
    x = [select(b, chosen, column) for column in zip(*(frame.columns() for frame in frames), strict=True)]
    start, words = len(frames[0].registers) + 11, len(frames[0].frame.arguments) // 2
    selector, length, arguments = x[start], x[start + 1], x[start + 2 :]
    count = _present(b, length, words)
    # The words that are present follow dataMeta.
    first = _start(b, TAG_DATA, count, 1)
    pairs = _pairs(arguments)
    present = [1 + 2 * k for k in range(len(count))]
    data = _absorb_present(b, first, [length * (1 << 32) + selector, *pairs], count, present)
    head, tail = [b.define(y) for y in x[:6]], [b.define(y) for y in x[6:start]]
    return list_hash(b, TAG_FRAME, [*head, data, *tail])


def unwind_hash(b: Builder, scope: Expr, meta: Expr, words: Sequence[Expr], below: Expr) -> Expr:
    """The frames word while a scope is undone (SPEC §4.6).

    Args:
        meta: dataMeta of the data that the frame failed with: whole words.
        words: hi_0.., then lo_0.. of the data; zeros behind it.
        below: the frames word below the frame.
    """
    count = flags(b, len(words) // 2 + 1, lambda: value(meta) >> 37)
    b.equal(plus(count), 1)
    b.equal(weighted(count) * (32 << 32), meta)
    # What lies below follows the words that are present.
    places = [b.mul(flag, below) for flag in count]
    body = [*_pairs(words), 0]
    body = [x + places[i // 2] if i % 2 == 0 else x for i, x in enumerate(body)]
    present = [3 + 2 * k for k in range(len(count))]
    return _absorb_present(b, _start(b, TAG_UNWIND, count, 3), [scope, meta, *body], count, present)


def _pairs(words: Sequence[Expr]) -> list[Expr]:
    """hi_0, lo_0, hi_1, .. of hi_0.., then lo_0..."""
    half = len(words) // 2
    return [x for pair in zip(words[:half], words[half:], strict=True) for x in pair]


def _start(b: Builder, tag: int, count: Sequence[Expr], fixed: int) -> Expr:
    """Start of the list hash of `fixed` words and 2 k more where count[k] is 1."""
    return b.define(total((P(2, (tag, fixed + 2 * k)), flag) for k, flag in enumerate(count)))


def _absorb_present(
    b: Builder, state: Expr, words: Sequence[Expr], count: Sequence[Expr], present: Sequence[int]
) -> Expr:
    """The first present[k] words where count[k] is 1; the others are 0."""
    for at in range(0, len(words), CHUNK):
        after = absorb(b, state, [b.define(x) for x in words[at : at + CHUNK]])
        more = plus(flag for flag, n in zip(count, present, strict=True) if n > at)
        state = b.mul_add(more, after - state, state) if at else after
    return state
