"""What a proof takes of memory, measured in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from proving.bench_circuit import bench_circuit, rows_filling
from proving.build import cache_dir
from proving.native import load
from proving.setup_dev import setup_dev
from proving.wtns import write_wtns

CHILD = """
import re, sys
from pathlib import Path
from proving.groth16 import prove
from proving.native import Options, load

# The peak of this address space; that of getrusage would begin with the parent's.
peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) << 10
load()
before = peak()
prove(Path(sys.argv[1]), Path(sys.argv[2]), options=Options(threads=2))
print(before, peak())
"""


def peak_growth(zkey: Path, wtns: Path) -> int:
    """Bytes that a process grows by, above its libraries, while it proves."""
    output = subprocess.run([sys.executable, "-c", CHILD, str(zkey), str(wtns)], capture_output=True, check=True).stdout
    before, after = map(int, output.split())
    return after - before


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    ("log_size", "fifths"),
    [
        (16, 6),
        pytest.param(18, 6, marks=pytest.mark.campaign),
        pytest.param(20, 6, marks=pytest.mark.campaign),
    ],
)
def test_the_memory_of_a_proof_is_bounded_by_its_key(
    log_size: int, fifths: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first proof converts the key, the second maps what the first left: a fifth more than the key suffices."""
    load()
    (tmp_path / "core").symlink_to(cache_dir() / "core")
    circuit = bench_circuit(rows_filling(log_size))
    zkey, wtns = tmp_path / "k.zkey", tmp_path / "w.wtns"
    setup_dev(circuit.r1cs, zkey)
    wtns.write_bytes(write_wtns(circuit.witness))
    del circuit
    monkeypatch.setenv("UNVETO_CACHE", str(tmp_path))
    limit = zkey.stat().st_size * fifths // 5

    assert 0 < peak_growth(zkey, wtns) < limit
    assert len(list((tmp_path / "keys").glob("*.prepared"))) == 1
    assert 0 < peak_growth(zkey, wtns) < limit
