"""Arithmetic of escrow tickets: what becomes of a ticket's wei, with the law that none appears or vanishes (SPEC
§8.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from market.errors import TicketError


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """What becomes of the wei of one ticket."""

    to_counterparty_wei: int
    """The payee's price, or the requester's bond."""
    to_owner_wei: int
    """Back to the ticket's owner."""


def conserved(held_wei: int, split: Split) -> bool:
    """The law: every wei of the ticket goes to exactly one side, and none below zero."""
    return (
        split.to_counterparty_wei >= 0
        and split.to_owner_wei >= 0
        and split.to_counterparty_wei + split.to_owner_wei == held_wei
    )


def split(held_wei: int, wanted_wei: int) -> Split:
    """A ticket of `held_wei` pays `wanted_wei` (a price in settlement, a bond in a slash) and gives back the rest.

    Raises:
        TicketError: it holds less.
    """
    if not 0 <= wanted_wei <= held_wei:
        raise TicketError(wanted_wei, held_wei)
    result = Split(to_counterparty_wei=wanted_wei, to_owner_wei=held_wei - wanted_wei)
    assert conserved(held_wei, result)
    return result


PROMISED_PART: Final = 2


def promise_limit(ticket_wei: int) -> int:
    """The most that a promise on a ticket is worth: half of its class, which is what breaking it costs (SPEC §8.2)."""
    return ticket_wei // PROMISED_PART


def highest_payable(promised_wei: int, max_price_wei: int) -> int:
    """The highest price that the requester will and can pay.

    Args:
        promised_wei: the most that a promise on its ticket is worth.
    """
    return min(promised_wei, max_price_wei)
