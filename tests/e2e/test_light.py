"""A user's node that began after the rollup it uses: it takes it over from a relay, whole or in parts, and plans."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import pytest
import trio

from node.demo.stage import READER
from node.inbox import Inbox
from tests.support.nodeworld import SETTLE, World

DEADLINE_S = 120


@pytest.mark.parametrize(
    ("sync", "told"),
    [
        ("snapshot", "those that gave its state: that this node uses rollup {rollup}"),
        ("buckets", "and 1 prefixes of 0 bits, 1 of them meant"),
    ],
)
async def test_a_user_without_history_plans_with_states_from_a_relay(
    world: World, sync: Literal["snapshot", "buckets"], told: str
) -> None:
    """And says beforehand who learned what of it; nothing is begun."""
    with trio.fail_after(DEADLINE_S):
        rollup = await world.new_option()
        world.stage.rpc.transport.request("evm_mine")
        before = world.user.config
        world.user.config = replace(before, requester=replace(before.requester, sync=sync))
        await world.restart(world.user)
        try:
            inbox = Inbox(world.user.folder)
            wanted = {"rollup_id": rollup, "destination": READER.hex(), "value_wei": "0", "data": SETTLE.hex()}
            command = inbox.ask("plan", wanted)
            while (planned := inbox.answer_of(command)) is None:
                await trio.sleep(0)
        finally:
            world.user.config = before
            await world.restart(world.user)

    assert "error" not in planned
    assert [(each["trigger"], each["next"]) for each in planned["entries"]] == [("CALL", "CALL"), ("RESULT", "RESULT")]
    (said,) = planned["seen_by"]["peers"]
    assert told.format(rollup=rollup) in said
    assert "with proofs" in planned["seen_by"]["rpc"][0]
