"""`unveto setup ceremony`: powers of tau and keys whose secrets nobody knows, as long as one contributor was honest.

Each action looks at the file that it is given: `.ptau` is phase 1, `.zkey` phase 2.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

from rich.markup import escape

from node.commands import Commands
from node.output import Output
from proving.ceremony import phase1, phase2
from proving.ceremony.parameters import MIN_ITERATIONS_EXPONENT, WORKABLE_ITERATIONS_EXPONENT, Beacon
from proving.ceremony.phase1_verify import verify_ptau
from proving.ceremony.phase2_verify import verify_key
from proving.ceremony.ptau import MAGIC as PTAU_MAGIC
from proving.ceremony.ptau import TauContribution
from proving.errors import CeremonyMisuse
from proving.native import Progress
from proving.zkey import MAGIC as ZKEY_MAGIC
from proving.zkey import Contribution, Zkey

POWERS, KEY = "powers", "key"
ADVICE = {
    "new": "nobody contributed yet: every secret is 1",
    "contribute": "publish this hash, so that others can see your contribution in the final file",
    "beacon": "the beacon's secrets are public: it must come after the last contribution",
    "prepare": "circuits' keys can be made from it; verify it first",
}


def add(actions: Commands, common: argparse.ArgumentParser) -> None:
    """The actions, below `unveto setup`."""
    ceremony = actions.add_parser(
        "ceremony", help="keys whose secrets nobody knows: powers of tau (.ptau), keys (.zkey)"
    )
    steps = ceremony.add_subparsers(dest="step", required=True, metavar="STEP")
    new = steps.add_parser("new", parents=[common], help="blank powers of tau, or a circuit's key from prepared ones")
    new.add_argument("out", type=Path)
    new.add_argument("--power", type=int, help="blank powers for circuits of up to 2^POWER constraints")
    new.add_argument("--r1cs", type=Path, help="a key for this circuit, with --ptau")
    new.add_argument("--ptau", type=Path, help="verified and prepared powers of tau")
    new.set_defaults(run=run_new)
    contribute = steps.add_parser("contribute", parents=[common], help="add secrets of your own and forget them")
    beacon = steps.add_parser("beacon", parents=[common], help="the last contribution, from a public random value")
    for parser in (contribute, beacon):
        parser.add_argument("source", type=Path)
        parser.add_argument("out", type=Path)
    beacon.add_argument("value", help="hexadecimal, such as the hash of a block agreed on beforehand")
    beacon.add_argument(
        "--iterations-exponent", type=int, default=MIN_ITERATIONS_EXPONENT, help="hash the value 2^this times, 10 to 63"
    )
    for parser in (contribute, beacon):
        parser.add_argument("--name", default="", help="shown to everybody, at most 64 bytes")
    contribute.set_defaults(run=run_contribute)
    beacon.set_defaults(run=run_beacon)
    prepare = steps.add_parser("prepare", parents=[common], help="Lagrange bases, which keys are made from")
    prepare.add_argument("source", type=Path)
    prepare.add_argument("out", type=Path)
    prepare.set_defaults(run=run_prepare)
    verify = steps.add_parser(
        "verify", parents=[common], help="check everything that a contributor could have done wrong"
    )
    verify.add_argument("file", type=Path)
    verify.add_argument("--r1cs", type=Path, help="the circuit of a key")
    verify.add_argument("--ptau", type=Path, help="the powers of tau of a key; verify them too")
    verify.add_argument(
        "--max-iterations-exponent",
        type=int,
        default=WORKABLE_ITERATIONS_EXPONENT,
        help="refuse beacons of more than 2^this hashes",
    )
    verify.set_defaults(run=run_verify)


def kind_of(path: Path) -> str:
    """What a file says it is.

    Raises:
        CeremonyMisuse: neither powers of tau nor a key.
    """
    with path.open("rb") as file:
        magic = file.read(4)
    if magic == PTAU_MAGIC:
        return POWERS
    if magic == ZKEY_MAGIC:
        return KEY
    raise CeremonyMisuse(f"{path.name} is neither a .ptau nor a .zkey file")


def run_new(args: argparse.Namespace, out: Output) -> int:
    """A blank file."""
    if (args.power is None) == (args.r1cs is None) or (args.r1cs is None) != (args.ptau is None):
        raise CeremonyMisuse("give --power for powers of tau, or --r1cs and --ptau for a circuit's key")
    if args.power is not None:
        power = args.power
        return _work(args, out, POWERS, lambda _progress: phase1.new(power, args.out))
    return _work(
        args, out, KEY, lambda progress: phase2.new_key(args.r1cs, args.ptau, args.out, progress=progress).circuit_hash
    )


def run_contribute(args: argparse.Namespace, out: Output) -> int:
    """A contribution from the operating system's randomness."""
    kind = kind_of(args.source)
    if kind == POWERS:
        return _work(
            args,
            out,
            kind,
            lambda progress: phase1.contribute(args.source, args.out, args.name, progress=progress).response_hash(),
        )
    return _work(
        args,
        out,
        kind,
        lambda progress: phase2.contribution_hash(
            phase2.contribute(args.source, args.out, args.name, progress=progress)
        ),
    )


