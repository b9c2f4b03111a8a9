"""The halves of a StatementAmend as a requester makes them, and whether a table fits what was agreed."""

from __future__ import annotations

from dataclasses import replace

from node.frames import FrameWriter
from node.market_state import Deal
from node.ports import PlannedTable, Refused
from protocol.agreement import SignedAmend, StatementAmend, by_key, pack_amend
from protocol.hashing import keccak256
from protocol.messages import Amend, RequestCommit
from protocol.signing import amend_digest
from protocol.table import statement_commit
from protocol.types import Hash32


def digest_of(frames: FrameWriter, deal: Deal, counter: int, statement: bytes) -> bytes:
    """What both sign of an amend of a deal."""
    amend = StatementAmend(agreement_hash=deal.agreement_hash, counter=counter, statement_commit=statement)
    return amend_digest(frames.market.chain_id, frames.market.contract, amend)


def signed_offer(frames: FrameWriter, deal: Deal, counter: int, plan: PlannedTable, box: bytes) -> Amend:
    """Our half of an amend.

    Args:
        box: the plan's sealed payload.
    """
    statement = statement_commit(Hash32(plan.salt), Hash32(plan.core_id))
    return Amend(
        request_id=deal.request.request_id,
        agreement_hash=deal.agreement_hash,
        counter=counter,
        statement_commit=statement,
        requester_signature=frames.key.sign_digest(digest_of(frames, deal, counter, statement)),
        cipher_bytes=len(box),
        cipher_hash=keccak256(box),
    )


def countersigned(offer: Amend, prover_signature: bytes) -> bytes:
    """The packed amend that both signed."""
    return pack_amend(
        SignedAmend(
            counter=offer.counter,
            statement_commit=offer.statement_commit,
            requester_signature=by_key(offer.requester_signature),
            prover_signature=by_key(prover_signature),
        )
    )


def fitted(request: RequestCommit, plan: PlannedTable) -> PlannedTable:
    """The plan with its payload in the agreed size.

    Raises:
        Refused: OUTGROWN, it is more than was agreed.
    """
    if (
        plan.size_log2 > request.size_log2
        or plan.tier > request.tier
        or plan.proof_count != request.proof_count
        or plan.work_log2 > request.work_log2
        or plan.systems_hash != request.systems_hash
    ):
        raise Refused("OUTGROWN", "the new plan is more than was agreed")
    payload = plan.payload.ljust(1 << request.size_log2, b"\0")
    return replace(plan, payload=payload, size_log2=request.size_log2)
