"""`unveto demo`: the whole story on this machine."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import trio

from node.commands import Commands
from node.demo.screen import show
from node.demo.story import Options, play
from node.errors import UsageError
from node.output import Output
from proving.native import load

SLOW_PACE_S = 1.0


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser("demo", parents=[common], help="play the whole story on this machine")
    parser.add_argument("--l1", help="RPC URL of an L1 to use instead of a development chain of its own")
    parser.add_argument("--key", help="private key of a funded account on that L1")
    parser.add_argument("--anvil", action="store_true", help="run the development chain with anvil")
    parser.add_argument("--keep", type=Path, help="keep the nodes' folders here (an empty or new folder)")
    parser.add_argument("--slow", action="store_true", help="pause after each line, for reading")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, out: Output) -> int:
    """0 when the payee was paid and nothing leaked; 1 when something private was seen."""
    load(out.say)
    if args.slow:
        out.pace_s = SLOW_PACE_S
    if args.keep is not None:
        args.keep.mkdir(parents=True, exist_ok=True)
        if any(args.keep.iterdir()):
            raise UsageError(problem=f"{args.keep} is not empty")
        return _play(args, args.keep, out)
    with tempfile.TemporaryDirectory(prefix="unveto-demo-") as folder:
        return _play(args, Path(folder), out)


def _play(args: argparse.Namespace, folder: Path, out: Output) -> int:
    options = Options(
        folder=folder,
        l1_kind="anvil" if args.anvil else "py-evm",
        l1_url=args.l1,
        l1_key=args.key,
    )
    findings = trio.run(play, options, out)
    show(findings, out)
    for leak in findings.leaks:
        out.say(f"LEAK: {leak.field} in {leak.place}")
    out.result(findings.json)
    return 1 if findings.leaks else 0
