"""A child process that proves one rollup's part of one table: `python -m proving.table_job`.

It reads one JSON line from standard input (`TableJob`), checks that the table is what the rollup's machine does and
says so; after a line `go` it proves. Everything travels through the pipes, so the table is never on disk; only the
backend `command` gets it as files, in a directory that the parent makes and removes. It answers in JSON lines:
`{"event": "checked", ...}`, `{"event": "proved", "proof": hex, ...}` or `{"event": "failed", "code", "message"}`.
Closing its input ends it and everything that it started, and so does the end of its time (`confine.py`).
"""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NoReturn, Protocol

from protocol.challenge import challenge
from protocol.errors import ProtocolError
from protocol.payload import decode_witness, state_from_witness
from protocol.table import decode_core
from protocol.types import Hash32
from protocol.vm.poseidon import use
from protocol.vm.rollup import run_core
from proving.backends import Backend, prover
from proving.circuit.errors import CircuitError
from proving.circuit.poseidon import native_hash
from proving.circuit.stored import stored_r1cs
from proving.circuit.witness import prepare
from proving.command import CommandJob
from proving.command import run as run_command
from proving.confine import Limits, Parent, end_group, lead_group
from proving.errors import JobError, ProvingError
from proving.native import Options, wipe
from proving.r1cs import check
from proving.solidity import TableProof

MAX_JOB_BYTES = 1 << 24  # 16 MiB of JSON: a core of 64 KiB and a witness of a few MiB, in hexadecimal


@dataclass(frozen=True, slots=True, kw_only=True)
class TableJob:
    """What to prove, and with what."""

    backend: str
    """A name of `backends.Backend`."""
    tier: int
    rollup_id: int
    core: str
    """hex"""
    witness: str
    """State witness, hex."""
    family: str
    """hex, 32 bytes"""
    public_input: str
    """hex, 32 bytes"""
    deadline: int
    """Unix seconds, told to a command; `wall_s` is what ends the job."""
    zkey: str
    """Path of the proving key; for the Groth16 backends."""
    command: tuple[str, ...]
    """Program and first arguments; for the backend `command`."""
    directory: str
    """An empty directory, of mode 0700, that the parent removes; for the backend `command`."""
    threads: int
    wall_s: float
    memory_mib: int
    disk_mib: int
    files: int

    def line(self) -> bytes:
        """What the child reads."""
        return json.dumps(asdict(self)).encode() + b"\n"

    def limits(self) -> Limits:
        """What it may use (`confine.Limits`)."""
        return Limits(wall_s=self.wall_s, memory_mib=self.memory_mib, disk_mib=self.disk_mib, files=self.files)


class JobFailed(JobError):
    """The witness breaks a constraint: circuit and reference machine disagree, or memory is damaged."""

    code = "PRV-050"


class Work(Protocol):
    """One job in the hands of a backend."""

    def check(self) -> None:
        """Returns when the table is what the rollup's machine does, and a proof can be made."""
        ...

    def prove(self) -> bytes:
        """The proof as the proof system of the family reads it."""
        ...


class Groth16Work:
    """A proof of the table-VM circuit, on the CPU or on a device."""

    def __init__(self, job: TableJob) -> None:
        self._job = job
        self._options = Options(threads=job.threads)
        self._prove = prover(Backend(job.backend))
        use(native_hash)
        self._wtns = bytearray()

    def check(self) -> None:
        job = self._job
        core = decode_core(bytes.fromhex(job.core))
        state = state_from_witness(decode_witness(bytes.fromhex(job.witness)))
        prepared = prepare(job.tier, core, job.rollup_id, state)
        z = challenge(
            family=Hash32(bytes.fromhex(job.family)),
            tier=job.tier,
            public_input=Hash32(bytes.fromhex(job.public_input)),
            words=prepared.words,
            h=prepared.h,
        )
        self._wtns = bytearray(prepared.finish(z).wtns)
        broken = check(stored_r1cs(job.tier), self._wtns, self._options)
        if broken is not None:
            raise JobFailed(f"constraint {broken} does not hold")

    def prove(self) -> bytes:
        try:
            proof, public = self._prove(Path(self._job.zkey), self._wtns, options=self._options)
        finally:
            wipe(self._wtns)
        return TableProof(tier=self._job.tier, h=public[0], proof=proof).to_bytes()


class CommandWork:
    """A proof by a program of the operator's, of whatever proof system the family belongs to."""

    def __init__(self, job: TableJob) -> None:
        self._job = job

    def check(self) -> None:
        """Runs the table again in the reference machine; whether the command can prove it, only the command knows."""
        core = decode_core(bytes.fromhex(self._job.core))
        run_core(state_from_witness(decode_witness(bytes.fromhex(self._job.witness))), core, self._job.rollup_id)

    def prove(self) -> bytes:
        job = self._job
        asked = CommandJob(
            tier=job.tier,
            rollup_id=job.rollup_id,
            statement=job.rollup_id.to_bytes(8, "big") + bytes.fromhex(job.core),
            family=bytes.fromhex(job.family),
            public_input=bytes.fromhex(job.public_input),
            witness=bytes.fromhex(job.witness),
            deadline=job.deadline,
            threads=job.threads,
        )
        return run_command(job.command, Path(job.directory), asked, job.limits())


def _run(parent: Parent) -> None:
    fields = json.loads(parent.read_line(MAX_JOB_BYTES))
    job = TableJob(**fields | {"command": tuple(fields["command"])})
    job.limits().apply()
    parent.watch(job.wall_s)
    began = time.monotonic()
    work: Work = CommandWork(job) if job.backend == Backend.COMMAND else Groth16Work(job)
    work.check()
    parent.say("checked", check_ms=_ms(time.monotonic() - began))
    parent.wait_for_go()
    began = time.monotonic()
    proof = work.prove()
    parent.say("proved", proof=proof.hex(), prove_ms=_ms(time.monotonic() - began), peak_mib=_peak_mib())


def _peak_mib() -> int:
    """Most memory that this process, or a command that it ran, held.

    What Linux's getrusage says of a process counts the one that started it, so the process itself is asked elsewhere.
    """
    commands = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:  # macOS, which counts in bytes
        return -(-max(commands, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) // (1 << 20))
    own = int(next(line for line in lines if line.startswith("VmHWM:")).split()[1])
    return -(-max(commands, own) // 1024)


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


@contextmanager
def _reported(parent: Parent) -> Iterator[None]:
    """Errors of the body become the event `failed`."""
    try:
        yield
    except (ProtocolError, CircuitError, ProvingError) as error:
        parent.say("failed", code=error.code, message=getattr(error, "reason", str(error)))
    except (OSError, ValueError, TypeError, KeyError) as error:
        # The parent's mistake: no such tier or key file, or a line that is no job.
        parent.say("failed", code="PRV-052", message=f"{type(error).__name__}: {error}")
    except MemoryError:
        parent.say("failed", code="PRV-051", message="out of the memory that the job may use")


def main() -> NoReturn:
    """Does one job, then ends its process group, so that nothing that it started is left."""
    lead_group()
    parent = Parent()
    with _reported(parent):
        _run(parent)
    end_group()


if __name__ == "__main__":
    main()
