"""Evidence that verifies itself: signed things that must not exist, or not together (SPEC §9.4).

`accusation_of` reads the evidence and makes the cheap checks, `verify_accusation` recovers signatures and opens boxes.
Two kinds say what somebody owed; whether it was given only L1 or a verifier of proofs can tell (`Accusation.open_to`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import IntEnum, StrEnum
from types import MappingProxyType
from typing import Final

from protocol.agreement import (
    KEY_SIGNATURE_BYTES,
    Ack,
    Agreement,
    Decline,
    Settlement,
    unpack_settlement,
)
from protocol.codec import Frame, decode_body, read_frame
from protocol.commitments import bid_hash, pack_opening, request_id, unpack_opening
from protocol.errors import Reject
from protocol.fields import OPENING_BYTES
from protocol.hashing import keccak256
from protocol.messages import (
    MAX_DIRECT_BODY,
    AckVerdict,
    Award,
    AwardedBid,
    BidCommit,
    BidOpening,
    BidsSeen,
    Fault,
    KeyRelease,
    MessageId,
    ProofDelivery,
    RequestCommit,
    RollupProof,
)
from protocol.sealing import SEAL_OVERHEAD, SealError, bid_info, seal_opening
from protocol.signing import ack_digest, agreement_digest, decline_digest, recover_signer, verify_frame
from protocol.table import core_id, statement_commit
from protocol.types import Hash32
from protocol.verdicts import WireCode

BY_KEY: Final = 0  # the only kind of signature that can be checked without asking L1
WITNESSES_NEEDED: Final = 3  # relays, none of them a party of the auction, that saw a bid which was passed over
_PROVER_BYTES: Final = 20


class FaultKind(IntEnum):
    """What somebody did. Numbers are those on the wire."""

    TICKET_TWICE = 1
    """Two countersigned agreements of different requests name one ticket, and their terms overlap. Pieces: two
    settlements, whose salts may be zeros."""
    DOUBLE_AWARD = 2
    """Two awards of one rank of one request name different agreements. Pieces: two AWARD frames."""
    BID_IGNORED = 3
    """A better bid in time was passed over. Pieces: frames of REQUEST_COMMIT and of the AWARD of rank 1; body of the
    BID_COMMIT; its signer b20 and opening; WITNESSES_NEEDED frames BIDS_SEEN."""
    NO_PROOF = 4
    """An Ack, and no proof in time. Pieces: settlement, dated Ack. That no proof came, L1 knows."""
    BAD_PROOF = 5
    """A delivery whose proof does not hold. Pieces: settlement with its salt, frame of PROOF_DELIVERY, packed core.
    That the proof does not hold, whoever can verify proofs knows."""
    WRONG_SIZE = 6
    """A sealed payload of another length than the request said. Pieces: frames of REQUEST_COMMIT and KEY_RELEASE."""
    BROKEN_ENVELOPE = 7
    """Both signed that the payload was not what the request said. Pieces: settlement, packed decline."""


class OpenTo(StrEnum):
    """Who has to say the rest."""

    NOBODY = "nobody"
    L1 = "l1"
    VERIFIER = "verifier"


@dataclass(frozen=True, slots=True, kw_only=True)
class Accusation:
    """What a FAULT that holds says."""

    kind: FaultKind
    accused: bytes
    """20 bytes: the requester, or of kinds 4 and 5 the prover."""
    subject: bytes
    """What it is about, so that it counts once: the ticket, the request id, or the agreement's hash."""
    witnesses: tuple[tuple[bytes, int], ...] = ()
    """(account, ticket) of relays on whose word it rests."""
    open_to: OpenTo = OpenTo.NOBODY
    due: int = 0
    """Unix second before which nothing is owed yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """What a BAD_PROOF is about, for a verifier of proofs."""

    agreement: Agreement
    agreement_hash: bytes
    core: bytes
    proofs: tuple[RollupProof, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Which market's signatures count."""

    chain_id: int
    market: bytes

    def agreed(self, agreement: Agreement) -> bytes:
        """agreementHash."""
        return agreement_digest(self.chain_id, self.market, agreement)


