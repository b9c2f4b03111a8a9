"""Measurements judge what they measured: a false result is no figure, and each process is charged for itself."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from node.bench import child
from node.bench.machine import machine, release
from node.bench.peers import Peer, find_peer
from node.bench.run import BenchFailed, Series, on_cpus, prove_ours, prove_peer, run_child, summary
from node.errors import UsageError
from proving import reference
from proving.bn254 import R
from proving.groth16 import prove, setup_dev
from proving.points import Proof
from proving.snark_json import proof_json, public_json
from proving.wtns import write_wtns
from proving.zkey import Zkey
from tests.unit.proving.circuits import square_and_product

Made = tuple[Zkey, tuple[Path, Path, Path, Path], Proof, tuple[int, ...]]


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """A key, the four files of a measurement of which two exist, a proof and its public values."""
    circuit = square_and_product()
    zkey, wtns = tmp_path / "c.zkey", tmp_path / "c.wtns"
    key = setup_dev(circuit.r1cs(), zkey)
    wtns.write_bytes(write_wtns(circuit.witness()))
    return key, (zkey, wtns, tmp_path / "proof.json", tmp_path / "public.json"), *prove(key, circuit.witness())


def peer(script: str, *arguments: str) -> Peer:
    """A prover in one line of Python; `a` are zkey, wtns, proof and public."""
    program = f"import sys; from pathlib import Path; a = sys.argv[{1 + len(arguments)}:]; {script}"
    return Peer(name="peer", version="1", command=(sys.executable, "-c", program, *arguments))


COPY = "Path(a[2]).write_text(sys.argv[1]); Path(a[3]).write_text(sys.argv[2])"


def test_a_peer_is_credited_with_a_proof_that_verifies_and_with_nothing_else(made: Made) -> None:
    key, files, proof, public = made
    wrong = tuple(value + 1 for value in public)
    for given, is_good in ((public, True), (wrong, False)):
        series = Series(name="peer", version="1")
        prove_peer(series, peer(COPY, proof_json(proof), public_json(given)), key, files)

        assert series.verified is is_good
        assert series.result()["verified"] is is_good


def test_a_proof_of_an_earlier_run_is_not_taken_for_this_one(made: Made) -> None:
    """A peer that succeeds once, and then ends well without writing anything."""
    key, files, proof, public = made
    series = Series(name="peer", version="1")
    prove_peer(series, peer(COPY, proof_json(proof), public_json(public)), key, files)
    prove_peer(series, peer("pass"), key, files)

    assert not series.verified


def test_a_peer_that_fails_ends_the_measurement_with_its_words(made: Made) -> None:
    key, files, _proof, _public = made
    with pytest.raises(BenchFailed, match="no luck"):
        prove_peer(Series(name="peer", version="1"), peer("sys.exit('no luck')"), key, files)


def test_an_error_of_a_measured_process_keeps_its_code(made: Made, tmp_path: Path) -> None:
    key, files, _proof, _public = made
    swapped = (files[1], files[0], *files[2:])
    with pytest.raises(BenchFailed, match="PRV-012"):
        prove_ours(Series(name="", version=""), key, swapped, {"backend": "groth16-cpu", "threads": 1})


def test_each_process_is_charged_for_its_own_memory_and_time(made: Made) -> None:
    """One that takes 64 MiB after one that takes little; this process's own memory is not in either."""
    ballast = bytearray(b"x") * (120 << 20)
    key, files, _proof, _public = made
    little, much = Series(name="little", version="1"), Series(name="much", version="1")
    prove_peer(little, peer("pass"), key, files)
    prove_peer(much, peer("x = bytearray(b'x' * (64 << 20)); import time; t = time.process_time() + 0.2\n"
                          "while time.process_time() < t: pass"), key, files)  # fmt: skip

    assert little.peak_mib < 40 < 64 < much.peak_mib < 140
    assert much.process_cpu_s[0] >= 0.2 > little.process_cpu_s[0]
    assert much.wall_s[0] >= 0.2
    assert len(ballast) == 120 << 20


@pytest.mark.parametrize("place", [0, 3, 7])
def test_the_point_evaluation_agrees_with_the_reference(place: int) -> None:
    values = [pow(3, i + 1, R) for i in range(8)]

    assert child._on_odd_coset(values, place) == reference.shift_to_odd_points(values, 8)[place]


@pytest.mark.parametrize("group", [1, 2])
def test_a_wrong_sum_is_noticed(group: int, monkeypatch: pytest.MonkeyPatch) -> None:
    assert child.msm({"log2": 3, "group": group, "runs": 1, "threads": 1})["verified"]

    right = child._multiple_of_generator
    monkeypatch.setattr(child, "_multiple_of_generator", lambda group, factor: right(group, factor + 1))
    assert not child.msm({"log2": 3, "group": group, "runs": 1, "threads": 1})["verified"]


def test_the_sum_of_nothing_is_written_as_infinity() -> None:
    assert child._multiple_of_generator(1, 0) == bytes(64)
    assert child._multiple_of_generator(2, 0) == bytes(128)


def test_a_wrong_transform_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert child.ntt({"log2": 3, "runs": 1, "threads": 1})["verified"]

    right = child._on_odd_coset
    monkeypatch.setattr(child, "_on_odd_coset", lambda values, place: (right(values, place) + 1) % R)
    assert not child.ntt({"log2": 3, "runs": 1, "threads": 1})["verified"]


def test_snarkjs_is_found_in_a_folder_above_and_named_when_it_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "node").write_text("#!/bin/sh\n")
    (tmp_path / "node").chmod(0o755)
    folder = tmp_path / "node_modules" / "snarkjs"
    with pytest.raises(UsageError, match="npm install snarkjs"):
        find_peer("snarkjs", tmp_path / "deep" / "down")
    folder.mkdir(parents=True)
    described = {"name": "snarkjs", "version": "0.7.6", "bin": {"snarkjs": "build/cli.cjs"}}
    (folder / "package.json").write_text(json.dumps(described))

    found = find_peer("snarkjs", tmp_path / "deep" / "down")

    assert found.version == "0.7.6"
    assert found.command == (str(tmp_path / "node"), str(folder / "build" / "cli.cjs"), "groth16", "prove")


def test_least_and_median_are_shown() -> None:
    assert summary([3.0, 1.0, 2.0]) == {"min": 1.0, "median": 2.0}


def test_measured_processes_run_on_as_many_cpus_as_asked_for() -> None:
    if not hasattr(os, "sched_getaffinity"):
        pytest.skip("this system has no CPU affinity")
    before = os.sched_getaffinity(0)
    with on_cpus(1):
        assert len(os.sched_getaffinity(0)) == 1
    assert os.sched_getaffinity(0) == before


def test_the_machine_and_the_release_are_named() -> None:
    here = machine()

    assert here["cpu"]
    assert here["cpus"] >= 1  # type: ignore[operator]
    assert set(release()) == {"version", "commit"}


def test_an_unknown_backend_is_refused_before_anything_is_measured() -> None:
    with pytest.raises(BenchFailed, match="status|ValueError"):
        run_child({"work": "prove", "zkey": "", "wtns": "", "proof": "", "public": "", "backend": "x", "threads": 1})
