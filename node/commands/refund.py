"""`unveto refund`: bring home what the market owes a running node's account: credits, or a ticket (SPEC §8.2)."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from node.commands import Commands
from node.commands.request import command, config_of
from node.output import Output

STEPS: Final = {
    "collected": "{amount_wei} wei of credit are sent to the account",
    "requested": "the ticket with {amount_wei} wei is asked back; the same command takes it out when its delay is over",
    "withdrawn": "the ticket with {amount_wei} wei is credited; `refund` without a ticket collects it",
}


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser("refund", parents=[common], help="bring home credits, or take a ticket out")
    parser.add_argument("--config", type=Path, required=True, help="configuration of the running requester or prover")
    parser.add_argument("--ticket", type=int, help="take this ticket out; without it credits are collected")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, out: Output) -> int:
    """0 when the transaction is sent."""
    answer = command(config_of(args.config, "requester", "prover"), "refund", {"ticket": args.ticket})
    out.say(STEPS[str(answer["step"])].format(amount_wei=answer["amount_wei"]))
    out.say(f"transaction {answer['transaction']}")
    out.result(answer)
    return 0
