"""Faults that orders come to are told by whom they hurt, and believed by everybody else; on a mock clock."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from market.lifecycle import Order, Role, State
from node import market_state as kept
from node.market_state import settlement_of, unpack_deal
from node.requester import Requester
from protocol.agreement import by_key, pack_dated
from protocol.codec import decode_body
from protocol.errors import Ignore
from protocol.faults import Accusation, FaultKind, accusation_of
from protocol.messages import Award, Fault, ProverAck
from protocol.reqresp import KEY_EXCHANGE
from tests.integration.test_evidence import (
    LONG_S,
    award_of,
    faults_of,
    opened,
    request,
    view_of,
)
from tests.support.market_ledger import MARKET, TestClock, let_pass, planned_table
from tests.support.market_relays import Relay
from tests.support.market_sim import Link, Party, World, memory_folder
from tests.support.wire_samples import framed


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """In memory where the system can."""
    with memory_folder(tmp_path) as made:
        yield made


@asynccontextmanager
async def running(world: World, *relays: Relay) -> AsyncIterator[None]:
    """All parties and relays up."""
    async with trio.open_nursery() as nursery:
        for relay in relays:
            await nursery.start(relay.run)
        for party in reversed(world.parties):
            await nursery.start(party.run)
        yield
        nursery.cancel_scope.cancel()


async def told(world: World, *accused: tuple[bytes, FaultKind], by: tuple[Party, ...]) -> None:
    """Returns when each of these nodes has evidence of each fault; bounded in mock time."""
    with trio.fail_after(LONG_S):
        while any(fault not in faults_of(party) for party in by for fault in accused):
            await let_pass(1_000)


def gossiped(world: World) -> list[int]:
    """Kinds of the FAULT frames so far."""
    return [decode_body(Fault, frame[80:-65]).kind for channel, frame in world.network.frames if channel == "fault"]


async def cheated_auction(world: World) -> tuple[Order, bytes]:
    """An auction whose award is the requester's own making: the cheapest bid, which three saw, is left out."""
    order = await request(world, 0)
    with trio.fail_after(LONG_S):
        while not world.requester.is_dead:
            await let_pass(50)
    outcome = opened(world.requester, order)
    unsigned = Award(
        request_id=order.order_id,
        rank=1,
        bids_root=outcome.bids_root,
        bid_count=outcome.bid_count,
        openings=outcome.ranked,
        agreement_hash=bytes(32),
        requester_signature=bytes(65),
    )
    return order, award_of(world, order, unsigned, outcome.ranked[1:])


@pytest.mark.parametrize("relays", [3, 2])
async def test_a_bid_that_three_relays_saw_cannot_be_ignored_unnoticed(
    folder: Path, autojump_clock: object, relays: int
) -> None:
    """With three receipts a node that saw nothing believes it; with two, only those who saw the bid do."""
    world = World(folder)
    world.requester.kill_at = "before requester winner-chosen"
    watchers = [Relay(world, f"relay{n}", n) for n in range(relays)]
    async with running(world, *watchers):
        order, frame = await cheated_auction(world)
        liar = Link(world.network, b"liar", lambda channel, data: None)
        await liar.publish("award", frame)
        late = Relay(world, "late", 9)
        async with trio.open_nursery() as nursery:
            await nursery.start(late.run)
            with trio.fail_after(LONG_S):
                while not all(faults_of(prover) for prover in world.provers):
                    await let_pass(500)
            await let_pass(3_000)
            heard_late = late.faults()
            nursery.cancel_scope.cancel()

    proven = (world.requester.key.address, int(FaultKind.BID_IGNORED))
    assert ([proven] if relays == 3 else []) == heard_late
    assert ([int(FaultKind.BID_IGNORED)] if relays == 3 else []) == gossiped(world)[:1]
    assert all((proven in faults_of(prover)) == (relays == 3) for prover in world.provers)
    assert (State.LOST, "") == view_of(world.winner, order)


async def test_an_honest_auction_gives_receipts_and_no_fault(folder: Path, autojump_clock: object) -> None:
    """One receipt of each relay, told while the award may still come, and nothing to accuse anybody of."""
    world = World(folder)
    watchers = [Relay(world, f"relay{n}", n) for n in range(3)]
    async with running(world, *watchers):
        await request(world, 0)
        with trio.fail_after(LONG_S):
            for party in world.parties:
                await party.ended.wait()

    receipts = [frame for channel, frame in world.network.frames if channel == "bid" and frame[4] == 21]
    assert {relay.key.address for relay in watchers} == {frame[52:72] for frame in receipts}
    assert 3 == len(receipts)
    assert [] == gossiped(world)


