"""One entry of a table: what its trigger says, the pre-root that it starts from, the root that it leaves (SPEC §6).

What happens between the two is the part of its stretches (`stretch.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from proving.circuit.builder import Builder, Expr, value
from proving.circuit.poseidon import poseidon

TRY = 1
RESULT = 2
L2TX = 3
FAILED = 256
OPAQUE = 512
REVERT = 4
REVERT_CONTINUE = 5
"""Parts of the first word of a record."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryHint:
    """The three parts of the pre-root."""

    tree_root: int
    next_index: int
    frames: int


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

    def wires(self) -> list[Expr]:
        """All, in a fixed order."""
        return [
            *(self.head, self.target, self.source, self.value, self.gas, self.scope, self.meta),
            *(*self.high, *self.low),
        ]


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
class OpenEntry:
    """An entry before its stretches."""

    words: EntryWords
    enabled: Expr
    call: Expr
    l2tx: Expr
    answer: Expr
    """RESULT."""
    failed: Expr
    """RESULT that failed."""
    unwind: Expr
    """REVERT_CONTINUE."""
    count: Expr
    """nextIndex of the pre-root, how many leaves its tree has."""
    tree: Expr
    next: Expr
    """The tree that the first stretch starts from: the pre-root's, 0 for a REVERT_CONTINUE, which restores another."""
    frames: Expr
    """The frames word of the pre-root."""


def open_entry(
    b: Builder, *, words: EntryWords, enabled: Expr, first: bool, unwinds: bool, transacts: bool, hint: EntryHint | None
) -> OpenEntry:
    """Lay out what an entry starts from.

    Args:
        first: the first entry of a table answers nothing.
        unwinds: whether the circuit has room for reverted scopes.
        transacts: whether the circuit has places for transactions.
    """
    trigger = words.trigger

    def head(*heads: int) -> int:
        return int(value(enabled) == 1 and value(trigger.head) in heads)

    opaque = b.boolean(lambda: head(TRY + OPAQUE))
    trying = b.boolean(lambda: head(TRY, TRY + OPAQUE))
    l2tx = b.boolean(lambda: head(L2TX)) if transacts else 0
    call: Expr = enabled - l2tx
    result: Expr = 0
    failure: Expr = 0
    unwind: Expr = 0
    if not first:
        call = b.boolean(lambda: head(0, TRY, TRY + OPAQUE))
        result, failure = b.boolean(lambda: head(RESULT)), b.boolean(lambda: head(RESULT + FAILED))
        if unwinds:
            unwind = b.boolean(lambda: head(REVERT_CONTINUE))
    b.equal(call + l2tx + result + failure + unwind, enabled)
    b.enforce(trying, 1 - call, 0)
    b.enforce(opaque, 1 - trying, 0)
    calls, answers = trying * TRY + opaque * OPAQUE, (result + failure) * RESULT + failure * FAILED
    b.equal(trigger.head, calls + answers + l2tx * L2TX + unwind * REVERT_CONTINUE)

    tree, following, frames = b.choices(
        3, lambda: (hint.tree_root, hint.next_index, hint.frames) if hint else (0, 0, 0)
    )
    (root,) = b.stamp(poseidon(3), [tree, following, frames])
    b.enforce(enabled, root - words.pre_root, 0)
    return OpenEntry(
        words=words,
        enabled=enabled,
        call=call,
        l2tx=l2tx,
        answer=result + failure,
        failed=failure,
        unwind=unwind,
        count=following,
        tree=b.mul(1 - unwind, tree) if unwinds and not first else tree,
        next=b.mul(1 - unwind, following) if unwinds and not first else following,
        frames=frames,
    )


def close_entry(b: Builder, entry: OpenEntry, *, tree: Expr, following: Expr, frames: Expr) -> None:
    """The new root of an entry is made of these; they are 0 for an unused place."""
    (root,) = b.stamp(poseidon(3), [b.define(x) for x in (tree, following, frames)])
    b.enforce(entry.enabled, root - entry.words.new_root, 0)
