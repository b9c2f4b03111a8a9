"""Public ready tables are checked in full before they are passed on: real frames, pulls and checks between nodes in one
process, on a mock clock and an L1 of dictionaries."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from node.frames import FrameWriter, gossip_judge
from node.ports import Peer, Refused
from node.ready import ReadyTables, fetch_table
from node.readyrelay import MAX_FAILURES, MAX_OF_ANNOUNCER, ReadyRelay
from node.store.database import Database
from node.store.sequences import Sequences
from protocol.codec import decode_body, encode_body
from protocol.errors import Ignore, Reject
from protocol.gossip_memory import GossipMemory
from protocol.hashing import keccak256
from protocol.messages import PullStatus, ReadyTable, TablePull, TableReply
from protocol.reqresp import TABLE_EXCHANGE
from protocol.signing import AccountKey
from protocol.table import Core
from protocol.verdicts import WireCode
from tests.support.market_ledger import MARKET, START_MS, TestClock
from tests.support.market_sim import Link, Network, inline
from tests.support.readyworld import START_ROOT, DictL1, keeper_on, signed, table

ANNOUNCER = AccountKey(b"\x31" * 32)


class EveryTicket:
    """A chain on which everybody has a ticket."""

    def free_ticket_wei(self, owner: bytes, ticket: int) -> int | None:
        """One ether."""
        return 10**18


class Node:
    """What a user and a relay have in common."""

    def __init__(self, name: str, network: Network, key: AccountKey) -> None:
        self.name = name
        self.memory = GossipMemory()
        self._judge = gossip_judge(market=MARKET, clock=TestClock(), memory=self.memory, view=EveryTicket())
        self.link = Link(network, name.encode(), self.judge)
        database = Database("sqlite://", now_ms=START_MS)
        self.frames = FrameWriter(
            market=MARKET,
            key=key,
            sequences=Sequences(database, key.address),
            clock=TestClock(),
            in_thread=inline,
        )

    def judge(self, channel: str, frame: bytes) -> None:
        """The validator."""
        self._judge(channel, frame)


class Relay(Node):
    """Checks and passes on."""

    def __init__(self, name: str, network: Network, l1: DictL1, hears_from: str = "user") -> None:
        self.hears_from = hears_from
        self.blamed: list[str] = []
        self.keeper = keeper_on(l1)
        super().__init__(name, network, AccountKey(keccak256(name.encode())))
        self.relay = ReadyRelay(
            gossip=self.link,
            direct=self.link,
            frames=self.frames,
            keeper=self.keeper,
            memory=self.memory,
            clock=TestClock(),
            blame=self.blamed.append,
        )

    def judge(self, channel: str, frame: bytes) -> None:
        """As `node.network.market_topics` does it."""
        try:
            super().judge(channel, frame)
        except Ignore as refusal:
            if refusal.reason == WireCode.UNCHECKED_TABLE:
                self.relay.hear(frame, self.hears_from)
            raise


@dataclass
class Town:
    """A user, a relay, and what was gossiped."""

    l1: DictL1 = field(default_factory=DictL1)
    network: Network = field(default_factory=Network)

    def __post_init__(self) -> None:
        self.user = Node("user", self.network, ANNOUNCER)
        self.relay = Relay("relay", self.network, self.l1)
        self.tables = ReadyTables(
            gossip=self.user.link,
            direct=self.user.link,
            frames=self.user.frames,
            clock=TestClock(),
            sidecars=[],
            vouch=lambda body: self.user.memory.remember_table(body, is_good=True),
        )

    @property
    def published(self) -> list[bytes]:
        """Bodies of all that was published by anybody."""
        return [frame[80:-65] for _, frame in self.network.frames]

    async def announce(self, core: Core | None = None, raw: bytes | None = None) -> ReadyTable:
        """The user announces a transaction as it would be announced for a table."""
        core = table() if core is None else core
        raw = signed(core) if raw is None else raw
        content = secrets.token_bytes(32) + len(raw).to_bytes(4, "big") + raw
        await self.tables.publish(content, core, ticket=0)
        return decode_body(ReadyTable, self.published[-1])

    async def say(self, said: ReadyTable, **changed: object) -> bytes:
        """The user says something else of it; the frame."""
        other = replace(said, **changed)  # type: ignore[arg-type]
        self.user.memory.remember_table(encode_body(other), is_good=True)
        frame = await self.user.frames.frame(other)
        await self.user.link.publish("ready", frame)
        return frame

    def verdict(self, said: ReadyTable) -> str:
        """What the relay's validator thinks of an announcement: accept, reject or ignore."""
        try:
            self.relay.memory.check_table(encode_body(said))
        except Ignore:
            return "ignore"
        except Reject:
            return "reject"
        return "accept"


@asynccontextmanager
async def town(l1: DictL1 | None = None) -> AsyncIterator[Town]:
    """Everybody up."""
    made = Town() if l1 is None else Town(l1)
    made.tables.serve()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(made.user.link.run)
        nursery.start_soon(made.relay.link.run)
        await nursery.start(made.relay.relay.serve)
        yield made
        nursery.cancel_scope.cancel()


async def test_a_good_table_is_pooled_and_then_passed_on(autojump_clock: MockClock) -> None:
    """The relay publishes the user's own frame; another node gets the content from the relay, the user being gone."""
    async with town() as made, trio.open_nursery() as nursery:
        said = await made.announce()
        await wait_all_tasks_blocked()

        assert [encode_body(said)] * 2 == made.published
        assert made.network.frames[0] == made.network.frames[1]
        assert "accept" == made.verdict(said)
        assert [said.table_id] == [tx.table_id for tx in made.relay.keeper.pool.txs]
        made.user.link.leave()
        late = Relay("late", made.network, made.l1, hears_from="relay")
        nursery.start_soon(late.link.run)
        await nursery.start(late.relay.serve)
        late.link.catch_up()
        await wait_all_tasks_blocked()
        assert [said.table_id] == [tx.table_id for tx in late.keeper.pool.txs]
        nursery.cancel_scope.cancel()
    assert [] == made.relay.blamed


