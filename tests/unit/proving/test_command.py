"""Programs that prove: what they leave is read with care, and each way to fail has its reason."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from protocol.fields import MAX_PROOF_BYTES
from proving.command import CommandJob, run
from proving.confine import Limits
from proving.errors import CommandFailed, DiskExceeded, ProvingError

JOB = CommandJob(
    tier=0,
    rollup_id=1,
    statement=b"statement",
    family=b"f" * 32,
    public_input=b"p" * 32,
    witness=b"witness",
    deadline=1_800_000_000,
    threads=1,
)
LIMITS = Limits(wall_s=60.0, memory_mib=1024, disk_mib=1, files=20)


def run_script(script: str, directory: Path) -> bytes:
    """A shell script in the place of a prover; $1 is the job directory."""
    return run(("/bin/sh", "-c", script, "sh"), directory, JOB, LIMITS)


@pytest.mark.parametrize("size", [1, MAX_PROOF_BYTES])
def test_a_proof_of_an_admitted_size_comes_back(tmp_path: Path, size: int) -> None:
    assert run_script(f"head -c {size} /dev/zero > $1/proof.bin", tmp_path) == bytes(size)


@pytest.mark.parametrize(
    ("script", "error", "reason"),
    [
        ("echo out of luck >&2; exit 3", CommandFailed, "/bin/sh ended with status 3: out of luck"),
        ("printf proof > proof.bin; exit 1", CommandFailed, "status 1"),
        ("kill -SEGV $$", CommandFailed, "status -11"),
        ("true", CommandFailed, "no proof.bin: No such file"),
        (": > proof.bin", CommandFailed, "proof.bin has no bytes"),
        (f"head -c {MAX_PROOF_BYTES + 1} /dev/zero > proof.bin", CommandFailed, "proof.bin has 16385 bytes"),
        ("mkfifo proof.bin", CommandFailed, "proof.bin is no file"),
        ("mkdir proof.bin", CommandFailed, "proof.bin is no file"),
        ("ln -s /etc/passwd proof.bin", CommandFailed, "no proof.bin"),
        ("mkdir d; for i in $(seq 20); do : > d/$i; done", DiskExceeded, "more than 20 files"),
        ("for i in 1 2 3; do head -c 700000 /dev/zero > $i; done", DiskExceeded, "more than 1 MiB"),
    ],
)
def test_what_is_no_proof_is_refused(tmp_path: Path, script: str, error: type[ProvingError], reason: str) -> None:
    with pytest.raises(error, match=reason):
        run_script(script, tmp_path)


def test_a_command_that_still_runs_is_looked_at(tmp_path: Path) -> None:
    """The directory outgrows its limits while the command waits for ever."""
    os.mkfifo(tmp_path / "never")
    with pytest.raises(DiskExceeded, match="more than 20 files"):
        run_script("mkdir d; for i in $(seq 20); do : > d/$i; done; exec cat never", tmp_path)


def test_only_the_end_of_a_long_log_is_quoted(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed) as refused:
        run_script("head -c 100000 /dev/zero | tr '\\0' x; echo THE END; exit 1", tmp_path)

    assert refused.value.reason.endswith("xTHE END")
    assert len(refused.value.reason) < 2200


def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match="/nonexistent/prover does not start: No such file"):
        run(("/nonexistent/prover",), tmp_path, JOB, LIMITS)
