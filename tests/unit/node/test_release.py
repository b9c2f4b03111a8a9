"""Ready tables that are sealed to the proposer of the slot: to whom, when, and when no more (mock clock)."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from node.config import RequesterSection
from node.duties import BeaconDuties, FixedDuties, SlotTimes
from node.errors import ConfigError, UsageError
from node.frames import FrameWriter
from node.ports import Peer
from node.proposing import recipients_of
from node.ready import Proposer, ReadyTables
from node.store.database import Database
from node.store.sequences import Sequences
from protocol.codec import decode_body
from protocol.messages import ReadyTable
from protocol.sealing import SealKeyPair
from protocol.signing import AccountKey
from tests.support.market_ledger import MARKET, START_MS, TestClock
from tests.support.market_sim import inline

SLOT_MS = 12_000
RELEASE_MS = 8_000
TIMES = SlotTimes(genesis_ms=START_MS, slot_ms=SLOT_MS)
KEYS = [SealKeyPair(bytes([number]) * 32).public for number in (1, 2)]
TABLE = bytes(32) + (5).to_bytes(4, "big") + b"first"
NEWER = bytes([1]) * 32 + (5).to_bytes(4, "big") + b"newer"


class Town:
    """Gossip that is written down with its time."""

    own = Peer(peer_id=b"us", addresses=())

    def __init__(self) -> None:
        self.said: list[tuple[int, bytes, bytes]] = []
        """(ms since the begin, key, table id)"""
        key = AccountKey(b"\x31" * 32)
        self.frames = FrameWriter(
            market=MARKET,
            key=key,
            sequences=Sequences(Database("sqlite://", now_ms=START_MS), key.address),
            clock=TestClock(),
            in_thread=inline,
        )

    async def publish(self, channel: str, frame: bytes) -> None:
        """Writes it down."""
        await trio.lowlevel.checkpoint()
        message = decode_body(ReadyTable, frame[80:-65])
        self.said.append((TestClock().now_ms() - START_MS, message.seal_key, message.table_id))

    def tables(self) -> ReadyTables:
        """Two proposers: one of the slots 1, 4, 7, ..., one of 2, 4, 6, ..."""
        every = [
            Proposer(key=KEYS[0], duties=FixedDuties(slot_times=TIMES, remainder=1, period=3)),
            Proposer(key=KEYS[1], duties=FixedDuties(slot_times=TIMES, remainder=0, period=2)),
        ]
        return ReadyTables(
            gossip=self,  # type: ignore[arg-type]
            direct=self,  # type: ignore[arg-type]
            frames=self.frames,
            clock=TestClock(),
            sidecars=[],
            proposers=every,
            release_ms=RELEASE_MS,
        )


async def test_each_proposer_gets_it_before_its_own_slots_and_not_before(autojump_clock: MockClock) -> None:
    """In the order of slots, until the table is over; a table that was replaced is sealed as it is then."""
    town = Town()

    async def current() -> bytes:
        await trio.lowlevel.checkpoint()
        return TABLE if trio.current_time() < 40 else NEWER

    until = START_MS // 1000 + 5 * SLOT_MS // 1000
    await town.tables().announce_by_slot(current, ticket=0, valid_until=until)

    slots = [(1, KEYS[0]), (2, KEYS[1]), (4, KEYS[0]), (4, KEYS[1])]
    assert [(slot * SLOT_MS - RELEASE_MS, key) for slot, key in slots] == [(at, key) for at, key, _ in town.said]
    first, second, third, fourth = (table_id for _, _, table_id in town.said)
    assert 4 == len({first, second, third, fourth})  # a box for each, and others for the newer table


async def test_nothing_is_sealed_once_it_has_landed(autojump_clock: MockClock) -> None:
    """The proposers whose slots would come never see it."""
    town = Town()

    async def current() -> bytes | None:
        await trio.lowlevel.checkpoint()
        return TABLE if trio.current_time() < 10 else None

    await town.tables().announce_by_slot(current, ticket=0, valid_until=START_MS // 1000 + 600)

    assert [KEYS[0]] == [key for _, key, _ in town.said]


async def test_without_a_slot_in_time_nothing_is_sealed(autojump_clock: MockClock) -> None:
    """It ends at once, and does not wait for slots after the table's time."""
    town = Town()

    async def never() -> bytes:
        raise AssertionError("nobody asks")

    await town.tables().announce_by_slot(never, ticket=0, valid_until=START_MS // 1000 + 11)

    assert [] == town.said


def test_the_configuration_says_who_gets_it_when() -> None:
    """At once, by a schedule, by a validator's duties."""
    key = KEYS[0].hex()
    section = RequesterSection(sidecars=(key, f"{key}@1/3", f"{key}@v77"), beacon_url="http://127.0.0.1:5052")
    at_once, by_slot = recipients_of(section, SLOT_MS)

    assert (KEYS[0],) == at_once
    assert FixedDuties(slot_times=SlotTimes(genesis_ms=0, slot_ms=SLOT_MS), remainder=1, period=3) == by_slot[0].duties
    assert isinstance(by_slot[1].duties, BeaconDuties)


@pytest.mark.parametrize("text", ["", "zz", "00", "KEY@", "KEY@v", "KEY@v7", "KEY@3/3", "KEY@x", "@1/2"])
def test_an_entry_that_is_none_is_refused(text: str) -> None:
    """Also a validator without a beacon node."""
    with pytest.raises((ConfigError, UsageError)):
        recipients_of(RequesterSection(sidecars=(text.replace("KEY", KEYS[0].hex()),)), SLOT_MS)
