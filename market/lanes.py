"""Lanes: how long each step of an order may take, when its table is fixed, and which lane suits a table (SPEC §10).

Windows are given in thousandths of a slot, so that a chain with other slots needs no other numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from market.errors import MarketError
from protocol.constants import MAX_TERM
from protocol.messages import RequestCommit

MILLI: Final = 1_000
STALE_PERMILLE: Final = 250
"""A lane is taken if fewer than this many thousandths of a move of a root are to be expected while it lasts."""


class Lane(StrEnum):
    """How an order is timed."""

    RELAXED = "relaxed"
    """Long windows, so that every prover can bid; the table is fixed with the request."""
    STANDARD = "standard"
    """The auction takes part of a slot; the table is fixed with the request."""
    EXPRESS = "express"
    """The shortest windows, for provers that make a proof within a slot; a stale table is not planned again."""
    CAPACITY = "capacity"
    """The request names no table: the first one is signed when the payload is released."""


SLOWEST_FIRST: Final = (Lane.RELAXED, Lane.STANDARD, Lane.EXPRESS)
"""Lanes whose table is fixed with the request."""

AMENDS: Final[Mapping[Lane, int]] = {Lane.RELAXED: 2, Lane.STANDARD: 2, Lane.EXPRESS: 0, Lane.CAPACITY: 5}
"""How many StatementAmends a requester makes for one order; in the capacity lane the first names the table."""
HEADROOM_LOG2: Final = 1
"""By how much the buckets of a request for capacity exceed those of the table that was planned with it."""
MAX_AMENDS: Final = max(count for lane, count in AMENDS.items() if lane is not Lane.CAPACITY)
"""How many a prover signs where the request named the table."""


class WindowsError(MarketError):
    """Windows that no request can have."""

    code = "MKT-007"

    def __init__(self, lane: Lane, problem: str) -> None:
        self.lane, self.problem = lane, problem
        super().__init__(f"[{self.code}] lane {lane.value}: {problem}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """The windows of one lane, milliseconds."""

    bid_ms: int
    """From the request to the end of bids."""
    accept_ms: int
    """From then on for the countersignature."""
    ack_ms: int
    """From then on for the Ack."""
    prove_ms: int
    """From the countersignature to the delivery."""
    margin_ms: int
    """How long before a rank must deliver the next one is called."""
    claim_s: int
    """From the delivery of the last rank to claimBy, seconds."""

    @property
    def span_ms(self) -> int:
        """From planning to the last moment at which the table can still be what was planned."""
        return self.bid_ms + self.accept_ms + self.prove_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """The times of one request, by which its agreements are made."""

    bid_close_ms: int
    award_by_ms: int
    accept_by_ms: int
    ack_by: int
    deliver_by: int
    claim_by: int
    standby_step_s: int


def windows_in_slots(
    lane: Lane, *, slot_ms: int, bid: int, accept: int, ack: int, prove: int, margin: int, claim: int, standbys: int
) -> Windows:
    """Windows from thousandths of a slot.

    Args:
        slot_ms: length of a slot.
        standbys: how many runners-up are engaged: each lengthens the term.

    Raises:
        WindowsError: one is zero, or all together exceed what the market contract allows.
    """
    named = {"slot_ms": slot_ms, "bid": bid, "accept": accept, "ack": ack, "prove": prove, "claim": claim}
    for name, value in named.items():
        if value < 1:
            raise WindowsError(lane, f"{name} must be at least 1")
    windows = Windows(
        bid_ms=bid * slot_ms // MILLI,
        accept_ms=accept * slot_ms // MILLI,
        ack_ms=ack * slot_ms // MILLI,
        prove_ms=prove * slot_ms // MILLI,
        margin_ms=margin * slot_ms // MILLI,
        claim_s=claim * slot_ms // MILLI // 1000,
    )
    if windows.bid_ms < 1 or windows.accept_ms < 2 or windows.claim_s < 1:
        raise WindowsError(lane, "a window is shorter than a millisecond, or claims than a second")
    due = due_times(windows, now_ms=0, standbys=standbys)
    if due.claim_by > MAX_TERM:
        raise WindowsError(lane, f"the windows last {due.claim_by} s, the market allows {MAX_TERM}")
    return windows


def due_times(windows: Windows, *, now_ms: int, standbys: int) -> Due:
    """When each step of a request made now is due."""
    bid_close_ms = now_ms + windows.bid_ms
    accept_by_ms = bid_close_ms + windows.accept_ms
    ack_by = -(-(accept_by_ms + windows.ack_ms) // 1000)
    deliver_by = max(ack_by, -(-(accept_by_ms + windows.prove_ms) // 1000))
    step_s = max(0, windows.prove_ms - windows.margin_ms) // 1000
    return Due(
        bid_close_ms=bid_close_ms,
        award_by_ms=bid_close_ms + windows.accept_ms // 2,
        accept_by_ms=accept_by_ms,
        ack_by=ack_by,
        deliver_by=deliver_by,
        claim_by=deliver_by + standbys * step_s + windows.claim_s,
        standby_step_s=step_s,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Churn:
    """How often the roots of a table have moved lately."""

    moves: int
    """How many moves of any of them were seen."""
    seen_ms: int
    """For how long one has looked."""


def choose_lane(churn: Churn, windows: Mapping[Lane, Windows]) -> Lane:
    """The slowest lane in which the table will most likely still be good when it is proven; else the capacity lane.

    Slow lanes reach more provers, so they are cheaper. Who has looked for less time than a lane lasts knows nothing of
    that lane yet, and does not take a slower one than the standard lane.
    """
    for lane in SLOWEST_FIRST:
        span_ms = windows[lane].span_ms
        if lane is Lane.RELAXED and churn.seen_ms < span_ms:
            continue
        # moves / seen_ms * span_ms < STALE_PERMILLE / 1000, in integers
        if churn.moves * span_ms * MILLI < STALE_PERMILLE * max(churn.seen_ms, span_ms):
            return lane
    return Lane.CAPACITY


def is_capacity(request: RequestCommit) -> bool:
    """Whether a request names no table yet (SPEC §8.2)."""
    return not any(request.statement_commit)


def amends_signed(request: RequestCommit) -> int:
    """How many StatementAmends a prover signs for a request at most."""
    return AMENDS[Lane.CAPACITY] if is_capacity(request) else MAX_AMENDS
