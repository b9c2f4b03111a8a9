"""`unveto prove`: a Groth16 proof from iden3 files, as snarkjs writes them."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from node.bench.machine import cpu_path
from node.commands import Commands
from node.commands.arguments import backend_of
from node.output import Output
from proving.backends import Backend, prover
from proving.confine import leave_no_core_dump
from proving.native import Options as CoreOptions
from proving.native import load
from proving.snark_json import proof_json, public_json
from proving.zkey import read_zkey


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser("prove", parents=[common], help="make a Groth16 proof from .zkey and .wtns")
    parser.add_argument("zkey", type=Path)
    parser.add_argument("wtns", type=Path)
    parser.add_argument("proof", type=Path, help="proof.json to write")
    parser.add_argument("public", type=Path, help="public.json to write")
    parser.add_argument("--threads", type=int, default=0, help="0: as many as the machine has")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="auto: CUDA where it works")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, out: Output) -> int:
    """Prove and write both files."""
    leave_no_core_dump()
    load(out.say)
    chosen = backend_of(args.device)
    options = CoreOptions(threads=args.threads) if args.threads else CoreOptions()
    with out.progress("reading the key"):
        key = read_zkey(args.zkey)
    began = time.monotonic()
    with out.progress("proving"):
        proof, public = prover(chosen.backend)(args.zkey, args.wtns, options=options)
    took_ms = round((time.monotonic() - began) * 1000)
    args.proof.write_text(proof_json(proof))
    args.public.write_text(public_json(public))
    if key.is_dev_key:
        out.say("note: this is a developer key; its secrets are known, so its proofs convince nobody")
    path = cpu_path()
    out.say(f"proved in {took_ms} ms ({chosen.backend}, {path}): {args.proof}, {args.public}")
    if chosen.backend is Backend.CPU and args.device == "auto":
        out.say(f"note: {chosen.reason}")
    out.result(
        {
            "proof": str(args.proof),
            "public": [str(value) for value in public],
            "prove_ms": took_ms,
            "backend": chosen.backend,
            "cpu_path": path,
            "dev_key": key.is_dev_key,
        }
    )
    return 0
