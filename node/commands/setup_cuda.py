"""`unveto setup cuda`: compiles the CUDA prover once; a node only uses what has been compiled."""

from __future__ import annotations

import argparse
import time

from node.commands import Commands
from node.output import Output
from proving.build_cuda import PORTABLE_ARCHITECTURES, build
from proving.cuda import CudaCore


def add(actions: Commands, common: argparse.ArgumentParser) -> None:
    """The action, below `unveto setup`."""
    cuda = actions.add_parser("cuda", parents=[common], help="compile the prover for NVIDIA cards, once")
    cuda.add_argument(
        "--arch",
        action="append",
        metavar="NN",
        help="compute capability such as 90; may be repeated; all: Ampere to Blackwell; default: this machine's cards",
    )
    cuda.set_defaults(run=run)


def run(args: argparse.Namespace, out: Output) -> int:
    """Compile, or find what has been compiled."""
    began = time.monotonic()
    wanted = PORTABLE_ARCHITECTURES if args.arch == ["all"] else tuple(args.arch) if args.arch else None
    with out.progress("CUDA prover"):
        library = build(wanted, out.say)
    devices = [str(device) for device in CudaCore(library).devices()]
    took_ms = round((time.monotonic() - began) * 1000)
    out.say(f"{library} ({took_ms} ms)")
    out.say(devices[0] if devices else "this machine has no CUDA device, or no driver; proofs are made on the CPU")
    out.result({"library": str(library), "devices": devices, "took_ms": took_ms})
    return 0
