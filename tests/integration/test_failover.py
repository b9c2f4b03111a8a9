"""Runners-up: engaged in the same award, called before the winner's time is over, paid if they are first; on a mock
clock."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from market.lifecycle import Event, Order, Role, State
from node import market_state as kept
from node.requester import Requester
from node.standby import standby_id
from protocol.reqresp import AWARD_EXCHANGE, KEY_EXCHANGE, PROOF_EXCHANGE
from tests.support.market_ledger import BOND_WEI, TICKET_WEI, let_pass, planned_table
from tests.support.market_sim import Party, World, memory_folder, timed

LONG_S = 20_000  # of mock time: beyond every deadline


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """In memory where the system can."""
    with memory_folder(tmp_path) as made:
        yield made


def world_with(folder: Path, *, claim_s: int = 450) -> World:
    """prover2 is the cheapest, prover3 the runner-up, prover1 third.

    Args:
        claim_s: a runner-up's own claim opens five minutes after its time; the window must reach beyond.
    """
    world = World(folder)
    world.requester.terms = timed(replace(world.requester.terms, standbys=1), claim_s=claim_s)
    for party in world.parties:
        party.poll_ms = 6_000  # the claim windows are long
    return world


@asynccontextmanager
async def running(world: World) -> AsyncIterator[Order]:
    """All parties up, and the order asked for."""
    async with trio.open_nursery() as nursery:
        for party in world.parties:
            await nursery.start(party.run)
        node = world.requester.node
        assert isinstance(node, Requester)
        yield await node.request(planned_table(), ticket=0)
        nursery.cancel_scope.cancel()


async def until_over(*parties: Party) -> None:
    """Returns when the order of each party has ended; bounded in mock time."""
    with trio.fail_after(LONG_S):
        for party in parties:
            await party.ended.wait()


async def standby_ends(world: World, order: Order, rank: int) -> Order:
    """The requester's engagement of a rank, once it is over."""
    node = world.requester.node
    assert isinstance(node, Requester)
    with trio.fail_after(LONG_S):
        while (found := stored(world, order, rank)) is None or not found.is_over:
            await let_pass(5_000)
    return found


def stored(world: World, order: Order, rank: int) -> Order | None:
    """A rank's engagement as it is on the requester's disk."""
    with world.requester.disk() as store:
        return next((each for each in store.recent(9) if each.order_id == standby_id(order.order_id, rank)), None)


def end(party: Party) -> tuple[State, str]:
    """State and reason of a party's only order."""
    order = party.order()
    assert order is not None
    return order.state, order.reason


async def main_ends(world: World) -> Order:
    """The user's own order, once it is over."""
    await until_over(world.requester)
    order = world.requester.order()
    assert order is not None
    return order


async def test_a_runner_up_that_is_not_needed_is_let_go_and_never_sees_the_table(
    folder: Path, autojump_clock: object
) -> None:
    """The ordinary story: engaged, never called, free as soon as the winner's proof holds."""
    world = world_with(folder)
    async with running(world) as order:
        await until_over(*world.provers)
        main = await main_ends(world)
        spare = await standby_ends(world, order, 2)
        runner_up = world.provers[2].node
        assert runner_up is not None
        payload = await runner_up.loop.secret(order.order_id, kept.PAYLOAD)

    assert (State.PAID, "") == (main.state, main.reason)
    assert (State.S_SPARE, "NOT_NEEDED") == (spare.state, spare.reason)
    assert [(State.LOST, ""), (State.EARNED, ""), (State.RELEASED, "NOT_NEEDED")] == [end(p) for p in world.provers]
    assert payload is None
    assert BOND_WEI == world.ledger.tickets[(world.provers[2].key.address, 0)]


@pytest.mark.parametrize(
    ("deaf_to", "reason"),
    [(AWARD_EXCHANGE.protocol_id, "NOT_ACCEPTED"), (KEY_EXCHANGE.protocol_id, "NO_ACK")],
)
async def test_a_silent_winner_is_replaced_at_once(
    folder: Path, autojump_clock: object, deaf_to: str, reason: str
) -> None:
    """Nobody waits for its deadline: the runner-up is called, proves and is paid; nobody loses a bond."""
    world = world_with(folder)
    world.winner.deaf_to = frozenset({deaf_to})
    async with running(world) as order:
        await until_over(world.winner, world.provers[2])
        main = await main_ends(world)
        chosen = await standby_ends(world, order, 2)
        history = history_of(world, order)

    assert State.S_CHOSEN is chosen.state
    assert State.PAID is main.state
    assert (Event.TAKEN_OVER.value, "RANK_2") in history
    assert reason in [why for _, why in history]
    assert (State.EARNED, "") == end(world.provers[2])
    assert 2 * 10**14 == world.ledger.credit_wei[b"payee of prover3____"]
    assert [] == sorted(world.ledger.slashed)


def history_of(world: World, order: Order) -> list[tuple[str, str]]:
    """Events and reasons of the user's order."""
    with world.requester.disk() as store:
        return [(line.event, line.reason) for line in store.history(order.order_id, Role.REQUESTER)]


async def test_a_declined_payload_calls_the_runner_up(folder: Path, autojump_clock: object) -> None:
    """It may be able to do what the winner is not."""
    world = world_with(folder)
    world.winner.prover.refuses = "UNSUPPORTED"
    async with running(world):
        await until_over(*world.provers)
        main = await main_ends(world)

    assert State.PAID is main.state
    assert [(State.DECLINED, "UNSUPPORTED"), (State.EARNED, "")] == [end(party) for party in world.provers[1:]]


