"""Jobs in real child processes: the proof comes back, and every way to die is told apart."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from proving import errors, worker
from proving.groth16 import prove, setup_dev, verify
from proving.wtns import Witness
from proving.zkey import Zkey
from tests.unit.proving.circuits import random_circuit, square_and_product


@pytest.fixture
def key(tmp_path: Path) -> Zkey:
    return setup_dev(square_and_product().r1cs(), tmp_path / "c.zkey")


def finish(folder: Path) -> tuple[int, str, str]:
    done = subprocess.run(
        worker.command(folder), env=worker.environment(), capture_output=True, text=True, timeout=120, check=False
    )
    return done.returncode, done.stdout, done.stderr


def test_a_job_gives_a_proof_and_leaves_no_witness(tmp_path: Path, key: Zkey) -> None:
    job = tmp_path / "job"
    worker.prepare(job, zkey=tmp_path / "c.zkey", witness=square_and_product().witness(), threads=1)
    assert (job / "witness.wtns").stat().st_mode & 0o777 == 0o600 and job.stat().st_mode & 0o777 == 0o700

    returncode, output, _ = finish(job)
    proof, public = worker.result(job, returncode)

    verify(key.verifying_key(), public, proof)
    assert public == (49,)
    assert sorted(path.name for path in job.iterdir()) == ["job.json", "proof.json", "public.json"]
    assert output.splitlines()[-1] == "100 100"


@pytest.mark.usefixtures("key")
def test_a_coded_error_of_the_child_reaches_the_parent(tmp_path: Path) -> None:
    worker.prepare(tmp_path / "job", zkey=tmp_path / "c.zkey", witness=Witness.from_ints([1, 49, 7, 3, 79]))

    returncode, _, _ = finish(tmp_path / "job")

    with pytest.raises(errors.WorkerRefused) as refused:
        worker.result(tmp_path / "job", returncode)
    assert refused.value.cause_code == "PRV-020"


def test_a_child_that_cannot_find_its_key_crashes_alone(tmp_path: Path) -> None:
    worker.prepare(tmp_path / "job", zkey=tmp_path / "absent.zkey", witness=square_and_product().witness())

    returncode, _, stderr = finish(tmp_path / "job")

    with pytest.raises(errors.WorkerCrashed, match="absent.zkey"):
        worker.result(tmp_path / "job", returncode, stderr)


def test_the_memory_limit_ends_the_job(tmp_path: Path) -> None:
    """A key that does not fit into what is left of the address space."""
    circuit = random_circuit(20000, 1, seed=3)
    setup_dev(circuit.r1cs(), tmp_path / "big.zkey")
    worker.prepare(
        tmp_path / "job", zkey=tmp_path / "big.zkey", witness=circuit.witness(), threads=1, memory_bytes=130 << 20
    )

    returncode, _, stderr = finish(tmp_path / "job")

    assert returncode != 0
    with pytest.raises(errors.WorkerError):
        worker.result(tmp_path / "job", returncode, stderr)


@pytest.mark.usefixtures("key")
def test_a_child_whose_parent_is_gone_stops(tmp_path: Path) -> None:
    job = tmp_path / "job"
    worker.prepare(job, zkey=tmp_path / "c.zkey", witness=square_and_product().witness())
    members = json.loads((job / "job.json").read_text())
    assert members["parent_pid"] == os.getpid()
    (job / "job.json").write_text(json.dumps({**members, "parent_pid": 2**22}))

    returncode, _, _ = finish(job)

    with pytest.raises(errors.WorkerRefused) as refused:
        worker.result(job, returncode)
    assert refused.value.cause_code == "PRV-005"


def test_a_killed_child_is_a_crash(tmp_path: Path, key: Zkey) -> None:
    """Terminated before it can write anything; and a success without a result is a crash too."""
    worker.prepare(tmp_path / "job", zkey=tmp_path / "c.zkey", witness=square_and_product().witness())
    process = subprocess.Popen(worker.command(tmp_path / "job"), env=worker.environment())
    process.kill()

    with pytest.raises(errors.WorkerCrashed) as crashed:
        worker.result(tmp_path / "job", process.wait())
    assert crashed.value.returncode == -9
    with pytest.raises(errors.WorkerCrashed):
        worker.result(tmp_path / "job", 0)
    with pytest.raises(errors.WorkerCrashed):
        worker.result(tmp_path / "job", None)
    (tmp_path / "job" / "proof.json").write_text("{}")
    with pytest.raises(errors.WorkerCrashed, match="cannot be read"):
        worker.result(tmp_path / "job", 0)


@pytest.mark.parametrize(
    "change",
    [
        {"threads": 0},
        {"threads": 257},
        {"threads": True},
        {"threads": "2"},
        {"memory_bytes": -1},
        {"parent_pid": 1.5},
        {"zkey": 3},
        {"extra": 1},
    ],
    ids=repr,
)
def test_a_job_file_with_another_content_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    job = tmp_path / "job"
    worker.prepare(job, zkey=tmp_path / "c.zkey", witness=square_and_product().witness())
    members = json.loads((job / "job.json").read_text())
    (job / "job.json").write_text(json.dumps({**members, **change}))

    with pytest.raises(errors.JobMalformed):
        worker.read_job(job)


@pytest.mark.parametrize(
    "text", ["", "[]", "{", "[" * 60000, " " * (1 << 17)], ids=["empty", "list", "cut", "deep", "huge"]
)
def test_a_job_file_that_is_no_small_object_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "job.json").write_text(text)
    with pytest.raises(errors.JobMalformed):
        worker.read_job(tmp_path)


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    (tmp_path / "proof.json").write_text("old")
    with pytest.raises(FileExistsError):
        worker.prepare(tmp_path, zkey=tmp_path / "c.zkey", witness=square_and_product().witness())


def test_the_child_proves_the_same_statement_as_the_parent(tmp_path: Path, key: Zkey) -> None:
    """The environment given to the child imports this copy of the package from any working directory."""
    job = tmp_path / "job"
    worker.prepare(job, zkey=tmp_path / "c.zkey", witness=square_and_product().witness(), outlives_parent=True)
    done = subprocess.run(worker.command(job), env=worker.environment(), cwd="/", capture_output=True, check=False)

    assert worker.result(job, done.returncode)[1] == prove(key, square_and_product().witness())[1]
