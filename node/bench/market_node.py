"""One node of a measured market: `python -m node.bench.market_node` reads its job as a line of JSON.

It says `{"event": "ready", "address"}` when its peers hear it and waits for its plan,
`{"seconds", "requests": [[number, unix ms], ...]}`. A requester plays it. When its orders are over, or the seconds,
it says `{"event": "done"}`, and after a line `stop` what it saw:

    {"event": "seen", "frames": {hash: monotonic ns}, "gossip_bytes", "orders": [...], "cpu_s", "peak_mib"}

`cpu_s` counts from the plan on.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import trio

from market.admission import Capability
from market.capacity import Capacity
from market.lanes import Churn, Lane, Windows
from market.lifecycle import Event, Order, Role
from market.pricing import Curve, ProofCost
from node.bench.paper import MARKET, ROLLUPS, SYSTEMS_HASH, PaperL1, PaperProver, PaperVerifier, paper_table
from node.bidding import Offer
from node.config import NetworkSection
from node.frames import FrameWriter
from node.identity import load_or_create_account
from node.keptfile import KeptFiles
from node.network import MarketDirect, MarketGossip
from node.p2p.host import Host
from node.peering import market_host
from node.ports import PlannedTable, Refused, SystemClock
from node.prices import ClearingPrices
from node.prover import ProvingNode
from node.ready import ReadyTables
from node.requester import Requester, Terms
from node.store.database import Database
from node.store.faults import FaultStore
from node.store.orders import OrderStore
from node.store.sequences import Sequences
from node.store.vault import Vault
from node.store.writer import WriterThread
from protocol.gossip_memory import GossipMemory
from protocol.hashing import keccak256
from protocol.messages import GOSSIP_CHANNELS, Fault
from protocol.signing import AccountKey

SLOTS: Final = 64
"""Orders of one prover at a time: capacity is not what is measured."""
POLL_MS: Final = 250
WINDOWS: Final = Windows(bid_ms=2_500, accept_ms=2_000, ack_ms=15_000, prove_ms=60_000, margin_ms=30_000, claim_s=3_600)
READS: Final = {"requester": {"bid", "award"}, "prover": {"req", "award", "fault"}, "relay": {"fault"}}
MARKS: Final = (
    Event.BIDS_CLOSED,
    Event.WINNER_CHOSEN,
    Event.ACCEPT_RECEIVED,
    Event.PAYLOAD_SEALED,
    Event.ACK_RECEIVED,
    Event.PROOF_VALID,
    Event.PAYMENT_SEEN,
)


@dataclass(slots=True, kw_only=True)
class Seen:
    """Frames, by the first bytes of their hash."""

    at_ns: dict[str, int] = field(default_factory=dict)
    size: int = 0

    def __call__(self, topic: str, frame: bytes) -> None:
        name = keccak256(frame)[:12].hex()
        if name not in self.at_ns:
            self.at_ns[name] = time.monotonic_ns()
            self.size += len(frame)


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What every role is made of."""

    folder: Path
    host: Host
    store: OrderStore
    in_thread: WriterThread
    clock: SystemClock
    gossip: MarketGossip
    direct: MarketDirect
    chain: PaperL1
    frames: FrameWriter
    memory: GossipMemory
    faults: FaultStore
    seen: Seen


@asynccontextmanager
async def _made(job: Mapping[str, Any]) -> AsyncIterator[Made]:
    folder = Path(job["folder"])
    folder.mkdir()
    clock, memory = SystemClock(time.time), GossipMemory()
    key = AccountKey(load_or_create_account(folder / "account.key").secret)
    chain = PaperL1(folder=Path(job["payments"]), account=key.address)
    vault = Vault(folder / "vault.key")
    database = Database(f"sqlite:///{folder / 'node.db'}", now_ms=clock.now_ms(), owner=vault.fingerprint)
    in_thread = WriterThread(database.together)
    network = NetworkSection(peers=tuple(job["peers"]), dial_private=True)
    seen = Seen()
    with market_host(network, folder, market=MARKET, clock=clock, memory=memory, view=chain) as host:
        host.gossip.add_tap(seen)
        gossip = MarketGossip(host, MARKET, memory)
        for channel in frozenset(GOSSIP_CHANNELS) - READS[job["role"]]:
            gossip.ignore(channel)
        async with trio.open_nursery() as nursery:
            await nursery.start(host.serve)
            yield Made(
                folder=folder,
                host=host,
                store=OrderStore(database, vault),
                in_thread=in_thread,
                clock=clock,
                gossip=gossip,
                direct=MarketDirect(host, now_ms=clock.now_ms, dials_private=True),
                chain=chain,
                frames=FrameWriter(
                    market=MARKET,
                    key=key,
                    sequences=Sequences(database, key.address),
                    clock=clock,
                    in_thread=in_thread,
                ),
                memory=memory,
                faults=FaultStore(database),
                seen=seen,
            )
            nursery.cancel_scope.cancel()
    database.close()


def _requester(made: Made) -> Requester:
    return Requester(
        store=made.store,
        in_thread=made.in_thread,
        clock=made.clock,
        gossip=made.gossip,
        direct=made.direct,
        chain=made.chain,
        verifier=PaperVerifier(),
        frames=made.frames,
        faults=made.faults,
        files=KeptFiles(made.folder),
        ready=ReadyTables(gossip=made.gossip, direct=made.direct, frames=made.frames, clock=made.clock, sidecars=()),
        terms=Terms(
            lane=Lane.STANDARD,
            windows=dict.fromkeys(Lane, WINDOWS),
            standbys=0,
            rounds=0,
            bump_permille=500,
            spare_tickets=(),
            max_price_wei=10**16,
            bond_min_wei=10**15,
            ready_wait_ms=0,
            is_submitted=True,
            force="never",
            record_permille=0,
        ),
        prices=ClearingPrices(made.gossip, made.memory.request),
        replan=_never,
        churn=lambda core: Churn(moves=0, seen_ms=0),
        rollups=ROLLUPS,
        poll_ms=POLL_MS,
    )


