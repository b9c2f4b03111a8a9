"""Refusals of the circuit layer.

CircuitError       PRV-100
├── TierExceeded   PRV-101  the run is right but has no place in this tier: what, needed, available
└── ClaimMismatch  PRV-102  the core says something else than the machine does, so no proof of it exists
"""

from __future__ import annotations

from typing import ClassVar


class CircuitError(Exception):
    """No witness can be made."""

    code: ClassVar[str] = "PRV-100"


class TierExceeded(CircuitError):
    """A run does not fit the tier.

    Attributes:
        reason: stable name of the limit, for example ``TIER_ROWS``.
        what: the limit in words.
        needed: what the run takes.
        available: what the tier has.
    """

    code = "PRV-101"

    def __init__(self, reason: str, what: str, needed: int, available: int) -> None:
        self.reason = reason
        self.what = what
        self.needed = needed
        self.available = available
        super().__init__(f"[{self.code}] {reason}: {what}: {needed} needed, {available} available")


class ClaimMismatch(CircuitError):
    """An entry of the core differs from what the machine does.

    Attributes:
        reason: stable name of what differs, for example ``NEW_ROOT``.
        entry: index in the core.
    """

    code = "PRV-102"

    def __init__(self, reason: str, entry: int) -> None:
        self.reason = reason
        self.entry = entry
        super().__init__(f"[{self.code}] {reason}: entry {entry}")


def check(reason: str, what: str, needed: int, available: int) -> None:
    """Require that something fits.

    Raises:
        TierExceeded: it does not.
    """
    if needed > available:
        raise TierExceeded(reason, what, needed, available)
