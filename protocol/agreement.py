"""The agreement of requester and prover, what both sign about it later, and the settlement bytes (SPEC §8.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from protocol.constants import CLAIM_GRACE, MAX_CONTRACT_SIGNATURE, TICKET_UNIT
from protocol.errors import Reject
from protocol.fields import (
    U8,
    U16,
    U32,
    U64,
    Address,
    Hash32,
    Record,
    Wei96,
)
from protocol.hashing import keccak256
from protocol.messages import Award, AwardedBid, RequestCommit
from protocol.verdicts import WireCode

DECLINE_FEE_DIVISOR: Final = 10  # of the price, by convention of nodes: the market contract takes what both sign
AGREEMENT_BYTES: Final = 261
MIN_SETTLEMENT_BYTES: Final = AGREEMENT_BYTES + 32
KEY_SIGNATURE_BYTES: Final = 66
AMEND_BYTES: Final = 34  # counter and commitment; two signatures follow


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
    systems_hash: Hash32
    open_from: U64
    """Unix seconds, as all that follow. Nothing is paid before, and claims are checked against the configurations of
    this moment."""
    ack_by: U64
    deliver_by: U64
    claim_from: U64
    """No claim before, so that a claim cannot unseal the table early."""
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
            self.systems_hash,
            self.open_from,
            self.ack_by,
            self.deliver_by,
            self.claim_from,
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
class StatementAmend(Record):
    """From now on the agreement is about another table. Both sign; of several the highest counter holds."""

    agreement_hash: Hash32
    counter: U16
    """From 1."""
    statement_commit: Hash32


@dataclass(frozen=True, slots=True, kw_only=True)
class Decline(Record):
    """Both agree that the payload was not what was agreed: a fee, and nothing else is owed."""

    agreement_hash: Hash32
    verdict: U8
    """As in PROVER_ACK."""
    fee_wei: Wei96


# -- signatures as the market reads them -------------------------------------------------------------------------------

_BY_KEY: Final = 0
_BY_CONTRACT: Final = 1
_BY_SUBMITTER_CONTRACT: Final = 2


def by_key(signature: bytes) -> bytes:
    """r | s | v of an account, or of a key that may sign for it, in the form of settlements."""
    if len(signature) != KEY_SIGNATURE_BYTES - 1:
        raise Reject(WireCode.BAD_SIGNATURE, size=len(signature))
    return bytes((_BY_KEY,)) + signature


def by_contract(data: bytes, submitter: bytes = b"") -> bytes:
    """What a contract is asked about (ERC-1271): the signing account itself, or a submitter of it."""
    if len(data) > MAX_CONTRACT_SIGNATURE:
        raise Reject(WireCode.BAD_SIGNATURE, size=len(data))
    kind = _BY_SUBMITTER_CONTRACT if submitter else _BY_CONTRACT
    return bytes((kind,)) + submitter + len(data).to_bytes(2, "big") + data


def _signature_end(data: bytes, start: int) -> int:
    """Where the packed signature at `start` ends. Raises Reject if it does not end within `data`."""
    kind = data[start] if start < len(data) else None
    if kind == _BY_KEY:
        end = start + KEY_SIGNATURE_BYTES
    elif kind in (_BY_CONTRACT, _BY_SUBMITTER_CONTRACT):
        bytes_at = start + (3 if kind == _BY_CONTRACT else 23)
        length = int.from_bytes(data[bytes_at - 2 : bytes_at], "big")
        if length > MAX_CONTRACT_SIGNATURE:
            raise Reject(WireCode.BAD_SIGNATURE, size=length)
        end = bytes_at + length
    else:
        raise Reject(WireCode.BAD_SIGNATURE, kind=kind)
    if end > len(data):
        raise Reject(WireCode.BAD_SIGNATURE, end=end, size=len(data))
    return end


# -- settlement --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedAmend:
    """A StatementAmend of the agreement that it travels with, and both packed signatures."""

    counter: int
    statement_commit: bytes
    requester_signature: bytes
    prover_signature: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """What a load carries so that the payee is paid: the agreement, the opening of the statement, both packed
    signatures, and the amend that names the statement, if it is not the agreement's."""

    agreement: Agreement
    salt: bytes
    requester_signature: bytes
    """`by_key` or `by_contract`, as all signatures here."""
    prover_signature: bytes
    amend: SignedAmend | None = None


_WIDTHS: Final = (32, 1, 20, 4, 20, 4, 20, 12, 12, 32, 32, 32, 8, 8, 8, 8, 8)
_INTEGERS: Final = frozenset({1, 3, 5, 7, 8, 12, 13, 14, 15, 16})  # positions of numbers among the agreement's fields


def pack_settlement(settlement: Settlement) -> bytes:
    """The settlement bytes of SPEC §8.2."""
    packed = b"".join(
        value.to_bytes(width, "big") if isinstance(value, int) else value
        for width, value in zip(_WIDTHS, settlement.agreement.values(), strict=True)
    )
    packed += settlement.salt + settlement.requester_signature + settlement.prover_signature
    if settlement.amend is None:
        return packed
    return packed + pack_amend(settlement.amend)


