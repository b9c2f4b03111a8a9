"""Direct exchanges: protocol ids, who sends what, sizes, time limits, and the checks on both sides (SPEC §9.5).

A direct message is one frame, followed by an attachment if the message names one. The frame binds the attachment by
length and
hash. All exchanges are idempotent: the same request gets the same answer, so that whoever is unsure asks again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from protocol.codec import HEADER_BYTES, SIGNATURE_BYTES, Frame, decode_message, max_body_bytes, read_frame
from protocol.constants import MAX_CLOCK_SKEW_MS, MAX_DIRECT_AGE_MS, MAX_LIFETIME_MS, MAX_PAYLOAD_LOG2
from protocol.errors import Ignore, Reject
from protocol.gossip import MAX_TABLE_LOG2, MarketId
from protocol.hashing import keccak256
from protocol.messages import (
    MAX_DIRECT_BODY,
    Amend,
    AmendReply,
    Award,
    AwardAccept,
    DeclineReply,
    DeclineRequest,
    DeliveryReceipt,
    KeyRelease,
    Message,
    ProofDelivery,
    ProverAck,
    TablePull,
    TableReply,
)
from protocol.sealing import SEAL_OVERHEAD
from protocol.signing import verify_frame
from protocol.verdicts import WireCode

MAX_SEALED_PAYLOAD: Final = (1 << MAX_PAYLOAD_LOG2) + SEAL_OVERHEAD  # bytes
MAX_SEALED_TABLE: Final = (1 << MAX_TABLE_LOG2) + SEAL_OVERHEAD


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One request and its one answer on a stream of their own."""

    protocol_id: str
    """libp2p protocol id; the ordinal changes with any change of meaning."""
    request: type[Message]
    answer: type[Message]
    request_attachment: int = 0
    """Largest attachment, bytes."""
    answer_attachment: int = 0
    timeout_ms: int
    """How long the asker waits for the whole answer."""

    @property
    def max_request_bytes(self) -> int:
        """Longest request, attachment included."""
        return HEADER_BYTES + max_body_bytes(self.request) + SIGNATURE_BYTES + self.request_attachment

    @property
    def max_answer_bytes(self) -> int:
        """Longest answer, attachment included."""
        return HEADER_BYTES + max_body_bytes(self.answer) + SIGNATURE_BYTES + self.answer_attachment


AWARD_EXCHANGE: Final = Exchange(protocol_id="/unveto/award/1", request=Award, answer=AwardAccept, timeout_ms=5_000)
"""Requester -> winner: the award, also for a winner that gossip did not reach. Answer: the countersignature."""

KEY_EXCHANGE: Final = Exchange(
    protocol_id="/unveto/key/1",
    request=KeyRelease,
    answer=ProverAck,
    request_attachment=MAX_SEALED_PAYLOAD,
    timeout_ms=60_000,  # the winner checks the whole witness before it answers
)
"""Requester -> winner: the sealed payload. Answer: start or decline."""

PROOF_EXCHANGE: Final = Exchange(
    protocol_id="/unveto/proof/1", request=ProofDelivery, answer=DeliveryReceipt, timeout_ms=20_000
)
"""Winner -> requester: the proofs. Answer: a receipt or a coded refusal."""

TABLE_EXCHANGE: Final = Exchange(
    protocol_id="/unveto/table/1",
    request=TablePull,
    answer=TableReply,
    answer_attachment=MAX_SEALED_TABLE,
    timeout_ms=5_000,
)
"""Sidecar -> announcer: a ready table by id. Answer: its content."""

AMEND_EXCHANGE: Final = Exchange(
    protocol_id="/unveto/amend/1",
    request=Amend,
    answer=AmendReply,
    request_attachment=MAX_SEALED_PAYLOAD,
    timeout_ms=20_000,
)
"""Requester -> winner: another table for the same agreement. Answer: its signature, or a verdict."""

