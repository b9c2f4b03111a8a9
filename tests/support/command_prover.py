"""A prover of somebody else, as a program: `python command_prover.py ZKEY JOB_DIRECTORY`.

It is the example of proving/COMMANDS.md: everything that it knows comes from the files of the job
directory, and the proof is the file that it leaves there. A prover of another proof system does the same, with its own
machine in the place of the circuit.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


def main(zkey: Path, job: Path) -> None:
    """Proves the statement of a job with the table-VM circuit."""
    sys.path.insert(0, str(ROOT))  # it is run as a file, in a folder of its own
    from protocol.challenge import challenge
    from protocol.payload import decode_witness, state_from_witness
    from protocol.table import decode_core
    from protocol.types import Hash32
    from proving.circuit.witness import prepare
    from proving.groth16 import prove
    from proving.native import Options
    from proving.solidity import TableProof

    asked = json.loads((job / "job.json").read_text())
    statement = (job / "statement.bin").read_bytes()
    family, public_input = (Hash32((job / name).read_bytes()) for name in ("family.bin", "public_input.bin"))
    rollup_id, core = int.from_bytes(statement[:8], "big"), decode_core(statement[8:])
    state = state_from_witness(decode_witness((job / "witness.bin").read_bytes()))
    prepared = prepare(asked["tier"], core, rollup_id, state)
    z = challenge(family=family, tier=asked["tier"], public_input=public_input, words=prepared.words, h=prepared.h)
    proof, public = prove(zkey, prepared.finish(z).wtns, options=Options(threads=asked["threads"]))
    finished = job / "proof.partial"
    finished.write_bytes(TableProof(tier=asked["tier"], h=public[0], proof=proof).to_bytes())
    finished.rename(job / "proof.bin")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
