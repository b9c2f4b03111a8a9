"""`unveto bench`: what this machine can do, each figure with a check of the result that it belongs to."""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any, Final

from node.bench.machine import cpu_path, machine, release
from node.bench.market import measure_market
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
MAX_NODES: Final = 200
MAX_ORDERS: Final = 10_000
MAX_RATE_MILLI: Final = 1_000_000
MARKET_TIMES: Final = {
    "gossip ms": "gossip_ms",
    "close to award": "close_to_award_ms",
    "award to key": "award_to_key_ms",
    "request to key": "request_to_key_ms",
}


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
    market = benches.add_parser("market", parents=[common], help="auctions between processes; L1 and proofs on paper")
    market.add_argument("--nodes", type=int, action="append", help="processes; may be repeated (default 10, 20 and 40)")
    market.add_argument("--orders", type=int, default=40, help="requests of one measurement")
    market.add_argument("--rate", type=int, default=2_000, metavar="MILLI", help="requests in 1,000 seconds")
    market.set_defaults(run=run_market)


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


def run_market(args: argparse.Namespace, out: Output) -> int:
    """0 if every order was completed."""
    sizes = args.nodes or [10, 20, 40]
    if not all(3 <= nodes <= MAX_NODES for nodes in sizes):
        raise UsageError(problem=f"--nodes is 3 to {MAX_NODES}")
    if not 1 <= args.orders <= MAX_ORDERS or not 1 <= args.rate <= MAX_RATE_MILLI:
        raise UsageError(problem=f"--orders is 1 to {MAX_ORDERS}, --rate 1 to {MAX_RATE_MILLI}")
    results = []
    for nodes in sizes:
        with out.progress(f"{nodes} nodes, {args.orders} orders"):
            results.append(measure_market(nodes, rate_milli=args.rate, orders=args.orders))
    here = machine()
    out.say(f"{here['cpu']}, load {here['load_1min']}")
    columns = ("nodes", "completed", *(f"{name} p50 / p99" for name in MARKET_TIMES), "CPU s an order", "peak MiB")
    out.table(columns, [_market_row(result) for result in results])
    out.result({"machine": here, **release(), "results": results})
    return 0 if all(result["completed"] == args.orders for result in results) else 1


def _market_row(result: dict[str, Any]) -> tuple[str, ...]:
    times = [f"{result[key]['p50']:.0f} / {result[key]['p99']:.0f}" for key in MARKET_TIMES.values()]
    done = f"{result['completed']} of {result['orders']}"
    return (str(result["nodes"]), done, *times, f"{result['cpu_s_per_order']:.2f}", f"{result['peak_mib']['max']:.0f}")
