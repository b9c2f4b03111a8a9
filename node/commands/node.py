"""`unveto node run`: one node, one role, until a signal ends it."""

from __future__ import annotations

import argparse
import logging
import signal
from pathlib import Path

import trio

from node.app import run_node
from node.commands import Commands
from node.config import NodeConfig, load_config
from node.log import set_up
from node.output import Output
from protocol.vm.poseidon import use
from proving.circuit.poseidon import native_hash
from proving.errors import CoreError
from proving.native import load

log = logging.getLogger("unveto.node")


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser("node", help="run a node")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    run_parser = actions.add_parser("run", parents=[common], help="run one role until told to stop")
    run_parser.add_argument("--config", type=Path, required=True)
    run_parser.set_defaults(run=run)


def run(args: argparse.Namespace, out: Output) -> int:
    """0 after SIGINT or SIGTERM."""
    return run_role(load_config(args.config), args.config, out)


def run_role(config: NodeConfig, path: Path, out: Output) -> int:
    """0 after SIGINT or SIGTERM.

    Args:
        path: of the file that the configuration was read from.
    """
    set_up(config.log_level)
    try:
        load(log.info)
        use(native_hash)  # a follower hashes all the time
    except CoreError as error:
        log.warning("states are hashed in Python, which is slow: %s", error)
    trio.run(_until_signal, config, path)
    out.result({"stopped": True})
    return 0


async def _until_signal(config: NodeConfig, path: Path) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run_node, config, path)
            async for _signal in signals:
                nursery.cancel_scope.cancel()
                return
