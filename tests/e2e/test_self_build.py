"""A builder censors a user; the proposer that builds its own block with the sidecar lands the user's table.

Real processes, real proofs, an unchanged anvil as the proposer's execution client. The user's node sends its
transaction to everybody at once, so the censoring builder has it in its pool in each of its slots, and never takes it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import trio

from market.lifecycle import State
from node.app import load_or_create_seal_key
from node.config import NetworkSection, NodeConfig, ProposerSection
from node.duties import SlotTimes
from node.keptfile import KeptFiles, read_kept
from node.landing import estimated_bytes
from node.ports import SystemClock
from tests.support.builders import Builders, listed, reported
from tests.support.forks import ForkedNode, Forks
from tests.support.nodeworld import AUCTION, UP_TIMEOUT_S, World, raise_world
from tests.support.schemas import check_output
from tests.support.tools import ROOT

SLOT_MS = 2_000
PERIOD, REMAINDER = 4, 1
ORDER_TIMEOUT_S = 150


@pytest.fixture(scope="module")
def world(forks: Forks, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Relay, prover, user and chain; the proposer joins in the test."""
    opened = trio.run(partial(raise_world, forks, tmp_path_factory.mktemp("slots"), auction=AUCTION, kind="anvil"))
    try:
        yield opened
    finally:
        trio.run(opened.close)


async def with_proposer(world: World, times: SlotTimes) -> ForkedNode:
    """A proposer of every fourth slot, whose key the user knows."""
    relay = (await world.relay.status("node", timeout_s=UP_TIMEOUT_S))["addresses"]
    user = world.user.config
    folder = world.user.folder.parent / "self-builder"
    folder.mkdir(mode=0o700)
    section = ProposerSection(
        execution_url=world.l1.url,
        schedule=f"{REMAINDER}/{PERIOD}",
        genesis_s=times.genesis_ms // 1000,
        slot_ms=SLOT_MS,
        inject_ms=SLOT_MS // 2,
    )
    config = NodeConfig(
        role="proposer",
        data_dir=str(folder),
        chain=user.chain,
        network=NetworkSection(peers=tuple(relay)),
        proposer=section,
    )
    key = load_or_create_seal_key(folder / "sidecar.key").public.hex()
    proposer = ForkedNode(name="self-builder", config=config, forks=world.user.forks)
    proposer.start()
    world.user.config = replace(user, requester=replace(user.requester, sidecars=(key,), publish=True))
    await world.restart(world.user)
    await proposer.status("connected", timeout_s=UP_TIMEOUT_S)
    return proposer


async def test_a_censored_table_lands_in_the_self_builders_slot(world: World) -> None:
    """None of the other builder's blocks carries the user's transaction; the sidecar's does, and the prover is paid."""
    head = await world.stage.rpc.head()
    genesis_ms = 1000 * (max(head.timestamp, time.time_ns() // 10**9) + 1)
    times = SlotTimes(genesis_ms=genesis_ms, slot_ms=SLOT_MS)
    proposer = await with_proposer(world, times)
    option = await world.new_option()
    user = world.address(world.user)
    builders = Builders(
        rpc=world.stage.rpc,
        clock=SystemClock(time.time),
        times=times,
        period=PERIOD,
        remainder=REMAINDER,
        censored=user,
    )
    before_wei = await world.credit(world.provers[0])
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(builders.run)
            pooled: list[str] = []
            relay = (await world.relay.status("api", timeout_s=UP_TIMEOUT_S))["url"]
            nursery.start_soon(listed, relay, pooled)
            order = await world.end(await world.wish(option), timeout_s=ORDER_TIMEOUT_S)
            assert State.PAID is order.state, order.reason
            landed = world.view.landing(order.order_id)
            receipt = await world.stage.rpc.wait_receipt(landed.tx_hash)
            block = await world.stage.rpc.block(receipt.block_number)
            assert block is not None
            slot = times.slot_at(block.timestamp * 1000)
            with trio.fail_after(20):
                report = await reported(proposer, slot)
            nursery.cancel_scope.cancel()
    finally:
        await proposer.stop()

    deal, plan = world.view.deal(order.order_id), world.view.plan(order.order_id)
    assert deal is not None
    assert plan is not None
    kept = read_kept(KeptFiles(world.user.folder).path(order.order_id))
    assert (landed.raw, plan.core) == (kept.raw, kept.core)  # anybody with this file could have landed it
    assert abs(estimated_bytes(plan) - len(landed.raw)) < 256
    assert "0x" + landed.tx_hash.hex() in builders.left_out  # the other builder had it, and left it out
    assert ["0x" + landed.tx_hash.hex()] == pooled  # announced to everybody, too: the relay has checked and pooled it
    assert receipt.block_number in builders.ours
    assert receipt.block_number not in builders.theirs
    assert REMAINDER == slot % PERIOD
    assert deal.opening.price_wei == await world.credit(world.provers[0]) - before_wei
    assert [("0x" + landed.tx_hash.hex(), "included")] == [(t["tx_hash"], t["state"]) for t in report["transactions"]]
    check_slots_command(proposer, slot)


def check_slots_command(proposer: ForkedNode, slot: int) -> None:
    """`unveto proposer slots` says the same, beside the node or without it."""
    command = [sys.executable, "-m", "node", "proposer", "slots", "--json", "--config", str(proposer.config_path)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, timeout=60, check=True)
    told = json.loads(done.stdout)
    check_output("proposer_slots", told)
    assert slot in [each["slot"] for each in told["slots"]]


def test_the_folder_of_the_proposer_is_private(world: World) -> None:
    """Keys and database are the owner's alone."""
    folder = Path(world.user.folder.parent / "self-builder")
    assert not any(path.stat().st_mode & 0o077 for path in (folder / "sidecar.key", folder / "vault.key"))
