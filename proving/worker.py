"""One proof in a child process: `python -m proving.worker FOLDER`.

A job is a folder. The parent fills it with `prepare`, starts `command(folder)` with `environment()`, watches the
process in its own way (deadline, cancel by terminating it), and calls `result` when it has ended. A crash, a kill or a
full memory ends this one job only.

    FOLDER/job.json       zkey path, threads, memory limit
    FOLDER/witness.wtns   secret, readable by the owner only; the child deletes it as soon as it has read it
    FOLDER/proof.json     written last, so that it exists only when all is done
    FOLDER/public.json
    FOLDER/error.json     {"code", "reason"} of a coded refusal

The child writes lines "done total" to its standard output while it works.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from proving.errors import JobMalformed, MalformedInput, ProvingError, WorkerCrashed, WorkerRefused
from proving.groth16 import prove
from proving.native import MAX_THREADS, Options
from proving.points import Proof
from proving.snark_json import proof_json, public_json, read_proof_json, read_public_json
from proving.wtns import Witness, read_wtns, write_wtns

JOB_FILE: Final = "job.json"
WITNESS_FILE: Final = "witness.wtns"
PROOF_FILE: Final = "proof.json"
PUBLIC_FILE: Final = "public.json"
ERROR_FILE: Final = "error.json"
MAX_JOB_BYTES: Final = 1 << 16
EXIT_REFUSED: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    zkey: str
    """Path of the proving key."""
    threads: int | None
    """None: all CPUs the process may use."""
    memory_bytes: int | None
    """Limit of the child's address space, mapped key included; None for no limit."""
    parent_pid: int | None
    """The child stops when this is no longer its parent; None to go on alone."""


def prepare(
    folder: Path,
    *,
    zkey: Path,
    witness: Witness,
    threads: int | None = None,
    memory_bytes: int | None = None,
    outlives_parent: bool = False,
) -> None:
    """Writes a job into a folder that is empty or does not exist. The caller still owns and wipes its witness."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty")
    job = Job(
        zkey=str(zkey.resolve()),
        threads=threads,
        memory_bytes=memory_bytes,
        parent_pid=None if outlives_parent else os.getpid(),
    )
    with os.fdopen(os.open(folder / WITNESS_FILE, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as sink:
        sink.write(write_wtns(witness))
    (folder / JOB_FILE).write_text(json.dumps(asdict(job)))


def command(folder: Path) -> tuple[str, ...]:
    """The command line of the child."""
    return sys.executable, "-m", "proving.worker", str(folder)


def environment() -> dict[str, str]:
    """This process's environment, with this very copy of the package importable."""
    root = str(Path(__file__).resolve().parents[1])
    known = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": root + os.pathsep + known if known else root}


def result(folder: Path, returncode: int | None, detail: str = "") -> tuple[Proof, tuple[int, ...]]:
    """Proof and public values of a job whose process has ended.

    Args:
        returncode: of the process; None when it could not be started.
        detail: what is known of a crash, such as the tail of its standard error.

    Raises:
        WorkerRefused: the child ended with a coded error.
        WorkerCrashed: anything else than success, including a result that cannot be read.
    """
    if returncode == EXIT_REFUSED and (folder / ERROR_FILE).is_file():
        error = _read_object(folder / ERROR_FILE)
        raise WorkerRefused(str(error.get("code")), str(error.get("reason")))
    if returncode != 0 or not (folder / PROOF_FILE).is_file():
        raise WorkerCrashed(returncode, detail[-2000:])
    try:
        return read_proof_json(folder / PROOF_FILE), read_public_json(folder / PUBLIC_FILE)
    except (MalformedInput, OSError) as error:
        raise WorkerCrashed(returncode, f"its result cannot be read: {error}") from error


def read_job(folder: Path) -> Job:
    """Raises: JobMalformed."""
    members = _read_object(folder / JOB_FILE)
    if set(members) != set(Job.__slots__):
        raise JobMalformed(f"members {sorted(members)}")
    zkey, numbers = members["zkey"], {name: members[name] for name in ("threads", "memory_bytes", "parent_pid")}
    if not isinstance(zkey, str):
        raise JobMalformed("zkey is not a path")
    checked: dict[str, int | None] = {}
    for name, value in numbers.items():
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
            raise JobMalformed(f"{name} is not a positive integer")
        checked[name] = value
    if checked["threads"] is not None and checked["threads"] > MAX_THREADS:
        raise JobMalformed(f"more than {MAX_THREADS} threads")
    return Job(
        zkey=zkey,
        threads=checked["threads"],
        memory_bytes=checked["memory_bytes"],
        parent_pid=checked["parent_pid"],
    )


def _read_object(path: Path) -> dict[str, object]:
    with path.open("rb") as file:
        data = file.read(MAX_JOB_BYTES + 1)
    try:
        value = json.loads(data) if len(data) <= MAX_JOB_BYTES else None
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise JobMalformed(f"{path.name} is not a small JSON object")
    return value


def _write_whole(path: Path, text: str) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text)
    partial.replace(path)


def run(folder: Path) -> int:
    """Does the job in this process; the child's exit status."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump would hold the witness
    try:
        job = read_job(folder)
        if job.memory_bytes is not None:
            resource.setrlimit(resource.RLIMIT_AS, (job.memory_bytes, job.memory_bytes))
        witness = read_wtns(folder / WITNESS_FILE)
        (folder / WITNESS_FILE).unlink()

        def progress(done: int, total: int) -> bool:
            sys.stdout.write(f"{done} {total}\n")
            sys.stdout.flush()
            return job.parent_pid is not None and os.getppid() != job.parent_pid

        try:
            proof, public = prove(Path(job.zkey), witness, progress=progress, options=Options(threads=job.threads))
        finally:
            witness.wipe()
    except ProvingError as error:
        _write_whole(folder / ERROR_FILE, json.dumps({"code": error.code, "reason": error.reason}))
        return EXIT_REFUSED
    _write_whole(folder / PUBLIC_FILE, public_json(public))
    _write_whole(folder / PROOF_FILE, proof_json(proof))
    return 0


if __name__ == "__main__":
    sys.exit(run(Path(sys.argv[1])))
