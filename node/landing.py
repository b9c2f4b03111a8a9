"""What the user's one transaction does, from what is stored of an order."""

from __future__ import annotations

from typing import Final

from node.l1 import load_and_run
from node.market_state import Deal
from node.ports import PlannedTable
from protocol.agreement import MIN_SETTLEMENT_BYTES
from protocol.load import ProofItem, Proofs, encode_proofs
from protocol.messages import ProofDelivery
from protocol.types import Address, Hash32

INCLUSION_LIST_BYTES: Final = 8_192
"""What an inclusion list holds at most (EIP-7805): a larger transaction can be censored even where there are lists."""
SIGNED_FIELDS_BYTES: Final = 200
"""Of a signed transaction beside its calldata, at most."""
PROOF_BYTES: Final = 320
"""Of one packed Groth16 proof, rollup, system and length included."""


def estimated_bytes(plan: PlannedTable) -> int:
    """Size of the signed transaction that will land a table, about; known before its auction."""
    parts = (plan.core, bytes(53 + PROOF_BYTES * plan.proof_count), plan.expects, plan.triggers)
    packed = sum(64 + -(-len(part) // 32) * 32 for part in (*parts, bytes(MIN_SETTLEMENT_BYTES + 130)))
    return 4 + packed + SIGNED_FIELDS_BYTES


def landing_data(deal: Deal, plan: PlannedTable, delivery: ProofDelivery, settlement: bytes) -> bytes:
    """Calldata for Rollups: load the table, run it, pay the payee of the deal.

    Args:
        delivery: the proofs under this deal's agreement.
        settlement: the packed settlement of it.
    """
    return load_and_run(plan.core, packed_proofs(deal, delivery), plan.expects, plan.triggers, settlement)


def packed_proofs(deal: Deal, delivery: ProofDelivery) -> bytes:
    """The proofs as L1 reads them, with whom they pay."""
    return encode_proofs(
        Proofs(
            payee=Address(deal.opening.payee),
            agreement_hash=Hash32(deal.agreement_hash),
            items=tuple(
                ProofItem(rollup_id=item.rollup_id, system=Address(item.system), proof=item.proof)
                for item in delivery.proofs
            ),
        )
    )
