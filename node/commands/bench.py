"""`unveto bench`: what this machine can do, each figure with a check of the result that it belongs to."""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any, Final

from node.bench.machine import cpu_path, machine, release
from node.bench.peers import NAMES, find_peer
from node.bench.run import BenchFailed, Series, make_files, on_cpus, prove_ours, prove_peer, run_child, summary
from node.commands import Commands
from node.commands.arguments import backend_of
from node.errors import UsageError
from node.output import Output
from proving.native import load
from proving.zkey import read_zkey

MAX_LOG2: Final = 24
MAX_RUNS: Final = 1000


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    group = commands.add_parser("bench", help="measure this machine; every result is checked")
    benches = group.add_subparsers(dest="bench", required=True, metavar="WHAT")
    shared = argparse.ArgumentParser(add_help=False, parents=[common])
    shared.add_argument("--runs", type=int, default=5, help="measured runs; least and median are shown")
    shared.add_argument("--threads", type=int, default=0, help="0: as many as this process has CPUs")
    size = argparse.ArgumentParser(add_help=False)
    size.add_argument("--log2", type=int, default=16, help="size: 2^LOG2")
    prove = benches.add_parser("prove", parents=[shared, size], help="whole proofs, from files")
    prove.add_argument("--zkey", type=Path, help="with --wtns: a key and a witness to take, whatever --log2 says")
    prove.add_argument("--wtns", type=Path)
    prove.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    prove.add_argument("--vs", action="append", choices=NAMES, default=[], help="run this prover too, alternating")
    prove.set_defaults(run=run_prove)
    msm = benches.add_parser("msm", parents=[shared, size], help="multi-scalar multiplication, full-size scalars")
    msm.add_argument("--group", type=int, choices=(1, 2), default=1)
    msm.set_defaults(run=run_kernel, work="msm")
    ntt = benches.add_parser("ntt", parents=[shared, size], help="inverse transform, shift and transform")
    ntt.set_defaults(run=run_kernel, work="ntt")


def _checked(args: argparse.Namespace, out: Output) -> int:
    """Threads to use."""
    if not 1 <= args.log2 <= MAX_LOG2 or not 1 <= args.runs <= MAX_RUNS:
        raise UsageError(problem=f"--log2 is 1 to {MAX_LOG2}, --runs 1 to {MAX_RUNS}")
    load(out.say)
    return int(args.threads) or len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1


def run_prove(args: argparse.Namespace, out: Output) -> int:
    """0 if every proof of every prover verified."""
    threads = _checked(args, out)
    if (args.zkey is None) != (args.wtns is None):
        raise UsageError(problem="--zkey and --wtns belong together")
    chosen = backend_of(args.device)
    peers = [(find_peer(name, Path.cwd()), Series(name=name, version="")) for name in args.vs]
    for peer, series in peers:
        series.version = peer.version
    ours = Series(name=f"unveto {chosen.backend}", version=str(release()["version"]))
    with tempfile.TemporaryDirectory() as made, on_cpus(threads):
        folder = Path(made)
        if args.zkey is None:
            with out.progress(f"circuit and developer key of 2^{args.log2}"):
                args.zkey, args.wtns = make_files(args.log2, folder)
        key = read_zkey(args.zkey)
        files = (args.zkey, args.wtns, folder / "proof.json", folder / "public.json")
        job = {"backend": chosen.backend, "threads": threads}
        with out.progress("first proof, not counted: the key is prepared"):
            prove_ours(Series(name="", version=""), key, files, job)
        for number in range(args.runs):
            with out.progress(f"run {number + 1} of {args.runs}"):
                prove_ours(ours, key, files, job)
                for peer, series in peers:
                    prove_peer(series, peer, key, files)
        zkey_bytes = os.path.getsize(args.zkey)
        size = {"domain": key.domain, "wires": key.n_wires, "public": key.n_public, "zkey_bytes": zkey_bytes}
    results = [ours.result(), *(series.result() for _, series in peers)]
    ratios = {series.name: round(min(series.cpu_s) / min(ours.cpu_s), 2) for _, series in peers}
    _show(out, f"2^{key.domain.bit_length() - 1} domain, {key.n_wires} wires", threads, results)
    for name, ratio in ratios.items():
        out.say(f"CPU-seconds of {name}: {ratio} times ours")
    out.result(_head(threads, args.runs) | {"size": size, "results": results, "cpu_ratio": ratios})
    return 0 if all(result["verified"] for result in results) else 1


def run_kernel(args: argparse.Namespace, out: Output) -> int:
    """0 if the result is right."""
    threads = _checked(args, out)
    job: dict[str, Any] = {"work": args.work, "log2": args.log2, "runs": args.runs, "threads": threads}
    name = args.work
    if args.work == "msm":
        job["group"] = args.group
        name = f"msm G{args.group}"
    with out.progress(f"{name} of 2^{args.log2}"), on_cpus(threads):
        measured, used = run_child(job)
    if not measured["runs"]:
        raise BenchFailed(what=name, reason="no runs")
    shown = {
        "kernel": name,
        "log2": args.log2,
        "verified": measured["verified"],
        "peak_mib": round(used.peak_mib, 1),
    } | {unit: summary([run[unit] for run in measured["runs"]]) for unit in ("cpu_s", "wall_s")}
    _show(out, f"{name} of 2^{args.log2}", threads, [shown | {"prover": "unveto"}])
    out.result(_head(threads, args.runs) | shown)
    return 0 if measured["verified"] else 1


def _head(threads: int, runs: int) -> dict[str, object]:
    return {"machine": machine(), "cpu_path": cpu_path(), "threads": threads, "runs": runs, **release()}


def _show(out: Output, title: str, threads: int, results: list[dict[str, Any]]) -> None:
    here = machine()
    out.say(f"{here['cpu']}, path {cpu_path()}, {threads} threads, load {here['load_1min']}")
    rows = [
        (
            result["prover"],
            *(f"{result[unit][kind]:.4f}" for unit in ("cpu_s", "wall_s") for kind in ("min", "median")),
            f"{result['peak_mib']:.0f}",
            "yes" if result["verified"] else "NO",
        )
        for result in results
    ]
    columns = ("prover", "CPU s, least", "median", "wall s, least", "median", "peak MiB", "verified")
    out.table(columns, rows, title=title)
