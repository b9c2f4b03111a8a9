"""The command line: arguments to a command's `run`, errors to coded output. No logic lives here."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version

from node.output import Output

COMMANDS = (
    "demo",
    "node",
    "request",
    "status",
    "submit",
    "cancel",
    "claim",
    "slash",
    "refund",
    "proposer",
    "ready",
    "prover",
    "prove",
    "verify",
    "setup",
    "vm",
    "bench",
    "doctor",
)


def _version() -> str:
    try:
        return version("unveto")
    except PackageNotFoundError:
        return "from source"


def build_parser() -> argparse.ArgumentParser:
    """The whole command tree. Each command's module adds its own arguments."""
    parser = argparse.ArgumentParser(
        prog="unveto", description="A peer-to-peer market for proofs of cross-rollup execution tables."
    )
    parser.add_argument("--version", action="version", version=f"unveto {_version()}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--json", action="store_true", help="print one JSON object")
    for name in COMMANDS:
        import_module(f"node.commands.{name}").add(commands, common)
    return parser


def coded(error: BaseException) -> tuple[str, dict[str, object]] | None:
    """The stable code and values of an error of ours; None for any other."""
    code = getattr(error, "code", None)
    if not isinstance(code, str):
        return None
    values = getattr(error, "values", None)
    if not isinstance(values, dict):
        values = {k: v for k, v in vars(error).items() if not k.startswith("_")}
    return code, values


def _single(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; 0 done, 1 refused with a coded error, 2 wrong usage, 130 interrupted."""
    args = build_parser().parse_args(argv)
    out = Output(as_json=args.json)
    try:
        return int(args.run(args, out))
    except KeyboardInterrupt:
        return 130
    except BaseException as raised:
        error = _single(raised)
        if isinstance(error, KeyboardInterrupt):
            return 130
        found = coded(error)
        if found is None:
            raise
        out.error(found[0], str(error), found[1])
        return 1


if __name__ == "__main__":
    sys.exit(main())
