"""Proving children: whatever becomes of one, its parent learns it and goes on; nothing of it is left."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from node.errors import ProofFailed
from node.proofs import ProofRunner
from proving.circuit.table_vm import circuit_for
from proving.keys import cached_dev_key
from proving.table_job import TableJob
from tests.support.provingchild import job, shell

LEAVE_A_PROOF = "printf proof > proof.bin"


@pytest.fixture
def runner(tmp_path: Path) -> ProofRunner:
    return ProofRunner(1, tmp_path / "jobs")


async def proof_of(runner: ProofRunner, asked: TableJob) -> bytes:
    """Runs a job to its end."""
    async with runner.slot(), runner.start(asked) as running:
        await running.checked()
        proof, _took_ms = await running.prove()
        return proof


def has_ended(pid: int, within_s: float) -> bool:
    """Whether a process ends in time; true for one that is not there."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], within_s)[0])
    finally:
        os.close(descriptor)


async def test_a_good_witness_is_checked_and_a_missing_key_is_a_coded_failure(runner: ProofRunner) -> None:
    async with runner.start(job()) as running:
        event = await running.checked()
        assert event["event"] == "checked"
        with pytest.raises(ProofFailed, match="PRV-052: FileNotFoundError"):
            await running.prove()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"core": "00"}, "PRO-01"),
        ({"witness": "00" * 80}, "PRO-01"),
        ({"rollup_id": 7}, "PRO-011"),
        ({"tier": 9}, "PRV-052"),
        ({"family": "zz"}, "PRV-052"),
        ({"memory_mib": 64}, "PRV-051|PRV-004|status"),
        ({"backend": "abacus"}, "PRV-052"),
        ({"wall_s": 0.0}, "PRV-053: not done within 0.0 s"),
        ({"backend": "command", "core": "00"}, "PRO-01"),
        ({"backend": "command", "rollup_id": 7}, "PRO-01"),
    ],
)
async def test_a_job_that_cannot_be_done_fails_with_a_reason(
    runner: ProofRunner, changes: dict[str, object], reason: str
) -> None:
    async with runner.start(job(**changes)) as running:
        with pytest.raises(ProofFailed, match=reason):
            await running.checked()


async def test_a_killed_child_ends_one_job_only(runner: ProofRunner) -> None:
    async with runner.slot(), runner.start(job()) as running:
        os.kill(running.pid, signal.SIGKILL)
        with pytest.raises(ProofFailed, match="status -9"):
            await running.checked()
    async with runner.slot(), runner.start(job()) as running:
        await running.checked()


async def test_leaving_the_block_ends_the_child_and_frees_its_slot(runner: ProofRunner) -> None:
    with trio.CancelScope() as scope:
        async with runner.slot(), runner.start(job()) as running:
            pid = running.pid
            assert runner.free == 0
            scope.cancel()
            await running.checked()

    assert runner.free == 1
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_child_that_is_stopped_is_given_up_when_its_time_is_past(runner: ProofRunner) -> None:
    """It cannot end itself any more, and no output comes."""
    async with runner.start(job(wall_s=0.0)) as running:
        os.kill(running.pid, signal.SIGSTOP)
        with pytest.raises(ProofFailed, match="did not end"):
            await running.checked()


# -- commands ----------------------------------------------------------------------------------------------------------


