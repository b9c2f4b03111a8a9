"""A verified proof whose transaction is kept back: on disk for whoever lands it, holding no nonce, gone when it is
over (mock clock, real brokers and stores)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from market.lifecycle import State
from node.keptfile import KeptFiles, read_kept
from node.requester import Requester
from tests.support.market_ledger import planned_table
from tests.support.market_sim import World, memory_folder

LONG_S = 20_000  # of mock time


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A requester that sends nothing by itself."""
    with memory_folder(tmp_path) as folder:
        made = World(folder)
        made.requester.terms = replace(made.requester.terms, is_submitted=False)
        yield made


@asynccontextmanager
async def verified(world: World) -> AsyncIterator[bytes]:
    """All parties up, and an order whose proof is verified; its id."""
    with trio.fail_after(LONG_S):
        async with trio.open_nursery() as nursery:
            for party in world.parties:
                await nursery.start(party.run)
            node = world.requester.node
            assert isinstance(node, Requester)
            order = await node.request(planned_table(), ticket=0)
            await world.requester.reaches(State.VERIFIED)
            await wait_all_tasks_blocked()
            yield order.order_id
            nursery.cancel_scope.cancel()


def files(world: World) -> KeptFiles:
    """Of the requester."""
    return KeptFiles(world.folder / world.requester.name)


async def test_what_is_kept_back_is_on_disk_and_holds_no_nonce(world: World, autojump_clock: object) -> None:
    """The bytes that anybody can land; nothing is prepared, so nothing of the account waits for it."""
    async with verified(world) as order_id:
        kept = read_kept(files(world).path(order_id))

        assert planned_table().core == kept.core
        assert kept.core in kept.raw
        assert {} == world.requester.prepared
        assert isinstance(world.requester.node, Requester)
        world.requester.node.submit(order_id)
        await world.requester.ended.wait()

    order = world.requester.order()
    assert order is not None
    assert State.PAID is order.state
    assert [f"land {order_id.hex()}"] == list(world.requester.prepared)


async def test_kept_bytes_leave_the_disk_after_their_order(world: World, autojump_clock: object) -> None:
    """At the next start, if not before."""
    async with verified(world) as order_id:
        assert isinstance(world.requester.node, Requester)
        assert files(world).path(order_id).exists()
        world.requester.node.submit(order_id)
        await world.requester.ended.wait()
    async with trio.open_nursery() as nursery:
        await nursery.start(world.requester.run)
        nursery.cancel_scope.cancel()

    assert not files(world).path(order_id).exists()


async def test_a_withdrawn_order_signs_nothing(world: World, autojump_clock: object) -> None:
    """Cancelled while it is kept back: no nonce is taken, and its file does not outlive it."""
    async with verified(world) as order_id:
        assert isinstance(world.requester.node, Requester)
        assert await world.requester.node.cancel(order_id) is not None
        world.requester.node.submit(order_id)
        await world.requester.ended.wait()

    assert {} == world.requester.prepared
