"""The agreement of requester and prover, its acknowledgement and receipt, and the settlement bytes (SPEC §8.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from protocol.errors import Reject
from protocol.messages import (
    U8,
    U32,
    U64,
    Address,
    Award,
    AwardedBid,
    Hash32,
    Record,
    RequestCommit,
    Signature,
    Wei96,
)
from protocol.verdicts import WireCode

SETTLEMENT_BYTES: Final = 407


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement(Record):
    """Who proves what for whom, for how much, until when. Fields in EIP-712 order."""

    request_id: Hash32
    rank: U8
    """From 1."""
    requester: Address
    requester_ticket: U32
    prover: Address
    prover_ticket: U32
    payee: Address
    price_wei: Wei96
    bond_wei: Wei96
    statement_commit: Hash32
    payload_commit: Hash32
    family_hash: Hash32
    ack_by: U64
    """Unix seconds, as the next two."""
    deliver_by: U64
    claim_by: U64

    def values(self) -> tuple[int | bytes, ...]:
        """The fields in order."""
        return (
            self.request_id,
            self.rank,
            self.requester,
            self.requester_ticket,
            self.prover,
            self.prover_ticket,
            self.payee,
            self.price_wei,
            self.bond_wei,
            self.statement_commit,
            self.payload_commit,
            self.family_hash,
            self.ack_by,
            self.deliver_by,
            self.claim_by,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Ack(Record):
    """The prover has checked the payload of this commitment and starts."""

    agreement_hash: Hash32
    payload_commit: Hash32
    ack_at: U64


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt(Record):
    """The requester has a valid proof of this core."""

    agreement_hash: Hash32
    core_id: Hash32
    received_at: U64


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement(Record):
    """What a load carries so that the payee is paid: the agreement, both signatures, and the opening of the
    statement."""

    agreement: Agreement
    salt: Hash32
    requester_signature: Signature
    prover_signature: Signature


_WIDTHS: Final = (32, 1, 20, 4, 20, 4, 20, 12, 12, 32, 32, 32, 8, 8, 8)
_INTEGERS: Final = frozenset({1, 3, 5, 7, 8, 12, 13, 14})  # positions of numbers among the agreement's fields


def pack_settlement(settlement: Settlement) -> bytes:
    """The 407 settlement bytes of SPEC §8.2."""
    packed = b"".join(
        value.to_bytes(width, "big") if isinstance(value, int) else value
        for width, value in zip(_WIDTHS, settlement.agreement.values(), strict=True)
    )
    return packed + settlement.salt + settlement.requester_signature + settlement.prover_signature


def unpack_settlement(data: bytes) -> Settlement:
    """The reverse of `pack_settlement`. Raises Reject for another length; signatures are not checked."""
    if len(data) != SETTLEMENT_BYTES:
        raise Reject(WireCode.BAD_AGREEMENT, size=len(data), expected=SETTLEMENT_BYTES)
    cut: list[bytes] = []
    position = 0
    for width in _WIDTHS:
        cut.append(data[position : position + width])
        position += width
    number = {place: int.from_bytes(cut[place], "big") for place in _INTEGERS}
    return Settlement(
        agreement=Agreement(
            request_id=cut[0],
            rank=number[1],
            requester=cut[2],
            requester_ticket=number[3],
            prover=cut[4],
            prover_ticket=number[5],
            payee=cut[6],
            price_wei=number[7],
            bond_wei=number[8],
            statement_commit=cut[9],
            payload_commit=cut[10],
            family_hash=cut[11],
            ack_by=number[12],
            deliver_by=number[13],
            claim_by=number[14],
        ),
        salt=data[position : position + 32],
        requester_signature=data[position + 32 : position + 97],
        prover_signature=data[position + 97 :],
    )


def agreement_of(requester: bytes, request: RequestCommit, rank: int, bid: AwardedBid) -> Agreement:
    """The one agreement that follows from a request and an opened bid: nothing in it is left to choose."""
    return Agreement(
        request_id=request.request_id,
        rank=rank,
        requester=requester,
        requester_ticket=request.requester_ticket,
        prover=bid.prover,
        prover_ticket=bid.opening.prover_ticket,
        payee=bid.opening.payee,
        price_wei=bid.opening.price_wei,
        bond_wei=bid.opening.bond_wei,
        statement_commit=request.statement_commit,
        payload_commit=request.payload_commit,
        family_hash=request.family_hash,
        ack_by=request.ack_by,
        deliver_by=request.deliver_by,
        claim_by=request.claim_by,
    )


def awarded_agreement(requester: bytes, request: RequestCommit, award: Award) -> Agreement:
    """The agreement that an award offers. Raises Reject if its rank names no opening."""
    if not 1 <= award.rank <= len(award.openings):
        raise Reject(WireCode.BAD_OPENINGS, rank=award.rank, openings=len(award.openings))
    return agreement_of(requester, request, award.rank, award.openings[award.rank - 1])
