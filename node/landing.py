"""What the user's one transaction does, from what is stored of an order."""

from __future__ import annotations

from node.l1 import load_and_run
from node.market_state import Deal
from node.ports import PlannedTable
from protocol.load import ProofItem, Proofs, encode_proofs
from protocol.messages import ProofDelivery
from protocol.types import Address, Hash32


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
