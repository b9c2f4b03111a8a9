"""`unveto slash`: let a running requester take a bond at once, or say why not (SPEC §8.2).

The node does this by itself when it is due; the command is for whoever does not want to wait for its next look, and for
the reason if there is nothing to do.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from node.commands import Commands
from node.commands.arguments import request_id
from node.commands.request import command, config_of
from node.output import Output


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser(
        "slash", parents=[common], help="take the bond of a prover that acknowledged and proved nothing"
    )
    parser.add_argument("--config", type=Path, required=True, help="configuration of the running requester")
    parser.add_argument("request_id", help="64 hex digits")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, out: Output) -> int:
    """0 when it is under way."""
    answer = command(config_of(args.config, "requester"), "slash", {"request_id": request_id(args.request_id).hex()})
    out.say(f"request {answer['request_id']}: {answer['state']}")
    out.result(answer)
    return 0
