"""The measuring script of the CUDA prover on the host build, at toy sizes: all of it works before a device is there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from proving.bn254 import R
from proving.build_cuda import build_for_host, local_architectures
from proving.cuda import CudaCore
from tests.bench.floors import best_cut, sum_multiplications
from tests.bench.gpu import Run, expected_scalar, measure, random_scalars, summary
from tests.support.tools import ROOT


def test_the_whole_measurement_runs_and_keeps_its_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every step, with its own checks of sums, transforms and proofs; a peer that works and one that does not exist."""
    run = Run(ends=1e9, sink=tmp_path / "rows.json", repeats=2, proofs=1)

    measure(run, CudaCore(build_for_host()), 6, [("echo", "echo {zkey} {wtns}"), ("none", "/nonexistent {zkey}")])
    summary(run)

    kept = json.loads((tmp_path / "rows.json").read_text())
    assert [row["what"] for row in kept] == [row["what"] for row in run.rows]
    named = {(row["what"], row["size"]) for row in kept}
    assert {("MSM G1, resident points", f"2^{k}") for k in range(4, 9)} <= named
    assert {("MSM G2, resident points", f"2^{k}") for k in (4, 6, 8)} <= named
    assert {("NTT", f"2^{k}") for k in range(4, 9)} <= named
    assert {("full proof, latency", f"2^{k}") for k in range(2, 7)} <= named
    assert ("full proof, 4 in flight", "2^6") in named
    assert ("peer echo, whole process", "2^6") in named
    assert [row["value"] for row in kept if row["what"] == "peer none"][0].startswith("failed")
    assert "left out" not in capsys.readouterr().out


def test_steps_that_would_take_too_long_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    run = Run(ends=0.0, sink=None, repeats=2, proofs=1)

    measure(run, CudaCore(build_for_host()), 6, [])

    assert [row["what"] for row in run.rows][0] == "wide multiply-adds"
    assert not any("proof" in str(row["what"]) for row in run.rows)
    assert "left out" in capsys.readouterr().out


def test_without_a_device_the_script_says_so_with_a_code() -> None:
    if local_architectures():
        pytest.skip("this machine has a CUDA device")

    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.gpu"], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert done.returncode == 1
    assert "PRV-062" in done.stdout


def test_the_expected_sum_is_exact() -> None:
    """Against Python's integers."""
    scalars = random_scalars(50, 3)
    values = [int.from_bytes(scalars[i : i + 32], "little") for i in range(0, len(scalars), 32)]

    def splitmix64(x: int) -> int:
        x = (x + 0x9E3779B97F4A7C15) % (1 << 64)
        x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 % (1 << 64)
        x = (x ^ x >> 27) * 0x94D049BB133111EB % (1 << 64)
        return x ^ x >> 31

    assert expected_scalar(scalars, 9) == sum(k * splitmix64(9 + i) for i, k in enumerate(values)) % R


def test_floors_grow_with_the_work() -> None:
    """Thirteen windows of twenty bits at 2^20: 13.6 million additions of ten multiplications, and the buckets."""
    assert best_cut(1 << 20, 1) == (20, 13)
    assert 1.3e8 < sum_multiplications(1 << 20, 1) < 1.6e8
    assert 2.5 < sum_multiplications(1 << 20, 2) / sum_multiplications(1 << 20, 1) < 3.1
