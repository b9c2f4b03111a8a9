"""Clearing prices that this node has seen awarded since it started: what the next request need not exceed at first."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from node.ports import Gossip
from protocol.codec import decode_body
from protocol.gossip_memory import KnownRequest
from protocol.messages import Award, MessageId, RequestCommit

KEPT: Final = 64  # prices of one class
MAX_CLASSES: Final = 256  # the class that was seen longest ago makes room

PriceClass = tuple[int, int, int]
"""Tier, number of proofs, work bucket: what a bid's price follows from."""


def class_of(request: RequestCommit) -> PriceClass:
    """What a request's price follows from."""
    return request.tier, request.proof_count, request.work_log2


class ClearingPrices:
    """Reads awards. Bounded; nothing is stored: a price of last week says little."""

    def __init__(self, gossip: Gossip, known: Callable[[bytes], KnownRequest | None]) -> None:
        """
        Args:
            known: a live request by its id, as the validator remembers it.
        """
        self._gossip = gossip
        self._known = known
        self._seen: dict[PriceClass, deque[int]] = {}

    def seen(self, wanted: PriceClass) -> tuple[int, ...]:
        """Prices of a class in wei, oldest first."""
        return tuple(self._seen.get(wanted, ()))

    def add(self, seen: PriceClass, price_wei: int) -> None:
        """Remembers a price."""
        prices = self._seen.pop(seen, None)
        if prices is None:
            prices = deque(maxlen=KEPT)
            if len(self._seen) >= MAX_CLASSES:
                del self._seen[next(iter(self._seen))]
        prices.append(price_wei)
        self._seen[seen] = prices

    async def serve(self) -> None:
        """Reads until cancelled."""
        async for frame in self._gossip.frames("award"):
            if frame[4] != MessageId.AWARD:
                continue
            award = decode_body(Award, frame[80:-65])
            known = self._known(award.request_id)
            if known is not None and award.rank == 1:
                self.add(class_of(known.request), award.openings[0].opening.price_wei)
