"""`unveto doctor`: what this machine and this configuration are missing, each finding with a stable name."""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import stat
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import trio

from node.bench.machine import cpu_path
from node.chain.errors import ChainError
from node.chain.rpc import Retry, Rpc
from node.commands import Commands
from node.config import NodeConfig, ProverSection, load_config
from node.endpoints import Looked, connect_all, look_at
from node.l1 import address_from_text
from node.machine import refuses_dev_keys
from node.output import Output
from node.statusfile import read_status
from protocol.constants import MAX_CLOCK_SKEW_MS
from proving.backends import Backend, choose
from proving.build import cache_dir, find_compiler
from proving.errors import BackendUnavailable, CoreError, ZkeyMalformed
from proving.native import load
from proving.zkey import is_dev_key

Level = Literal["ok", "note", "bad"]
MAX_CLOCK_LEAD_S = 15  # a head further in the future than this means that this machine's clock is behind


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing looked at."""

    name: str
    level: Level
    text: str


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser("doctor", parents=[common], help="check this machine and a configuration")
    parser.add_argument("--config", type=Path, help="node configuration to check as well")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, out: Output) -> int:
    """0 if nothing is bad."""
    findings = machine_findings(out)
    if args.config is not None:
        config = load_config(args.config)
        findings += folder_findings(config)
        findings += clock_findings(config.path(""))
        if config.role == "prover":
            findings += backend_findings(config.prover)
        if config.role == "requester":
            findings.append(states_finding(config))
        findings += trio.run(chain_findings, config)
    out.table(("check", "", "finding"), [(f.name, f.level, f.text) for f in findings])
    bad = sum(f.level == "bad" for f in findings)
    out.result({"ok": bad == 0, "findings": [{"name": f.name, "level": f.level, "text": f.text} for f in findings]})
    return 1 if bad else 0


def machine_findings(out: Output) -> list[Finding]:
    """Python, compiler, core, memory, disk."""
    found = [
        Finding(
            name="python",
            level="ok" if (3, 11) <= sys.version_info[:2] < (3, 14) else "bad",
            text=f"{platform.python_version()} (3.11 to 3.13 work)",
        )
    ]
    try:
        found.append(Finding(name="compiler", level="ok", text=" ".join(find_compiler().command)))
        load(out.say)
        found.append(Finding(name="core", level="ok", text=f"built; CPU path {cpu_path()}"))
    except CoreError as error:
        found.append(Finding(name="core", level="bad", text=str(error)))
    free_gib = shutil.disk_usage(_existing(cache_dir())).free >> 30
    found.append(
        Finding(name="cache", level="ok" if free_gib >= 1 else "bad", text=f"{cache_dir()}, {free_gib} GiB free")
    )
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 30
    found.append(Finding(name="memory", level="ok" if memory_gib >= 3 else "note", text=f"{memory_gib} GiB"))
    return found


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path


def clock_findings(folder: Path) -> list[Finding]:
    """What the node's peers say about this clock, if it runs or ran here."""
    clock = (read_status(folder) or {}).get("clock")
    if not isinstance(clock, dict):
        return []
    ahead_ms, refused = clock.get("ahead_ms"), clock.get("refused", 0)
    if ahead_ms is None and not refused:
        return [Finding(name="clock of peers", level="note", text="no message has said anything about this clock")]
    # Half of the others decide; one peer with a wrong clock says nothing about ours.
    is_off = ahead_ms is None or abs(ahead_ms) > MAX_CLOCK_SKEW_MS
    said = "" if ahead_ms is None else f"{clock.get('signers')} others are {ahead_ms} ms ahead of this clock; "
    text = f"{said}{refused} messages refused for their time (FROM_FUTURE, FROM_PAST), {MAX_CLOCK_SKEW_MS} ms tolerated"
    return [Finding(name="clock of peers", level="bad" if is_off else "ok", text=text)]


def folder_findings(config: NodeConfig) -> list[Finding]:
    """The node's folder and its key files."""
    folder = Path(config.data_dir).expanduser()
    if not folder.exists():
        return [Finding(name="folder", level="note", text=f"{folder} does not exist yet; the node makes it")]
    found = [Finding(name="folder", level="ok", text=str(folder))]
    for path in sorted(folder.glob("*.key")):
        loose = bool(stat.S_IMODE(path.stat().st_mode) & 0o077)
        level: Level = "bad" if loose else "ok"
        found.append(Finding(name="key", level=level, text=f"{path}{': others may read it' if loose else ''}"))
    return found


