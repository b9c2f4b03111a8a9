"""Whether a prover bids on a request at all. Every reason to skip has a stable word."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from market.errors import Skip
from market.lifecycle import CLAIM_AFTER_S
from market.pricing import Quote
from protocol.agreement import rank_times
from protocol.messages import RequestCommit

MIN_CLAIM_S: Final = 2 * CLAIM_AFTER_S  # a claim needs time to be sent and included
MAX_HELD_MS: Final = 900_000  # a bid keeps a slot and a ticket for nothing until the last runner-up's ackBy
MIN_BID_MS: Final = 100  # what sealing and gossip take at the least


@dataclass(frozen=True, slots=True, kw_only=True)
class Capability:
    """What a prover can do at the moment."""

    systems: frozenset[bytes]
    """`systemsHash`es of the locksets for which it can prove."""
    tiers: frozenset[int]
    free_slots: int
    """Orders that it can take on beside those that it works on, has won or has bid for."""
    free_memory_mib: int
    """Host memory that those leave."""
    max_size_log2: int
    """Largest payload that it takes."""
    bond_wei: int
    """The most that a promise on its free bond ticket is worth, half of its class; 0 for none."""


def admit(
    request: RequestCommit,
    capability: Capability,
    offer: Quote,
    *,
    ticket_wei: int | None,
    now_ms: int,
    is_refused: bool = False,
) -> None:
    """Raises Skip unless a bid makes sense.

    Args:
        ticket_wei: the most that a promise on the requester's ticket is worth, None if it is not free.
        is_refused: whether the requester's standing with us is too low (`market.standing`).

    Raises:
        Skip: STANDING, FAMILY, TIER, SIZE, NO_CAPACITY, NO_MEMORY, NO_BOND, NO_TICKET, TICKET_TOO_SMALL, CLOSED,
            TOO_SLOW, TOO_LONG or CLAIM_WINDOW.
    """
    if is_refused:
        raise Skip("STANDING")
    if request.systems_hash not in capability.systems:
        raise Skip("FAMILY")
    if request.tier not in capability.tiers:
        raise Skip("TIER", tier=request.tier)
    if request.size_log2 > capability.max_size_log2:
        raise Skip("SIZE", size_log2=request.size_log2, limit=capability.max_size_log2)
    if capability.free_slots < 1:
        raise Skip("NO_CAPACITY")
    if offer.memory_mib > capability.free_memory_mib:
        raise Skip("NO_MEMORY", needed_mib=offer.memory_mib, free_mib=capability.free_memory_mib)
    if capability.bond_wei < request.bond_min_wei or capability.bond_wei == 0:
        raise Skip("NO_BOND", held_wei=capability.bond_wei, wanted_wei=request.bond_min_wei)
    if ticket_wei is None:
        raise Skip("NO_TICKET", ticket=request.requester_ticket)
    if ticket_wei < offer.price_wei:
        raise Skip("TICKET_TOO_SMALL", ticket_wei=ticket_wei, price_wei=offer.price_wei)
    if now_ms + MIN_BID_MS > request.bid_close_ms:
        raise Skip("CLOSED", bid_close_ms=request.bid_close_ms)
    if request.accept_by_ms + offer.eta_ms > request.deliver_by * 1000:
        raise Skip("TOO_SLOW", eta_ms=offer.eta_ms)
    if (last_ack_by := rank_times(request, 1 + request.standbys)[0]) * 1000 > now_ms + MAX_HELD_MS:
        raise Skip("TOO_LONG", ack_by=last_ack_by)
    if request.claim_by - request.deliver_by < MIN_CLAIM_S:
        raise Skip("CLAIM_WINDOW", claim_by=request.claim_by, deliver_by=request.deliver_by)
