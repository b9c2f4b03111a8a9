"""Whose turn it is: an entry that replays for long holds up nobody who does not use that rollup."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import pytest
import trio

from node.chain.records import Block, Log
from node.chain.rpc import Rpc
from node.follower import WORKERS, Follower
from node.replay import Followed, Turn
from protocol.types import Address
from tests.unit.node.test_replay import _created, _good

ROLLUPS = Address(bytes(19) + b"\x07")
BLOCK = Block(
    number=1,
    hash=b"1" * 32,
    parent_hash=bytes(32),
    timestamp=0,
    base_fee_wei=0,
    gas_limit=0,
    gas_used=0,
    coinbase=bytes(20),
    prev_randao=bytes(32),
)


class _OneBlock:
    """An L1 of one block, in which some rollups begin."""

    def __init__(self, rollups: int) -> None:
        self._logs = [_at_block(_created(*_good(), rollup_id)) for rollup_id in range(1, 1 + rollups)]

    async def head(self) -> Block:
        return BLOCK

    async def blocks(self, _first: int, _last: int) -> list[Block]:
        return [BLOCK]

    async def block(self, _number: int) -> Block:
        return BLOCK

    async def logs(self, _first: int, _last: int, _addresses: object) -> list[Log]:
        return self._logs


def _at_block(log: Log) -> Log:
    return Log(**{name: getattr(log, name) for name in log.__slots__} | {"block_hash": BLOCK.hash})


@asynccontextmanager
async def _following(rollups: int) -> AsyncIterator[Follower]:
    follower = Follower(cast(Rpc, _OneBlock(rollups)), ROLLUPS, start_block=1, confirmations=0, poll_s=0.01)
    async with trio.open_nursery() as nursery:
        with trio.fail_after(30):
            await nursery.start(follower.serve)
            yield follower
        nursery.cancel_scope.cancel()


class _Slow:
    """Some rollups whose turns do not end before the test says so."""

    def __init__(self, patch: pytest.MonkeyPatch, slow: range) -> None:
        self.end = threading.Event()
        self.begun: list[int] = []
        run = Turn.run

        def waits(turn: Turn) -> Followed:
            if turn.rollup_id in slow:
                self.begun.append(turn.rollup_id)
                assert self.end.wait(30)
            return run(turn)

        patch.setattr(Turn, "run", waits)


async def test_a_rollup_is_there_while_others_replay_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """More slow ones than there are workers: the one that somebody waits for has a worker of its own."""
    slow = _Slow(monkeypatch, range(1, 3 + WORKERS))
    async with _following(4 + WORKERS) as follower:
        while len(slow.begun) < WORKERS - 1:
            await trio.sleep(0)

        followed = await follower.rollup_at(4 + WORKERS, 1)

        assert followed is not None
        assert followed.state is not None
        assert len(slow.begun) == WORKERS - 1
        slow.end.set()


async def test_all_are_there_when_the_slow_ones_end(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = _Slow(monkeypatch, range(1, 2))
    async with _following(2) as follower:
        while not slow.begun:
            await trio.sleep(0)
        assert follower.latest.rollups[1].state is None
        slow.end.set()

        snapshot = await follower.at_block(1)

        assert {True} == {followed.state is not None for followed in snapshot.rollups.values()}


async def test_an_unknown_rollup_is_none_and_not_waited_for() -> None:
    async with _following(1) as follower:
        assert await follower.rollup_at(7, 1) is None