async def test_an_ack_without_a_proof_is_believed_once_l1_has_taken_the_bond(
    folder: Path, autojump_clock: object
) -> None:
    """The requester tells it when it is slashed; the others, whom it did not hurt, ask L1 and know."""
    world = World(folder)
    world.winner.prover.crashes = True
    losers = (world.provers[0], world.provers[2])
    async with running(world):
        await request(world, 0)
        await told(world, (world.winner.key.address, FaultKind.NO_PROOF), by=(world.requester, *losers))

    assert [int(FaultKind.NO_PROOF)] == gossiped(world)


async def test_what_l1_does_not_confirm_is_not_believed(folder: Path, autojump_clock: object) -> None:
    """A requester that publishes the Ack of a prover which delivered in time accuses nobody; its frame is passed on."""
    world = World(folder)
    relay = Relay(world, "relay", 1)
    async with running(world, relay):
        order = await request(world, 0)
        await world.requester.ended.wait()
        assert (State.PAID, "") == view_of(world.requester, order)
        fault = _ack_of(world, order)
        await let_pass(order.claim_by * 1000 - TestClock().now_ms() + 1_000)
        liar = Link(world.network, b"liar", lambda channel, data: None)
        now_ms = TestClock().now_ms()
        frame = framed(fault, world.requester.key, 1 << 40, created_ms=now_ms, expires_ms=now_ms + 60_000)
        await liar.publish("fault", frame)
        await let_pass(60_000)
        believed = [*relay.faults(), *(fault for prover in world.provers for fault in faults_of(prover))]
        known = relay.memory.check_fault
        with pytest.raises(Ignore):
            known(FaultKind.NO_PROOF, world.winner.key.address, accusation(fault).subject)

    assert [] == believed


def accusation(fault: Fault) -> Accusation:
    """What a fault says."""
    return accusation_of(fault, chain_id=MARKET.chain_id, market=MARKET.contract)


def _ack_of(world: World, order: Order) -> Fault:
    """NO_PROOF as the requester could sign it."""
    with world.requester.disk() as store:
        names = (kept.REQUEST, kept.AWARD, kept.ACCEPT, kept.ACK)
        found = [store.document(order.order_id, Role.REQUESTER, name) for name in names]
    asked, award, accepted, body = (each or b"" for each in found)
    ack = decode_body(ProverAck, body)
    settlement = settlement_of(unpack_deal(asked, award), bytes(32), accepted, None)
    return Fault(kind=int(FaultKind.NO_PROOF), pieces=(settlement, pack_dated(ack.ack_at, by_key(ack.ack_signature))))


async def test_a_countersigned_decline_is_told_to_everybody(folder: Path, autojump_clock: object) -> None:
    """The envelope said two proofs, the table needs one; the requester admitted it and paid."""
    world = World(folder)
    async with running(world):
        node = world.requester.node
        assert isinstance(node, Requester)
        await node.request(replace(planned_table(), proof_count=2), ticket=0)
        await told(world, (world.requester.key.address, FaultKind.BROKEN_ENVELOPE), by=world.provers)

    assert [int(FaultKind.BROKEN_ENVELOPE)] == gossiped(world)


async def test_a_payload_of_another_size_than_was_said_is_told_to_everybody(
    folder: Path, autojump_clock: object
) -> None:
    """Request and release are enough, whether or not the requester admits anything."""
    world = World(folder)
    plan = planned_table()
    async with running(world):
        node = world.requester.node
        assert isinstance(node, Requester)
        order = await node.request(replace(plan, size_log2=plan.size_log2 - 1), ticket=0)
        await told(world, (world.requester.key.address, FaultKind.WRONG_SIZE), by=world.provers)

    end = view_of(world.winner, order)
    assert end is not None and end[0] in (State.DECLINED, State.COMPENSATED, State.DISPUTED), end
    assert int(FaultKind.WRONG_SIZE) in gossiped(world)
    assert KEY_EXCHANGE.request_attachment > 1 << plan.size_log2