async def test_a_command_finds_the_documented_files_and_its_proof_comes_back(
    runner: ProofRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """proving/COMMANDS.md; the directory is gone afterwards, and the node's environment unseen."""
    monkeypatch.setenv("UNVETO_SECRET", "1")
    kept = tmp_path / "kept"
    asked = shell(f"test $PWD = $1 && cp -r $1 {kept} && env > {kept}/env && {LEAVE_A_PROOF}", threads=3)

    assert await proof_of(runner, asked) == b"proof"
    assert {"job.json", "statement.bin", "public_input.bin", "family.bin", "witness.bin", "log.txt", "env"} == {
        path.name for path in kept.iterdir()
    }
    assert (kept / "statement.bin").read_bytes() == (1).to_bytes(8, "big") + bytes.fromhex(asked.core)
    assert (kept / "public_input.bin").read_bytes() == bytes.fromhex(asked.public_input)
    assert (kept / "family.bin").read_bytes() == bytes.fromhex(asked.family)
    assert (kept / "witness.bin").read_bytes() == bytes.fromhex(asked.witness)
    assert '"deadline": 1800000000' in (kept / "job.json").read_text()
    assert "UNVETO_SECRET" not in (kept / "env").read_text()
    assert (tmp_path / "jobs").stat().st_mode & 0o077 == 0
    assert list((tmp_path / "jobs").iterdir()) == []


@pytest.mark.parametrize(
    ("script", "limits", "reason"),
    [
        ("echo out of luck >&2; exit 3", {}, "PRV-054: /bin/sh ended with status 3: out of luck"),
        ("cat /dev/zero", {"disk_mib": 1}, "PRV-05[45]"),
        ("sleep 600", {"wall_s": 3.0}, "PRV-053: not done within 3.0 s"),
        (f"{sys.executable} -c 'bytearray(1 << 30)'", {"memory_mib": 512}, "PRV-054: .*MemoryError"),
        ("kill -KILL $PPID; sleep 600", {}, "status -9"),
    ],
)
async def test_a_command_that_makes_no_proof_fails_its_job_with_a_reason(
    runner: ProofRunner, tmp_path: Path, script: str, limits: dict[str, object], reason: str
) -> None:
    """More ways to fail: tests/unit/proving/test_command.py."""
    with pytest.raises(ProofFailed, match=f"(?s){reason}"):
        await proof_of(runner, shell(script, **limits))
    assert list((tmp_path / "jobs").iterdir()) == []


@pytest.mark.parametrize("ending", ["cancel", "proof", "crash"])
async def test_nothing_that_a_command_started_outlives_its_job(
    runner: ProofRunner, tmp_path: Path, ending: str
) -> None:
    """Whether the job is cancelled, ends with a proof, or loses its child."""
    os.mkfifo(tmp_path / "pids")
    last = {"cancel": "sleep 600", "proof": LEAVE_A_PROOF, "crash": "sleep 600"}[ending]
    asked = shell(f"sleep 600 & echo $! $$ > {tmp_path}/pids; {last}")
    pids: list[int] = []
    with trio.CancelScope() as scope:
        async with runner.start(asked) as running, trio.open_nursery() as nursery:
            await running.checked()

            async def look() -> None:
                pids.extend(map(int, (await trio.Path(tmp_path / "pids").read_text()).split()))
                if ending == "crash":
                    os.kill(running.pid, signal.SIGKILL)
                if ending == "cancel":
                    scope.cancel()

            nursery.start_soon(look)
            if ending == "crash":
                with pytest.raises(ProofFailed, match="status -9"):
                    await running.prove()
            else:
                await running.prove()

    assert len(pids) == 2
    assert all(has_ended(pid, 1.0) for pid in pids)


def test_what_a_killed_node_left_is_swept_away(runner: ProofRunner, tmp_path: Path) -> None:
    (tmp_path / "jobs" / "job-old").mkdir(parents=True)
    (tmp_path / "jobs" / "job-old" / "witness.bin").write_bytes(b"a table")

    runner.sweep()

    assert not (tmp_path / "jobs").exists()


# -- the node itself is killed -----------------------------------------------------------------------------------------


def killed_while(stage: str, asked: TableJob, tmp_path: Path, pids: Path | None = None) -> list[int]:
    """Starts a node's part with a job in a process of its own, and kills that at a stage.

    Args:
        pids: a pipe into which the command will write process ids; then the kill waits for them.

    Returns:
        process ids of the child and of what it started.
    """
    command = [sys.executable, "-m", "tests.support.provingchild", str(tmp_path / "jobs"), asked.line().decode(), stage]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        started = [int(parent.stdout.readline())]
        started += map(int, pids.read_text().split()) if pids is not None else ()
        assert not any(has_ended(pid, 0.0) for pid in started)
        parent.kill()
    return started


@pytest.mark.parametrize("stage", ["start", "prove"])
def test_a_child_does_not_outlive_a_killed_node_by_a_second(stage: str, tmp_path: Path) -> None:
    """While it starts and builds the witness, and inside the core."""
    zkey = cached_dev_key(circuit_for(0).r1cs_bytes)
    (child,) = killed_while(stage, job(zkey=str(zkey)), tmp_path)

    assert has_ended(child, 1.0)


def test_a_command_does_not_outlive_a_killed_node_by_a_second(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pids")
    asked = shell(f"trap '' TERM HUP; sleep 600 & echo $! $$ > {tmp_path}/pids; wait")
    pids = killed_while("prove", asked, tmp_path, tmp_path / "pids")

    assert len(pids) == 3
    assert all(has_ended(pid, 1.0) for pid in pids)
