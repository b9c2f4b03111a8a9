"""Entries of the forced queue (SPEC §4.9): whose turn it is, and when nothing but the cursor changes.

An L2TX with gas 0 has an entry only if it is taken. One with gas 1 + i has one entry whatever it is, if i is the
cursor: what the transaction does, or the skip. Which of the two follows from wires that are provable either way, so no
prover can skip a transaction that is one.
"""

from __future__ import annotations

from dataclasses import dataclass

from proving.circuit.bits import is_zero
from proving.circuit.builder import Builder, Expr


@dataclass(slots=True, kw_only=True)
class Turn:
    """What the queue has to do with an L2TX."""

    forced: Expr
    """1 if it is one of the queue: then the leaf NS_QUEUE is looked at and changed."""
    cursor_after: Expr


def take_turn(b: Builder, *, used: Expr, gas: Expr, cursor: Expr) -> Turn:
    """Constrain a forced transaction to be the next of its queue.

    Args:
        used: 1 if there is an L2TX, else 0.
        gas: 0, or 1 + its number in the queue.
        cursor: v0 of the leaf NS_QUEUE, 0 if absent.
    """
    forced = b.mul(used, 1 - is_zero(b, gas))
    b.enforce(forced, gas - 1 - cursor, 0)
    return Turn(forced=forced, cursor_after=cursor + 1)


def is_skipped(b: Builder, *, used: Expr, forced: Expr, taken: Expr, left: Expr) -> Expr:
    """1 if an L2TX is skipped. An ordinary one that is not taken has no entry, so it is refused here.

    Args:
        used: 1 if there is an L2TX.
        forced: of `take_turn`.
        taken: 1 if its body begins.
        left: 1 if the body ended in a call out of the rollup, and so not in a RESULT.
    """
    b.enforce(used - forced, 1 - taken, 0)
    return b.mul(forced, 1 - b.mul(taken, 1 - left))
