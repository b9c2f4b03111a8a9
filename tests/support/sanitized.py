"""What runs inside a process whose core was compiled with AddressSanitizer and UndefinedBehaviorSanitizer.

    python -m tests.support.sanitized proof | damage FIRST COUNT | overrun

A report of either sanitizer ends the process with a status that is not 0.
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from proving.ceremony import phase1, phase2
from proving.ceremony.calls import generator
from proving.ceremony.phase1_verify import verify_ptau
from proving.ceremony.phase2_verify import verify_key
from proving.groth16 import prove, rerandomise, setup_dev, verify
from proving.native import Bytes, Options, load, view
from tests.support.damage import USES, damaged, survives
from tests.unit.proving.circuits import random_circuit


def proof() -> None:
    """A developer key and a ceremony's, proofs with both, and everything that can be verified."""
    circuit = random_circuit(60, 2, seed=3)
    with TemporaryDirectory() as name:
        folder = Path(name)
        phase1.new(6, folder / "0")
        phase1.contribute(folder / "0", folder / "1")
        phase1.prepare(folder / "1", folder / "2")
        phase2.new_key(circuit.r1cs(), folder / "2", folder / "a")
        phase2.contribute(folder / "a", folder / "b")
        verify_ptau(folder / "2")
        made = verify_key(folder / "b", circuit.r1cs(), folder / "2")
        for key in (made, setup_dev(circuit.r1cs(), folder / "c")):
            found, public = prove(key, circuit.witness())
            verify(key.verifying_key(), public, rerandomise(key, found))


def damage(first: int, count: int) -> None:
    """Files of every kind, damaged."""
    for kind in USES:
        for seed in range(first, first + (count if kind not in ("ptau", "zkey of a ceremony") else count // 4)):
            survives(kind, damaged(kind, seed))


def overrun() -> None:
    """Reads past the end of a buffer, to see that the sanitizer is there."""
    points = bytearray(generator(1) * 64)
    claimed = view(points)
    load().call("points_check", Options(threads=1), 1, 0, Bytes(claimed.data, 1 << 22))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["proof"]:
            proof()
        case ["damage", begin, amount]:
            damage(int(begin), int(amount))
        case ["overrun"]:
            overrun()
        case _:
            raise SystemExit(__doc__)
    print("done")