@pytest.mark.parametrize(
    "changed",
    [
        {"rollup_ids": (2,)},
        {"pre_roots": (bytes(31) + b"\x01",)},
        {"post_roots": (bytes(31) + b"\x01",)},
        {"valid_until": START_MS // 1000 + 601},
        {"not_before": 1},
    ],
)
async def test_what_is_not_as_announced_is_rejected_from_then_on(
    changed: dict[str, object], autojump_clock: MockClock
) -> None:
    """Each claim; whoever brought it is to blame, since it cannot have looked. The honest announcement is another."""
    async with town() as made:
        said = await made.announce()
        await wait_all_tasks_blocked()
        before = len(made.published)
        await made.say(said, **changed)
        await wait_all_tasks_blocked()

        assert "reject" == made.verdict(replace(said, **changed))  # type: ignore[arg-type]
        assert "accept" == made.verdict(said)
        assert ["user"] == made.relay.blamed
        assert before + 1 == len(made.published)


@pytest.mark.parametrize(
    "raw", [b"\x02" + bytes(100), signed(chainId=5), signed(to=b"\x01" * 20), signed(data=b"\x01\x02\x03\x04")]
)
async def test_content_that_is_no_ready_transaction_is_rejected(raw: bytes, autojump_clock: MockClock) -> None:
    """No L1 is needed to see it, and none is asked."""
    async with town() as made:
        said = await made.announce(raw=raw)
        await wait_all_tasks_blocked()

        assert "reject" == made.verdict(said)
        assert ["user"] == made.relay.blamed
        assert 0 == made.l1.looks


async def test_what_l1_does_not_take_yet_is_ignored_and_passed_on_later(autojump_clock: MockClock) -> None:
    """Another node may see another head: nobody is blamed, and nothing is passed on before it holds here."""
    async with town(DictL1(roots={1: START_ROOT - 1})) as made:
        said = await made.announce()
        await wait_all_tasks_blocked()
        assert "ignore" == made.verdict(said)
        assert 1 == len(made.published)
        made.l1.roots[1] = START_ROOT
        await trio.sleep(3)

        assert "accept" == made.verdict(said)
        assert [encode_body(said)] * 2 == made.published
        assert [] == made.relay.blamed


async def test_a_wrong_proof_is_not_passed_on_and_blames_nobody(autojump_clock: MockClock) -> None:
    """Which proofs count is for L1 to say, and it may have changed its mind a moment ago."""
    async with town() as made:
        core = table()
        broken = signed(core, data=_other_proof(made, signed(core), signed(table(post_root=7))))
        said = await made.announce(core, broken)
        await wait_all_tasks_blocked()

        assert "ignore" == made.verdict(said)
        assert [] == made.relay.blamed
        assert () == made.relay.keeper.pool.txs


def _other_proof(made: Town, one: bytes, other: bytes) -> bytes:
    """Calldata of one transaction with the proof of another."""
    mine, theirs = made.relay.keeper.read(one), made.relay.keeper.read(other)
    return mine.call.data.replace(mine.proofs, theirs.proofs)


async def test_who_announces_and_does_not_give_is_not_listened_to_for_long(autojump_clock: MockClock) -> None:
    """Not believed, not rejected: it may be away. After some failures nothing more of it is asked for."""
    async with town() as made:
        said = await made.announce()
        await wait_all_tasks_blocked()
        asked: list[bytes] = []

        async def nothing(data: bytes) -> bytes:
            asked.append(data)
            reply = TableReply(
                table_id=decode_body(TablePull, data[80:-65]).table_id,
                status=int(PullStatus.UNKNOWN),
                content_bytes=0,
                content_hash=bytes(32),
            )
            return await made.user.frames.frame(reply)

        made.user.link.serve(TABLE_EXCHANGE, nothing)
        for number in range(2 * MAX_FAILURES):
            await made.say(said, table_id=keccak256(b"%d" % number))
            await wait_all_tasks_blocked()

        assert MAX_FAILURES == len(asked)
        assert "ignore" == made.verdict(replace(said, table_id=keccak256(b"0")))


async def test_one_announcer_takes_only_its_share(autojump_clock: MockClock) -> None:
    """While its first announcements are pulled, more of it are dropped; the same one twice is one."""
    async with town() as made:
        said = await made.announce()
        await wait_all_tasks_blocked()
        made.user.link.deaf_to.add(TABLE_EXCHANGE.protocol_id)
        frames = [await made.say(said, table_id=keccak256(b"%d" % number)) for number in range(3 * MAX_OF_ANNOUNCER)]
        await wait_all_tasks_blocked()

        made.relay.relay.hear(frames[0], "user")
        assert MAX_OF_ANNOUNCER == len(made.relay.relay._under_way)


async def test_a_pull_gets_the_same_again_and_nothing_else(autojump_clock: MockClock) -> None:
    """By whoever asks; what is not pooled is not there."""
    async with town() as made:
        said = await made.announce()
        await wait_all_tasks_blocked()
        relay = Peer(peer_id=b"relay", addresses=())
        pulled = [await fetch_table(said, relay, direct=made.user.link, frames=made.user.frames) for _ in range(2)]

        assert pulled[0] == pulled[1]
        assert keccak256(pulled[0]) == said.table_id
        unknown = replace(said, table_id=keccak256(b"unknown"))
        with pytest.raises(Refused):
            await fetch_table(unknown, relay, direct=made.user.link, frames=made.user.frames)
