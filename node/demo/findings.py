"""What the story showed, gathered from the chain and from each node's own folder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from market.lifecycle import State
from node.chain.evm import Outcome
from node.chain.records import Receipt
from node.demo.cast import Cast, status_of
from node.demo.leaks import Leak, files_under, find_leaks, private_fields
from node.demo.stage import Stage
from node.evidence import read_frames
from node.launch import NodeProcess
from node.orderview import OrderView
from node.ports import PlannedTable
from node.statusfile import read_status
from protocol.messages import RequestCommit
from protocol.table import decode_core
from proving.circuit.table_vm import circuit_for

MILESTONES = {
    "committed": State.COMMITTED,
    "bids_closed": State.CLOSED,
    "awarded": State.AWARDED,
    "accepted": State.ACCEPTED,
    "payload_sealed": State.KEYED,
    "acked": State.PROVING,
    "delivered": State.DELIVERED,
    "verified": State.VERIFIED,
    "signed": State.TX_STORED,
    "sent": State.TX_SENT,
    "landed": State.LANDED,
    "paid": State.PAID,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """The story's result. `json` is what `unveto demo --json` prints; the rest is for the screen."""

    json: Mapping[str, Any]
    request: RequestCommit
    leaks: tuple[Leak, ...]


def private_fields_of(plan: PlannedTable, seal_secret: bytes) -> Iterable[tuple[str, bytes]]:
    """Everything of an order that only the requester and the winner may know before landing."""
    core = decode_core(plan.core)
    yield "salt", plan.salt
    yield "core id", plan.core_id
    yield "request key", seal_secret
    for index, entry in enumerate(core.entries):
        yield f"entry {index} new root", entry.new_root.to_bytes(32, "big")
        for name, action in (("trigger", entry.trigger), ("next action", entry.next_action)):
            if action.destination != core.executor:
                yield f"entry {index} {name} target", action.destination
            start = len(action.data) % 32
            for at in range(start, len(action.data), 32):
                yield f"entry {index} {name} data", action.data[at : at + 32]
    for at in range(0, len(plan.core) - 32, 16):
        # Header words that everybody can read on L1 are not private: pre-roots and the sender.
        piece = plan.core[at : at + 32]
        if not any(public in piece or piece in public for public in _public_parts(plan)):
            yield f"core bytes {at}", piece


def _public_parts(plan: PlannedTable) -> tuple[bytes, ...]:
    core = decode_core(plan.core)
    return (*(member.pre_root.to_bytes(32, "big") for member in core.lockset), core.executor)


def read_findings(
    *,
    stage: Stage,
    cast: Cast,
    view: OrderView,
    order_id: bytes,
    receipt: Receipt,
    replay: Outcome,
    roots_before: Mapping[int, int],
    roots_after: Mapping[int, int],
    balances: Mapping[str, tuple[int, int]],
    disks_before_landing: Mapping[str, Sequence[tuple[str, bytes]]],
) -> Findings:
    """Gather everything; checks nothing but that what must be there is there."""
    deal, delivery, plan = view.deal(order_id), view.delivery(order_id), view.plan(order_id)
    seal_secret = view.seal_secret(order_id)
    assert deal is not None
    assert delivery is not None
    assert plan is not None
    assert seal_secret is not None
    raw = view.landing(order_id).raw
    frames = [list(read_frames(relay.folder)) for relay in cast.relays]
    fields = private_fields(private_fields_of(plan, seal_secret))
    places = [(f"frame on {topic}", frame) for relay in frames for topic, frame in relay]
    for loser in losers_of(cast, deal.winner.prover):
        places += disks_before_landing[loser.name]
    leaks = find_leaks(fields, places)
    core = decode_core(plan.core)
    first_ms = view.history(order_id)[0].at_ms
    reached = {line.target: line.at_ms - first_ms for line in reversed(view.history(order_id))}
    verify_gas = sum(c.gas_used for c in replay.calls if c.address == stage.deployment.proof_system)
    settle_gas = sum(c.gas_used for c in replay.calls if c.address == stage.deployment.market)
    all_calls = sum(c.gas_used for c in replay.calls if c.depth == 1)
    creation_gas = sum(c.gas_used for c in replay.calls if not c.address)
    proof_tier = delivery.proofs[0].proof[0]
    value: dict[str, Any] = {
        "l1": {"kind": stage.l1.kind},
        "chain_id": stage.contracts.chain_id,
        "request_id": order_id.hex(),
        "bids": [
            {
                "prover": "0x" + bid.prover.hex(),
                "name": _name(cast.provers, bid.prover),
                "price_wei": str(bid.opening.price_wei),
                "eta_ms": bid.opening.eta_ms,
            }
            for bid in deal.award.openings
        ],
        "bid_count": deal.award.bid_count,
        "winner": "0x" + deal.winner.prover.hex(),
        "price_wei": str(deal.opening.price_wei),
        "payee": "0x" + deal.opening.payee.hex(),
        "payee_balance_delta_wei": str(balances["payee"][1] - balances["payee"][0]),
        "balances": {
            name: {"before_wei": str(before), "after_wei": str(after)} for name, (before, after) in balances.items()
        },
        "proof": {
            "system": "groth16-bn254",
            "key": "developer key, known secrets",
            "tier": "SMLX"[proof_tier],
            "constraints": circuit_for(proof_tier).n_constraints,
            "prove_ms": delivery.prove_ms,
            "bytes": sum(len(proof.proof) for proof in delivery.proofs),
        },
        "table": {"entries": len(core.entries), "core_bytes": len(plan.core), "tx_bytes": len(raw)},
        "gas": {
            "total": receipt.gas_used,
            "verify": verify_gas,
            "settle": settle_gas,
            "first_proxy": creation_gas,
            "other_calls": all_calls - verify_gas - settle_gas - creation_gas,
            "replayed_total": replay.gas_used,
        },
        "roots": {
            "before": {str(r): f"{root:#066x}" for r, root in roots_before.items()},
            "after": {str(r): f"{root:#066x}" for r, root in roots_after.items()},
        },
        "follower": {"roots": {relay.name: _heads(relay) for relay in cast.relays}},
        "gossip": {
            "frames": len({frame for relay in frames for _topic, frame in relay}),
            "bytes": sum(len(frame) for _topic, frame in frames[0]),
            "private_fields": len(fields),
            "payload_leaks": len(leaks),
        },
        "ready_tables": status_of(cast.proposer, "ready"),
        "timeline_ms": {name: reached[state] for name, state in MILESTONES.items() if state in reached},
    }
    return Findings(json=value, request=deal.request, leaks=leaks)


def losers_of(cast: Cast, winner: bytes) -> list[NodeProcess]:
    """The provers that were not awarded."""
    return [node for node in cast.provers if _account(node) != winner.hex()]


def disks(cast: Cast) -> Mapping[str, Sequence[tuple[str, bytes]]]:
    """Every prover's files as they are now, by node name."""
    return {node.name: tuple(files_under(node.folder)) for node in cast.provers}


def _account(node: NodeProcess) -> str:
    status = read_status(node.folder) or {}
    return str(status["node"]["account"]).removeprefix("0x")


def _name(nodes: Iterable[NodeProcess], account: bytes) -> str:
    return next((node.name for node in nodes if _account(node) == account.hex()), "?")


def _heads(relay: NodeProcess) -> dict[str, object]:
    heads = status_of(relay, "rollups")["heads"]
    assert isinstance(heads, dict)
    return {rollup: head["root"] for rollup, head in heads.items()}
