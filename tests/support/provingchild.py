"""Jobs for proving children, and a parent of one in a process of its own, so that a test can kill it.

As a program, `python -m tests.support.provingchild FOLDER JOB STAGE`: starts the job, prints the child's process id at
the stage `start`, or when the witness is checked and `go` was given, at the stage `prove`; then it waits for the proof.
"""

from __future__ import annotations

import json
import sys
from functools import cache
from pathlib import Path
from typing import Any

import trio

from node.proofs import ProofRunner
from protocol.payload import encode_witness, make_witness
from protocol.table import encode_core
from protocol.vm.rollup import run_core
from proving.backends import Backend
from proving.table_job import TableJob
from tests.support.machines import oracle_state, oracle_table


@cache
def _table() -> tuple[str, str]:
    state = oracle_state()
    core = oracle_table(state)
    return encode_core(core).hex(), encode_witness(make_witness(state, run_core(state, core, 1).values())).hex()


def job(**changes: Any) -> TableJob:
    """The oracle table, with everything that is needed but a key."""
    core, witness = _table()
    fields: dict[str, Any] = {
        "backend": Backend.CPU,
        "tier": 0,
        "rollup_id": 1,
        "core": core,
        "witness": witness,
        "family": "11" * 32,
        "public_input": "22" * 32,
        "deadline": 1_800_000_000,
        "zkey": "/nonexistent",
        "command": (),
        "directory": "",
        "threads": 1,
        "wall_s": 300.0,
        "memory_mib": 3072,
        "disk_mib": 16,
        "files": 20,
    }
    return TableJob(**fields | changes)


def shell(script: str, **changes: Any) -> TableJob:
    """A job for a command: a shell script whose $1 is the job directory, which is also its working directory."""
    return job(backend=Backend.COMMAND, command=("/bin/sh", "-c", script, "sh"), **changes)


async def _main(folder: Path, asked: TableJob, stage: str) -> None:
    async with ProofRunner(1, folder).start(asked) as running:
        if stage == "start":
            print(running.pid, flush=True)
        await running.checked()
        if stage == "prove":
            print(running.pid, flush=True)
        await running.prove()


if __name__ == "__main__":
    fields = json.loads(sys.argv[2])
    trio.run(_main, Path(sys.argv[1]), TableJob(**fields | {"command": tuple(fields["command"])}), sys.argv[3])