async def test_the_runner_up_starts_before_the_deadline_and_works_in_parallel(
    folder: Path, autojump_clock: object
) -> None:
    """Paid before the winner's time is over: the winner was overtaken, stops, and owes nothing."""
    world = world_with(folder)
    world.winner.prover.hangs = True
    async with running(world) as order:
        await until_over(world.provers[2], world.winner)
        main = await main_ends(world)
        aside = await standby_ends(world, order, 1)
        taken = world.winner.prover.at_work

    assert State.PAID is main.state
    assert world.ledger.settled_s[(world.requester.key.address, order.order_id)] < main.deliver_by
    assert (State.EARNED, "") == end(world.provers[2])
    assert ((State.UNPAID, "OUTRUN"), 0) == (end(world.winner), taken)
    assert (State.S_KEPT, "SLASH_REVERTED") == (aside.state, aside.reason)
    assert BOND_WEI == world.ledger.tickets[(world.winner.key.address, 0)]


async def test_a_winner_that_is_late_and_silent_loses_its_bond_by_failover_evidence(
    folder: Path, autojump_clock: object
) -> None:
    """The runner-up is paid, the user gets the bond; the ticket paid once."""
    world = world_with(folder)
    world.winner.prover.hangs = True
    world.provers[2].prover.prove_s = 45  # called at 35, done after the winner's deadline at 65
    async with running(world) as order:
        main = await main_ends(world)
        aside = await standby_ends(world, order, 1)

    assert State.PAID is main.state
    assert (State.S_SLASHED, "NO_PROOF") == (aside.state, aside.reason)
    assert BOND_WEI + TICKET_WEI - 2 * 10**14 == world.ledger.credit_wei[world.requester.key.address]
    assert 1 == len(world.ledger.payments) == len(world.ledger.slashed)


async def test_a_late_winner_saves_its_bond_by_showing_its_proof(folder: Path, autojump_clock: object) -> None:
    """It is not paid: the first valid proof was another's. Its claim counts as delivery, so nobody can slash it."""
    world = world_with(folder)
    world.winner.prover.prove_s = 75
    world.provers[2].prover.prove_s = 45
    async with running(world) as order:
        await until_over(world.winner, world.provers[2])
        main = await main_ends(world)
        aside = await standby_ends(world, order, 1)

    assert State.PAID is main.state
    assert (State.UNPAID, "DELIVERED_UNPAID") == end(world.winner)
    assert (State.S_KEPT, "SLASH_REVERTED") == (aside.state, aside.reason)
    assert BOND_WEI == world.ledger.tickets[(world.winner.key.address, 0)]
    assert 1 == len(world.ledger.payments) == len(world.ledger.delivered)


async def test_a_runner_up_that_is_second_owes_nothing(folder: Path, autojump_clock: object) -> None:
    """It worked in parallel and lost: it stops as soon as L1 shows the payment, and its bond is free."""
    world = world_with(folder)
    world.winner.prover.prove_s = 40  # the runner-up is called at 30
    world.provers[2].prover.prove_s = 2_000
    async with running(world) as order:
        await until_over(world.requester, world.winner, world.provers[2])
        spare = await standby_ends(world, order, 2)
        taken = world.provers[2].prover.at_work

    assert (State.EARNED, "") == end(world.winner)
    assert (State.UNPAID, "OUTRUN") == end(world.provers[2])
    assert State.S_SPARE is spare.state
    assert 0 == taken
    assert BOND_WEI == world.ledger.tickets[(world.provers[2].key.address, 0)]
    assert [] == sorted(world.ledger.slashed)


async def test_when_everybody_acknowledges_and_fails_everybody_is_slashed(folder: Path, autojump_clock: object) -> None:
    """And the ticket is whole."""
    world = world_with(folder)
    world.winner.prover.hangs = world.provers[2].prover.hangs = True
    async with running(world) as order:
        missed = await standby_ends(world, order, 2)
        main = await main_ends(world)

    assert (State.SLASHED, State.S_SLASHED) == (main.state, missed.state)
    assert 2 * BOND_WEI == world.ledger.credit_wei[world.requester.key.address]
    assert TICKET_WEI == world.ledger.tickets[(world.requester.key.address, 0)]


async def test_a_runner_up_that_the_requester_hides_from_is_paid_by_its_claim(
    folder: Path, autojump_clock: object
) -> None:
    """After the winner's window, with the proof alone; the user's order ends as paid by that rank."""
    world = world_with(folder)
    world.winner.prover.hangs = True
    world.requester.deaf_to = frozenset({PROOF_EXCHANGE.protocol_id})
    async with running(world):
        await until_over(world.provers[2])
        main = await main_ends(world)

    assert (State.EARNED, "NOT_PAID") == end(world.provers[2])
    assert (State.PAID, "PAID_RANK_2") == (main.state, main.reason)
    assert 1 == len(world.ledger.payments)


async def test_a_claim_window_that_a_runner_up_could_never_use_is_not_signed(
    folder: Path, autojump_clock: object
) -> None:
    """Its claim opens CLAIM_GRACE after its time: without a window it would live on the requester's grace."""
    world = world_with(folder, claim_s=120)
    async with running(world):
        await until_over(world.provers[2])

    assert (State.LOST, "CLAIM_WINDOW") == end(world.provers[2])
