"""Two requests of one size class: nothing that gossip or relays hold tells which is which. On a mock clock.

Each content is played whole, several times, from request to payment and announced table. A feature is anything of a
frame that does not change from one play of the same content to the next; commitments, keys and signatures do, by salts
and randomness, and are left out only after that was seen. What is left must be the same for both contents.
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio

from market.lifecycle import State
from node.ports import PlannedTable
from node.requester import Requester
from protocol.codec import decode_message, read_frame
from protocol.fields import Record, schema_of
from protocol.hashing import keccak256
from protocol.messages import MessageId
from protocol.payload import Payload, encode_payload, make_witness
from protocol.table import core_id, encode_core
from protocol.types import Hash32, RollupId
from protocol.vm.rollup import run_core
from tests.integration.test_evidence import LONG_S
from tests.support.machines import oracle_state, oracle_table
from tests.support.market_ledger import START_MS, TestClock, let_pass, planned_table
from tests.support.market_relays import Relay
from tests.support.market_sim import World, memory_folder

PLAYS = 2  # of each content
Feature = tuple[Any, ...]


def table_of(price: int, strike: int, play: int) -> PlannedTable:
    """The option on an oracle's price, salted anew for each play: other state, other answer, other result."""
    state = oracle_state(strike)
    core = oracle_table(state, price)
    witness = make_witness(state, run_core(state, core, 1).values())
    salt = Hash32(keccak256(f"salt {price} {play}".encode()))
    payload = Payload(salt=salt, core=core, witnesses=((RollupId(1), witness),))
    plain = planned_table()
    packed = encode_core(core)
    return replace(
        plain, core=packed, core_id=core_id(packed), salt=salt, payload=encode_payload(payload, plain.size_log2)
    )


CONTENTS = ((2_500, 2_000), (10**30, 10**9))
"""(price, strike)."""


def leaves(place: str, value: Any, start_ms: int) -> Iterator[tuple[str, Any]]:
    """(name, value) of every field, also of nested records and lists; times count from the request."""
    if isinstance(value, Record):
        for name, _ in schema_of(type(value)):
            yield from leaves(f"{place}.{name}", getattr(value, name), start_ms)
    elif isinstance(value, tuple):
        yield f"{place}.count", len(value)
        for item in value:
            yield from leaves(f"{place}[]", item, start_ms)
    elif isinstance(value, int) and START_MS <= value < 2 * START_MS:
        yield place, value - start_ms
    elif isinstance(value, int) and START_MS // 1000 <= value < START_MS // 500:
        yield place, value - start_ms // 1000
    else:
        yield place, value


def features(frames: list[tuple[str, bytes]]) -> dict[str, list[Feature]]:
    """What a capture says, by place; in an order that does not depend on who of several spoke first in one moment."""
    start_ms = next(read_frame(data).header.created_ms for channel, data in frames if channel == "req")
    found: dict[str, list[Feature]] = defaultdict(list)
    for channel, data in frames:
        frame = read_frame(data)
        header = frame.header
        kind, who = f"{channel} {MessageId(header.message_id).name}", header.signer.hex()
        found[f"{kind} frame"].append((who, len(data), header.expires_ms - header.created_ms))
        found[f"{kind} time"].append((who, header.created_ms - start_ms))
        found[f"{kind} sequence"].append((who, header.sequence))
        for name, value in leaves(kind, decode_message(frame), start_ms):
            found[name].append((who, value))
            if isinstance(value, bytes):
                found[f"{name} length"].append((who, len(value)))
    found["frames"] = [(len(frames), sum(len(data) for _, data in frames))]
    return {place: sorted(values) for place, values in found.items()}


async def capture(folder: Path, plan: PlannedTable) -> list[tuple[str, bytes]]:
    """Everything that was gossiped while one order was played to its end: what a relay keeps, and more."""
    world = World(folder)
    world.requester.sidecars = (world.sidecar.public,)
    relays = [Relay(world, f"relay{n}", n) for n in range(3)]
    async with trio.open_nursery() as nursery:
        for relay in relays:
            await nursery.start(relay.run)
        for party in reversed(world.parties):
            await nursery.start(party.run)
        node = world.requester.node
        assert isinstance(node, Requester)
        await let_pass(6_000 - TestClock().now_ms() % 1_000)  # all are up, and it is a whole second
        plan = replace(plan, valid_until=TestClock().now_ms() // 1000 + 600)
        order = await node.request(plan, ticket=0)
        end = None
        with trio.fail_after(LONG_S):
            while end is None or not end.is_over:
                await let_pass(1_000)
                end = world.requester.order()
        assert end is not None and (order.order_id, State.PAID) == (end.order_id, end.state)
        await let_pass(10_000)
        nursery.cancel_scope.cancel()
    return world.network.frames


@pytest.fixture
def folders(tmp_path: Path) -> Iterator[Iterator[Path]]:
    """A new one for each play."""
    with memory_folder(tmp_path) as made:

        def next_one() -> Iterator[Path]:
            for number in range(100):
                path = made / str(number)
                path.mkdir()
                yield path

        yield next_one()


async def test_no_feature_of_a_capture_tells_two_contents_apart(
    folders: Iterator[Path], autojump_clock: object
) -> None:
    """Lengths, counts, times, and every field that is not a salted commitment, a key or a signature; nor is a byte of
    either content in there, or does either compress better beside what was captured."""
    plans = [[table_of(price, strike, play) for play in range(PLAYS)] for price, strike in CONTENTS]
    assert {plan.size_log2 for plays in plans for plan in plays} == {planned_table().size_log2}
    assert len({plan.core_id for plays in plans for plan in plays}) == len(CONTENTS)
    captures = [[await capture(next(folders), plan) for plan in plays] for plays in plans]
    seen = [[features(frames) for frames in plays] for plays in captures]

    places = [set(each) - RACES for plays in seen for each in plays]
    assert all(place == places[0] for place in places)
    steady = {place for place in places[0] if all(each[place] == seen[0][0][place] for each in seen[0])}
    apart = {place for place in steady if any(each[place] != seen[0][0][place] for each in seen[1])}
    assert set() == apart
    # What differs between two plays of one content is random: it must be of a kind that may be.
    assert [] == sorted(place for place in places[0] - steady if not place.endswith(RANDOM))
    kinds = {f"{channel} {MessageId(frame[4]).name}" for channel, frame in captures[0][0]}
    assert {"req REQUEST_COMMIT", "bid BID_COMMIT", "bid BIDS_SEEN", "award AWARD", "ready READY_TABLE"} <= kinds
    for frames, plan in ((captures[n][m], plans[n][m]) for n in range(len(CONTENTS)) for m in range(PLAYS)):
        gossip = b"".join(frame for _, frame in frames)
        private = [plan.core_id, plan.salt, plan.payload[40:104], plan.core[-64:], plan.core[40:104]]
        assert not [field.hex() for field in private if field in gossip]
        gains = [_shared_bytes(gossip, plays[0].core) for plays in plans]
        assert max(gains) - min(gains) <= 64, gains


RACES = {"award AWARD sequence"}
"""The gossiped and the direct AWARD take their numbers at one moment; which takes the lower is the scheduler's whim."""

RANDOM = ("id", "commit", "seal_key", "hash", "sealed_opening", "root", "signature", "salt", "bids[]")
"""Ends of the names of fields that hold salted commitments, keys, boxes and signatures."""


def _shared_bytes(gossip: bytes, content: bytes) -> int:
    """How much shorter both compress together."""
    return sum(len(zlib.compress(part, 9)) for part in (gossip, content)) - len(zlib.compress(gossip + content, 9))
