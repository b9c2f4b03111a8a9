"""What one's own orders say about a counterparty: local, decayed, and enough to be left out (SPEC §10).

Nothing here is heard from others but evidence that proves itself. An outcome counts as much as it cost: a late
countersignature little, an Ack without a proof a lot.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from market.lifecycle import Event, State
from protocol.faults import FaultKind

HALF_LIFE_MS: Final = 7 * 86_400_000
LOOK_BACK_MS: Final = 8 * HALF_LIFE_MS  # what is older weighs less than a two hundred and fiftieth
LIMIT_MILLI: Final = -5_000
"""Below it a counterparty is not dealt with."""

OF_PROVERS: Final[Mapping[Event, int]] = MappingProxyType(
    {
        Event.PAYMENT_SEEN: 1_000,
        Event.CHOSEN: 1_000,
        Event.ACCEPT_TIMEOUT: -500,
        Event.ACK_TIMEOUT: -500,
        Event.DECLINE_RECEIVED: -500,
        Event.PROOF_INVALID: -6_000,
        Event.PROOF_TIMEOUT: -6_000,
    }
)
"""Thousandths for what a requester saw a prover do."""

OF_REQUESTERS: Final[Mapping[State, int]] = MappingProxyType(
    {
        State.EARNED: 1_000,
        State.RELEASED: -250,  # an award without a payload; a runner-up that was let go does not count
        State.DISPUTED: -2_000,  # a strike: three within days are enough
        State.UNPAID: -6_000,
        State.WRONGED: -50_000,
    }
)
"""Thousandths for what a prover saw a requester do, by the state that its order came to."""

PASSED_OVER: Final = 100
"""Kind of a fault that no message proves: an award before which this node had seen a better bid in time."""

OF_FAULTS: Final[Mapping[int, int]] = MappingProxyType(
    {
        FaultKind.TICKET_TWICE: -50_000,
        FaultKind.DOUBLE_AWARD: -50_000,
        FaultKind.BID_IGNORED: -2_000,  # it may have had reasons, such as that prover's standing with it
        FaultKind.NO_PROOF: -6_000,
        FaultKind.BAD_PROOF: -6_000,
        FaultKind.WRONG_SIZE: -2_000,
        FaultKind.BROKEN_ENVELOPE: -2_000,
        PASSED_OVER: -1_000,
    }
)
"""Thousandths for what is proven of somebody, by the kind of the fault."""

HARMLESS: Final = frozenset({"NOT_NEEDED", "OUTRUN", "DELIVERED_UNPAID"})
"""Reasons of ends that are nobody's fault."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One thing that a counterparty did."""

    account: bytes
    weight_milli: int
    at_ms: int


def standing(outcomes: Iterable[Outcome], account: bytes, now_ms: int) -> int:
    """Thousandths: the sum of the account's outcomes, each halved every HALF_LIFE_MS, linearly in between."""
    total = 0
    for outcome in outcomes:
        if outcome.account != account:
            continue
        halvings, rest_ms = divmod(max(0, now_ms - outcome.at_ms), HALF_LIFE_MS)
        whole = abs(outcome.weight_milli) >> halvings
        left = whole - whole * rest_ms // (2 * HALF_LIFE_MS)
        total += left if outcome.weight_milli > 0 else -left
    return total


def is_shunned(faults: Iterable[tuple[bytes, int, int]], account: bytes, now_ms: int) -> bool:
    """Whether what is proven of an account is enough to cut the peers that speak for it.

    Only evidence counts: what this node's own orders say is its own affair, and a matter of whom it deals with.

    Args:
        faults: (account, kind, at_ms).
    """
    proven = (Outcome(account=who, weight_milli=OF_FAULTS[kind], at_ms=at_ms) for who, kind, at_ms in faults)
    return standing(proven, account, now_ms) < LIMIT_MILLI
