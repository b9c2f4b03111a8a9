"""`unveto verify`: check a Groth16 proof in snarkjs' JSON files."""

from __future__ import annotations

import argparse
from pathlib import Path

from node.commands import Commands
from node.output import Output
from proving.groth16 import verify
from proving.native import load
from proving.snark_json import read_proof_json, read_public_json, read_verifying_key_json


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser("verify", parents=[common], help="check a Groth16 proof")
    parser.add_argument("verification_key", type=Path)
    parser.add_argument("public", type=Path)
    parser.add_argument("proof", type=Path)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, out: Output) -> int:
    """Raises ProvingError with the code of the first check that failed."""
    load(out.say)
    verify(read_verifying_key_json(args.verification_key), read_public_json(args.public), read_proof_json(args.proof))
    out.say("valid")
    out.result({"valid": True})
    return 0
