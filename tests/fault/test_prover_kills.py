"""The prover's process is killed (SIGKILL) before and after every write into its database, then started again.

Real processes, a real chain, real proofs. The undisturbed order at the start says which writes there are; a write at
which the process was not killed afterwards fails the test. tests/fault/test_campaign.py does the same on a mock
clock, on every path of an order's life, with one death for each order.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from market.lifecycle import State
from tests.support.forks import Forks
from tests.support.kills import check_money, kill_at_every_write
from tests.support.nodeworld import raise_world


@pytest.mark.timeout(600)
async def test_prover_killed_at_every_write_ends_its_orders_and_pays_once(tmp_path: Path, forks: Forks) -> None:
    """Each order ends as paid or with a coded reason, the last one as paid, and no wei is lost or paid twice."""
    with trio.fail_after(550):
        world = await raise_world(forks, tmp_path / "nodes")
        try:
            before_wei = await world.money()
            campaign = await kill_at_every_write(world, world.provers[0], tmp_path, bid_window_ms=4_000, submit=False)
            ends = [f"{order.state.value} {order.reason}".strip() for order in campaign.orders]
            print(f"{len(campaign.listed)} kill points, {campaign.starts} starts; orders: {', '.join(ends)}")

            assert campaign.listed <= set(campaign.killed)
            assert len(campaign.killed) == len(set(campaign.killed))
            assert campaign.orders[-1].state is State.PAID
            assert all(order.reason or order.state is State.PAID for order in campaign.orders)
            await check_money(world, campaign, before_wei)
        finally:
            await world.close()