DECLINE_EXCHANGE: Final = Exchange(
    protocol_id="/unveto/decline/1", request=DeclineRequest, answer=DeclineReply, timeout_ms=5_000
)
"""Prover -> requester: a decline that costs the requester a fee. Answer: its signature, or none."""

EXCHANGES: Final = (AWARD_EXCHANGE, KEY_EXCHANGE, PROOF_EXCHANGE, TABLE_EXCHANGE, DECLINE_EXCHANGE, AMEND_EXCHANGE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Direct:
    """A direct message whose every check passed: sizes, market, times, attachment, signature."""

    frame: Frame
    message: Message
    attachment: bytes

    @property
    def signer(self) -> bytes:
        """The account that signed, 20 bytes."""
        return self.frame.header.signer


def read_direct(
    data: bytes,
    expected: type[Message],
    *,
    max_attachment: int,
    market: MarketId,
    now_ms: int,
    signer: bytes | None,
) -> Direct:
    """Checks one direct message, cheapest first.

    Args:
        data: the whole request or answer.
        expected: message class that the exchange carries in this direction.
        max_attachment: the exchange's bound, bytes.
        signer: the only account that may have signed it, or None where anybody may ask.

    Raises:
        Reject, Ignore: with a `WireCode`.
    """
    # [REJECT] sizes, header, kind of message
    if len(data) < HEADER_BYTES + SIGNATURE_BYTES:
        raise Reject(WireCode.TOO_SHORT, size=len(data))
    end = HEADER_BYTES + int.from_bytes(data[6:8], "big") + SIGNATURE_BYTES
    if len(data) - end > max_attachment:
        raise Reject(WireCode.TOO_LONG, size=len(data), limit=end + max_attachment)
    frame = read_frame(data[:end], max_body=MAX_DIRECT_BODY)
    header = frame.header
    if header.message_id != expected.ID:
        raise Reject(WireCode.WRONG_CHANNEL, message_id=int(header.message_id), expected=int(expected.ID))
    # [REJECT] this market, the agreed counterparty, a lifetime in bounds
    if header.chain_id != market.chain_id:
        raise Reject(WireCode.WRONG_CHAIN, chain_id=header.chain_id)
    if header.market != market.contract:
        raise Reject(WireCode.WRONG_MARKET, market=header.market)
    if signer is not None and header.signer != signer:
        raise Reject(WireCode.WRONG_SIGNER, claimed=header.signer, expected=signer)
    if not 0 < header.expires_ms - header.created_ms <= MAX_LIFETIME_MS:
        raise Reject(WireCode.BAD_LIFETIME, created_ms=header.created_ms, expires_ms=header.expires_ms)
    # [IGNORE] neither expired nor from the future
    if header.expires_ms <= now_ms:
        raise Ignore(WireCode.EXPIRED, expires_ms=header.expires_ms, now_ms=now_ms)
    if header.created_ms > now_ms + MAX_CLOCK_SKEW_MS:
        raise Ignore(WireCode.FROM_FUTURE, created_ms=header.created_ms, now_ms=now_ms)
    # [IGNORE] made for this stream: an older one is a clock that is behind, or a replay
    if header.created_ms < now_ms - MAX_DIRECT_AGE_MS:
        raise Ignore(WireCode.FROM_PAST, created_ms=header.created_ms, now_ms=now_ms)
    # [REJECT] canonical body, the attachment that it names, the signature
    message = decode_message(frame)
    attachment = data[end:]
    named_bytes, named_hash = attachment_of(message)
    if len(attachment) != named_bytes or (named_bytes and keccak256(attachment) != named_hash):
        raise Reject(WireCode.ATTACHMENT, size=len(attachment), named=named_bytes)
    verify_frame(frame)
    return Direct(frame=frame, message=message, attachment=attachment)


def attachment_of(message: Message) -> tuple[int, bytes]:
    """Length and keccak of the attachment that a message names; (0, empty) if it has none."""
    match message:
        case KeyRelease() | Amend():
            return message.cipher_bytes, message.cipher_hash
        case TableReply():
            return message.content_bytes, message.content_hash
        case _:
            return 0, b""