async def _never(intent: bytes) -> PlannedTable:
    raise Refused("STALE", "no root moves on paper")


def _prover(made: Made, price_wei: int) -> ProvingNode:
    return ProvingNode(
        store=made.store,
        in_thread=made.in_thread,
        clock=made.clock,
        gossip=made.gossip,
        direct=made.direct,
        chain=made.chain,
        prover=PaperProver(),
        able=lambda bond_wei, free_slots, free_memory_mib: Capability(
            systems=frozenset({SYSTEMS_HASH}),
            tiers=frozenset({0}),
            free_slots=free_slots,
            free_memory_mib=free_memory_mib,
            max_size_log2=20,
            bond_wei=bond_wei,
        ),
        capacity=Capacity(slots=SLOTS, memory_mib=SLOTS),
        frames=made.frames,
        offer=Offer(
            curve=Curve(
                wei_per_step=0,
                wei_per_proof=0,
                floor_wei=price_wei,
                margin_permille=0,
                overhead_ms=1,
                costs={0: ProofCost(prove_ms=1, memory_mib=1)},
            ),
            payee=made.frames.key.address,
            tickets=tuple(range(2 * SLOTS)),
            collect_wei=1,
            bid_delay_ms=0,
        ),
        faults=made.faults,
        accuse=_accuse,
        poll_ms=POLL_MS,
    )


async def _accuse(fault: Fault) -> None:
    """Nobody cheats here."""


class _Lines:
    """Lines from standard input."""

    def __init__(self) -> None:
        self._input = trio.lowlevel.FdStream(sys.stdin.fileno())
        self._buffer = b""

    async def next(self) -> str:
        while b"\n" not in self._buffer:
            chunk = await self._input.receive_some(65_536)
            if not chunk:
                raise EOFError("whoever measures has gone")
            self._buffer += chunk
        line, self._buffer = self._buffer.split(b"\n", 1)
        return line.decode()


def _say(event: str, **values: object) -> None:
    sys.stdout.write(json.dumps({"event": event, **values}) + "\n")
    sys.stdout.flush()


async def _heard(made: Made, peers: list[str]) -> None:
    """Until every wanted peer listens on every topic."""
    for address in peers:
        for topic in made.host.gossip.topics:
            await made.host.gossip.wait_for_subscriber(topic, address.rsplit("/p2p/", 1)[1])


async def _ask(node: Requester, made: Made, at_ms: int, number: int) -> None:
    await made.clock.sleep_until(at_ms)
    order = await node.request(paper_table(number, made.clock.now_ms() // 1000), ticket=number)
    await node.loop.wait_for(order.order_id, lambda now: now.is_over)


def _history(made: Made, order: Order) -> dict[str, Any]:
    lines = made.store.history(order.order_id, Role.REQUESTER)
    marks = {mark.value for mark in MARKS}
    return {
        "state": order.state.value,
        "reason": order.reason,
        "began_ms": lines[0].at_ms,
        "bid_close_ms": order.bid_close_ms,
        "bids": len(made.store.bids(order.order_id)),
        "marks": {line.event: line.at_ms for line in reversed(lines) if line.event in marks},
    }


async def _play(made: Made, job: Mapping[str, Any], lines: _Lines) -> tuple[list[dict[str, Any]], float]:
    node = _requester(made) if job["role"] == "requester" else None
    prover = _prover(made, job["price_wei"]) if job["role"] == "prover" else None
    async with trio.open_nursery() as nursery:
        if node is not None:
            await nursery.start(node.serve)
        if prover is not None:
            await nursery.start(prover.serve)
        await _heard(made, job["peers"])
        _say("ready", address=made.host.addresses[0])
        plan = json.loads(await lines.next())
        began_s = _cpu_s()
        if node is not None:
            with trio.move_on_after(plan["seconds"]):  # an order that is not over by then is not completed
                async with trio.open_nursery() as asking:
                    for number, at_ms in plan["requests"]:
                        asking.start_soon(_ask, node, made, at_ms, number)
        _say("done")
        await lines.next()
        cpu_s = _cpu_s() - began_s
        nursery.cancel_scope.cancel()
    orders = [_history(made, order) for order in made.store.recent(10_000) if order.role is Role.REQUESTER]
    return orders, cpu_s


def _peak_mib() -> float:
    """Largest resident memory. What getrusage says counts the process that started this one (Linux)."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20)
    return int(next(line for line in lines if line.startswith("VmHWM:")).split()[1]) / 1024


def _cpu_s() -> float:
    """Of this process: user and system, all threads."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def _run() -> None:
    lines = _Lines()
    job = json.loads(await lines.next())
    async with _made(job) as made:
        orders, cpu_s = await _play(made, job, lines)
        _say(
            "seen",
            frames=made.seen.at_ns,
            gossip_bytes=made.seen.size,
            orders=orders,
            cpu_s=cpu_s,
            peak_mib=_peak_mib(),
        )


if __name__ == "__main__":
    trio.run(_run)
