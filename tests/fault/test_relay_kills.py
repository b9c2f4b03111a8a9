"""The relay's process is killed (SIGKILL) before and after every write of its own, then started again.

Real processes, a real chain, real proofs. User and prover reach each other by the relay alone: what it loses by dying
in the middle of a frame must cost no more than an auction. What else a relay writes, when it has evidence of a fault,
is a store write like a prover's, and tests/fault/test_campaign.py ends parties there.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from market.lifecycle import State
from node.evidence import read_frames
from tests.support.forks import Forks
from tests.support.kills import check_money, kill_at_every_write
from tests.support.nodeworld import raise_world


@pytest.mark.timeout(600)
async def test_relay_killed_at_every_write_stops_no_order_for_good(tmp_path: Path, forks: Forks) -> None:
    """The last order is paid, the others have a coded reason, no wei is lost, and its log is whole."""
    with trio.fail_after(550):
        world = await raise_world(forks, tmp_path / "nodes")
        try:
            before_wei = await world.money()
            campaign = await kill_at_every_write(world, world.relay, tmp_path, bid_window_ms=8_000, submit=True)
            ends = [f"{order.state.value} {order.reason}".strip() for order in campaign.orders]
            print(f"{len(campaign.listed)} kill points, {campaign.starts} starts; orders: {', '.join(ends)}")
            kept = {frame for _topic, frame in read_frames(world.relay.folder)}

            assert {"before gossip log", "after gossip log"} <= campaign.listed <= set(campaign.killed)
            assert campaign.orders[-1].state is State.PAID
            assert all(order.reason or order.state is State.PAID for order in campaign.orders)
            assert any(campaign.orders[-1].order_id in frame for frame in kept)
            await check_money(world, campaign, before_wei)
        finally:
            await world.close()
