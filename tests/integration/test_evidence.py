"""Requesters that cheat in public: what provers see, tell each other, and do about it; on a mock clock."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from market.auction import Outcome, ReceivedBid, choose
from market.lifecycle import Order, State
from market.standing import PASSED_OVER
from node import market_state as kept
from node.market_state import unpack_request
from node.requester import Requester
from node.standings import FRESH_MS
from node.store.database import Database
from node.store.faults import FaultStore
from protocol.agreement import Settlement, agreement_of, awarded_agreement, by_key, pack_settlement
from protocol.codec import decode_body
from protocol.faults import FaultKind
from protocol.messages import Award, AwardedBid, BidCommit
from protocol.sealing import SealKeyPair
from protocol.signing import agreement_digest
from tests.support.market_ledger import MARKET, START_MS, TICKET_WEI, TestClock, let_pass, planned_table
from tests.support.market_sim import Link, Party, World, memory_folder
from tests.support.wire_samples import framed

LONG_S = 20_000  # of mock time: beyond every deadline
SEQUENCE = 1 << 40  # of frames that the test makes in a node's name


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """In memory where the system can."""
    with memory_folder(tmp_path) as made:
        yield made


@asynccontextmanager
async def running(world: World) -> AsyncIterator[Order]:
    """All parties up, and the order asked for."""
    async with trio.open_nursery() as nursery:
        for party in reversed(world.parties):
            await nursery.start(party.run_lives if party is world.winner else party.run)
        yield await request(world, 0)
        nursery.cancel_scope.cancel()


async def request(world: World, ticket: int) -> Order:
    """The requester asks, with a ticket that it has."""
    world.ledger.tickets[(world.requester.key.address, ticket)] = TICKET_WEI
    node = world.requester.node
    assert isinstance(node, Requester)
    return await node.request(planned_table(), ticket=ticket)


def view_of(party: Party, order: Order) -> tuple[State, str] | None:
    """How a party sees an order."""
    with party.disk() as store:
        found = [each for each in store.recent(9) if each.order_id == order.order_id and each.role is party.role]
    return (found[0].state, found[0].reason) if found else None


def faults_of(party: Party) -> list[tuple[bytes, int]]:
    """(account, kind) of what a party has evidence of."""
    database = Database(f"sqlite:///{party.folder / (party.name + '.db')}", now_ms=START_MS, is_reader=True)
    try:
        return [(fault.account, fault.kind) for fault in FaultStore(database).since(0)]
    finally:
        database.close()


async def first_award(world: World) -> Award:
    """The award that was gossiped."""
    with trio.fail_after(LONG_S):
        while not (found := [frame for channel, frame in world.network.frames if channel == "award"]):
            await let_pass(50)
    return decode_body(Award, found[0][80:-65])


def award_of(world: World, order: Order, award: Award, openings: tuple[AwardedBid, ...]) -> bytes:
    """An award of the requester's own making, well signed, in a frame of this moment."""
    request_frame = next(frame for channel, frame in world.network.frames if channel == "req")
    known = world.provers[0].known(order.order_id)
    assert known is not None and request_frame[52:72] == world.requester.key.address
    other = replace(award, openings=openings)
    agreement = awarded_agreement(known.requester, known.request, other)
    digest = agreement_digest(MARKET.chain_id, MARKET.contract, agreement)
    other = replace(other, agreement_hash=digest, requester_signature=world.requester.key.sign_digest(digest))
    now_ms = TestClock().now_ms()
    return framed(other, world.requester.key, SEQUENCE, created_ms=now_ms, expires_ms=now_ms + 60_000)


