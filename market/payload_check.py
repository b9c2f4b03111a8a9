"""Whether an opened payload is what the agreement is about: fixed, cheap checks before any witness is built (SPEC
§11)."""

from __future__ import annotations

from market.errors import MarketError
from protocol.errors import DecodeError, ProgramError, RuleError, StateError
from protocol.messages import AckVerdict, RequestCommit
from protocol.payload import Payload, decode_payload, payload_commit
from protocol.statement import smallest_tier
from protocol.table import core_id, encode_core, statement_commit


class PayloadRefused(MarketError):
    """The payload breaks the agreement, so declining it costs nothing.

    Attributes:
        verdict: what the Ack will say.
        reason: stable word.
    """

    code = "MKT-005"

    def __init__(self, verdict: AckVerdict, reason: str) -> None:
        self.verdict, self.reason = verdict, reason
        super().__init__(f"[{self.code}] payload refused: {reason}")


def judge_payload(request: RequestCommit, padded: bytes) -> Payload:
    """Checks a payload against the commitments and buckets of its request, cheapest first.

    Args:
        padded: the opened box.

    Raises:
        PayloadRefused: SIZE, COMMITMENT, MALFORMED, STATEMENT, TRIGGERS, PROOF_COUNT or TIER.
    """
    if len(padded) != 1 << request.size_log2:
        raise PayloadRefused(AckVerdict.OVERSIZE, "SIZE")
    if payload_commit(padded) != request.payload_commit:
        raise PayloadRefused(AckVerdict.INVALID, "COMMITMENT")
    try:
        payload = decode_payload(padded)
    except (DecodeError, RuleError, StateError, ProgramError) as error:
        raise PayloadRefused(AckVerdict.INVALID, "MALFORMED") from error
    if statement_commit(payload.salt, core_id(encode_core(payload.core))) != request.statement_commit:
        raise PayloadRefused(AckVerdict.INVALID, "STATEMENT")
    if not any(payload.core.triggers_hash):
        # Anybody could load such a table without the settlement that pays for it (SPEC §8.2).
        raise PayloadRefused(AckVerdict.INVALID, "TRIGGERS")
    if len(payload.core.lockset) != request.proof_count:
        raise PayloadRefused(AckVerdict.OVERSIZE, "PROOF_COUNT")
    try:
        tiers = [smallest_tier(payload.core, member.rollup_id).number for member in payload.core.lockset]
    except RuleError as error:
        raise PayloadRefused(AckVerdict.OVERSIZE, "TIER") from error
    if max(tiers) > request.tier:
        raise PayloadRefused(AckVerdict.OVERSIZE, "TIER")
    return payload
