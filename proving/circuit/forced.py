"""Entries of the forced queue (SPEC §4.9): whose turn it is, and when nothing but the cursor changes.

An L2TX with gas 0 has an entry only if it is taken. One with gas 1 + i has one entry whatever it is, if i is the
cursor: what the transaction does, or the skip. Which of the two follows from a verdict that is provable either way, so
no prover can skip a transaction that is one.
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


def require_taken(b: Builder, *, used: Expr, forced: Expr, taken: Expr) -> None:
    """An ordinary transaction that is not taken has no entry; a forced one is skipped then, and only then.

    Args:
        used: 1 if there is an L2TX.
        forced: of `take_turn`.
        taken: 1 if it is one, with the right nonce and its fee.
    """
    b.enforce(used - forced, 1 - taken, 0)
