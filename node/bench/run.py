"""Runs measured processes, alternating between provers, and judges what they made."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from node.bench import child, meter
from node.bench.peers import Peer
from node.errors import NodeError
from proving.errors import MalformedInput, ProofRefused
from proving.groth16 import verify
from proving.snark_json import read_proof_json, read_public_json
from proving.zkey import Zkey


class BenchFailed(NodeError):
    """A measured process did not do its work, so there is no figure."""

    code = "NOD-009"
    text = "{what}: {reason}"


@dataclass(slots=True, kw_only=True)
class Series:
    """The runs of one prover."""

    name: str
    version: str
    cpu_s: list[float] = field(default_factory=list)
    """User and system time of the proof; of a peer, of its whole process."""
    wall_s: list[float] = field(default_factory=list)
    process_cpu_s: list[float] = field(default_factory=list)
    """With the start of the process."""
    peak_mib: float = 0.0
    """Largest resident memory of a process of this prover."""
    verified: bool = True

    def result(self) -> dict[str, object]:
        """For people's tables and for JSON: least and median of each."""
        shown = {"cpu_s": self.cpu_s, "wall_s": self.wall_s, "process_cpu_s": self.process_cpu_s}
        return {
            "prover": self.name,
            "version": self.version,
            "peak_mib": round(self.peak_mib, 1),
            "verified": self.verified,
        } | {name: summary(values) for name, values in shown.items()}


def summary(values: Sequence[float]) -> dict[str, float]:
    """Least and median, in milliseconds' resolution or better."""
    return {"min": round(min(values), 6), "median": round(statistics.median(values), 6)}


@contextmanager
def on_cpus(count: int) -> Iterator[None]:
    """Processes that are started inside run on this many CPUs, whatever they believe of the machine; Linux only."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, set(sorted(before)[:count]))
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """What one process took."""

    cpu_s: float
    wall_s: float
    peak_mib: float


def run_child(job: Mapping[str, object]) -> tuple[dict[str, Any], Used]:
    """Does one job of `node.bench.child` in a process of its own.

    Raises:
        BenchFailed: it could not.
    """
    output, used = _run([sys.executable, "-m", "node.bench.child"], str(job["work"]), json.dumps(job))
    result = json.loads(output)
    if "code" in result:
        raise BenchFailed(what=f"{job['work']} ({result['code']})", reason=result["reason"])
    return result, used


def _run(command: Sequence[str], what: str, text: str = "") -> tuple[str, Used]:
    paths = (str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH", ""))  # found from any folder
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in paths if path)}
    with tempfile.NamedTemporaryFile() as measured:
        metered = [sys.executable, "-S", "-E", meter.__file__, measured.name, *command]
        done = subprocess.run(
            metered,
            input=text,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=True,
            env=environment,
        )
        used = json.loads(Path(measured.name).read_text())
    if used.pop("status") != 0:
        raise BenchFailed(what=what, reason=done.stdout[-500:].strip())
    return done.stdout, Used(**used)


def prove_ours(series: Series, key: Zkey, files: Sequence[Path], job: Mapping[str, object]) -> None:
    """One more proof by this package.

    Args:
        files: zkey, wtns, and the proof and public values to write.
    """
    paths = dict(zip(("zkey", "wtns", "proof", "public"), map(str, files), strict=True))
    result, used = run_child({"work": "prove", **paths, **job})
    (run,) = result["runs"]
    series.cpu_s.append(run["cpu_s"])
    series.wall_s.append(run["wall_s"])
    _finish(series, used, key, files)


def prove_peer(series: Series, peer: Peer, key: Zkey, files: Sequence[Path]) -> None:
    """One more proof by a peer."""
    _, used = _run([*peer.command, *map(str, files)], peer.name)
    series.cpu_s.append(used.cpu_s)
    series.wall_s.append(used.wall_s)
    _finish(series, used, key, files)


def _finish(series: Series, used: Used, key: Zkey, files: Sequence[Path]) -> None:
    series.process_cpu_s.append(used.cpu_s)
    series.peak_mib = max(series.peak_mib, used.peak_mib)
    series.verified &= is_proof(key, files[2], files[3])


def is_proof(key: Zkey, proof: Path, public: Path) -> bool:
    """Whether two files are a proof under the key; they are removed, so that no later run can be credited with them."""
    try:
        verify(key.verifying_key(), read_public_json(public), read_proof_json(proof))
    except (ProofRefused, MalformedInput, OSError):
        return False
    finally:
        proof.unlink(missing_ok=True)
        public.unlink(missing_ok=True)
    return True


def make_files(log2: int, folder: Path) -> tuple[Path, Path]:
    """A key and a witness of the measuring circuit that fills a domain of 2^log2."""
    run_child({"work": "make", "log2": log2, "folder": str(folder)})
    return folder / child.ZKEY, folder / child.WTNS
