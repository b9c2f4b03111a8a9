"""What is left of a witness in the memory of a process that has proven with it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from proving.bench_circuit import BenchCircuit, bench_circuit
from proving.bn254 import R
from proving.setup_dev import setup_dev
from proving.wtns import Witness, write_wtns
from tests.support.tools import ROOT

LARGE = 1 << 200
FEW = 8
"""Single values may lie on a thread's stack or in a saved register; buffers may not."""
PROVER = """
import sys
from pathlib import Path
from proving.groth16 import prove
from proving.native import Options
from proving.wtns import read_wtns
witness = Path(sys.argv[2]) if sys.argv[3] == "file" else read_wtns(Path(sys.argv[2]))
prove(Path(sys.argv[1]), witness, options=Options(threads=2))
print("done", flush=True)
sys.stdin.read()
"""


def forms(circuit: BenchCircuit) -> set[bytes]:
    """Each full-size secret, plain and in the Montgomery forms of the paths."""
    secrets = [value for wire in range(3, len(circuit.witness)) if (value := circuit.witness[wire]) > LARGE]
    factors = (1, pow(2, 256, R), pow(2, 260, R))
    return {(value * factor % R).to_bytes(32, "little") for value in secrets for factor in factors}


def found_in(pid: int, wanted: set[bytes]) -> set[bytes]:
    """Which of some values of 32 bytes lie, 8-byte aligned, in memory that a process may write."""
    starts = np.array(sorted({int.from_bytes(value[:8], "little") for value in wanted}), dtype="<u8")
    found = set()
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in maps:
            begin, end = (int(part, 16) for part in line.split()[0].split("-"))
            if "w" not in line.split()[1]:
                continue
            memory.seek(begin)
            data = memory.read(end - begin)
            words = np.frombuffer(data[: len(data) // 8 * 8], dtype="<u8")
            near = np.searchsorted(starts, words).clip(max=len(starts) - 1)
            for place in np.nonzero(starts[near] == words)[0].tolist():
                found.add(data[8 * place : 8 * place + 32])
    return found & wanted


@pytest.mark.skipif(sys.platform != "linux", reason="reads the memory of another process through /proc")
@pytest.mark.parametrize(("path", "holder"), [("best", "file"), ("portable", "file"), ("best", "caller")])
def test_a_proof_leaves_nothing_of_the_witness_in_memory(path: str, holder: str, tmp_path: Path) -> None:
    """Unless its caller keeps it: then all of it is found, so the search would see what it looks for."""
    circuit = bench_circuit(1200, seed=5)
    zkey, wtns = tmp_path / "c.zkey", tmp_path / "c.wtns"
    setup_dev(circuit.r1cs, zkey)
    wtns.write_bytes(write_wtns(circuit.witness))
    wanted = forms(circuit)
    with subprocess.Popen(
        [sys.executable, "-c", PROVER, zkey, wtns, holder],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"UNVETO_CPU": path, "PYTHONPATH": str(ROOT)},
    ) as prover:
        assert prover.stdin is not None
        assert prover.stdout is not None
        assert prover.stdout.readline() == b"done\n"
        found = found_in(prover.pid, wanted)
        prover.stdin.close()

    assert len(wanted) > 2500
    if holder == "caller":
        assert len(found) >= len(wanted) // 3
    else:
        assert len(found) <= FEW


def test_a_witness_does_not_show_its_values() -> None:
    """Tracebacks and logs print objects."""
    assert repr(Witness.from_ints((1, 0x1234567890))) == "Witness()"
