"""A child process that proves one rollup's part of one table: `python -m proving.table_job`.

It reads one JSON line from standard input (`TableJob`), builds the witness, checks it against every constraint and
says so; after a line `go` it proves. Everything travels through the pipes, so the table is never on disk. It answers in
JSON lines:
`{"event": "checked", ...}`, `{"event": "proved", "proof": hex, ...}` or `{"event": "failed", "code", "message"}`.
Closing its input ends it.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from protocol.challenge import challenge
from protocol.errors import ProtocolError
from protocol.payload import decode_witness, state_from_witness
from protocol.table import decode_core
from protocol.types import Hash32
from proving.circuit.errors import CircuitError
from proving.circuit.table_vm import circuit_for
from proving.circuit.witness import Witness, prepare
from proving.errors import ProvingError
from proving.groth16 import prove
from proving.native import Options
from proving.r1cs import check
from proving.solidity import TableProof

MAX_JOB_BYTES = 1 << 24  # 16 MiB of JSON: a core of 64 KiB and a witness of a few MiB, in hexadecimal


@dataclass(frozen=True, slots=True, kw_only=True)
class TableJob:
    """What to prove, and with what."""

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
    zkey: str
    """Path of the proving key."""
    threads: int
    memory_mib: int
    """Limit of the process's address space."""

    def line(self) -> bytes:
        """What the child reads."""
        return json.dumps(asdict(self)).encode() + b"\n"


class JobFailed(Exception):
    """The witness breaks a constraint: circuit and reference machine disagree, or memory is damaged."""

    code = "PRV-050"


def _say(event: str, **values: object) -> None:
    sys.stdout.write(json.dumps({"event": event, **values}) + "\n")
    sys.stdout.flush()


def _read_job() -> TableJob:
    line = sys.stdin.buffer.readline(MAX_JOB_BYTES + 1)
    if len(line) > MAX_JOB_BYTES:
        raise JobFailed("job line too long")
    return TableJob(**json.loads(line))


def _witness(job: TableJob) -> Witness:
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
    return prepared.finish(z)


def _run(job: TableJob) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump would hold the witness
    resource.setrlimit(resource.RLIMIT_AS, (job.memory_mib << 20, job.memory_mib << 20))
    options = Options(threads=job.threads)
    began = time.monotonic()
    witness = _witness(job)
    built = time.monotonic()
    wtns = witness.wtns
    broken = check(circuit_for(job.tier).r1cs_bytes, wtns, options)
    if broken is not None:
        raise JobFailed(f"constraint {broken} does not hold")
    _say("checked", witness_ms=_ms(built - began), check_ms=_ms(time.monotonic() - built))
    if sys.stdin.buffer.readline(16) != b"go\n":
        return
    began = time.monotonic()
    proof, public = prove(Path(job.zkey), wtns, options=options)
    table_proof = TableProof(tier=job.tier, h=public[0], proof=proof)
    _say("proved", proof=table_proof.to_bytes().hex(), prove_ms=_ms(time.monotonic() - began))


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def main() -> int:
    """0 done or told to stop, 1 failed with a coded event."""
    try:
        _run(_read_job())
    except (ProtocolError, CircuitError, ProvingError, JobFailed) as error:
        _say("failed", code=getattr(error, "code", "PRV-000"), message=str(error))
        return 1
    except (OSError, ValueError, TypeError, KeyError) as error:
        # The parent's mistake: no such tier or key file, or a line that is no job.
        _say("failed", code="PRV-052", message=f"{type(error).__name__}: {error}")
        return 1
    except MemoryError:
        _say("failed", code="PRV-051", message="out of the memory that the job may use")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
