"""A market attacked on every layer below its messages: orders complete, memory stays flat, nobody honest is blamed.

The attackers are another process (`tests.support.attackers`). In the default run all of them attack at once; each
alone, and an hour of it, are campaigns.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio

from market.lifecycle import State
from market.standing import PASSED_OVER
from node.p2p.host import Host
from node.requester import Requester
from tests.support.attackers import RATE, Attackers
from tests.support.market_hosts import Third, hosted
from tests.support.market_ledger import BOND_WEI, MARKET, TICKET_WEI, TestClock, planned_table
from tests.support.market_sim import TERMS, World, memory_folder, timed
from tests.support.tools import ROOT

DEADLINE_S = 280
CAMPAIGN_S = float(os.environ.get("UNVETO_FLOOD_S", "3600"))
QUICK = timed(replace(TERMS, ready_wait_ms=0), bid_ms=6_000, accept_ms=20_000)
MAX_GROWTH = 24 << 20
"""Bytes that the process of five nodes may grow by under attack, once it has been under attack for one order."""

ATTACKS = tuple(attack.__name__ for attack in Attackers(None).attacks)  # type: ignore[arg-type]


def resident_bytes() -> int:
    """Of this process."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Attack:
    """The process of the attackers."""

    def __init__(self, folder: Path, hosts: list[Host], world: World, only: tuple[str, ...]) -> None:
        self._report = folder / "attack.json"
        ahead_ms = TestClock().now_ms() - time.monotonic() * 1000
        plan = {
            "targets": [list(host.addresses) for host in hosts],
            "chain_id": MARKET.chain_id,
            "market": MARKET.contract.hex(),
            "ahead_ms": ahead_ms,
            "victim": world.requester.name,
            "account": world.requester.key.address.hex(),
            "report": str(self._report),
            "only": only,
        }
        self._plan = folder / "plan.json"
        self._plan.write_text(json.dumps(plan))

    def done(self) -> dict[str, int]:
        """What the attackers have done so far."""
        return dict(json.loads(self._report.read_text())) if self._report.exists() else {}

    @asynccontextmanager
    async def under_way(self) -> AsyncIterator[None]:
        """The attack goes on until the block ends."""
        command = [sys.executable, "-m", "tests.support.attackers", str(self._plan)]
        async with trio.open_nursery() as nursery:
            process: Any = await nursery.start(
                lambda task_status: trio.run_process(
                    command,
                    cwd=ROOT,
                    check=False,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    task_status=task_status,
                )
            )
            try:
                assert b"attacking" in await process.stdout.receive_some()
                yield
            finally:
                process.kill()


async def paid_order(world: World, number: int) -> None:
    """The requester asks, and the order ends as paid; every prover has a free ticket."""
    world.ledger.tickets[(world.requester.key.address, number)] = TICKET_WEI
    for prover in world.provers:
        world.ledger.tickets[(prover.key.address, 0)] = 4 * BOND_WEI
    node = world.requester.node
    assert isinstance(node, Requester)
    plan = replace(planned_table(), valid_until=TestClock().now_ms() // 1000 + 600)
    order = await node.request(plan, ticket=number)
    end = await node.loop.wait_for(order.order_id, lambda now: now.is_over)
    assert end is not None
    assert (State.PAID, "") == (end.state, end.reason)


def blamed(third: Third, hosts: list[Host]) -> list[tuple[str, str]]:
    """Honest peers that honest peers have struck or banned."""
    everybody = [third.host, *hosts]
    return [
        (one.peer_id, other.peer_id)
        for one in everybody
        for other in everybody
        if one.conduct.strikes(other.peer_id) or one.conduct.is_banned(other.peer_id)
    ]


async def orders_under_attack(
    folder: Path, only: tuple[str, ...], *, orders: int = 0, seconds: float = 0
) -> dict[str, int]:
    """Orders one after another while attackers do what they can; returns what they did."""
    world = World(folder)
    for party in world.parties:
        party.terms, party.poll_ms, party.prover.prove_s = QUICK, 100, 0.1
    async with hosted(world) as (third, hosts):
        attack = Attack(folder, [third.host, hosts[0], hosts[2]], world, only)
        async with attack.under_way():
            began = time.monotonic()
            await paid_order(world, 0)
            before, number = resident_bytes(), 0
            while number < orders or time.monotonic() - began < seconds:
                number += 1
                await paid_order(world, number)
            grown, took_s = resident_bytes() - before, time.monotonic() - began
            done = attack.done() | {"seconds": round(took_s), "orders": number + 1, "grown KiB": grown >> 10}
        assert [] == blamed(third, hosts)
        assert grown < MAX_GROWTH, done
        assert number + 1 == len(world.ledger.payments)
        assert 0 == sum(host.gossip.counts(topic)["fault"] for host in hosts for topic in host.gossip.topics)
        assert not {fault.kind for fault in third.faults.since(0)} - {
            PASSED_OVER
        }  # what a flood delays is nobody's fault
    return done


async def test_orders_complete_while_everybody_attacks_at_once(tmp_path: Path) -> None:
    """Floods, oversize and slow streams, half-open connections, malformed pubsub, spoofed peers, sybils everywhere."""
    with memory_folder(tmp_path) as folder, trio.fail_after(DEADLINE_S):
        done = await orders_under_attack(folder, (), orders=1)

    print(json.dumps(done))
    assert done["flood rejected"] >= 50
    assert done["flood ignored"] >= RATE  # a machine with other work floods slower than it is told to
    assert {"flood_to_reject: ended"} <= done.keys()  # cut, again and again
    for what in ("oversize streams", "slow streams", "slow handshakes", "malformed pubsub", "spoofed author"):
        assert done.get(what, 0) >= 1, (what, done)
    assert done["eclipse seats"] >= 5
    assert done["spoofed identity tried"] >= 1
    assert "spoofed identity taken" not in done


@pytest.mark.campaign
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", ATTACKS)
async def test_orders_complete_under_each_attack_alone(tmp_path: Path, name: str) -> None:
    """Three orders each."""
    with memory_folder(tmp_path) as folder:
        done = await orders_under_attack(folder, (name,), orders=2)

    print(name, json.dumps(done))
    assert sum(done.values()) > 5


@pytest.mark.campaign
@pytest.mark.timeout(3 * 3600)
async def test_memory_is_flat_through_a_long_attack(tmp_path: Path) -> None:
    """UNVETO_FLOOD_S seconds, an hour by default, orders all the time."""
    with memory_folder(tmp_path) as folder:
        done = await orders_under_attack(folder, (), seconds=CAMPAIGN_S)

    print(json.dumps(done))
    assert done["seconds"] >= CAMPAIGN_S
