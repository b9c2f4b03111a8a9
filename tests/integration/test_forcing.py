"""A prover that takes a payload and is silent, and how one that is asked on L1 answers; on a mock clock."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from market.lanes import Lane
from market.lifecycle import Order, Role, State
from node import market_state as kept
from node.l1 import force_release
from node.market_state import settlement_of, unpack_deal
from node.requester import Requester
from protocol.constants import PEEK_DIVISOR
from protocol.reqresp import KEY_EXCHANGE
from tests.support.market_ledger import BOND_WEI, START_MS, TICKET_WEI, TestClock, let_pass, planned_table
from tests.support.market_sim import Party, World, memory_folder, timed

LONG_S = 20_000  # of mock time: beyond every deadline
PENALTY_WEI = BOND_WEI // PEEK_DIVISOR  # the toy's bond tickets hold just the bond


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """In memory where the system can."""
    with memory_folder(tmp_path) as made:
        yield made


def silent_world(folder: Path, *, force: str = "worth") -> World:
    """The winner countersigns, gets the payload, and is never heard of again; L1 gives it time for an answer."""
    world = World(folder)
    terms = replace(world.requester.terms, force=force)  # type: ignore[arg-type]
    world.requester.terms = terms
    world.winner.deaf_to = frozenset({KEY_EXCHANGE.protocol_id})
    return patient(world)


def patient(world: World) -> World:
    """Everybody looks at L1 seldom: what is waited for here takes hours."""
    for party in world.parties:
        party.poll_ms = 30_000
    return world


@asynccontextmanager
async def asked(world: World, *absent: Party) -> AsyncIterator[Order]:
    """All parties up but the absent, restarted if killed, and an order."""
    async with trio.open_nursery() as nursery:
        for party in reversed(world.parties):
            if party not in absent:
                await nursery.start(party.run_lives)
        node = world.requester.node
        assert isinstance(node, Requester)
        yield await node.request(planned_table(), ticket=0, intent=b"wish")
        nursery.cancel_scope.cancel()


async def until(world: World, state: State) -> None:
    """Returns once the winner, as an order of its own, is in a state; bounded in mock time."""
    with trio.fail_after(LONG_S):
        while chased(world)[0] is not state:
            await let_pass(20_000)  # each look opens the database


def chased(world: World) -> tuple[State | None, str]:
    """State and reason of the requester's order for the winner that it chases."""
    with world.requester.disk() as store:
        found = [order for order in store.recent(9) if order.role is Role.STANDBY]
    return (found[0].state, found[0].reason) if found else (None, "")


def end(party: Party) -> tuple[State, str]:
    """State and reason of a party's order."""
    order = party.order()
    assert order is not None
    return order.state, order.reason


async def until_over(*parties: Party) -> None:
    """Returns when the order of each party has ended; bounded in mock time."""
    with trio.fail_after(LONG_S):
        for party in parties:
            await party.ended.wait()


async def test_a_prover_that_peeks_and_is_gone_pays_the_penalty(folder: Path, autojump_clock: object) -> None:
    """Neither Ack nor decline, not even on L1."""
    world = silent_world(folder)
    world.ledger.ignored.add(world.winner.key.address)
    async with asked(world):
        await until(world, State.S_FINED)
        await until_over(world.requester)

    assert (State.S_FINED, "PEEKED") == chased(world)
    assert (State.REFUNDED, "NO_ACK") == end(world.requester)
    assert PENALTY_WEI == world.ledger.credit_wei[world.requester.key.address]
    assert BOND_WEI - PENALTY_WEI == world.ledger.credit_wei[world.winner.key.address]
    assert TICKET_WEI == world.ledger.tickets[(world.requester.key.address, 0)]


