"""`unveto submit`: let a verified order's transaction go, where the configuration keeps it back; or hand in a kept
file, which needs neither the node nor its key."""

from __future__ import annotations

import argparse
import time
from functools import partial
from pathlib import Path
from typing import Any, Final

import trio

from node.chain.rpc import Rpc
from node.chain.transport import HttpTransport
from node.commands import Commands
from node.commands.arguments import request_id
from node.commands.request import command, requester_config
from node.errors import UsageError
from node.handin import hand_in
from node.keptfile import read_kept
from node.output import Output

WAIT_S: Final = 60


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser("submit", parents=[common], help="send the transaction of a verified order")
    parser.add_argument("--config", type=Path, help="configuration of the running requester")
    parser.add_argument("request_id", nargs="?", help="64 hex digits")
    parser.add_argument("--file", type=Path, help="a kept transaction; anybody can hand it in")
    parser.add_argument("--rpc", help="execution client that gets it, with --file")
    parser.add_argument("--wait", type=float, default=WAIT_S, help=f"seconds for a block; else {WAIT_S}")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, out: Output) -> int:
    """0 when the node has taken the command, or a kept transaction was sent.

    Raises:
        UsageError: neither or both are meant.
        NotNow: the kept transaction cannot land any more, or not yet; the reason says why.
    """
    if args.file is not None:
        if args.rpc is None or args.config is not None or args.request_id is not None:
            raise UsageError(problem="--file goes with --rpc, and without --config and a request id")
        return _hand_in(args, out)
    if args.config is None or args.request_id is None or args.rpc is not None:
        raise UsageError(problem="give --config and a request id, or --file and --rpc")
    config = requester_config(args.config)
    answer = command(config, "submit", {"request_id": request_id(args.request_id).hex()})
    out.say(f"request {answer['request_id']}: its transaction is sent as soon as it is signed")
    out.result(answer)
    return 0


def _hand_in(args: argparse.Namespace, out: Output) -> int:
    kept = read_kept(args.file)
    rpc = Rpc(HttpTransport(args.rpc))
    with out.progress("waiting for a block"):
        done = trio.run(partial(hand_in, kept, rpc, now_s=int(time.time()), wait_s=args.wait))
    value: dict[str, Any] = {
        "request_id": kept.request_id.hex(),
        "tx_hash": "0x" + done.tx_hash.hex(),
        "bytes": len(kept.raw),
        "fits_inclusion_list": done.fits_inclusion_list,
        "block": done.block_number,
        "succeeded": done.succeeded,
    }
    if not done.fits_inclusion_list:
        out.say(f"{len(kept.raw)} bytes: too large for an inclusion list")
    where = "sent, in no block yet" if done.block_number is None else f"in block {done.block_number}"
    out.say(f"transaction {value['tx_hash']}: {where}")
    out.result(value)
    return 0