def run_beacon(args: argparse.Namespace, out: Output) -> int:
    """A contribution that everybody can recompute."""
    try:
        value = bytes.fromhex(args.value.removeprefix("0x"))
    except ValueError:
        raise CeremonyMisuse("the beacon is not hexadecimal") from None
    beacon = Beacon(value=value, iterations_exponent=args.iterations_exponent)
    kind = kind_of(args.source)
    if kind == POWERS:
        return _work(
            args,
            out,
            kind,
            lambda progress: phase1.apply_beacon(
                args.source, args.out, beacon, args.name, progress=progress
            ).response_hash(),
        )
    return _work(
        args,
        out,
        kind,
        lambda progress: phase2.contribution_hash(
            phase2.apply_beacon(args.source, args.out, beacon, args.name, progress=progress)
        ),
    )


def run_prepare(args: argparse.Namespace, out: Output) -> int:
    """Powers of tau with their Lagrange bases."""
    return _work(args, out, POWERS, lambda progress: phase1.prepare(args.source, args.out, progress=progress))


def _work(args: argparse.Namespace, out: Output, kind: str, step: Callable[[Progress], bytes | object]) -> int:
    began = time.monotonic()
    with out.steps(f"{args.step}: {kind}") as progress:
        made = step(progress)
    digest = made if isinstance(made, bytes) else None
    took_ms = round((time.monotonic() - began) * 1000)
    if digest is not None:
        out.say(in_words(digest))
    out.say(ADVICE[args.step])
    out.say(f"{args.out} ({took_ms} ms)")
    result = {"file": str(args.out), "kind": kind, "hash": digest.hex() if digest else None, "took_ms": took_ms}
    out.result(result)
    return 0


def run_verify(args: argparse.Namespace, out: Output) -> int:
    """Everything that can be checked."""
    began = time.monotonic()
    kind, limit = kind_of(args.file), args.max_iterations_exponent
    if (kind == KEY) != (args.r1cs is not None and args.ptau is not None):
        raise CeremonyMisuse("a key is verified with --r1cs and --ptau, powers of tau without")
    with out.steps(f"verifying {kind}") as progress:
        if kind == POWERS:
            powers = verify_ptau(args.file, max_iterations_exponent=limit, progress=progress)
            found: Zkey | None = None
        else:
            found = verify_key(args.file, args.r1cs, args.ptau, max_iterations_exponent=limit, progress=progress)
    listed = [_about(c) for c in (found.contributions if found is not None else powers.contributions)]
    took_ms = round((time.monotonic() - began) * 1000)
    rows = [
        (i, shown(str(c["name"])), "beacon" if c["beacon"] else "", in_words(str(c["hash"])))
        for i, c in enumerate(listed, 1)
    ]
    out.table(("#", "name", "", "hash"), rows, title=f"valid: {args.file}")
    if found is not None:
        out.say("these powers of tau are taken as they are: verify them too")
    out.say("it holds if one of these contributors forgot their secrets, and the beacon came after them")
    out.result(
        {
            "file": str(args.file),
            "kind": kind,
            "valid": True,
            "power": None if found is not None else powers.power,
            "prepared": None if found is not None else powers.is_prepared,
            "circuit_hash": None if found is None else found.circuit_hash.hex(),
            "contributions": listed,
            "took_ms": took_ms,
        }
    )
    return 0


def _about(contribution: Contribution | TauContribution) -> dict[str, object]:
    if isinstance(contribution, Contribution):
        name, digest = contribution.name, phase2.contribution_hash(contribution)
    else:
        name, digest = contribution.parameters.name, contribution.response_hash()
    return {"name": name, "hash": digest.hex(), "beacon": contribution.is_beacon}


def shown(name: str) -> str:
    """A contributor's name without anything that a terminal or a table would obey."""
    return escape("".join(character if character.isprintable() else "?" for character in name))


def in_words(digest: bytes | str) -> str:
    """64 bytes as four lines of four words, as snarkjs shows them."""
    text = digest.hex() if isinstance(digest, bytes) else digest
    words = [text[at : at + 8] for at in range(0, len(text), 8)]
    return "\n".join(" ".join(words[at : at + 4]) for at in range(0, len(words), 4))
