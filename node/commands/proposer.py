"""`unveto proposer run`: the self-building proposer's sidecar. `unveto proposer slots`: what it did for its slots."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from node.commands import Commands
from node.commands.node import run as run_node
from node.config import DATABASE_NAME, NodeConfig, load_config
from node.errors import NotFound, UsageError
from node.injector import slot_json
from node.output import Output
from node.store.database import Database
from node.store.slots import SlotStore
from node.store.vault import Vault

SHOWN: Final = 32


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser("proposer", help="a proposer that builds its own blocks")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    run_parser = actions.add_parser("run", parents=[common], help="run the sidecar until told to stop")
    run_parser.add_argument("--config", type=Path, required=True)
    run_parser.set_defaults(run=run)
    slots_parser = actions.add_parser("slots", parents=[common], help="show what was chosen, sent and included")
    slots_parser.add_argument("--config", type=Path, required=True)
    slots_parser.add_argument("--last", type=int, default=SHOWN, help=f"how many slots; {SHOWN} unless given")
    slots_parser.set_defaults(run=slots)


def run(args: argparse.Namespace, out: Output) -> int:
    """As `unveto node run`, for this role only."""
    _config(args.config)
    return run_node(args, out)


def slots(args: argparse.Namespace, out: Output) -> int:
    """Read only; works whether the node runs or not.

    Raises:
        NotFound: it has never run.
    """
    config = _config(args.config)
    path = config.path(DATABASE_NAME)
    if not config.store.url and not path.exists():
        raise NotFound(what="database", name=str(path))
    database = Database(config.store_url, now_ms=0, is_reader=True)
    try:
        plans = SlotStore(database, Vault(config.path("vault.key"))).recent(max(0, args.last))
    finally:
        database.close()
    shown = [{"slot": plan.slot, **slot_json(plan)} for plan in plans]
    out.table(
        ("slot", "transaction", "state", "block", "reason"),
        [
            (plan.slot, "0x" + each.tx_hash.hex(), each.state.value, each.block_number or "", each.reason)
            for plan in plans
            for each in plan.injections
        ],
    )
    out.result({"slots": shown})
    return 0


def _config(path: Path) -> NodeConfig:
    config = load_config(path)
    if config.role != "proposer":
        raise UsageError(problem=f"{path} configures a {config.role}, not a proposer")
    return config