def accusation_of(fault: Fault, *, chain_id: int, market: bytes) -> Accusation:
    """What a FAULT's evidence looks like, cheap checks only; `verify_accusation` does the rest.

    Raises:
        Reject: it is no evidence of anything.
    """
    return _kind_of(fault).read(fault.pieces, Place(chain_id=chain_id, market=market))


def verify_accusation(fault: Fault, *, chain_id: int, market: bytes) -> None:
    """Recovers the signatures in evidence that `accusation_of` has read. Raises Reject."""
    _kind_of(fault).verify(fault.pieces, Place(chain_id=chain_id, market=market))


def promised_twice(a: Agreement, b: Agreement) -> bool:
    """SPEC §8.2, for the part that needs no look at L1."""
    same_ticket = (a.requester, a.requester_ticket) == (b.requester, b.requester_ticket)
    return same_ticket and a.request_id != b.request_id and max(a.open_from, b.open_from) <= min(a.claim_by, b.claim_by)


def is_passed_over(request: RequestCommit, winner: AwardedBid, prover: bytes, opening: BidOpening) -> bool:
    """Whether the rule (SPEC §9.3) puts a bid in time before the awarded one; ties are left to the requester."""
    in_time = request.accept_by_ms + opening.eta_ms <= request.deliver_by * 1000
    better = (opening.price_wei, -opening.bond_wei) < (winner.opening.price_wei, -winner.opening.bond_wei)
    return prover != winner.prover and in_time and better


def delivered_in(fault: Fault, *, chain_id: int, market: bytes) -> Delivered:
    """The delivery of a BAD_PROOF that `verify_accusation` took."""
    settlement, frame = unpack_settlement(fault.pieces[0]), _frame(fault.pieces[1], MessageId.PROOF_DELIVERY)
    return Delivered(
        agreement=settlement.agreement,
        agreement_hash=agreement_digest(chain_id, market, settlement.agreement),
        core=fault.pieces[2],
        proofs=decode_body(ProofDelivery, frame.body).proofs,
    )


# -- parts of evidence -------------------------------------------------------------------------------------------------


Pieces = tuple[bytes, ...]


def _refuse(kind: FaultKind, **values: int | str) -> Reject:
    return Reject(WireCode.BAD_EVIDENCE, kind=int(kind), **values)


def _frame(data: bytes, wanted: MessageId) -> Frame:
    frame = read_frame(data, max_body=MAX_DIRECT_BODY)
    if frame.header.message_id != wanted:
        raise Reject(WireCode.BAD_EVIDENCE, message_id=int(frame.header.message_id), wanted=int(wanted))
    return frame


def _require_here(place: Place, *frames: Frame) -> None:
    for frame in frames:
        if (frame.header.chain_id, frame.header.market) != (place.chain_id, place.market):
            raise Reject(WireCode.BAD_EVIDENCE, chain_id=frame.header.chain_id)


def _require_signed(digest: bytes, packed: bytes, account: bytes) -> None:
    if len(packed) != KEY_SIGNATURE_BYTES or packed[0] != BY_KEY or recover_signer(digest, packed[1:]) != account:
        raise Reject(WireCode.BAD_EVIDENCE, signer=account)


def _require_settled(settlement: Settlement, place: Place) -> None:
    """Both have signed the agreement, with keys."""
    digest = place.agreed(settlement.agreement)
    _require_signed(digest, settlement.requester_signature, settlement.agreement.requester)
    _require_signed(digest, settlement.prover_signature, settlement.agreement.prover)


# -- 1: a ticket promised twice ----------------------------------------------------------------------------------------


def _read_twice(pieces: Pieces, place: Place) -> Accusation:
    a, b = (unpack_settlement(piece).agreement for piece in pieces)
    if not promised_twice(a, b):
        raise _refuse(FaultKind.TICKET_TWICE)
    return Accusation(kind=FaultKind.TICKET_TWICE, accused=a.requester, subject=a.requester_ticket.to_bytes(4, "big"))


