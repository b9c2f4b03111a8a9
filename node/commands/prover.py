"""`unveto prover`: what a proof costs here, the prover itself, and why it bids or does not."""

from __future__ import annotations

import argparse
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import trio

from market.lifecycle import Role, State
from market.reasons import explain
from market.standing import LIMIT_MILLI, LOOK_BACK_MS, standing
from node.calibration import Calibration, as_json, is_groth16, measure, save_calibration
from node.commands import Commands
from node.commands.node import run_role
from node.config import NodeConfig, load_config
from node.errors import NotFound, UsageError
from node.jobs import Machine
from node.l1 import address_from_text
from node.log import set_up
from node.machine import DEV_CHAINS, machine_of
from node.output import Output
from node.proofs import ProofRunner
from node.standings import read_outcomes
from node.statusfile import read_status
from node.store.database import Database
from node.store.faults import FaultStore
from node.store.orders import OrderStore
from node.store.vault import Vault
from protocol.statement import TIERS, Tier
from protocol.types import ZERO_ADDRESS
from proving.zkey import read_zkey

MAX_RUNS = 100


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser("prover", help="measure, run and look at a prover")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    calibrate = actions.add_parser("calibrate", parents=[common], help="measure what a proof of each tier costs here")
    calibrate.add_argument("--runs", type=int, default=3, help="proofs of each tier; the median counts")
    calibrate.add_argument("--tier", action="append", choices=[tier.name for tier in TIERS], help="only this tier")
    calibrate.set_defaults(run=run_calibrate)
    started = actions.add_parser("run", parents=[common], help="run a node whose role is prover")
    started.set_defaults(run=run_prover)
    shown = actions.add_parser("standing", parents=[common], help="orders, skips and requesters, counted")
    shown.add_argument("--why", action="store_true", help="say what each reason means")
    shown.set_defaults(run=run_standing)
    for each in (calibrate, started, shown):
        each.add_argument("--config", type=Path, required=True, help="configuration of the node")


def run_prover(args: argparse.Namespace, out: Output) -> int:
    """0 after SIGINT or SIGTERM."""
    config = _config(args.config)
    return run_role(config, args.config, out)


def run_calibrate(args: argparse.Namespace, out: Output) -> int:
    """Writes `calibration.json` into the node's folder; a running prover takes it over."""
    config = _config(args.config)
    if not 1 <= args.runs <= MAX_RUNS:
        raise UsageError(problem=f"--runs must be from 1 to {MAX_RUNS}")
    set_up(config.log_level)
    measured = trio.run(partial(_calibrate, config, args.tier, args.runs, out))
    path = save_calibration(config.path(""), measured)
    value = as_json(measured)
    rows = [(name, cost["prove_ms"], cost["memory_mib"]) for name, cost in value["tiers"].items()]
    out.table(("tier", "proof (ms)", "memory (MiB)"), rows)
    out.say(f"written to {path}")
    out.result(value)
    return 0


async def _calibrate(config: NodeConfig, wanted: list[str] | None, runs: int, out: Output) -> Calibration:
    system = address_from_text(config.chain.proof_system) if config.chain.proof_system else ZERO_ADDRESS
    # Nothing is proven for anybody, so a developer key will do on any chain.
    machine, _ = await trio.to_thread.run_sync(partial(machine_of, config, min(DEV_CHAINS), system))
    runner = ProofRunner(1, config.path("calibration"))
    costs = {}
    try:
        for tier in _tiers(machine, wanted):
            out.say(f"tier {tier.name}: {runs} proofs with {machine.backend}")
            costs[tier.number] = await measure(machine, tier, _key(machine, tier), runner, runs=runs)
    finally:
        runner.sweep()
    return Calibration(backend=machine.backend, threads=machine.threads, costs=costs)


def _tiers(machine: Machine, wanted: list[str] | None) -> list[Tier]:
    offered = [tier for tier in TIERS if tier.number in machine.tiers]
    return [tier for tier in offered if wanted is None or tier.name in wanted]


def _key(machine: Machine, tier: Tier) -> Any:
    return read_zkey(machine.key_of(tier.number)).verifying_key() if is_groth16(machine) else None


def run_standing(args: argparse.Namespace, out: Output) -> int:
    """Read only; works whether the node runs or not."""
    config = _config(args.config)
    folder = config.path("")
    if not (folder / "node.db").exists():
        raise NotFound(what="database", name=str(folder / "node.db"))
    now_ms = int(time.time() * 1000)
    database = Database(config.store.url or f"sqlite:///{folder / 'node.db'}", now_ms=now_ms, is_reader=True)
    store = OrderStore(database, Vault(folder / "vault.key"))
    tally = store.tally(Role.PROVER)
    states: Counter[str] = Counter()
    for each in tally:
        states[each.state.value] += each.count
    value = {
        "node": (read_status(folder) or {}).get("prover"),
        "orders": dict(sorted(states.items())),
        "skipped": [_counted(each.reason, each.count) for each in tally if each.state is State.SKIPPED],
        "ended": [
            {"state": each.state.value, **_counted(each.reason, each.count)}
            for each in tally
            if each.reason and each.state is not State.SKIPPED
        ],
        "requesters": _requesters(store, FaultStore(database), now_ms),
    }
    _say(value, out, is_explained=args.why)
    out.result(value)
    return 0


def _counted(reason: str, count: int) -> dict[str, Any]:
    return {"reason": reason, "count": count, "why": explain(reason)}


def _requesters(store: OrderStore, faults: FaultStore, now_ms: int) -> list[dict[str, Any]]:
    seen = read_outcomes(store, faults, Role.PROVER, now_ms - LOOK_BACK_MS)
    scores = {account: standing(seen, account, now_ms) for account in {each.account for each in seen}}
    worst_first = sorted(scores.items(), key=lambda item: (item[1], item[0]))
    return [
        {"account": "0x" + account.hex(), "standing_milli": score, "refused": score < LIMIT_MILLI}
        for account, score in worst_first
    ]


def _say(value: dict[str, Any], out: Output, *, is_explained: bool) -> None:
    out.table(("state", "orders"), list(value["orders"].items()))
    names = ("reason", "count", "why") if is_explained else ("reason", "count")
    out.say("skipped requests:")
    out.table(names, [tuple(each[name] for name in names) for each in value["skipped"]])
    out.say("orders that ended with a reason:")
    out.table(("state", *names), [(each["state"], *(each[name] for name in names)) for each in value["ended"]])
    out.table(
        ("requester", "standing", "refused"),
        [(each["account"], each["standing_milli"], each["refused"]) for each in value["requesters"]],
    )


def _config(path: Path) -> NodeConfig:
    config = load_config(path)
    if config.role != "prover":
        raise UsageError(problem=f"{path} is of a {config.role}, not of a prover")
    return config
