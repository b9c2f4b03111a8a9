"""Proofs by any executable: it gets a job directory as its last argument and leaves a proof file in it.

The format is in `COMMANDS.md`. The command runs in the process group and under the limits
of its parent, a proving child (`confine.py`).
"""

from __future__ import annotations

import json
import os
import stat
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from protocol.fields import MAX_PROOF_BYTES
from proving.confine import Limits
from proving.errors import CommandFailed, DiskExceeded

VERSION: Final = 1
JOB: Final = "job.json"
STATEMENT: Final = "statement.bin"
PUBLIC_INPUT: Final = "public_input.bin"
FAMILY: Final = "family.bin"
WITNESS: Final = "witness.bin"
PROOF: Final = "proof.bin"
LOG: Final = "log.txt"
LOOK_S: Final = 0.1  # between two looks at the disk that a command uses
TAIL_BYTES: Final = 2048
PASSED_ON: Final = ("PATH", "HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "CUDA_HOME", "CUDA_VISIBLE_DEVICES")
"""Environment that a command sees: what it needs to start, and nothing that could hold a secret of the node."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandJob:
    """What a command is asked for."""

    tier: int
    rollup_id: int
    statement: bytes
    """What `IProofSystem.verify` is given: rollup id u64, core (SPEC §7.2)."""
    family: bytes
    """32 bytes"""
    public_input: bytes
    """32 bytes"""
    witness: bytes
    """State witness of the rollup (SPEC §11): what the rollup's machine needs to run the core again."""
    deadline: int
    """Unix seconds; a proof that comes later is worth nothing."""
    threads: int


def run(command: Sequence[str], directory: Path, job: CommandJob, limits: Limits) -> bytes:
    """Writes the job, runs the command, reads the proof.

    Args:
        command: program and first arguments.
        directory: empty, of mode 0700; the caller removes it.

    Returns:
        The proof, of 1 to MAX_PROOF_BYTES bytes; it is not verified.

    Raises:
        CommandFailed: it cannot start, ends with another status than 0, or leaves no proof file.
        DiskExceeded: the directory has outgrown the limits.
    """
    _write(directory, job, limits)
    environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ} | {"TMPDIR": str(directory)}
    with (directory / LOG).open("wb") as log:
        try:
            process = subprocess.Popen(
                [*command, str(directory)],
                cwd=directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        except OSError as error:
            raise CommandFailed(f"{command[0]} does not start: {error.strerror}") from error
    with process:
        try:
            status = _status(process, directory, limits)
        finally:
            process.kill()  # what it started itself ends with the process group
        if status != 0:
            raise CommandFailed(f"{command[0]} ended with status {status}: {_tail(directory)}")
        return _read_proof(directory)


def _status(process: subprocess.Popen[bytes], directory: Path, limits: Limits) -> int:
    while True:
        try:
            status = process.wait(LOOK_S)
        except subprocess.TimeoutExpired:
            _require_small(directory, limits)
        else:
            _require_small(directory, limits)
            return status


def _write(directory: Path, job: CommandJob, limits: Limits) -> None:
    described = {
        "version": VERSION,
        "tier": job.tier,
        "rollup_id": job.rollup_id,
        "deadline": job.deadline,
        "threads": job.threads,
        "memory_mib": limits.memory_mib,
        "disk_mib": limits.disk_mib,
        "files": limits.files,
        "max_proof_bytes": MAX_PROOF_BYTES,
    }
    (directory / STATEMENT).write_bytes(job.statement)
    (directory / FAMILY).write_bytes(job.family)
    (directory / PUBLIC_INPUT).write_bytes(job.public_input)
    (directory / WITNESS).write_bytes(job.witness)
    (directory / JOB).write_text(json.dumps(described, indent=2) + "\n")


def _require_small(directory: Path, limits: Limits) -> None:
    entries, used = 0, 0
    waiting = [os.fspath(directory)]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as found:
                for entry in found:
                    entries += 1
                    if entries > limits.files:
                        raise DiskExceeded(f"more than {limits.files} files in the job directory")
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    used += entry.stat(follow_symlinks=False).st_blocks * 512
        except FileNotFoundError:
            continue  # the command removed it between two looks
    if used > limits.disk_mib << 20:
        raise DiskExceeded(f"more than {limits.disk_mib} MiB in the job directory")


def _tail(directory: Path) -> str:
    with (directory / LOG).open("rb") as log:
        log.seek(max(0, os.fstat(log.fileno()).st_size - TAIL_BYTES))
        return log.read(TAIL_BYTES).decode(errors="replace").strip()


def _read_proof(directory: Path) -> bytes:
    try:
        # Never wait for a pipe or follow a link that a command left in the proof's place.
        descriptor = os.open(directory / PROOF, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError as error:
        raise CommandFailed(f"no {PROOF}: {error.strerror}") from error
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise CommandFailed(f"{PROOF} is no file")
        proof = os.read(descriptor, MAX_PROOF_BYTES + 1)
    finally:
        os.close(descriptor)
    if not 0 < len(proof) <= MAX_PROOF_BYTES:
        raise CommandFailed(f"{PROOF} has {len(proof) or 'no'} bytes, the limit is {MAX_PROOF_BYTES}")
    return proof
