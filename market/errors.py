"""Errors of the market.

MarketError               MKT-000
├── InvalidTransition     MKT-001  the event cannot happen in this state
├── BidVoid               MKT-002  a bid does not take part in its auction (a reason says why)
├── Skip                  MKT-003  a request is not bid on (a reason says why)
├── TicketError           MKT-004  amounts that no ticket covers
├── PoolRefused           MKT-006  a ready transaction is not taken into the pool (a reason says why)
└── WindowsError          MKT-007  windows of a lane that no request can have (market.lanes)
"""

from __future__ import annotations

from typing import ClassVar


class MarketError(Exception):
    """An operation that the market's rules refuse. `code` is stable."""

    code: ClassVar[str] = "MKT-000"


class InvalidTransition(MarketError):
    """The event cannot happen in this state; nothing has changed."""

    code = "MKT-001"

    def __init__(self, state: str, event: str) -> None:
        self.state, self.event = state, event
        super().__init__(f"[{self.code}] no {event} in state {state}")


class BidVoid(MarketError):
    """A bid that does not take part.

    Attributes:
        reason: stable word, for example ``UNDECRYPTABLE``.
    """

    code = "MKT-002"

    def __init__(self, reason: str, **values: int) -> None:
        self.reason, self.values = reason, values
        super().__init__(f"[{self.code}] bid void: {reason}" + "".join(f", {k}={v}" for k, v in values.items()))


class Skip(MarketError):
    """A request that this prover does not bid on.

    Attributes:
        reason: stable word, for example ``NO_CAPACITY``.
    """

    code = "MKT-003"

    def __init__(self, reason: str, **values: int) -> None:
        self.reason, self.values = reason, values
        super().__init__(f"[{self.code}] skipped: {reason}" + "".join(f", {k}={v}" for k, v in values.items()))


class TicketError(MarketError):
    """An amount that a ticket does not hold."""

    code = "MKT-004"

    def __init__(self, wanted_wei: int, held_wei: int) -> None:
        self.wanted_wei, self.held_wei = wanted_wei, held_wei
        super().__init__(f"[{self.code}] {wanted_wei} wei wanted, the ticket holds {held_wei}")


class PoolRefused(MarketError):
    """A ready transaction that the pool does not take; nothing has changed.

    Attributes:
        reason: stable word, for example ``POOL_FULL``.
    """

    code = "MKT-006"

    def __init__(self, reason: str, **values: int) -> None:
        self.reason, self.values = reason, values
        super().__init__(f"[{self.code}] not pooled: {reason}" + "".join(f", {k}={v}" for k, v in values.items()))
