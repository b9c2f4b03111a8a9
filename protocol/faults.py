"""Evidence that verifies itself: two signed things of one requester that must not both exist (SPEC §9.4)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from protocol.agreement import Agreement, Settlement, unpack_settlement
from protocol.codec import Frame, decode_body, read_frame
from protocol.errors import Reject
from protocol.messages import Award, Fault, MessageId
from protocol.signing import agreement_digest, recover_signer, verify_frame
from protocol.verdicts import WireCode

BY_KEY: Final = 0  # the only kind of signature that can be checked without asking L1


class FaultKind(IntEnum):
    """What somebody did. Numbers are those on the wire."""

    TICKET_TWICE = 1
    """Two countersigned agreements of different requests name one ticket, and their terms overlap. Evidence: two
    settlements, whose salts may be zeros."""
    DOUBLE_AWARD = 2
    """Two awards of one rank of one request name different agreements. Evidence: two AWARD frames."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accusation:
    """What a FAULT that holds says."""

    kind: FaultKind
    accused: bytes
    """The requester, 20 bytes."""
    subject: bytes
    """What it is about, so that it counts once: the ticket, or the request id."""


def accusation_of(fault: Fault, *, chain_id: int, market: bytes) -> Accusation:
    """What a FAULT's evidence looks like, cheap checks only; `verify_accusation` recovers the signatures.

    Raises:
        Reject: it is no evidence of anything.
    """
    match fault.kind:
        case FaultKind.TICKET_TWICE:
            one, two = _settlements(fault)
            a, b = one.agreement, two.agreement
            if not promised_twice(a, b):
                raise Reject(WireCode.BAD_EVIDENCE, kind=fault.kind)
            return Accusation(
                kind=FaultKind.TICKET_TWICE,
                accused=a.requester,
                subject=a.requester_ticket.to_bytes(4, "big"),
            )
        case FaultKind.DOUBLE_AWARD:
            first, second = _awards(fault)
            headers, awards = (first.header, second.header), [decode_body(Award, each.body) for each in (first, second)]
            if (
                any((each.chain_id, each.market) != (chain_id, market) for each in headers)
                or headers[0].signer != headers[1].signer
                or (awards[0].request_id, awards[0].rank) != (awards[1].request_id, awards[1].rank)
                or awards[0].agreement_hash == awards[1].agreement_hash
            ):
                raise Reject(WireCode.BAD_EVIDENCE, kind=fault.kind)
            return Accusation(kind=FaultKind.DOUBLE_AWARD, accused=headers[0].signer, subject=awards[0].request_id)
        case _:
            raise Reject(WireCode.BAD_EVIDENCE, kind=fault.kind)


def verify_accusation(fault: Fault, *, chain_id: int, market: bytes) -> None:
    """Recovers the signatures in evidence that `accusation_of` has read. Raises Reject."""
    if fault.kind == FaultKind.TICKET_TWICE:
        for settlement in _settlements(fault):
            digest = agreement_digest(chain_id, market, settlement.agreement)
            for account, packed in (
                (settlement.agreement.requester, settlement.requester_signature),
                (settlement.agreement.prover, settlement.prover_signature),
            ):
                if packed[0] != BY_KEY or recover_signer(digest, packed[1:]) != account:
                    raise Reject(WireCode.BAD_EVIDENCE, signer=account)
    else:
        for frame in _awards(fault):
            verify_frame(frame)
            award = decode_body(Award, frame.body)
            if recover_signer(award.agreement_hash, award.requester_signature) != frame.header.signer:
                raise Reject(WireCode.BAD_EVIDENCE, signer=frame.header.signer)


def promised_twice(a: Agreement, b: Agreement) -> bool:
    """SPEC §8.2, for the part that needs no look at L1."""
    same_ticket = (a.requester, a.requester_ticket) == (b.requester, b.requester_ticket)
    return same_ticket and a.request_id != b.request_id and max(a.open_from, b.open_from) <= min(a.claim_by, b.claim_by)


def _settlements(fault: Fault) -> tuple[Settlement, Settlement]:
    return unpack_settlement(fault.first), unpack_settlement(fault.second)


def _awards(fault: Fault) -> tuple[Frame, Frame]:
    frames = read_frame(fault.first), read_frame(fault.second)
    if any(frame.header.message_id != MessageId.AWARD for frame in frames):
        raise Reject(WireCode.BAD_EVIDENCE, kind=fault.kind)
    return frames