def _verify_twice(pieces: Pieces, place: Place) -> None:
    for piece in pieces:
        _require_settled(unpack_settlement(piece), place)


# -- 2: two awards -----------------------------------------------------------------------------------------------------


def _read_awards(pieces: Pieces, place: Place) -> Accusation:
    frames = [_frame(piece, MessageId.AWARD) for piece in pieces]
    _require_here(place, *frames)
    one, two = (decode_body(Award, frame.body) for frame in frames)
    if (
        frames[0].header.signer != frames[1].header.signer
        or (one.request_id, one.rank) != (two.request_id, two.rank)
        or one.agreement_hash == two.agreement_hash
    ):
        raise _refuse(FaultKind.DOUBLE_AWARD)
    return Accusation(kind=FaultKind.DOUBLE_AWARD, accused=frames[0].header.signer, subject=one.request_id)


def _verify_awards(pieces: Pieces, place: Place) -> None:
    for piece in pieces:
        frame = _frame(piece, MessageId.AWARD)
        verify_frame(frame)
        award = decode_body(Award, frame.body)
        if recover_signer(award.agreement_hash, award.requester_signature) != frame.header.signer:
            raise Reject(WireCode.BAD_EVIDENCE, signer=frame.header.signer)


# -- 3: a better bid passed over ---------------------------------------------------------------------------------------


def _read_ignored(pieces: Pieces, place: Place) -> Accusation:
    asked, awarded = _frame(pieces[0], MessageId.REQUEST_COMMIT), _frame(pieces[1], MessageId.AWARD)
    seen = [_frame(piece, MessageId.BIDS_SEEN) for piece in pieces[4:]]
    _require_here(place, asked, awarded, *seen)
    request, award = decode_body(RequestCommit, asked.body), decode_body(Award, awarded.body)
    requester = asked.header.signer
    if (
        request.request_id != request_id(requester, request)
        or (awarded.header.signer, award.request_id, award.rank) != (requester, request.request_id, 1)
        or not award.openings
    ):
        raise _refuse(FaultKind.BID_IGNORED, why="the award is not of this request's rank 1")
    prover, opening, bid = _opened(pieces[2], pieces[3])
    named = (request.request_id, bid_hash(request.request_id, prover, opening), opening.prover_ticket, opening.bond_wei)
    if named != (bid.request_id, bid.bid_hash, bid.prover_ticket, bid.bond_wei):
        raise _refuse(FaultKind.BID_IGNORED, why="the bid is not what was opened")
    if (
        not is_passed_over(request, award.openings[0], prover, opening)
        or opening.bond_wei < request.bond_min_wei
        or prover in [each.prover for each in award.openings]
    ):
        raise _refuse(FaultKind.BID_IGNORED, why="the rule does not put it first")
    return Accusation(
        kind=FaultKind.BID_IGNORED,
        accused=requester,
        subject=request.request_id,
        witnesses=_witnesses(seen, request, keccak256(pieces[2]), {requester, prover, award.openings[0].prover}),
    )


def _opened(body: bytes, opened: bytes) -> tuple[bytes, BidOpening, BidCommit]:
    if len(opened) != _PROVER_BYTES + OPENING_BYTES:
        raise _refuse(FaultKind.BID_IGNORED, size=len(opened))
    return opened[:_PROVER_BYTES], unpack_opening(opened[_PROVER_BYTES:]), decode_body(BidCommit, body)


def _witnesses(
    frames: list[Frame], request: RequestCommit, body_hash: bytes, parties: set[bytes]
) -> tuple[tuple[bytes, int], ...]:
    """Who says it had the bid in time: distinct accounts, none of them a party."""
    found: dict[bytes, int] = {}
    for frame in frames:
        seen = decode_body(BidsSeen, frame.body)
        if (
            seen.request_id == request.request_id
            and body_hash in seen.bids
            and frame.header.signer not in parties
            and frame.header.created_ms <= request.accept_by_ms
        ):
            found[frame.header.signer] = seen.ticket
    if len(found) < WITNESSES_NEEDED:
        raise _refuse(FaultKind.BID_IGNORED, witnesses=len(found), wanted=WITNESSES_NEEDED)
    return tuple(found.items())


