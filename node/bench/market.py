"""Measures a market of many node processes on this machine: how fast an order moves, and what it costs.

One relay, a fifth of the rest requesters, the others provers, each a process with real peers, store and signatures; L1
and proofs are on paper (`paper.py`). Every prover bids on every request.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from node.bench.run import BenchFailed
from protocol.hashing import keccak256

DIALLED: Final = 3
"""Peers that a node dials: the first one, and two of those before it."""
ORDER_S: Final = 60
"""After the last request, for what is still open."""
START_S: Final = 2
"""Between the last node's start and the first request: the mesh forms."""


@dataclass(slots=True)
class _Node:
    """One process."""

    role: str
    process: subprocess.Popen[str]

    def tell(self, line: str) -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
        except OSError as error:
            raise BenchFailed(what=f"a {self.role}", reason="it has ended") from error

    def hear(self, event: str) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise BenchFailed(what=f"a {self.role}", reason=f"it ended with status {self.process.wait()}")
        value = json.loads(line)
        if value.get("event") != event:
            raise BenchFailed(what=f"a {self.role}", reason=f"it said {value.get('event')!r} in place of {event!r}")
        assert isinstance(value, dict)
        return value


def roles_of(nodes: int) -> list[str]:
    """The relay first: all dial it."""
    requesters = max(1, (nodes - 1) // 5)
    return ["relay", *["requester"] * requesters, *["prover"] * (nodes - 1 - requesters)]


def measure_market(nodes: int, *, rate_milli: int, orders: int) -> dict[str, Any]:
    """One measurement.

    Args:
        nodes: processes, at least 3.
        rate_milli: requests in 1,000 seconds, all requesters together.
        orders: how many requests.

    Raises:
        BenchFailed: a process ended, or did not come up.
    """
    with tempfile.TemporaryDirectory() as made, _started(nodes, Path(made)) as started:
        began = time.monotonic()
        start_ms = int(time.time() * 1000) + START_S * 1000
        requesters = [node for node in started if node.role == "requester"]
        seconds = START_S + orders * 1_000 // rate_milli + ORDER_S
        planned = [(number, start_ms + number * 1_000_000 // rate_milli) for number in range(orders)]
        for place, node in enumerate(requesters):
            node.tell(json.dumps({"seconds": seconds, "requests": planned[place :: len(requesters)]}))
        for node in started:
            if node.role != "requester":
                node.tell(json.dumps({"seconds": seconds, "requests": []}))
        for node in started:
            node.hear("done")
        for node in started:
            node.tell("stop")
        seen = [node.hear("seen") | {"role": node.role} for node in started]
        return {"nodes": nodes, "rate_milli": rate_milli, "wall_s": round(time.monotonic() - began, 3), **summed(seen)}


@contextmanager
def _started(nodes: int, folder: Path) -> Iterator[list[_Node]]:
    (folder / "payments").mkdir()
    paths = (str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH", ""))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in paths if path)}
    started: list[_Node] = []
    addresses: list[str] = []
    try:
        for role in roles_of(nodes):
            process = subprocess.Popen(
                [sys.executable, "-m", "node.bench.market_node"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=environment,
            )
            started.append(_Node(role, process))
        for number, node in enumerate(started):
            job = {
                "role": node.role,
                "folder": str(folder / f"node{number}"),
                "payments": str(folder / "payments"),
                "peers": _to_dial(addresses),
                "price_wei": 10**12 + number,
            }
            node.tell(json.dumps(job))
            addresses.append(node.hear("ready")["address"])
        yield started
    finally:
        for node in started:
            node.process.kill()
            node.process.wait()
            for pipe in (node.process.stdin, node.process.stdout):
                assert pipe is not None
                pipe.close()


def _to_dial(addresses: Sequence[str]) -> list[str]:
    """The first node, and two that differ from node to node."""
    number = len(addresses)
    wanted = [0, *(keccak256(bytes([place]) + number.to_bytes(2, "big"))[0] % max(1, number) for place in range(2))]
    return [addresses[place] for place in dict.fromkeys(wanted) if place < number][:DIALLED]


def summed(seen: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The figures of what all nodes saw."""
    orders = [order for node in seen for order in node["orders"]]
    paid = [order for order in orders if order["state"] == "paid"]
    count = max(1, len(orders))
    frames: dict[str, list[int]] = {}
    for node in seen:
        for name, at_ns in node["frames"].items():
            frames.setdefault(name, []).append(at_ns)
    # The first to see a frame is who sent it. A node that never saw one is counted by `missing`, not by a time.
    delays_us = [(at - min(times)) // 1_000 for times in frames.values() for at in sorted(times)[1:]]
    return {
        "orders": len(orders),
        "completed": len(paid),
        "reasons": sorted({order["reason"] for order in orders if order["reason"]}),
        "bids_per_order": round(sum(order["bids"] for order in orders) / count, 2),
        "gossip_ms": _spread([delay / 1_000 for delay in delays_us]),
        "missing": len(frames) * len(seen) - sum(len(times) for times in frames.values()),
        "close_to_award_ms": _spread(_between(paid, "bid_close_ms", "winner-chosen")),
        "award_to_key_ms": _spread(_between(paid, "winner-chosen", "payload-sealed")),
        "request_to_key_ms": _spread(_between(paid, "began_ms", "payload-sealed")),
        "request_to_paid_ms": _spread(_between(paid, "began_ms", "payment-seen")),
        "frames_per_order": round(len(frames) / count, 2),
        "cpu_s_per_order": round(sum(node["cpu_s"] for node in seen) / count, 4),
        "cpu_s": round(sum(node["cpu_s"] for node in seen), 2),
        "peak_mib": _spread([node["peak_mib"] for node in seen]),
    }


def _between(orders: Sequence[Mapping[str, Any]], first: str, last: str) -> list[float]:
    def at(order: Mapping[str, Any], name: str) -> int:
        return int(order[name] if name in order else order["marks"][name])

    return [float(at(order, last) - at(order, first)) for order in orders]


def _spread(values: Sequence[float]) -> dict[str, float]:
    """Median, the value that 99 of 100 do not exceed, and the largest; zeros of nothing."""
    if not values:
        return {"p50": 0.0, "p99": 0.0, "max": 0.0}
    ordered = sorted(values)
    return {
        "p50": round(ordered[(len(ordered) - 1) // 2], 3),
        "p99": round(ordered[-(-99 * len(ordered) // 100) - 1], 3),
        "max": round(ordered[-1], 3),
    }
