"""`unveto setup dev`: developer keys, made from published randomness and labelled so.

Ceremonies: `ceremony.py`; the prover for NVIDIA cards: `setup_cuda.py`.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from node.commands import Commands, ceremony, setup_cuda
from node.output import Output
from proving.circuit.stored import stored_r1cs
from proving.circuit.tiers import SHAPES
from proving.keys import cached_dev_key
from proving.setup_dev import setup_dev
from proving.snark_json import verifying_key_json
from proving.zkey import Zkey, read_zkey

WARNING = "developer key: its secrets are known to everybody, so its proofs convince nobody; not for production"


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser("setup", help="make proving keys, compile the CUDA prover")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    dev = actions.add_parser("dev", parents=[common], help="a key from known randomness")
    dev.add_argument("--tier", default="S", choices=[shape.tier.name for shape in SHAPES.values()])
    dev.add_argument("--r1cs", type=Path, help="make the key of this circuit instead of a table VM tier")
    dev.add_argument("--zkey", type=Path, help="file to write; without it the key goes to the cache")
    dev.add_argument("--vkey", type=Path, help="also write the verification key as JSON")
    dev.set_defaults(run=run)
    ceremony.add(actions, common)
    setup_cuda.add(actions, common)


def run(args: argparse.Namespace, out: Output) -> int:
    """Make the key, or find it in the cache."""
    began = time.monotonic()
    path, key = _make(args, out)
    if args.vkey is not None:
        args.vkey.write_text(verifying_key_json(key.verifying_key()))
    took_ms = round((time.monotonic() - began) * 1000)
    out.say(WARNING)
    out.say(f"{path} ({took_ms} ms)")
    out.result({"zkey": str(path), "dev_key": key.is_dev_key, "warning": WARNING, "took_ms": took_ms})
    return 0


def _make(args: argparse.Namespace, out: Output) -> tuple[Path, Zkey]:
    if args.r1cs is None:
        number = next(n for n, shape in SHAPES.items() if shape.tier.name == args.tier)
        with out.progress(f"circuit of tier {args.tier}"):
            circuit = stored_r1cs(number)
    else:
        circuit = args.r1cs
    if args.zkey is None:
        with out.progress("developer key"):
            path = cached_dev_key(circuit, notice=out.say)
        return path, read_zkey(path)
    with out.progress("developer key"):
        return args.zkey, setup_dev(circuit, args.zkey)
