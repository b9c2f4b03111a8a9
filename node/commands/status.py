"""`unveto status`: orders of a requester, from its own database."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, Final

from market.lifecycle import Role, deadline
from market.meanings import MEANS
from market.reasons import explain
from node.commands import Commands
from node.commands.arguments import request_id
from node.config import load_config
from node.errors import NotFound
from node.orderview import OrderView
from node.output import Output
from node.statusfile import read_status

LISTED: Final = 20


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser("status", parents=[common], help="show orders, or everything about one")
    parser.add_argument("--config", type=Path, required=True, help="configuration of the node")
    parser.add_argument("request_id", nargs="?", help="64 hex digits; without it the latest orders are listed")
    parser.add_argument("--why", action="store_true", help="say what each reason means")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, out: Output) -> int:
    """Read only; works whether the node runs or not."""
    config = load_config(args.config)
    view = OrderView(config.path(""), config.store.url)
    if args.request_id is None:
        return _list(view, config.path(""), out)
    order_id = request_id(args.request_id)
    value = order_json(view, order_id)
    out.say(f"request {value['request_id']}: {value['state']} {value['reason']}")
    out.table(
        ("ms", "event", "state", "reason"),
        [(line["ms"], line["event"], line["state"], line["reason"]) for line in value["history"]],
    )
    out.table(
        ("rank", "prover", "price (wei)"), [(n, b["prover"], b["price_wei"]) for n, b in enumerate(value["bids"], 1)]
    )
    if args.why:
        out.say(value["means"])
        if value["then"]:
            out.say(f"if nothing happens until {value['until_ms']} (unix ms): {value['then']}")
        said = [line["reason"] for line in value["history"]] + [each["reason"] for each in value["ranks"]]
        reasons = dict.fromkeys(reason for reason in said if reason)
        out.table(("reason", "why"), [(reason, explain(reason)) for reason in reasons])
    if value["ranks"]:
        out.table(
            ("rank", "state", "reason"), [(each["rank"], each["state"], each["reason"]) for each in value["ranks"]]
        )
    if value["next"]:
        out.say(f"followed by request {value['next']}")
    if value["transaction"]:
        out.say(f"transaction {value['transaction']}")
    out.result(value)
    return 0


def _list(view: OrderView, folder: Path, out: Output) -> int:
    orders = view.recent(LISTED)
    rows = [
        {
            "request_id": order.order_id.hex(),
            "role": order.role.value,
            "state": order.state.value,
            "reason": order.reason,
        }
        for order in orders
    ]
    out.table(("request", "role", "state", "reason"), [tuple(row.values()) for row in rows])
    out.result({"node": read_status(folder), "orders": rows})
    return 0


def order_json(view: OrderView, order_id: bytes) -> dict[str, Any]:
    """Everything about one order of a requester that its owner may see, secrets left out.

    Raises:
        OrderUnknown.
    """
    order = view.order(order_id)
    due = deadline(order)
    history = view.history(order_id, Role.REQUESTER)
    following = view.following(order_id)
    deal, delivery = view.deal(order_id), view.delivery(order_id)
    try:
        transaction: str | None = "0x" + view.landing(order_id).tx_hash.hex()
    except NotFound:
        transaction = None
    return {
        "request_id": order_id.hex(),
        "state": order.state.value,
        "reason": order.reason,
        "means": MEANS[order.state],
        "until_ms": None if due is None else due[0],
        "then": None if due is None else due[1].value,
        "deliver_by": order.deliver_by,
        "claim_by": order.claim_by,
        "valid_until": order.valid_until,
        "bid_count": len(view.bids(order_id)),
        "bids": []
        if deal is None
        else [
            {"prover": "0x" + bid.prover.hex(), "price_wei": str(bid.opening.price_wei)} for bid in deal.award.openings
        ],
        "winner": None if deal is None else "0x" + deal.winner.prover.hex(),
        "price_wei": None if deal is None else str(deal.opening.price_wei),
        "prove_ms": None if delivery is None else delivery.prove_ms,
        "transaction": transaction,
        "ranks": [
            {"rank": rank, "state": engaged.state.value, "reason": engaged.reason}
            for rank, engaged in view.ranks(order_id)
        ],
        "next": None if following is None else following.hex(),
        "history": [
            {
                "ms": line.at_ms - history[0].at_ms,
                "event": line.event,
                "state": line.target.value,
                "reason": line.reason,
            }
            for line in history
        ],
    }
