"""What a loop keeps of an order between steps, as bytes in the store: names of documents and secrets, and their
forms."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import msgpack  # type: ignore[import-untyped]

from node.ports import PlannedTable
from protocol.agreement import Agreement, Settlement, agreement_of, by_key, pack_settlement, unpack_amend
from protocol.codec import decode_body, encode_body
from protocol.messages import Award, AwardedBid, BidOpening, RequestCommit
from protocol.payload import payload_commit

# documents
REQUEST: Final = "request"  # 20 bytes of the requester's address, then the body of its REQUEST_COMMIT
AWARD: Final = "award"  # body of AWARD
AGREED: Final = "agreed"  # hash of the agreement that we countersigned
ACCEPT: Final = "accept"  # the prover's signature of the agreement
BOX: Final = "box"  # the sealed payload
ACK: Final = "ack"  # body of PROVER_ACK
DELIVERY: Final = "delivery"  # body of PROOF_DELIVERY
RECEIPT: Final = "receipt"  # body of DELIVERY_RECEIPT
RELEASE: Final = "release"  # frame of the KEY_RELEASE whose payload we took
DECLINE: Final = "decline"  # the packed decline that both signed
AMEND: Final = "amend"  # the packed amend that both signed last; empty for none
AMEND_OFFER: Final = "amend-offer"  # body of our own AMEND; of a prover: the first statement that it was told
BROKEN: Final = "broken"  # core id and settlement that the promised ticket paid instead
TRIED: Final = "amends-tried"  # one byte
ORIGIN: Final = "origin"  # id of the command that asked for the order
LANE: Final = "lane"  # its name, ASCII
BID: Final = "bid"  # body of our own BID_COMMIT
# secrets
PLAN: Final = "plan"
SEAL: Final = "seal"  # 32 bytes of an X25519 private key
OPENING: Final = "opening"  # our own bid's opening
PAYLOAD: Final = "payload"
INTENT: Final = "intent"  # what the user wished, for planning it again; may be empty
ROUND: Final = "round"  # which auction of the wish, and its price limit
NEXT_PLAN: Final = "next-plan"  # the plan of an amend that is not signed by both
TABLE: Final = "table"  # salt and transaction of a ready table


def pack_plan(plan: PlannedTable) -> bytes:
    """A planned table for the vault; read back by this program only."""
    # Numbers as text: wei may exceed the 64 bits of msgpack.
    values = [getattr(plan, name) for name in PlannedTable.__slots__]
    packed: bytes = msgpack.packb([str(value) if isinstance(value, int) else value for value in values])
    return packed


def unpack_plan(data: bytes) -> PlannedTable:
    """The reverse of `pack_plan`."""
    packed: list[Any] = msgpack.unpackb(data)
    values: list[Any] = [int(value) if isinstance(value, str) else value for value in packed]
    return PlannedTable(**dict(zip(PlannedTable.__slots__, values, strict=True)))


def pack_request(requester: bytes, request: RequestCommit) -> bytes:
    """The REQUEST document."""
    return requester + encode_body(request)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deal:
    """A request and the award of one of its bids."""

    requester: bytes
    request: RequestCommit
    award: Award

    @property
    def agreement(self) -> Agreement:
        """What both sign."""
        return agreement_of(self.requester, self.request, self.award.rank, self.winner)

    @property
    def agreement_hash(self) -> bytes:
        """Its digest; whoever stored the award has checked it."""
        return self.award.agreement_hash

    @property
    def winner(self) -> AwardedBid:
        """The awarded bid."""
        return self.award.openings[self.award.rank - 1]

    @property
    def opening(self) -> BidOpening:
        """Its opening."""
        return self.winner.opening


def unpack_request(data: bytes) -> tuple[bytes, RequestCommit]:
    """(requester, request) of a REQUEST document."""
    return data[:20], decode_body(RequestCommit, data[20:])


def unpack_deal(request: bytes, award: bytes) -> Deal:
    """The deal in a REQUEST and an AWARD document."""
    requester, message = unpack_request(request)
    return Deal(requester=requester, request=message, award=decode_body(Award, award))


def amended(request: RequestCommit, statement: bytes, payload: bytes) -> RequestCommit:
    """A request as it would have been for the table of an amend: the same envelope, other commitments."""
    return replace(request, statement_commit=statement, payload_commit=payload_commit(payload))


def settlement_of(deal: Deal, salt: bytes, accepted: bytes, amend: bytes | None) -> bytes:
    """What L1 reads the agreement of a deal from.

    Args:
        salt: opens its statement.
        accepted: the prover's signature.
        amend: the packed amend that both signed last; None or empty if there is none.
    """
    return pack_settlement(
        Settlement(
            agreement=deal.agreement,
            salt=salt,
            requester_signature=by_key(deal.award.requester_signature),
            prover_signature=by_key(accepted),
            amend=unpack_amend(amend) if amend else None,
        )
    )
