"""A node that began after its rollups: takes them over, follows from there, and forgets what a reorganisation undid."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
import trio

from node.chain.launch import L1Process
from node.chain.rpc import Rpc
from node.chain.transport import HttpTransport
from node.errors import PlanError, StateUnavailable
from node.follower import Follower
from node.intents import encode_intent
from node.light import LightRollups
from node.planner import Intent
from node.planning import TablePlanner
from node.ports import PlannedTable
from node.replay import Followed
from protocol.types import ZERO_ADDRESS, Address
from protocol.vm.state import VmState
from tests.support.lyingrpc import TwistedTransport
from tests.support.scene import COUNTER, INCREMENT, Scene, build_scene, follow, land


class FullPeer:
    """Gives the states that a node has that replays everything; `before` runs while it is asked."""

    def __init__(self, full: Follower, scene: Scene) -> None:
        self._full = full
        self._scene = scene
        self.asked = 0
        self.before: Callable[[], Awaitable[None]] | None = None

    async def fetch(self, rollup_id: int, root: int) -> VmState:
        self.asked += 1
        followed = (await self._full.at_block((await self._scene.rpc.head()).number)).rollups[rollup_id]
        assert followed.state is not None
        if followed.state.root != root:
            raise StateUnavailable(rollup_id=rollup_id, why="UNKNOWN_ROOT")
        if self.before is not None:
            await self.before()
        return followed.state


class World:
    """A chain with a rollup, a node that replayed it, and one that begins at the head of this moment."""

    def __init__(self, scene: Scene, full: Follower, light: Follower) -> None:
        self.scene = scene
        self.full = full
        self.light = light
        self.peer = FullPeer(full, scene)
        self.rollups = LightRollups(light, scene.contracts, self.peer)
        self.planners = [
            TablePlanner(contracts=scene.contracts, follower=each, fee_recipient=ZERO_ADDRESS, confirmations=0)
            for each in (full, self.rollups)
        ]

    async def plan(self, is_light: bool = True) -> PlannedTable:
        intent = Intent(
            sender=Address(self.scene.user.address),
            rollup_id=self.scene.rollup_id,
            destination=COUNTER,
            value_wei=0,
            data=INCREMENT,
        )
        return await self.planners[is_light].plan(encode_intent(intent))

    async def land_one(self) -> None:
        table = await self.plan(is_light=False)
        assert await land(self.scene, table.core, table.expects, table.triggers)

    async def known(self) -> tuple[Followed | None, Followed | None]:
        """By the light node and by the full one, at the head."""
        number = (await self.scene.rpc.head()).number
        rollup_id = self.scene.rollup_id
        return await self.rollups.rollup_at(rollup_id, number), await self.full.rollup_at(rollup_id, number)

    async def same(self) -> VmState:
        light, full = await self.known()
        assert light is not None
        assert full is not None
        assert light.state is not None
        assert full.state is not None
        assert light.state.root == full.state.root
        return light.state


@pytest.fixture
async def world(l1: L1Process, transport: HttpTransport, nursery: trio.Nursery) -> World:
    scene = await build_scene(transport, l1.accounts, 1)
    full = await follow(scene, nursery)
    transport.request("evm_mine")
    head = await scene.rpc.head()
    light = Follower(
        scene.rpc,
        scene.deployment.rollups,
        start_block=head.number,
        confirmations=0,
        poll_s=0.02,
        first_block=scene.deployment.start_block,
    )
    await nursery.start(light.serve)
    return World(scene, full, light)


async def test_it_plans_what_a_full_node_plans_and_then_follows_by_itself(world: World, nursery: trio.Nursery) -> None:
    assert world.light.latest.rollups == {}
    table = await world.plan()
    assert await land(world.scene, table.core, table.expects, table.triggers)
    await world.same()
    await world.land_one()
    await world.same()
    assert world.peer.asked == 1
    nursery.cancel_scope.cancel()


async def test_what_moves_while_it_is_taken_over_is_replayed_from_logs(world: World, nursery: trio.Nursery) -> None:
    """Peers gave the older state; nobody is asked again."""

    async def moves() -> None:
        await world.land_one()
        await world.land_one()
        number = (await world.scene.rpc.head()).number
        while world.light.number < number:
            await world.light.change()

    world.peer.before = moves
    state = await world.plan()
    assert world.peer.asked == 1
    assert (await world.same()).root != 0
    assert await land(world.scene, state.core, state.expects, state.triggers)
    nursery.cancel_scope.cancel()


async def test_logs_that_lack_something_are_not_believed(
    world: World, transport: HttpTransport, nursery: trio.Nursery
) -> None:
    """The root that L1 has tells: it is taken over anew, and the next time the logs are all there."""

    def lacking(method: str, _params: tuple[Any, ...], ask: Callable[[], Any]) -> Any:
        return [] if method == "eth_getLogs" and world.peer.asked == 1 else ask()

    async def moves() -> None:
        if world.peer.asked == 1:
            await world.land_one()
            number = (await world.scene.rpc.head()).number
            while world.light.number < number:
                await world.light.change()

    twisted = TwistedTransport(transport._url, lacking)
    contracts = replace(world.scene.contracts, rpc=Rpc(twisted, poll_s=0.02))
    world.rollups = LightRollups(world.light, contracts, world.peer)
    world.peer.before = moves

    assert (await world.known())[0] is None  # taken over since: look again at a newer block
    await world.same()

    assert world.peer.asked == 2
    twisted.close()
    nursery.cancel_scope.cancel()


async def test_a_reorganisation_below_the_take_over_takes_it_over_anew(
    world: World, transport: HttpTransport, nursery: trio.Nursery
) -> None:
    before = transport.request("evm_snapshot")
    await world.land_one()
    taken = await world.same()
    assert transport.request("evm_revert", before) is True
    transport.request("evm_mine")
    transport.request("evm_mine")
    while world.scene.rollup_id in world.light.latest.rollups:
        await world.light.change()

    again = await world.same()

    assert again.root != taken.root
    assert world.peer.asked == 2
    nursery.cancel_scope.cancel()


async def test_a_rollup_that_does_not_exist_is_no_plan_and_nobody_is_asked(world: World, nursery: trio.Nursery) -> None:
    number = (await world.scene.rpc.head()).number
    assert await world.rollups.rollup_at(99, number) is None
    assert world.peer.asked == 0
    world.scene = replace(world.scene, rollup_id=99)
    with pytest.raises(PlanError, match="there is no rollup 99"):
        await world.plan()
    nursery.cancel_scope.cancel()


async def test_without_peers_it_refuses(world: World, nursery: trio.Nursery) -> None:
    async def nobody() -> None:
        raise StateUnavailable(rollup_id=world.scene.rollup_id, why="no peer is connected")

    world.peer.before = nobody
    with pytest.raises(StateUnavailable) as refused:
        await world.plan()
    assert world.peer.asked == 4  # a peer may see a block a little later
    assert refused.value.code == "NOD-030"
    nursery.cancel_scope.cancel()