def _verify_ignored(pieces: Pieces, place: Place) -> None:
    asked = _frame(pieces[0], MessageId.REQUEST_COMMIT)
    for frame in (asked, _frame(pieces[1], MessageId.AWARD)):
        verify_frame(frame)
    for piece in pieces[4:]:
        verify_frame(_frame(piece, MessageId.BIDS_SEEN))
    request = decode_body(RequestCommit, asked.body)
    prover, opening, bid = _opened(pieces[2], pieces[3])
    info = bid_info(request.request_id, prover, bid.bid_hash)
    try:
        box = seal_opening(pack_opening(opening), opening.salt, request.seal_key, info)
    except SealError as error:
        raise _refuse(FaultKind.BID_IGNORED, why="sealed to no key") from error
    if box != bid.sealed_opening:
        raise _refuse(FaultKind.BID_IGNORED, why="the requester could not open it")


# -- 4, 5: what a prover owed ------------------------------------------------------------------------------------------


def _dated(piece: bytes) -> tuple[int, bytes]:
    if len(piece) != 8 + KEY_SIGNATURE_BYTES:
        raise _refuse(FaultKind.NO_PROOF, size=len(piece))
    return int.from_bytes(piece[:8], "big"), piece[8:]


def _read_no_proof(pieces: Pieces, place: Place) -> Accusation:
    agreement = unpack_settlement(pieces[0]).agreement
    ack_at, _ = _dated(pieces[1])
    if ack_at > agreement.ack_by:
        raise _refuse(FaultKind.NO_PROOF, ack_at=ack_at, ack_by=agreement.ack_by)
    return Accusation(
        kind=FaultKind.NO_PROOF,
        accused=agreement.prover,
        subject=place.agreed(agreement),
        open_to=OpenTo.L1,
        due=agreement.claim_by,
    )


def _verify_no_proof(pieces: Pieces, place: Place) -> None:
    settlement = unpack_settlement(pieces[0])
    _require_settled(settlement, place)
    ack_at, signature = _dated(pieces[1])
    ack = Ack(
        agreement_hash=place.agreed(settlement.agreement),
        payload_commit=settlement.agreement.payload_commit,
        ack_at=ack_at,
    )
    _require_signed(ack_digest(place.chain_id, place.market, ack), signature, settlement.agreement.prover)


def _read_bad_proof(pieces: Pieces, place: Place) -> Accusation:
    settlement, frame = unpack_settlement(pieces[0]), _frame(pieces[1], MessageId.PROOF_DELIVERY)
    _require_here(place, frame)
    agreement, delivery = settlement.agreement, decode_body(ProofDelivery, frame.body)
    agreed = place.agreed(agreement)
    # An amend is left out: which of several was in force when the proof came, no bytes can tell.
    opened = statement_commit(Hash32(settlement.salt), core_id(pieces[2]))
    if (
        (frame.header.signer, delivery.agreement_hash) != (agreement.prover, agreed)
        or settlement.amend is not None
        or opened != agreement.statement_commit
    ):
        raise _refuse(FaultKind.BAD_PROOF)
    return Accusation(kind=FaultKind.BAD_PROOF, accused=agreement.prover, subject=agreed, open_to=OpenTo.VERIFIER)


def _verify_bad_proof(pieces: Pieces, place: Place) -> None:
    _require_settled(unpack_settlement(pieces[0]), place)
    verify_frame(_frame(pieces[1], MessageId.PROOF_DELIVERY))


# -- 6, 7: a payload that is not what was said -------------------------------------------------------------------------


