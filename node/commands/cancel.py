"""`unveto cancel`: withdraw an order, at the price of its stage (SPEC §10)."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from market.cancelling import CancelPrice
from node.commands import Commands
from node.commands.arguments import request_id
from node.commands.request import command, requester_config
from node.output import Output

MEANING: Final = {
    CancelPrice.NOTHING: "nobody was promised anything: it costs nothing, and its ticket is free",
    CancelPrice.TICKET_TIME: "it costs nothing, but its ticket stays promised until claimBy",
    CancelPrice.PRICE_IF_ACKED: "the payload may be with a prover: an Ack and a proof would still be owed the price",
    CancelPrice.PRICE_IF_PROVEN: "a prover is at work: its proof is owed the price, no proof costs its bond",
    CancelPrice.PRICE: "the proof is there: its prover claims the price, and nothing lands",
}


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser("cancel", parents=[common], help="withdraw an order, and say what that can still cost")
    parser.add_argument("--config", type=Path, required=True, help="configuration of the running requester")
    parser.add_argument("request_id", help="64 hex digits")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, out: Output) -> int:
    """0 when the order is withdrawn."""
    config = requester_config(args.config)
    answer = command(config, "cancel", {"request_id": request_id(args.request_id).hex()})
    out.say(f"request {answer['request_id']} is withdrawn: {MEANING[CancelPrice(answer['price'])]}")
    out.result(answer)
    return 0
