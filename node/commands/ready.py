"""`unveto ready ls`: the ready transactions of a running node's pool, asked of its HTTP API."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any, Final

import urllib3

from node.commands import Commands
from node.config import load_config
from node.errors import ApiFailed, NotFound
from node.output import Output
from node.statusfile import read_status

TIMEOUT_S: Final = 30.0
MAX_ANSWER_BYTES: Final = 1 << 27  # 256 transactions of 128 KiB in hexadecimal, and what is said about them


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser("ready", help="ready transactions")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    ls_parser = actions.add_parser("ls", parents=[common], help="list a node's pool")
    ls_parser.add_argument("--config", type=Path, required=True, help="configuration of the running node")
    ls_parser.add_argument("--rollup", type=int, help="only those that touch this rollup")
    ls_parser.add_argument("--max-gas", type=int, help="only those that take at most this gas")
    ls_parser.add_argument("--limit", type=int, help="how many")
    ls_parser.set_defaults(run=run)


def run(args: argparse.Namespace, out: Output) -> int:
    """Asks and prints.

    Raises:
        NotFound: the node is not up, or has no API.
        ApiFailed: it gave no answer, or refused.
    """
    config = load_config(args.config)
    status = read_status(config.path("")) or {}
    if "api" not in status:
        raise NotFound(what="API of a running node", name=str(args.config))
    asked = {"rollup": args.rollup, "max_gas": args.max_gas, "limit": args.limit}
    value = ask(str(status["api"]["url"]), {name: str(number) for name, number in asked.items() if number is not None})
    block = {tx_hash: place for place, tx_hash in enumerate(value["block"], 1)}
    out.table(
        ("transaction", "sender", "nonce", "gas", "tip (wei)", "rollups", "stands on", "in a block now"),
        [
            (
                tx["tx_hash"],
                tx["sender"],
                tx["nonce"],
                tx["gas_used"],
                tx["tip_wei"],
                ", ".join(str(move["rollup_id"]) for move in tx["moves"]),
                ", ".join(tx["requires"]),
                block.get(tx["tx_hash"], ""),
            )
            for tx in value["transactions"]
        ],
    )
    out.say(f"{len(value['transactions'])} of {value['total']}")
    out.result(value)
    return 0


def ask(url: str, query: dict[str, str]) -> dict[str, Any]:
    """The answer of GET /v1/ready.

    Raises:
        ApiFailed.
    """
    pool = urllib3.PoolManager(maxsize=1, retries=False, timeout=urllib3.Timeout(TIMEOUT_S))
    try:
        answer = pool.request("GET", url + "/v1/ready", fields=query, preload_content=False)
        body = answer.read(MAX_ANSWER_BYTES)
        value = json.loads(body)
    except (urllib3.exceptions.HTTPError, ValueError) as error:
        raise ApiFailed(url=url, problem=type(error).__name__) from error
    if answer.status != 200 or not isinstance(value, dict):
        raise ApiFailed(url=url, problem=f"status {answer.status}: {body[:200].decode(errors='replace')}")
    return value
