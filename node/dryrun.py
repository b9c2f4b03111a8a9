"""What a request would be, and who would learn what of it: `unveto request --dry-run`. Nothing is signed or spent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from node.chain.localevm import LocalEvm
from node.planning import Planned
from node.ports import PlannedTable
from protocol.table import Core


def explain(planned: Planned, table: PlannedTable, *, limits: tuple[int, int], peers: Sequence[str]) -> dict[str, Any]:
    """Everything about a planned table that helps to decide.

    Args:
        limits: highest price of the first auction and of the last, wei.
        peers: what peers would learn, or have learned, beside gossip.
    """
    plan = planned.plan
    return {
        "core_id": plan.core_id.hex(),
        "tier": table.tier,
        "proofs": table.proof_count,
        "steps": plan.steps,
        "table_bytes": len(plan.core_bytes),
        "payload_bytes": 1 << table.size_log2,
        "value_wei": str(plan.value_wei),
        "gas_without_proofs": plan.gas_without_proofs,
        "valid_until": table.valid_until,
        "block": planned.block.number,
        "lockset": _lockset(plan.core),
        "entries": _entries(plan.core),
        "price": {"first_limit_wei": str(limits[0]), "most_wei": str(limits[1])},
        "seen_by": {
            "observers": _observers(table),
            "rpc": _rpc(planned),
            "peers": list(peers),
            "prover": ["the winner, from the award on: the whole table with the state that it touches"],
            "l1": ["everybody, once it lands: the table, its proofs, the winner's price"],
        },
    }


def _lockset(core: Core) -> list[dict[str, Any]]:
    last = core.roots_after(len(core.entries) - 1)
    return [
        {"rollup_id": int(member.rollup_id), "pre_root": f"{member.pre_root:#066x}", "post_root": f"{post:#066x}"}
        for member, post in zip(core.lockset, last, strict=True)
    ]


def _entries(core: Core) -> list[dict[str, Any]]:
    return [
        {
            "rollup_id": int(entry.owner),
            "trigger": entry.trigger.kind.name,
            "destination": "0x" + entry.trigger.destination.hex(),
            "value_wei": str(entry.trigger.value),
            "next": entry.next_action.kind.name,
            "next_rollup_id": int(entry.next_action.rollup_id),
            "next_destination": "0x" + entry.next_action.destination.hex(),
        }
        for entry in core.entries
    ]


def _observers(table: PlannedTable) -> list[str]:
    return [
        "this node's account and peer id, and that it wants a proof now",
        f"class: tier {table.tier}, {table.proof_count} proofs, at most 2^{table.work_log2} steps, payload of"
        f" 2^{table.size_log2} bytes",
        "which proof systems its rollups have",
        "salted commitments to table and payload, which tell nothing more",
        "who won, and the winner's price",
    ]


def _rpc(planned: Planned) -> list[str]:
    if not isinstance(planned.evm, LocalEvm):
        return ["every endpoint: the whole planned transaction, before it is proven (state = call)"]
    accounts, slots = planned.evm.learned_by_node
    told = sorted({"0x" + account.hex() for account in accounts})
    how = "one endpoint each, with proofs" if planned.is_proven else "every endpoint"
    return [f"{how}: {len(accounts)} accounts and {len(slots)} storage slots were read, of {', '.join(told)}"]
