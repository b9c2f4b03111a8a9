"""Lanes on a mock clock: which one an order takes, and the capacity lane, whose table is named with the payload."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from market.lanes import AMENDS, Churn, Lane
from market.lifecycle import Order, Role, State
from node import market_state as kept
from node.ports import Refused
from node.requester import Requester
from protocol.agreement import StatementAmend, unpack_amend
from protocol.codec import decode_body
from protocol.hashing import keccak256
from protocol.messages import Amend, KeyRelease, RequestCommit
from protocol.reqresp import KEY_EXCHANGE
from protocol.signing import AccountKey, amend_digest
from tests.support.market_ledger import BOND_WEI, MARKET, START_MS, TICKET_WEI, TestClock, let_pass, planned_table
from tests.support.market_sim import WINDOWS, Link, Party, World, memory_folder, timed
from tests.support.wire_samples import framed

LONG_S = 20_000  # of mock time: beyond every deadline


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """In memory where the system can."""
    with memory_folder(tmp_path) as made:
        yield made


@asynccontextmanager
async def asked(world: World, lane: Lane | None = Lane.CAPACITY) -> AsyncIterator[Order]:
    """All parties up, restarted if killed, and an order of the lane."""
    world.requester.terms = replace(world.requester.terms, lane=lane)
    async with trio.open_nursery() as nursery:
        for party in reversed(world.parties):
            await nursery.start(party.run_lives)
        node = world.requester.node
        assert isinstance(node, Requester)
        yield await node.request(planned_table(), ticket=0, intent=b"wish")
        nursery.cancel_scope.cancel()


async def until_over(*parties: Party) -> None:
    """Returns when the order of each party has ended; bounded in mock time."""
    with trio.fail_after(LONG_S):
        for party in parties:
            await party.ended.wait()


def end(party: Party) -> tuple[State, str]:
    """State and reason of a party's order."""
    order = party.order()
    assert order is not None
    return order.state, order.reason


def document(party: Party, order: Order, name: str) -> bytes | None:
    """What a party has on disk."""
    with party.disk() as store:
        return store.document(order.order_id, party.role, name)


def request_of(world: World) -> RequestCommit:
    """What was gossiped."""
    (frame,) = [frame for channel, frame in world.network.frames if channel == "req"]
    return decode_body(RequestCommit, frame[80:-65])


def paid_core(world: World) -> bytes:
    """Which table the requester's ticket paid for."""
    core, _ = world.ledger.spent[(world.requester.key.address, 0)]
    return core


@pytest.mark.parametrize(
    ("churn", "lane"),
    [
        (Churn(moves=0, seen_ms=3_600_000), Lane.RELAXED),
        (Churn(moves=10, seen_ms=3_600_000), Lane.STANDARD),
        (Churn(moves=300, seen_ms=3_600_000), Lane.CAPACITY),
    ],
)
async def test_the_lane_follows_the_churn_and_gives_the_windows(
    folder: Path, autojump_clock: object, churn: Churn, lane: Lane
) -> None:
    """Unless one is configured, which overrides."""
    world = World(folder)
    world.requester.churn = churn
    relaxed = replace(WINDOWS, bid_ms=15_000, prove_ms=300_000)
    world.requester.terms = replace(
        world.requester.terms, windows={**dict.fromkeys(Lane, WINDOWS), Lane.RELAXED: relaxed}
    )
    async with asked(world, None) as order:
        await let_pass(1)
    chosen = document(world.requester, order, kept.LANE)
    request = request_of(world)
    bid_ms = request.bid_close_ms - START_MS

    assert chosen == lane.value.encode()
    assert (15_000 if lane is Lane.RELAXED else 2_500) == bid_ms
    assert (lane is Lane.CAPACITY) == (request.statement_commit == bytes(32))


async def test_a_configured_lane_overrides_the_churn(folder: Path, autojump_clock: object) -> None:
    world = World(folder)
    world.requester.churn = Churn(moves=300, seen_ms=3_600_000)
    async with asked(world, Lane.EXPRESS) as order:
        await let_pass(1)

    assert b"express" == document(world.requester, order, kept.LANE)
    assert bytes(32) != request_of(world).statement_commit


async def test_capacity_is_auctioned_without_a_table_and_paid_for_the_one_of_key_release(
    folder: Path, autojump_clock: object
) -> None:
    """The commitments are zeros until then; both sign the first table, and L1 pays for it."""
    world = World(folder)
    async with asked(world) as order:
        await until_over(world.requester, world.winner)
    request, plan = request_of(world), planned_table()
    amends = [document(party, order, kept.AMEND) for party in (world.requester, world.winner)]

    assert (bytes(32), bytes(32)) == (request.statement_commit, request.payload_commit)
    assert (plan.work_log2 + 1, plan.size_log2 + 1) == (request.work_log2, request.size_log2)
    assert amends[0] == amends[1] and amends[0] is not None
    assert 1 == unpack_amend(amends[0]).counter
    assert [State.PAID, State.EARNED] == [end(party)[0] for party in (world.requester, world.winner)]
    assert [b"wish"] == world.requester.planned
    assert planned_table(1).core_id == paid_core(world)
    assert 10**14 == world.ledger.credit_wei[b"payee of prover2____"]