def _read_wrong_size(pieces: Pieces, place: Place) -> Accusation:
    asked, sent = _frame(pieces[0], MessageId.REQUEST_COMMIT), _frame(pieces[1], MessageId.KEY_RELEASE)
    _require_here(place, asked, sent)
    request, release = decode_body(RequestCommit, asked.body), decode_body(KeyRelease, sent.body)
    if (
        request.request_id != request_id(asked.header.signer, request)
        or (sent.header.signer, release.request_id) != (asked.header.signer, request.request_id)
        or release.cipher_bytes == (1 << request.size_log2) + SEAL_OVERHEAD
    ):
        raise _refuse(FaultKind.WRONG_SIZE)
    return Accusation(kind=FaultKind.WRONG_SIZE, accused=asked.header.signer, subject=request.request_id)


def _verify_wrong_size(pieces: Pieces, place: Place) -> None:
    verify_frame(_frame(pieces[0], MessageId.REQUEST_COMMIT))
    verify_frame(_frame(pieces[1], MessageId.KEY_RELEASE))


def _decline_in(piece: bytes) -> tuple[Decline, bytes, bytes]:
    if len(piece) != 13 + 2 * KEY_SIGNATURE_BYTES:
        raise _refuse(FaultKind.BROKEN_ENVELOPE, size=len(piece))
    decline = Decline(agreement_hash=bytes(32), verdict=piece[0], fee_wei=int.from_bytes(piece[1:13], "big"))
    return decline, piece[13 : 13 + KEY_SIGNATURE_BYTES], piece[13 + KEY_SIGNATURE_BYTES :]


def _read_broken(pieces: Pieces, place: Place) -> Accusation:
    agreement = unpack_settlement(pieces[0]).agreement
    decline, _, _ = _decline_in(pieces[1])
    if decline.verdict not in (AckVerdict.OVERSIZE, AckVerdict.INVALID):
        raise _refuse(FaultKind.BROKEN_ENVELOPE, verdict=decline.verdict)
    return Accusation(kind=FaultKind.BROKEN_ENVELOPE, accused=agreement.requester, subject=agreement.request_id)


def _verify_broken(pieces: Pieces, place: Place) -> None:
    settlement = unpack_settlement(pieces[0])
    _require_settled(settlement, place)
    said, by_requester, by_prover = _decline_in(pieces[1])
    agreement = settlement.agreement
    digest = decline_digest(place.chain_id, place.market, replace(said, agreement_hash=place.agreed(agreement)))
    _require_signed(digest, by_requester, agreement.requester)
    _require_signed(digest, by_prover, agreement.prover)


# -- the table ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    pieces: int
    read: Callable[[Pieces, Place], Accusation]
    verify: Callable[[Pieces, Place], None]


_KINDS: Final[Mapping[int, _Kind]] = MappingProxyType(
    {
        FaultKind.TICKET_TWICE: _Kind(pieces=2, read=_read_twice, verify=_verify_twice),
        FaultKind.DOUBLE_AWARD: _Kind(pieces=2, read=_read_awards, verify=_verify_awards),
        FaultKind.BID_IGNORED: _Kind(pieces=4 + WITNESSES_NEEDED, read=_read_ignored, verify=_verify_ignored),
        FaultKind.NO_PROOF: _Kind(pieces=2, read=_read_no_proof, verify=_verify_no_proof),
        FaultKind.BAD_PROOF: _Kind(pieces=3, read=_read_bad_proof, verify=_verify_bad_proof),
        FaultKind.WRONG_SIZE: _Kind(pieces=2, read=_read_wrong_size, verify=_verify_wrong_size),
        FaultKind.BROKEN_ENVELOPE: _Kind(pieces=2, read=_read_broken, verify=_verify_broken),
    }
)


def _kind_of(fault: Fault) -> _Kind:
    kind = _KINDS.get(fault.kind)
    if kind is None or len(fault.pieces) != kind.pieces:
        raise Reject(WireCode.BAD_EVIDENCE, kind=fault.kind, pieces=len(fault.pieces))
    return kind
