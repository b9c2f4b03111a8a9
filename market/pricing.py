"""A bid's price and promised time, from the envelope of a request alone, in integers.

A prover never sees the payload before it has won, so it prices the class: how many proofs, of how much work. The work
bucket is
the ceiling of a logarithm, so the price covers the largest table of the bucket.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from protocol.messages import RequestCommit

PERMILLE: Final = 1_000
MAX_PRICED_WORK_LOG2: Final = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A prover's calibrated costs."""

    wei_per_step: int
    """Price of one machine step of the bucket, wei."""
    wei_per_proof: int
    """Price of one proof beside its steps, wei: a circuit costs its whole size however little runs in it."""
    floor_wei: int
    """The least that any bid asks: what collecting the payment costs."""
    margin_permille: int
    """Added to the cost: 100 is a tenth."""
    ms_per_proof: int
    """Time of one proof on an idle machine."""
    overhead_ms: int
    """Time for receiving, checking and delivering."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """What a prover asks for and promises."""

    price_wei: int
    eta_ms: int


def quote(request: RequestCommit, curve: Curve, *, queued: int) -> Quote:
    """Price and time for a request.

    Args:
        queued: proofs that must be made before this one; each slows the answer and, as load, raises the price by a
        tenth.
    """
    steps = 1 << min(request.work_log2, MAX_PRICED_WORK_LOG2)
    cost_wei = curve.wei_per_step * steps + curve.wei_per_proof * request.proof_count
    load_permille = PERMILLE + 100 * queued
    asked_wei = -(-cost_wei * load_permille * (PERMILLE + curve.margin_permille) // (PERMILLE * PERMILLE))  # rounds up
    eta_ms = curve.overhead_ms + curve.ms_per_proof * (request.proof_count + queued)
    return Quote(price_wei=max(curve.floor_wei, asked_wei), eta_ms=eta_ms)


def ceiling(seen_wei: Sequence[int], *, max_price_wei: int, attempt: int, last: int, bump_permille: int) -> int:
    """The highest price that one auction of a wish pays.

    The first starts at twice the median of what was paid for the class lately, each further one a bump higher. The last
    allows all that the user does: prices that somebody paid to himself cost time, never the order.

    Args:
        seen_wei: clearing prices of the class, in any order; without any, the limit is the user's.
        max_price_wei: the user's limit.
        attempt: which auction, from 1.
        last: the last that there can be.
    """
    if not seen_wei or attempt >= last:
        return max_price_wei
    limit_wei = 2 * sorted(seen_wei)[len(seen_wei) // 2]
    for _ in range(attempt - 1):
        limit_wei = -(-limit_wei * (PERMILLE + bump_permille) // PERMILLE)
    return min(limit_wei, max_price_wei)