async def test_a_table_that_outgrew_its_capacity_never_leaves_and_costs_nothing(
    folder: Path, autojump_clock: object
) -> None:
    """The requester withdraws: no payload, no payment, the ticket is free after claimBy."""
    world = World(folder)
    world.requester.replans = replace(planned_table(1), work_log2=planned_table().work_log2 + 2)
    async with asked(world) as order:
        await until_over(world.requester, world.winner)

    assert (State.REFUNDED, "OUTGROWN") == end(world.requester)
    assert State.RELEASED is end(world.winner)[0]
    assert document(world.requester, order, kept.BOX) is None
    assert TICKET_WEI == world.ledger.tickets[(world.requester.key.address, 0)]
    assert BOND_WEI == world.ledger.tickets[(world.winner.key.address, 0)]


async def test_a_table_that_just_fits_the_headroom_is_proven(folder: Path, autojump_clock: object) -> None:
    world = World(folder)
    world.requester.replans = replace(planned_table(1), work_log2=planned_table().work_log2 + 1)
    async with asked(world):
        await until_over(world.requester, world.winner)

    assert State.PAID is end(world.requester)[0]


async def test_a_rollup_that_moves_every_slot_is_amended_as_often_as_the_lane_allows(
    folder: Path, autojump_clock: object
) -> None:
    """The first amend names the table, each further one costs the prover what it had begun; then it is settled."""
    world = World(folder)
    world.winner.prover.prove_s = 20
    world.ledger.moved |= {planned_table(later_s).core for later_s in range(12)}
    async with asked(world) as order:
        await until_over(world.requester, world.winner)
    signed = document(world.winner, order, kept.AMEND)

    assert signed is not None and AMENDS[Lane.CAPACITY] == unpack_amend(signed).counter
    assert signed == document(world.requester, order, kept.AMEND)
    assert planned_table(AMENDS[Lane.CAPACITY]).core_id == paid_core(world)
    assert State.EARNED is end(world.winner)[0]


async def test_the_express_lane_plans_nothing_again(folder: Path, autojump_clock: object) -> None:
    """The requester pays for the agreed table."""
    world = World(folder)
    world.ledger.moved.add(planned_table().core)
    async with asked(world, Lane.EXPRESS) as order:
        await until_over(world.requester, world.winner)

    assert [] == world.requester.planned
    assert document(world.winner, order, kept.AMEND) is None
    assert planned_table().core_id == paid_core(world)


async def test_a_runner_up_for_capacity_is_told_the_table_that_the_winner_was_told(
    folder: Path, autojump_clock: object
) -> None:
    """All ranks answer for one table: a silent winner that proves after all has proven the same."""
    world = World(folder)
    world.requester.terms = timed(replace(world.requester.terms, standbys=1), claim_s=450)
    world.winner.deaf_to = frozenset({KEY_EXCHANGE.protocol_id})
    async with asked(world) as order:
        await until_over(world.requester, world.provers[2])
    amends = [document(party, order, kept.AMEND) for party in (world.requester, world.provers[2])]

    assert State.PAID is end(world.requester)[0] and State.EARNED is end(world.provers[2])[0]
    assert amends[0] == amends[1] and amends[0] is not None
    assert [b"wish"] == world.requester.planned
    assert planned_table(1).core_id == paid_core(world)


async def test_a_winner_that_amended_and_failed_leaves_the_table_of_its_runner_up_payable(
    folder: Path, autojump_clock: object
) -> None:
    """The standard lane: a runner-up proves the request's table, and the winner's amend is none of its settlement."""
    world = World(folder)
    world.requester.terms = timed(replace(world.requester.terms, standbys=1, lane=Lane.STANDARD), claim_s=450)
    world.winner.prover.prove_s = 20
    async with asked(world, Lane.STANDARD) as order:
        with trio.fail_after(LONG_S):
            await world.winner.reaches(State.AT_WORK)
        world.ledger.moved.add(planned_table().core)
        with trio.fail_after(LONG_S):
            while document(world.winner, order, kept.AMEND) is None:
                await let_pass(100)
        world.winner.prover.hangs = True
        await world.winner.reaches(State.AT_WORK)
        await until_over(world.requester)

    assert (State.PAID, "RANK_2") == end(world.requester)
    assert planned_table().core_id == paid_core(world)
    assert 2 * 10**14 == world.ledger.credit_wei[b"payee of prover3____"]


