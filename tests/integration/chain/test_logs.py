"""The follower's events, applied to an empty model, always end in the logs of the canonical chain."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
import trio

from node.chain.errors import ChainMoved, ReorgTooDeep
from node.chain.logs import TRAIL_BLOCKS, BlockLogs, Cursor, Event, LogFollower, Rollback
from node.chain.rpc import Rpc
from node.chain.transport import HttpTransport
from tests.integration.chain.probe import Probe


class Model:
    """What a consumer keeps: values by block, undone on rollback."""

    def __init__(self) -> None:
        self.values: list[tuple[int, int]] = []
        self.rollbacks: list[Rollback] = []

    def apply(self, event: Event) -> None:
        """Take one event, insisting on order."""
        if isinstance(event, Rollback):
            self.rollbacks.append(event)
            height = -1 if event.to is None else event.to.number
            self.values = [each for each in self.values if each[0] <= height]
            return
        for log in event.logs:
            assert not self.values or log.block_number >= self.values[-1][0]
            assert log.block_hash == event.block.hash
            self.values.append((log.block_number, int.from_bytes(log.data, "big")))


async def catch_up(follower: LogFollower, model: Model) -> None:
    """Apply events until the head is reached."""
    while events := await follower.advance():
        for event in events:
            model.apply(event)


async def canonical(rpc: Rpc, probe: Probe, start: int) -> list[tuple[int, int]]:
    """The truth, asked directly."""
    logs = await rpc.logs(start, (await rpc.head()).number, [probe.address])
    return [(log.block_number, int.from_bytes(log.data, "big")) for log in logs]


async def _no_wait(seconds: float) -> None:
    await trio.lowlevel.checkpoint()


@pytest.fixture
def rpc(transport: HttpTransport) -> Rpc:
    """Client that does not wait."""
    return Rpc(transport, sleep=_no_wait)


def height(probe: Probe) -> int:
    """Of the head."""
    return int(probe.transport.request("eth_blockNumber"), 16)


async def test_blocks_with_logs_come_in_order_and_the_cursor_resumes(rpc: Rpc, probe: Probe) -> None:
    """Stop after the first event, store the cursor as JSON, go on elsewhere."""
    start = height(probe) + 1
    for value in (5, 6):
        probe.send("store(uint256,uint256)", 1, value)
    probe.transport.request("evm_mine")
    follower = LogFollower(rpc, [probe.address], Cursor(start=start))
    first, *rest = await follower.advance()
    assert isinstance(first, BlockLogs)
    assert [log.data[-1] for log in first.logs] == [5]
    assert len(rest) == 2
    assert isinstance(rest[-1], BlockLogs)
    assert rest[-1].logs == ()
    assert await follower.advance() == ()
    resumed = LogFollower(rpc, [probe.address], Cursor.from_json(json.loads(json.dumps(first.cursor.to_json()))))
    assert list(await resumed.advance()) == rest
    assert resumed.cursor == follower.cursor


async def test_other_contracts_and_unconfirmed_blocks_are_left_out(rpc: Rpc, probe: Probe) -> None:
    """Confirmations keep the follower behind the head."""
    start = height(probe) + 1
    other = Probe.deploy(probe.transport, probe.account)
    other.send("store(uint256,uint256)", 1, 1)
    probe.send("store(uint256,uint256)", 1, 2)
    model = Model()
    await catch_up(LogFollower(rpc, [probe.address], Cursor(start=start), confirmations=1), model)
    assert model.values == []
    probe.transport.request("evm_mine")
    await catch_up(LogFollower(rpc, [probe.address], Cursor(start=start), confirmations=1), model)
    assert model.values == [(height(probe) - 1, 2)]


@pytest.mark.parametrize("depth", [1, 2, 5])
async def test_a_reorganisation_rolls_back_to_the_common_ancestor(rpc: Rpc, probe: Probe, depth: int) -> None:
    """The new branch may be shorter or longer; the old logs are gone, the new ones come."""
    start = height(probe) + 1
    probe.send("store(uint256,uint256)", 1, 1)
    ancestor = height(probe)
    before = probe.transport.request("evm_snapshot")
    model, follower = Model(), LogFollower(rpc, [probe.address], Cursor(start=start))
    for value in range(depth):
        probe.send("store(uint256,uint256)", 1, 100 + value)
    await catch_up(follower, model)
    probe.transport.request("evm_revert", before)
    await catch_up(follower, model)
    assert [(each.dropped_blocks, each.to and each.to.number) for each in model.rollbacks] == [(depth, ancestor)]
    for value in range(3):
        probe.send("store(uint256,uint256)", 1, 200 + value)
    await catch_up(follower, model)
    assert model.values == [(ancestor, 1), *((ancestor + 1 + value, 200 + value) for value in range(3))]
    assert len(model.rollbacks) == 1


async def test_a_reorganisation_of_everything_starts_again(rpc: Rpc, probe: Probe) -> None:
    """The first followed block itself was replaced."""
    start = height(probe) + 1
    before = probe.transport.request("evm_snapshot")
    model, follower = Model(), LogFollower(rpc, [probe.address], Cursor(start=start))
    probe.send("store(uint256,uint256)", 1, 1)
    await catch_up(follower, model)
    probe.transport.request("evm_revert", before)
    probe.send("store(uint256,uint256)", 1, 2)
    await catch_up(follower, model)
    assert model.values == [(start, 2)]
    assert [each.to for each in model.rollbacks] == [None]


async def test_a_reorganisation_deeper_than_the_trail_is_an_error(rpc: Rpc, probe: Probe) -> None:
    """The trail is bounded; what lies below it cannot be undone piecemeal."""
    start = height(probe) + 1
    before = probe.transport.request("evm_snapshot")
    follower = LogFollower(rpc, [probe.address], Cursor(start=start))
    for _ in range(TRAIL_BLOCKS + 1):
        probe.transport.request("evm_mine")
    await catch_up(follower, Model())
    assert len(follower.cursor.trail) == TRAIL_BLOCKS
    probe.transport.request("evm_revert", before)
    probe.transport.request("evm_increaseTime", 1_000)
    for _ in range(TRAIL_BLOCKS + 1):
        probe.transport.request("evm_mine")
    with pytest.raises(ReorgTooDeep) as error:
        await follower.advance()
    assert error.value.oldest_known == start + 1


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_random_histories_end_in_the_canonical_logs(rpc: Rpc, probe: Probe, seed: int) -> None:
    """Mining, snapshots, reverts and following in any order."""
    chance = random.Random(seed)
    start = height(probe) + 1
    model, follower = Model(), LogFollower(rpc, [probe.address], Cursor(start=start))
    snapshots: list[str] = []
    for step in range(40):
        match chance.choice(["mine", "store", "store", "snapshot", "revert", "follow", "follow"]):
            case "mine":
                probe.transport.request("evm_mine")
            case "store":
                probe.send("store(uint256,uint256)", 1, 1_000 * seed + step)
            case "snapshot":
                snapshots.append(probe.transport.request("evm_snapshot"))
            case "revert" if snapshots:
                chosen = chance.randrange(len(snapshots))
                probe.transport.request("evm_revert", snapshots[chosen])
                del snapshots[chosen:]
                # A block like the reverted one would be the same block: no reorganisation to see.
                probe.transport.request("evm_increaseTime", 1)
            case "follow":
                await catch_up(follower, model)
    await catch_up(follower, model)
    assert model.values == await canonical(rpc, probe, start)


class MovingTransport(HttpTransport):
    """Replaces the chain just before the node answers one chosen method."""

    before: str
    move: Any = None

    def request(self, method: str, *params: Any) -> Any:
        if method == self.before and self.move is not None:
            move, self.move = self.move, None
            move()
        return super().request(method, *params)


async def test_a_chain_that_moves_between_two_reads_is_noticed(probe: Probe) -> None:
    """Logs of another fork than the headers' are never delivered, and neither is their absence."""
    start = height(probe) + 1
    before = probe.transport.request("evm_snapshot")
    probe.send("store(uint256,uint256)", 1, 1)
    transport = MovingTransport(probe.transport._url)
    transport.before = "eth_getLogs"

    def replace_by_empty_block() -> None:
        probe.transport.request("evm_revert", before)
        probe.transport.request("evm_increaseTime", 10)
        probe.transport.request("evm_mine")

    transport.move = replace_by_empty_block
    follower = LogFollower(Rpc(transport), [probe.address], Cursor(start=start))
    with pytest.raises(ChainMoved):
        await follower.advance()
    assert follower.cursor == Cursor(start=start)
    (event,) = await follower.advance()
    assert isinstance(event, BlockLogs)
    assert event.logs == ()
    transport.close()


@pytest.mark.parametrize(
    "value",
    [
        None,
        {"start": 1},
        {"start": "1", "trail": []},
        {"start": 1, "trail": [[1, "00"]]},
        {"start": 1, "trail": [[1, "zz" * 32]]},
        {"start": 1, "trail": [[1, "00" * 32], [3, "00" * 32]]},
        {"start": 1, "trail": [["1", "00" * 32]]},
    ],
)
def test_a_stored_cursor_that_is_not_one_is_refused(value: Any) -> None:
    """Wrong shape, hash or order."""
    with pytest.raises(ValueError, match=r"cursor|hexadecimal"):
        Cursor.from_json(value)
