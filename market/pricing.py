"""A bid's price and promised time, from the envelope of a request alone, in integers.

A prover never sees the payload before it has won, so it prices the class: how many proofs of which tier, of how much
work. The work bucket is the ceiling of a logarithm, so the price covers the largest table of the bucket.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from market.errors import Skip
from protocol.messages import RequestCommit

PERMILLE: Final = 1_000
MAX_PRICED_WORK_LOG2: Final = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofCost:
    """What one proof of a tier takes on an idle machine."""

    prove_ms: int
    """From the job's start to the proof: witness, check, proof."""
    memory_mib: int
    """Most that the proving process holds, of the host's memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceRule:
    """An operator's exception from the curve."""

    requester: bytes = b""
    """Account of 20 bytes; empty: any."""
    tier: int | None = None
    """None: any."""
    price_permille: int
    """Of what the curve says, before the floor; 0: no bid."""

    def covers(self, requester: bytes, tier: int) -> bool:
        """Whether it is about such a request."""
        return self.requester in (b"", requester) and self.tier in (None, tier)


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A prover's costs: what the operator asks for, and what was measured."""

    wei_per_step: int
    """Price of one machine step of the bucket, wei."""
    wei_per_proof: int
    """Price of one proof beside its steps, wei: a circuit costs its whole size however little runs in it."""
    wei_per_second: int = 0
    """Price of the machine, wei for each second that a proof takes by `costs`."""
    floor_wei: int
    """The least that any bid asks: what collecting the payment costs."""
    margin_permille: int
    """Added to the cost: 100 is a tenth."""
    overhead_ms: int
    """Time for receiving, checking and delivering."""
    costs: Mapping[int, ProofCost]
    """By tier; other tiers are not bid on."""
    rules: tuple[PriceRule, ...] = ()
    """The first that covers a request counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """What a prover asks for and promises."""

    price_wei: int
    eta_ms: int
    memory_mib: int
    """Of all processes of the order: they wait for each other with their witnesses in memory."""


def quote(request: RequestCommit, curve: Curve, *, queued: int, requester: bytes = b"") -> Quote:
    """Price and time for a request.

    Args:
        queued: proofs that must be made before this one; each slows the answer and, as load, raises the price by a
        tenth.
        requester: account of 20 bytes, for the operator's rules.

    Raises:
        Skip: TIER, not on the curve; OPERATOR, a rule says no.
    """
    cost = curve.costs.get(request.tier)
    if cost is None:
        raise Skip("TIER", tier=request.tier)
    rule = next((rule.price_permille for rule in curve.rules if rule.covers(requester, request.tier)), PERMILLE)
    if rule == 0:
        raise Skip("OPERATOR")
    steps = 1 << min(request.work_log2, MAX_PRICED_WORK_LOG2)
    time_wei = -(-curve.wei_per_second * cost.prove_ms // 1000)
    cost_wei = curve.wei_per_step * steps + (curve.wei_per_proof + time_wei) * request.proof_count
    factors = (PERMILLE + 100 * queued) * (PERMILLE + curve.margin_permille) * rule
    asked_wei = -(-cost_wei * factors // PERMILLE**3)  # rounds up
    eta_ms = curve.overhead_ms + cost.prove_ms * (request.proof_count + queued)
    return Quote(
        price_wei=max(curve.floor_wei, asked_wei), eta_ms=eta_ms, memory_mib=cost.memory_mib * request.proof_count
    )


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