def pack_amend(amend: SignedAmend) -> bytes:
    """The end of a settlement, by which it is about another table."""
    head = amend.counter.to_bytes(2, "big") + amend.statement_commit
    return head + amend.requester_signature + amend.prover_signature


def unpack_settlement(data: bytes) -> Settlement:
    """The reverse of `pack_settlement`. Raises Reject for other forms; what signatures say is not checked."""
    if len(data) < MIN_SETTLEMENT_BYTES:
        raise Reject(WireCode.BAD_AGREEMENT, size=len(data), expected=MIN_SETTLEMENT_BYTES)
    cut: list[bytes] = []
    position = 0
    for width in _WIDTHS:
        cut.append(data[position : position + width])
        position += width
    number = {place: int.from_bytes(cut[place], "big") for place in _INTEGERS}
    middle = _signature_end(data, MIN_SETTLEMENT_BYTES)
    end = _signature_end(data, middle)
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
            systems_hash=cut[11],
            open_from=number[12],
            ack_by=number[13],
            deliver_by=number[14],
            claim_from=number[15],
            claim_by=number[16],
        ),
        salt=data[AGREEMENT_BYTES:MIN_SETTLEMENT_BYTES],
        requester_signature=data[MIN_SETTLEMENT_BYTES:middle],
        prover_signature=data[middle:end],
        amend=None if end == len(data) else unpack_amend(data[end:]),
    )


def unpack_amend(data: bytes) -> SignedAmend:
    """The reverse of `pack_amend`. Raises Reject for other forms."""
    if len(data) < AMEND_BYTES:
        raise Reject(WireCode.BAD_AGREEMENT, size=len(data), expected=AMEND_BYTES)
    middle = _signature_end(data, AMEND_BYTES)
    if _signature_end(data, middle) != len(data):
        raise Reject(WireCode.BAD_AGREEMENT, size=len(data))
    return SignedAmend(
        counter=int.from_bytes(data[:2], "big"),
        statement_commit=data[2:AMEND_BYTES],
        requester_signature=data[AMEND_BYTES:middle],
        prover_signature=data[middle:],
    )


def pack_dated(unix_s: int, signature: bytes) -> bytes:
    """The bytes in which the market reads an Ack (ackAt) or a Receipt (receivedAt); the signature is packed."""
    return unix_s.to_bytes(8, "big") + signature


def decline_fee(agreement: Agreement) -> int:
    """What a prover may ask for a payload that breaks its envelope, wei."""
    return agreement.price_wei // DECLINE_FEE_DIVISOR


def pack_decline(decline: Decline, requester_signature: bytes, prover_signature: bytes) -> bytes:
    """The bytes in which the market reads a countersigned decline."""
    head = decline.verdict.to_bytes(1, "big") + decline.fee_wei.to_bytes(12, "big")
    return head + requester_signature + prover_signature


# -- tickets and windows -----------------------------------------------------------------------------------------------


def ticket_cap_wei(ticket_class: int) -> int:
    """What every ticket of a class holds; its bond is as much again."""
    return TICKET_UNIT << 2 * ticket_class


def paid_tag(agreement_hash: bytes, core_id: bytes) -> int:
    """What a ticket remembers of its payment: 200 bits."""
    return int.from_bytes(keccak256(agreement_hash + core_id)[:25], "big")


def claim_window(agreement: Agreement, *, has_receipt: bool) -> tuple[int, int]:
    """First and last unix second in which `claimWithProof` pays; empty if the first is after the last."""
    first, last = agreement.claim_from, agreement.claim_by
    if not has_receipt:
        turn = max(agreement.deliver_by, agreement.claim_from) + CLAIM_GRACE
        if agreement.rank == 1:
            last = min(last, turn)
        else:
            first = turn + CLAIM_GRACE * (agreement.rank - 2) + 1
    return first, last


# -- from messages -----------------------------------------------------------------------------------------------------


def rank_times(request: RequestCommit, rank: int) -> tuple[int, int]:
    """ackBy and deliverBy of a rank, unix seconds: each runner-up's are a step later than those of the rank before."""
    later_s = (rank - 1) * request.standby_step_s
    return request.ack_by + later_s, request.deliver_by + later_s


def agreement_of(requester: bytes, request: RequestCommit, rank: int, bid: AwardedBid) -> Agreement:
    """The one agreement that follows from a request and an opened bid: nothing in it is left to choose.

    It opens when the bids close, and its claims when the delivery is due: a request names no later slot yet.
    """
    ack_by, deliver_by = rank_times(request, rank)
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
        systems_hash=request.systems_hash,
        open_from=request.bid_close_ms // 1000,
        ack_by=ack_by,
        deliver_by=deliver_by,
        claim_from=deliver_by,
        claim_by=request.claim_by,
    )


def awarded_agreement(requester: bytes, request: RequestCommit, award: Award) -> Agreement:
    """The agreement that an award offers. Raises Reject if its rank names no opening."""
    if not 1 <= award.rank <= len(award.openings):
        raise Reject(WireCode.BAD_OPENINGS, rank=award.rank, openings=len(award.openings))
    return agreement_of(requester, request, award.rank, award.openings[award.rank - 1])