async def test_an_honest_prover_that_was_not_reached_gives_up_and_pays_nothing(
    folder: Path, autojump_clock: object
) -> None:
    """Its Ack would come too late; L1 is told so in time."""
    world = silent_world(folder)
    async with asked(world):
        await until(world, State.S_SPARE)
        await until_over(world.requester, world.winner)

    assert (State.S_SPARE, "GAVE_UP") == chased(world)
    assert 1 == len(world.ledger.cancelled)
    assert BOND_WEI == world.ledger.tickets[(world.winner.key.address, 0)]
    assert State.RELEASED is end(world.winner)[0]


@pytest.mark.parametrize(
    ("changes", "gas_wei", "reason"),
    [
        ({"force": "never"}, 0, ""),
        ({"force": "worth"}, PENALTY_WEI // 2, "NOT_WORTH"),
    ],
)
async def test_nothing_is_published_where_it_is_off_or_not_worth_it(
    folder: Path, autojump_clock: object, changes: dict[str, str], gas_wei: int, reason: str
) -> None:
    world = silent_world(folder, **changes)
    world.ledger.gas_wei = gas_wei
    async with asked(world):
        await until_over(world.requester, world.winner)

    assert {} == world.ledger.forced
    assert (State.S_SPARE if reason else None, reason) == chased(world)
    assert State.REFUNDED is end(world.requester)[0]


@pytest.mark.parametrize(("force", "gas_wei"), [("worth", PENALTY_WEI // 2 - 1), ("always", PENALTY_WEI)])
async def test_what_is_worth_it_or_always_wanted_is_published(
    folder: Path, autojump_clock: object, force: str, gas_wei: int
) -> None:
    world = silent_world(folder, force=force)
    world.ledger.gas_wei = gas_wei
    async with asked(world):
        await until_over(world.requester, world.winner)

    assert 1 == len(world.ledger.forced)


async def publish(world: World, order: Order) -> bytes:
    """The requester forces a release by hand, while its prover still waits; the agreement's hash."""
    with world.requester.disk() as store:
        wanted = (kept.REQUEST, kept.AWARD, kept.ACCEPT, kept.BOX)
        request, award, accept, box = (store.document(order.order_id, Role.REQUESTER, name) for name in wanted)
    assert request is not None and award is not None and accept is not None and box is not None
    deal = unpack_deal(request, award)
    data = force_release(settlement_of(deal, bytes(32), accept, None), box)
    assert world.ledger.execute(data, TestClock().now_ms() // 1000)
    return deal.agreement_hash


async def test_a_prover_that_still_waits_takes_the_published_payload_and_proves(
    folder: Path, autojump_clock: object
) -> None:
    """L1 gets its Ack, the requester the proof, the prover its price."""
    world = silent_world(folder)
    world.requester.terms = timed(world.requester.terms, ack_ms=60_000, prove_ms=120_000)
    async with asked(world) as order:
        with trio.fail_after(LONG_S):
            while world.requester.node is None or not any(
                each.state is State.KEYED for each in world.requester.node.loop.orders()
            ):
                await let_pass(50)
        agreement = await publish(world, order)
        with trio.fail_after(LONG_S):
            while agreement not in world.ledger.answered:
                await let_pass(1_000)
        await until_over(world.winner)

    assert State.EARNED is end(world.winner)[0]
    assert 10**14 == world.ledger.credit_wei[b"payee of prover2____"]
    assert set() == world.ledger.cancelled


async def test_an_ack_that_only_l1_heard_brings_the_proof_back_and_the_order_lands(
    folder: Path, autojump_clock: object
) -> None:
    """The direct answer was lost; the release shows the Ack, and the delivery is welcome."""
    world = patient(World(folder))
    terms = replace(world.requester.terms, force="always")
    world.requester.terms = timed(terms, prove_ms=300_000)
    world.winner.prover.prove_s = 100
    async with asked(world):
        with trio.fail_after(LONG_S):
            await world.winner.reaches(State.HOLDING)
            world.network.deaf_answers.add(KEY_EXCHANGE.protocol_id)
            await world.winner.reaches(State.AT_WORK)
        await until(world, State.S_CHOSEN)
        await until_over(world.requester, world.winner)

    assert 1 == len(world.ledger.answered)
    assert State.PAID is end(world.requester)[0]
    assert State.EARNED is end(world.winner)[0]
    assert 1 == len(world.ledger.payments)


async def test_an_ack_that_only_l1_heard_and_no_proof_costs_the_bond(folder: Path, autojump_clock: object) -> None:
    """The slash needs no Ack of its own: L1 kept it."""
    world = patient(World(folder))
    terms = replace(world.requester.terms, force="always")
    world.requester.terms = timed(terms, prove_ms=300_000)
    world.winner.prover.hangs = True
    async with asked(world):
        with trio.fail_after(LONG_S):
            await world.winner.reaches(State.HOLDING)
            world.network.deaf_answers.add(KEY_EXCHANGE.protocol_id)
        await until(world, State.S_SLASHED)
        await until_over(world.requester, world.winner)

    assert State.FORFEITED is end(world.winner)[0]
    assert BOND_WEI == world.ledger.credit_wei[world.requester.key.address]


async def test_a_declined_payload_that_is_forced_is_declined_on_l1_too(folder: Path, autojump_clock: object) -> None:
    """The order has ended here; L1 may still ask, and silence would cost the penalty."""
    world = World(folder)
    world.winner.prover.refuses = "INVALID"
    async with asked(world) as order:
        await until_over(world.winner)
        agreement = await publish(world, order)
        with trio.fail_after(LONG_S):
            while agreement not in world.ledger.cancelled:
                await let_pass(1_000)

    assert State.DECLINED is end(world.winner)[0]
    assert BOND_WEI == world.ledger.tickets[(world.winner.key.address, 0)]


async def test_a_prover_that_was_away_answers_when_it_is_back(folder: Path, autojump_clock: object) -> None:
    """The release is open for ten minutes; it restarts in the fifth."""
    world = silent_world(folder)
    world.winner.kill_at = "after prover accept-signed"
    async with trio.open_nursery() as nursery:
        for party in reversed(world.parties):
            if party is not world.winner:
                await nursery.start(party.run_lives)
        away = trio.Event()

        async def one_life() -> None:
            await world.winner.run()
            away.set()

        nursery.start_soon(one_life)
        await let_pass(10)
        node = world.requester.node
        assert isinstance(node, Requester)
        # It countersigns, dies, and comes back for a moment so that the signature is fetched.
        order = await node.request(planned_table(), ticket=0)
        await away.wait()
        with trio.move_on_after(3):
            await world.winner.run()
        await until(world, State.S_FORCED)
        await let_pass(300_000)
        nursery.start_soon(world.winner.run_lives)
        await until(world, State.S_SPARE)
        nursery.cancel_scope.cancel()

    assert (State.S_SPARE, "GAVE_UP") == chased(world)
    assert BOND_WEI == world.ledger.tickets[(world.winner.key.address, 0)]
    assert order.order_id


async def test_capacity_is_given_up_when_it_is_forced(folder: Path, autojump_clock: object) -> None:
    """L1 shows a payload, but not the signed table: an Ack would be about nothing."""
    world = silent_world(folder)
    world.requester.terms = replace(world.requester.terms, lane=Lane.CAPACITY)
    async with asked(world):
        await until(world, State.S_SPARE)

    assert (State.S_SPARE, "GAVE_UP") == chased(world)


async def test_a_failover_pays_the_runner_up_and_lets_the_chase_be(folder: Path, autojump_clock: object) -> None:
    """The ticket pays, so it takes no penalty any more."""
    world = silent_world(folder)
    world.requester.terms = timed(replace(world.requester.terms, standbys=1), claim_s=450)
    world.ledger.ignored.add(world.winner.key.address)
    async with asked(world):
        await until_over(world.requester)
        with world.requester.disk() as store:
            ranks = {order.state for order in store.recent(9) if order.role is Role.STANDBY}

    assert State.PAID is end(world.requester)[0]
    assert {State.S_SPARE, State.S_CHOSEN} == ranks
    assert set() == world.ledger.penalised


POINTS = (
    "requester done chase",
    "standby force-due",
    "standby done build-release",
    "standby done send-transaction",
    "standby release-seen",
    "standby done build-penalty",
    "standby penalty-seen",
)
DEFAULT_POINTS = ("standby create", "standby release-signed", "standby response-over", "standby penalty-signed")


@pytest.mark.parametrize("side", [pytest.param("before", marks=pytest.mark.campaign), "after"])
@pytest.mark.parametrize(
    "point", [*DEFAULT_POINTS, *(pytest.param(each, marks=pytest.mark.campaign) for each in POINTS)]
)
async def test_a_death_while_forcing_takes_the_penalty_once(
    folder: Path, autojump_clock: object, point: str, side: str
) -> None:
    """Each of its two transactions is one, over all restarts."""
    world = silent_world(folder)
    world.requester.kill_at = f"{side} {point}"
    world.ledger.ignored.add(world.winner.key.address)
    async with asked(world):
        await until(world, State.S_FINED)
        await until_over(world.requester)

    assert "" == world.requester.kill_at
    assert PENALTY_WEI == world.ledger.credit_wei[world.requester.key.address]
    assert State.REFUNDED is end(world.requester)[0]


VOID_POINTS = ("proof-failed", "void-seen", "done look-for-void", "done send-transaction")


@pytest.mark.parametrize("excuse", [True, False])
async def test_an_agreement_is_void_only_if_a_configuration_was_replaced_before_the_ack(
    folder: Path, autojump_clock: object, excuse: bool
) -> None:
    """Then a prover without a proof owes nothing; else its bond is the requester's."""
    world = World(folder)
    world.winner.prover.crashes = True
    world.winner.prover.check_s = 5
    opened_s = START_MS // 1000 + 2
    world.ledger.replaced[planned_table().core] = opened_s + (2 if excuse else 60)
    async with asked(world):
        await until_over(world.requester, world.winner)

    if excuse:
        assert (State.FORGIVEN, "VOID") == end(world.winner)
        assert BOND_WEI == world.ledger.tickets[(world.winner.key.address, 0)]
        assert State.REFUNDED is end(world.requester)[0]
    else:
        assert State.FORFEITED is end(world.winner)[0]
        assert BOND_WEI == world.ledger.credit_wei[world.requester.key.address]


@pytest.mark.parametrize("side", [pytest.param("before", marks=pytest.mark.campaign), "after"])
@pytest.mark.parametrize(
    "point",
    ["void-signed", *(pytest.param(each, marks=pytest.mark.campaign) for each in VOID_POINTS)],
)
async def test_a_death_while_voiding_voids(folder: Path, autojump_clock: object, point: str, side: str) -> None:
    world = World(folder)
    world.winner.prover.crashes = True
    world.winner.prover.check_s = 5
    world.ledger.replaced[planned_table().core] = START_MS // 1000 + 4
    world.winner.kill_at = f"{side} prover {point}"
    async with asked(world):
        await until_over(world.requester, world.winner)

    assert "" == world.winner.kill_at
    assert (State.FORGIVEN, "VOID") == end(world.winner)
    assert 1 == len(world.ledger.voided)


@pytest.mark.parametrize(
    ("permille", "gas_wei", "recorded"), [(100, 10**13, True), (100, 10**13 + 1, False), (0, 0, False)]
)
async def test_an_amend_is_recorded_if_that_costs_little_of_the_price(
    folder: Path, autojump_clock: object, permille: int, gas_wei: int, recorded: bool
) -> None:
    """Then the table before it is worth nothing on L1."""
    world = World(folder)
    world.requester.terms = replace(world.requester.terms, record_permille=permille)
    world.ledger.gas_wei = gas_wei
    world.winner.prover.prove_s = 20
    world.ledger.moved.add(planned_table().core)
    async with asked(world):
        await until_over(world.requester, world.winner)

    assert ([1] if recorded else []) == list(world.ledger.recorded.values())
    assert [State.PAID, State.EARNED] == [end(party)[0] for party in (world.requester, world.winner)]