def backend_findings(section: ProverSection) -> list[Finding]:
    """What the configured prover would prove with."""
    try:
        chosen = choose(section.backend)
    except BackendUnavailable as error:
        return [Finding(name="backend", level="bad", text=str(error))]
    if chosen.backend is not Backend.COMMAND:
        return [Finding(name="backend", level="ok", text=f"{chosen.backend}: {chosen.reason}")]
    program = section.command[0] if section.command else ""
    if shutil.which(program) is None:
        return [Finding(name="backend", level="bad", text=f"command: no program {program!r}")]
    return [Finding(name="backend", level="ok", text=f"command: {' '.join(section.command)}")]


def key_finding(section: ProverSection, chain_id: int) -> Finding:
    """The proving key of the configuration; chain_id 0: not known."""
    if section.zkey:
        try:
            has_known_secrets = is_dev_key(Path(section.zkey))
        except (OSError, ZkeyMalformed) as error:
            return Finding(name="proving key", level="bad", text=f"{section.zkey}: {error}")
        if not has_known_secrets:
            return Finding(name="proving key", level="ok", text=section.zkey)
    text = f"{section.zkey or 'none configured'}: developer key, whose secrets everybody knows"
    if chain_id == 0:
        return Finding(name="proving key", level="note", text=text)
    if refuses_dev_keys(section, chain_id):
        return Finding(name="proving key", level="bad", text=f"{text}; refused on chain {chain_id}")
    return Finding(name="proving key", level="note", text=f"{text}; used on chain {chain_id}")


def states_finding(config: NodeConfig) -> Finding:
    """Where a requester's states of rollups would come from."""
    sync, peers = config.requester.sync, len(config.network.peers)
    if sync == "logs":
        return Finding(name="states", level="ok", text="replayed from L1 logs")
    if not peers:
        return Finding(name="states", level="bad", text=f"sync = {sync} needs peers, and [network] peers has none")
    level: Level = "ok" if peers > 1 else "note"
    text = f"sync = {sync}, from {peers} peers" + ("" if peers > 1 else ": one alone can keep a state from this node")
    if sync == "buckets":
        text += f"; {config.requester.decoys} decoys with each bucket"
        level = level if config.requester.decoys else "note"
    return Finding(name="states", level=level, text=text)


async def chain_findings(config: NodeConfig) -> list[Finding]:
    """The L1 endpoints, each by itself and together, and the contracts that the configuration names."""
    wanted = config.chain.chain_id
    looked = [await look_at(url) for url in config.chain.rpc]
    found = [_endpoint_finding(each, config) for each in looked]
    rpc = Rpc(connect_all(config.chain), retry=Retry(attempts=1))
    try:
        chain_id = await rpc.chain_id()
        head = await rpc.head()
    except ChainError as error:
        return [*found, Finding(name="rpc", level="bad", text=str(error)), *_prover_keys(config, wanted)]
    found.append(
        Finding(
            name="chain",
            level="ok" if wanted in (0, chain_id) else "bad",
            text=f"id {chain_id}, block {head.number}" + (f", configured for {wanted}" if wanted else ""),
        )
    )
    if len(looked) > 1:
        text = f"{config.chain.quorum or len(looked)} of {len(looked)} endpoints must agree, and do"
        found.append(Finding(name="agreement", level="ok", text=text))
    lead_s = head.timestamp - int(time.time())
    found.append(
        Finding(
            name="clock",
            level="bad" if lead_s > MAX_CLOCK_LEAD_S else "ok",
            text=f"the head is {abs(lead_s)} s {'ahead of' if lead_s > 0 else 'behind'} this clock",
        )
    )
    found += _prover_keys(config, chain_id)
    for name, text in (("rollups", config.chain.rollups), ("market", config.chain.market)):
        if not text:
            found.append(Finding(name=name, level="note", text="no address configured"))
            continue
        code = await rpc.code(address_from_text(text))
        found.append(Finding(name=name, level="ok" if code else "bad", text=f"{text}: {len(code)} bytes of code"))
    return found


def _endpoint_finding(looked: Looked, config: NodeConfig) -> Finding:
    if looked.head is None:
        level: Level = "note" if config.chain.quorum else "bad"
        return Finding(name="rpc", level=level, text=looked.problem)
    text = f"{looked.url}: {looked.client}, block {looked.head.number}"
    if not looked.has_proofs and config.chain.state == "proof":
        return Finding(name="rpc", level="bad", text=f"{text}; no eth_getProof, which [chain] state = proof needs")
    return Finding(name="rpc", level="ok", text=text + ("; proofs of state" if looked.has_proofs else ""))


def _prover_keys(config: NodeConfig, chain_id: int) -> list[Finding]:
    if config.role != "prover" or config.prover.backend == "command":
        return []
    return [key_finding(config.prover, chain_id)]