@pytest.mark.parametrize(
    "point",
    [
        "requester payload-sealed",
        "requester done seal-payload",
        "requester ack-received",
        "prover payload-received",
        "prover payload-good",
        "prover proof-started",
    ],
)
@pytest.mark.parametrize("side", [pytest.param("before", marks=pytest.mark.campaign), "after"])
async def test_a_death_while_the_table_is_named_names_one_table(
    folder: Path, autojump_clock: object, point: str, side: str
) -> None:
    """What was signed is on disk before it leaves: nobody signs counter 1 for two tables, and pays twice."""
    world = World(folder)
    victim = world.requester if point.startswith("requester") else world.winner
    victim.kill_at = f"{side} {point}"
    async with asked(world) as order:
        await until_over(world.requester, world.winner)
    amends = [document(party, order, kept.AMEND) for party in (world.requester, world.winner)]

    assert "" == victim.kill_at
    assert [State.PAID, State.EARNED] == [end(party)[0] for party in (world.requester, world.winner)]
    assert amends[0] == amends[1] and amends[0] is not None
    assert 1 == len(world.ledger.payments)


async def release_of(world: World, order: Order) -> tuple[KeyRelease, bytes]:
    """The requester's KEY_RELEASE and its box, as on disk; the winner never answered it."""
    box = document(world.requester, order, kept.BOX)
    offer = document(world.requester, order, kept.AMEND_OFFER)
    assert box is not None and offer is not None
    named = decode_body(Amend, offer)
    return (
        KeyRelease(
            request_id=order.order_id,
            agreement_hash=named.agreement_hash,
            cipher_bytes=named.cipher_bytes,
            cipher_hash=named.cipher_hash,
            statement_commit=named.statement_commit,
            amend_signature=named.requester_signature,
        ),
        box,
    )


def signed_by(key: AccountKey, release: KeyRelease, statement: bytes) -> KeyRelease:
    """The same for another table."""
    said = StatementAmend(agreement_hash=release.agreement_hash, counter=1, statement_commit=statement)
    signature = key.sign_digest(amend_digest(MARKET.chain_id, MARKET.contract, said))
    return replace(release, statement_commit=statement, amend_signature=signature)


async def test_a_prover_takes_no_payload_without_the_signed_table(folder: Path, autojump_clock: object) -> None:
    """Without it an Ack would bind it to nothing that anybody pays for."""
    world = World(folder)
    world.winner.prover.hangs = True
    async with asked(world) as order:
        with trio.fail_after(LONG_S):
            await world.winner.reaches(State.AT_WORK)
        release, box = await release_of(world, order)
        link, key = Link(world.network, b"somebody", lambda channel, frame: None), world.requester.key
        peer, now_ms = world.network.links[b"prover2"].own, TestClock().now_ms()

        async def put(message: KeyRelease) -> None:
            frame = framed(message, key, created_ms=now_ms, expires_ms=now_ms + 60_000)
            await link.ask(peer, KEY_EXCHANGE, frame + box)

        await put(release)  # again: the same answer
        for wrong in (
            replace(release, amend_signature=b""),
            replace(release, statement_commit=bytes(32)),
            replace(release, statement_commit=bytes(32), amend_signature=b""),
            replace(release, statement_commit=b"\x01" * 32),
            signed_by(world.provers[0].key, release, release.statement_commit),
        ):
            with pytest.raises(Refused):
                await put(wrong)

    stored = document(world.winner, order, kept.AMEND_OFFER)
    assert stored == release.statement_commit + release.amend_signature


async def test_a_request_that_names_its_table_takes_no_other_with_the_payload(
    folder: Path, autojump_clock: object
) -> None:
    world = World(folder)
    world.winner.prover.hangs = True
    async with asked(world, Lane.STANDARD) as order:
        with trio.fail_after(LONG_S):
            await world.winner.reaches(State.AT_WORK)
        box = document(world.requester, order, kept.BOX)
        assert box is not None
        with world.requester.disk() as store:
            request = store.document(order.order_id, Role.REQUESTER, kept.REQUEST)
            award = store.document(order.order_id, Role.REQUESTER, kept.AWARD)
        assert request is not None and award is not None
        deal = kept.unpack_deal(request, award)
        plain = KeyRelease(
            request_id=order.order_id,
            agreement_hash=deal.agreement_hash,
            cipher_bytes=len(box),
            cipher_hash=keccak256(box),
            statement_commit=bytes(32),
            amend_signature=b"",
        )
        link, key = Link(world.network, b"somebody", lambda channel, frame: None), world.requester.key
        peer, now_ms = world.network.links[b"prover2"].own, TestClock().now_ms()
        other = signed_by(key, plain, b"\x01" * 32)
        frame = framed(other, key, created_ms=now_ms, expires_ms=now_ms + 60_000)
        with pytest.raises(Refused):
            await link.ask(peer, KEY_EXCHANGE, frame + box)
