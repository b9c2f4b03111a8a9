"""`unveto submit`: let a verified order's transaction go, where the configuration keeps it back."""

from __future__ import annotations

import argparse
from pathlib import Path

from node.commands import Commands
from node.commands.arguments import request_id
from node.commands.request import command, requester_config
from node.output import Output


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser("submit", parents=[common], help="send the transaction of a verified order")
    parser.add_argument("--config", type=Path, required=True, help="configuration of the running requester")
    parser.add_argument("request_id", help="64 hex digits")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, out: Output) -> int:
    """0 when the node has taken the command."""
    config = requester_config(args.config)
    answer = command(config, "submit", {"request_id": request_id(args.request_id).hex()})
    out.say(f"request {answer['request_id']}: its transaction is sent as soon as it is signed")
    out.result(answer)
    return 0
