"""What a stretch shows of the few things that only some stretches do: a transaction's admission, a part of a program.

An L2TX's entry opens with a stretch that runs nothing: the transaction is judged, its nonce used up and its fee
paid. Then its body begins, as a stretch of its own, or a RESULT says that it failed. A call to DEPLOYER is a stretch
that runs nothing, too. They are judged at places that stretches share (`services.py`); here are the wires of a stretch
that say how it came out, 0 for all other stretches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from protocol.constants import ADDRESS_BITS, INT_BITS
from protocol.vm.transactions import HEAD_WORDS
from proving.circuit.builder import Builder, Expr

_SHORTER = 32 * HEAD_WORDS - 4
"""Bytes by which the call data of a body are shorter than its transaction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmissionHint:
    """How a transaction comes out."""

    sender: int
    goes: bool
    forced: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentHint:
    """How a part of a program comes out; zeros if it is refused."""

    deployed: bool
    answer: Sequence[int]
    """hi and lo of two words."""


@dataclass(slots=True, kw_only=True)
class Admission:
    """An L2TX's first stretch."""

    possible: bool
    """Whether the circuit has places for it."""
    admits: Expr
    """1 for one."""
    gas: Expr
    """Of the trigger."""
    sender: Expr
    """Address of the signer."""
    goes: Expr
    """1 if the body begins behind it."""
    forced: Expr
    """1 if it is one of the queue."""


@dataclass(slots=True, kw_only=True)
class Deployment:
    """A call to DEPLOYER."""

    possible: bool
    """Whether the circuit has places for it."""
    deploys: Expr
    """1 for one."""
    deployed: Expr
    """1 if it succeeds."""
    answer: list[Expr]
    """hi and lo of two words if it succeeds."""


NO_ADMISSION = Admission(possible=False, admits=0, gas=0, sender=0, goes=0, forced=0)
NO_DEPLOYMENT = Deployment(possible=False, deploys=0, deployed=0, answer=[0, 0, 0, 0])


def open_admission(b: Builder, *, admits: Expr, gas: Expr, frames: Expr, hint: AdmissionHint | None) -> Admission:
    """Wires of one stretch; `services.admit` ties them to the verdict.

    Args:
        admits: 1 if the stretch is the first of an L2TX's entry.
        gas, frames: of the entry that the stretch starts.
    """
    # A transaction begins on a root on which nothing waits.
    b.enforce(admits, frames, 0)
    wires = b.hints(3, lambda: (hint.sender, int(hint.goes), int(hint.forced)) if hint else (0, 0, 0))
    for wire in wires:
        b.enforce(1 - admits, wire, 0)
    return Admission(possible=True, admits=admits, gas=gas, sender=wires[0], goes=wires[1], forced=wires[2])


def open_deployment(b: Builder, *, deploys: Expr, hint: DeploymentHint | None) -> Deployment:
    """Wires of one stretch; `services.take_programs` ties them to the verdict.

    Args:
        deploys: 1 if the stretch is a call to DEPLOYER.
    """
    deployed, *answer = b.hints(5, lambda: (int(hint.deployed), *hint.answer) if hint else (0,) * 5)
    for wire in (deployed, *answer):
        b.enforce(1 - deploys, wire, 0)
    return Deployment(possible=True, deploys=deploys, deployed=deployed, answer=answer)


def body_call(admission: Admission, meta: Expr, words: Sequence[Expr], rollup_id: Expr) -> list[Expr]:
    """What a transaction's body is called with, as `stretch.Came.wires` has it, less the source's rollup.

    Args:
        meta: dataMeta of the L2TX.
        words: of its data, hi_0.., then lo_0..
    """
    high, low = words[: len(words) // 2], words[len(words) // 2 :]
    own = rollup_id * (1 << ADDRESS_BITS)
    return [
        own + high[5] * (1 << INT_BITS) + low[5],
        admission.sender,
        high[4],
        meta - (_SHORTER << 32) + low[4],
        *(*high[HEAD_WORDS:], *[0] * HEAD_WORDS),
        *(*low[HEAD_WORDS:], *[0] * HEAD_WORDS),
    ]
