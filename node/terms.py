"""What the configuration says about auctions, in the units of the loops."""

from __future__ import annotations

from market.lanes import Lane, Windows, windows_in_slots
from node.config import NodeConfig
from protocol.messages import MAX_OPENINGS


def lane_windows(config: NodeConfig) -> dict[Lane, Windows]:
    """The windows of every lane, as configured.

    Raises:
        WindowsError: no request can have them.
    """
    auction = config.requester.auction
    found = {}
    for lane in Lane:
        section = getattr(auction, lane.value)
        found[lane] = windows_in_slots(
            lane,
            slot_ms=config.chain.slot_ms,
            standbys=min(auction.standbys, MAX_OPENINGS - 1),
            bid=section.bid,
            accept=section.accept,
            ack=section.ack,
            prove=section.prove,
            margin=section.margin,
            claim=section.claim,
        )
    return found
