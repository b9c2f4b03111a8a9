"""What it costs a requester to withdraw an order, stage by stage (SPEC §10)."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from market.lifecycle import State


class CancelPrice(StrEnum):
    """What can still be owed once an order is withdrawn. The values are what `unveto cancel` says."""

    NOTHING = "nothing"
    """Nobody was promised anything; the ticket is free at once."""
    TICKET_TIME = "ticket-until-claim-by"
    """The price can not be claimed, since the payload never leaves; the ticket stays promised until claimBy."""
    PRICE_IF_ACKED = "price-if-it-acknowledges-and-proves"
    """The payload may be with a prover: its Ack and proof would still be owed the price."""
    PRICE_IF_PROVEN = "price-if-it-proves"
    """There is an Ack: a proof is owed the price; no proof costs the prover its bond, as ever."""
    PRICE = "price"
    """A valid proof is there: its prover claims the price."""


PRICES: Final[Mapping[State, CancelPrice]] = MappingProxyType(
    {
        State.DRAFT: CancelPrice.NOTHING,
        State.COMMITTED: CancelPrice.NOTHING,
        State.CLOSED: CancelPrice.NOTHING,
        State.AWARDED: CancelPrice.TICKET_TIME,
        State.ACCEPTED: CancelPrice.TICKET_TIME,
        State.KEYED: CancelPrice.PRICE_IF_ACKED,
        State.LAPSED: CancelPrice.PRICE_IF_ACKED,
        State.PROVING: CancelPrice.PRICE_IF_PROVEN,
        State.AMENDING: CancelPrice.PRICE_IF_PROVEN,
        State.AMENDED: CancelPrice.PRICE_IF_PROVEN,
        State.DEFAULTED: CancelPrice.PRICE_IF_PROVEN,
        State.VERIFIED: CancelPrice.PRICE,
    }
)
"""Every state in which an order can be withdrawn; in all others it is too late, or over."""
