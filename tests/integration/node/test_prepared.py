"""A table that was made elsewhere: planned as it is if it would load and run now, refused with a reason if not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import trio

from node.chain.launch import L1Process
from node.chain.transport import HttpTransport
from node.errors import PlanError
from node.intents import TableIntent, decode_intent, encode_intent
from node.planner import Intent
from node.planning import TablePlanner
from node.ports import PlannedTable
from protocol.table import Core, decode_core, encode_core
from protocol.types import ZERO_ADDRESS, Address, Hash32
from tests.support.scene import COUNTER, INCREMENT, READER, SETTLE, Scene, build_scene, follow, land


class Desk:
    """A chain with two made tables, and who plans there."""

    def __init__(self, scene: Scene, planner: TablePlanner) -> None:
        self.scene = scene
        self.sender = Address(scene.user.address)
        self._planner = planner

    async def made(self, destination: Address, data: bytes) -> PlannedTable:
        """By planning a call."""
        intent = Intent(
            sender=self.sender, rollup_id=self.scene.rollup_id, destination=destination, value_wei=0, data=data
        )
        return await self._planner.plan(encode_intent(intent))

    async def plan(self, core: bytes) -> PlannedTable:
        """As a user gives it in a file."""
        return await self._planner.plan(encode_intent(TableIntent(sender=self.sender, core=core)))


@pytest.fixture
async def desk(l1: L1Process, transport: HttpTransport, nursery: trio.Nursery) -> Desk:
    scene = await build_scene(transport, l1.accounts, 2000)
    follower = await follow(scene, nursery)
    planner = TablePlanner(contracts=scene.contracts, follower=follower, fee_recipient=ZERO_ADDRESS, confirmations=0)
    return Desk(scene, planner)


async def test_a_table_is_planned_as_it_is_and_lands(desk: Desk, nursery: trio.Nursery) -> None:
    """Also one with a call to L1; only the salt differs from what the planner made of the wish."""
    table = await desk.made(READER, SETTLE)

    again = await desk.plan(table.core)

    assert (again.core, again.triggers, again.expects) == (table.core, table.triggers, table.expects)
    assert (again.tier, again.work_log2, again.systems_hash) == (table.tier, table.work_log2, table.systems_hash)
    assert again.salt != table.salt
    assert await land(desk.scene, again.core, again.expects, again.triggers, again.value_wei)
    nursery.cancel_scope.cancel()


WRONG: dict[str, tuple[Callable[[Core], Core], str]] = {
    "another root": (
        lambda core: replace(core, lockset=(replace(core.lockset[0], pre_root=7),)),
        "another root of rollup",
    ),
    "another sender": (lambda core: replace(core, executor=Address(b"\x55" * 20)), "only 0x5555"),
    "another result": (
        lambda core: replace(core, entries=(*core.entries[:-1], replace(core.entries[-1], new_root=7))),
        "does not do what the table says",
    ),
    "other triggers": (lambda core: replace(core, triggers_hash=Hash32(b"\x07" * 32)), "fixes triggers"),
    "over": (lambda core: replace(core, valid_until=core.not_before), "the table fails on L1"),
    "an answer left out": (lambda core: replace(core, entries=core.entries[:1]), "the table fails on L1"),
}


@pytest.mark.parametrize("name", sorted(WRONG))
async def test_a_table_that_would_not_run_now_is_refused(desk: Desk, name: str, nursery: trio.Nursery) -> None:
    table = await desk.made(READER, SETTLE)
    change, why = WRONG[name]
    core = change(decode_core(table.core))
    if name == "over":
        desk.scene.rpc.transport.request("evm_increaseTime", 30)
        desk.scene.rpc.transport.request("evm_mine")

    with pytest.raises(PlanError, match=why):
        await desk.plan(encode_core(core))
    nursery.cancel_scope.cancel()


async def test_a_table_that_went_stale_is_refused(desk: Desk, nursery: trio.Nursery) -> None:
    """It cannot be planned again as something else: the user must bring another."""
    stale = await desk.made(READER, SETTLE)
    first = await desk.made(COUNTER, INCREMENT)
    assert await land(desk.scene, first.core, first.expects, first.triggers)

    with pytest.raises(PlanError, match="another root of rollup"):
        await desk.plan(stale.core)
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("raw", [b"", bytes(100), b"\x01" * 65536])
async def test_bytes_that_are_no_table_are_refused(desk: Desk, raw: bytes, nursery: trio.Nursery) -> None:
    with pytest.raises(PlanError, match="not a table"):
        await desk.plan(raw)
    nursery.cancel_scope.cancel()


def test_the_wish_is_kept_as_it_is() -> None:
    wish = TableIntent(sender=Address(b"\x01" * 20), core=bytes(65536))
    assert decode_intent(encode_intent(wish)) == wish
    with pytest.raises(PlanError, match="too long"):
        decode_intent(encode_intent(replace(wish, core=bytes(70000))))