async def test_a_double_award_seen_by_one_is_known_to_all_and_ends_all_business(
    folder: Path, autojump_clock: object
) -> None:
    """Only one prover hears the second award; its FAULT frame convinces the others without its word."""
    world = World(folder)
    async with running(world) as order:
        award = await first_award(world)
        second = award_of(world, order, award, award.openings[1:])
        world.network.links[b"prover3"].hear("award", second)
        with trio.fail_after(LONG_S):
            while not all(faults_of(prover) for prover in world.provers):
                await let_pass(500)
        await let_pass(FRESH_MS)
        again = await request(world, 1)
        with trio.fail_after(LONG_S):
            while any(view_of(prover, again) is None for prover in world.provers):
                await let_pass(500)
        await let_pass(1_000)
        seen = [view_of(prover, again) for prover in world.provers]

    accused = (world.requester.key.address, int(FaultKind.DOUBLE_AWARD))
    assert [[accused]] * 3 == [faults_of(prover) for prover in world.provers]
    assert [(State.SKIPPED, "STANDING")] * 3 == seen
    assert 1 == sum(channel == "fault" for channel, _ in world.network.frames)


def opened(party: Party, order: Order) -> Outcome:
    """The auction as the requester would have ended it."""
    with party.disk() as store:
        document = store.document(order.order_id, party.role, kept.REQUEST)
        secret = store.secret(order.order_id, party.role, kept.SEAL)
        bids = [ReceivedBid(prover=b.prover, bid=decode_body(BidCommit, b.body)) for b in store.bids(order.order_id)]
    assert document is not None and secret is not None
    return choose(unpack_request(document)[1], bids, SealKeyPair(secret), TICKET_WEI)


async def test_a_better_bid_that_is_passed_over_is_revealed_and_remembered(
    folder: Path, autojump_clock: object
) -> None:
    """The requester awards the runner-up as if the cheapest had not bid; who saw the bid knows better."""
    world = World(folder)
    world.requester.kill_at = "before requester winner-chosen"
    async with running(world) as order:
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
        liar = Link(world.network, b"liar", lambda channel, frame: None)
        await liar.publish("award", award_of(world, order, unsigned, outcome.ranked[1:]))
        with trio.fail_after(LONG_S):
            while not all(faults_of(prover) for prover in world.provers):
                await let_pass(500)

    passed = (world.requester.key.address, PASSED_OVER)
    assert [[passed]] * 3 == [faults_of(prover) for prover in world.provers]
    assert (State.LOST, "") == view_of(world.winner, order)


@pytest.mark.parametrize("kill_at", ["", "promise-broken", "equivocation-signed", "done build-accusation"])
async def test_a_ticket_that_paid_another_promise_costs_its_bond(
    folder: Path, autojump_clock: object, kill_at: str
) -> None:
    """The winner's claim shows its proof, L1 shows what the ticket paid instead; both signatures are the evidence.

    However often the prover ends in between.
    """
    world = World(folder)
    world.winner.kill_at = f"after prover {kill_at}" if kill_at else ""
    other = world.provers[0].key
    async with running(world) as order:
        with trio.fail_after(LONG_S):
            await world.winner.reaches(State.AT_WORK)
        known = world.winner.known(order.order_id)
        award = await first_award(world)
        assert known is not None
        elsewhere = replace(
            agreement_of(known.requester, known.request, 1, award.openings[0]),
            request_id=bytes(31) + b"\x07",
            prover=other.address,
            payee=b"accomplice".ljust(20, b"_"),
        )
        digest = agreement_digest(MARKET.chain_id, MARKET.contract, elsewhere)
        packed = pack_settlement(
            Settlement(
                agreement=elsewhere,
                salt=bytes(32),
                requester_signature=by_key(world.requester.key.sign_digest(digest)),
                prover_signature=by_key(other.sign_digest(digest)),
            )
        )
        place = (world.requester.key.address, 0)
        del world.ledger.tickets[place]
        world.ledger.spent[place] = (bytes(32), packed)
        with trio.fail_after(LONG_S):
            await world.winner.ended.wait()
            while not all(faults_of(prover) for prover in world.provers):
                await let_pass(500)

    assert "" == world.winner.kill_at
    assert (State.VINDICATED, "TICKET_TWICE") == view_of(world.winner, order)
    assert {place} == world.ledger.taken
    assert 10**14 == world.ledger.credit_wei[b"payee of prover2____"]
    accused = (world.requester.key.address, int(FaultKind.TICKET_TWICE))
    assert [[accused]] * 3 == [faults_of(prover) for prover in world.provers]
