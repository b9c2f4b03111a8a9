"""What a reason of an order means, in one line for its owner. A word is never reused for another meaning."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

WHY: Final[Mapping[str, str]] = MappingProxyType(
    {
        "NOT_STARTED": "the process ended before the request was out; ask again",
        "CANCELLED": "its owner withdrew it",
        "NO_BIDS": "nobody bid: no prover is reachable, or all skip it (their `standing` says why)",
        "NO_VALID_BIDS": "every bid was void: too dear for this auction's limit, too slow, or from a prover left out",
        "NO_TICKET": "the escrow ticket is spent, withdrawn or was never deposited",
        "NOT_ACCEPTED": "the winner did not countersign in time",
        "BAD_SEAL_KEY": "the winner's key cannot be sealed to",
        "NO_ACK": "the winner took the payload, or did not, and gave no Ack in time",
        "NO_PROOF": "the winner gave its Ack and no valid proof in time",
        "TABLE_EXPIRED": "the table's time was over before it could land",
        "NOT_INCLUDED": "the transaction was sent and not included while the table was good",
        "TX_REVERTED": "the transaction reverted: a root or a result on L1 had moved",
        "WOULD_FAIL": "the transaction would revert at the head, so it was not signed",
        "SLASH_WINDOW_OVER": "the bond could not be taken in its time",
        "OVER": "the order has ended",
        "RELIEVED": "both declined it: nothing is owed",
        "FORCE_OFF": "this node publishes no payload of a silent prover (`force_release`)",
        "FORCE_TOO_LATE": "deliverBy has passed: L1 takes no payload of a silent prover any more",
        "BOX_TOO_LONG": "the payload is too long to be published on L1",
        "NOT_WORTH": "publishing the payload would cost more than the peek penalty brings",
        "RELEASE_REVERTED": "L1 refused the published payload",
        "GAVE_UP": "the prover gave the agreement up on L1: nothing is owed",
        "PEEKED": "the prover had the payload, and neither took nor declined it: the peek penalty",
        "PENALTY_REVERTED": "L1 refused the peek penalty: the prover answered, or its ticket is spent",
        "VOID": "a rollup's configuration was replaced before the Ack: nobody owes anything",
        "VOID_REVERTED": "L1 did not find the agreement void",
        "SLASH_REVERTED": "L1 refused to take the bond: it was overtaken in time, or has shown its proof",
        "OVERTAKEN": "another rank was paid while this one still had time: it owes nothing",
        "PLAN_STALE": "a rollup has moved since planning; the wish is planned again",
        "RESULT_MOVED": "an answer of L1 has changed since planning, at the same roots; the wish is planned again",
        "OUTGROWN": "the new plan is more than was agreed; the agreed table is settled",
        "NOT_PLANNABLE": "the wish cannot become a table any more; the agreed table is settled",
        "AMEND_REFUSED": "the prover finishes the agreed table: too little time, or it is done",
        "IN_PARALLEL": "the runner-up was called before the winner's time was over",
        "NOT_NEEDED": "another rank's proof came first",
        "OUTRUN": "another rank was set aside or paid first",
        "CLOSED": "bids were closed before it could bid",
        "NO_AWARD": "no award was heard",
        "NO_PAYLOAD": "the payload did not come, or could not be checked in time; nothing is owed",
        "CLAIM_WINDOW": "the window for an own claim would be too short",
        "TOO_SLOW": "it could not be done in the time",
        "TOO_LONG": "a bid would keep a slot and a ticket for too long before any payload comes",
        "NOT_PAID": "nobody paid by the deadline, so it was claimed",
        "CLAIMS_OVER": "its window was over",
        "CLAIM_REVERTED": "L1 refused the claim",
        "DELIVERED_UNPAID": "L1 has the proof and another rank was paid; the bond is safe",
        "TICKET_TWICE": "the promised ticket paid another request; its bond is claimed",
        "ACCUSATION_REVERTED": "L1 refused to take the ticket's bond",
        "BOND_OVER": "the ticket's bond could not be taken in its time",
        "NO_FEE": "the requester did not sign for its broken envelope; a strike",
        "FEE_TOO_SMALL": "collecting the fee would cost more than it is; a strike",
        "DECLINE_REVERTED": "L1 refused the decline",
        "STANDING": "this node's own log of orders speaks against the counterparty",
        "SYSTEMS": "no key for the proof systems that the request wants",
        "FAMILY": "no key for the family that the request wants",
        "TIER": "the circuit tier is not offered, or the table needs a larger one",
        "SIZE": "the payload is larger than what is taken, or than was said",
        "NO_CAPACITY": "every slot proves, or is kept for an order that was won or bid for",
        "NO_MEMORY": "the proofs would not fit into the memory that is left",
        "OPERATOR": "the operator's price rules say not to bid",
        "NO_BOND": "no free bond ticket, or its class is less than twice the wanted bond",
        "TICKET_TOO_SMALL": "the class of the requester's ticket is less than twice the price",
        "COMMITMENT": "the payload is not the one that was committed to",
        "MALFORMED": "the payload cannot be read",
        "STATEMENT": "the table is not the one that was committed to",
        "PROOF_COUNT": "the table needs another number of proofs than was said",
        "TRIGGERS": "the table has no fixed triggers: anybody could use it unpaid",
        "TOO_LATE": "L1 would not take an Ack of this moment",
        "FAILED": "the proving process ended without a proof",
        "DIED": "the proving process was killed, or crashed, and there was no time for another, or that died too",
        "INVALID": "the witness does not satisfy the circuit",
        "STALE": "a rollup has moved, or has another configuration than was agreed",
        "UNSUPPORTED": "a rollup wants what this prover does not have",
    }
)
PREFIXES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "AUCTION_": "a later auction of the same wish",
        "AMENDED_": "another table was agreed with the same prover, for the same price",
        "DECLINED_": "the winner declined the payload, with this verdict",
        "RANK_": "this runner-up's proof is used",
        "PAID_RANK_": "this rank was paid by its own claim",
    }
)


def explain(reason: str) -> str:
    """One line for a reason; empty for none, and for a word of L1 or a proof system that explains itself."""
    if reason in WHY:
        return WHY[reason]
    return next((text for prefix, text in PREFIXES.items() if reason.startswith(prefix)), "")
