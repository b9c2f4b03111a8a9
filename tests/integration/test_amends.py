"""A table that goes stale while it is being proven: another one for the same price, or the agreed one; on a mock
clock."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from market.lifecycle import Order, Role, State
from node import market_state as kept
from node.ports import Refused
from node.requester import Requester
from protocol.agreement import SignedAmend, StatementAmend, unpack_amend
from protocol.codec import decode_body, read_frame
from protocol.messages import MAX_DIRECT_BODY, AckVerdict, Amend, AmendReply
from protocol.reqresp import AMEND_EXCHANGE
from protocol.signing import AccountKey, amend_digest
from tests.support.market_ledger import BOND_WEI, MARKET, TestClock, let_pass, planned_table
from tests.support.market_sim import Link, Party, World, memory_folder
from tests.support.wire_samples import framed

LONG_S = 20_000  # of mock time: beyond every deadline


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """In memory where the system can."""
    with memory_folder(tmp_path) as made:
        yield made


@asynccontextmanager
async def proving(world: World, prove_s: float = 20) -> AsyncIterator[Order]:
    """All parties up, restarted if killed, and an order whose winner is at work."""
    world.winner.prover.prove_s = prove_s
    async with trio.open_nursery() as nursery:
        for party in reversed(world.parties):
            await nursery.start(party.run_lives)
        node = world.requester.node
        assert isinstance(node, Requester)
        order = await node.request(planned_table(), ticket=0, intent=b"wish")
        with trio.fail_after(LONG_S):
            await world.winner.reaches(State.AT_WORK)
        yield order
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


def amend_of(party: Party, order: Order) -> SignedAmend | None:
    """What both signed last, as a party has it on disk."""
    with party.disk() as store:
        stored = store.document(order.order_id, party.role, kept.AMEND)
    return None if stored is None else unpack_amend(stored)


async def test_a_stale_table_is_planned_again_and_proven_for_the_same_price(
    folder: Path, autojump_clock: object
) -> None:
    """The prover drops what it had begun; both keep the amend, and L1 pays for the other table."""
    world = World(folder)
    async with proving(world) as order:
        world.ledger.moved.add(planned_table().core)
        await until_over(world.requester, world.winner)

    signed = amend_of(world.requester, order)
    assert signed is not None and 1 == signed.counter
    assert signed == amend_of(world.winner, order)
    assert (State.PAID, "AMENDED_1") == end(world.requester)
    assert (State.EARNED, "AMENDED_1") == end(world.winner)
    assert [b"wish"] == world.requester.planned
    assert 10**14 == world.ledger.credit_wei[b"payee of prover2____"]
    assert 1 == len(world.ledger.payments)


async def test_an_answer_of_l1_that_changed_at_the_same_roots_is_planned_again(
    folder: Path, autojump_clock: object
) -> None:
    """Roots say nothing about it: the transaction is run again at each head."""
    world = World(folder)
    async with proving(world) as order:
        world.ledger.answered_otherwise.add(planned_table().core)
        await until_over(world.requester, world.winner)
        with world.requester.disk() as store:
            reasons = [line.reason for line in store.history(order.order_id, Role.REQUESTER)]

    assert "RESULT_MOVED" in reasons
    assert (State.PAID, "AMENDED_1") == end(world.requester)
    assert (State.EARNED, "AMENDED_1") == end(world.winner)
    assert 1 == len(world.ledger.payments)


async def test_a_wish_that_no_plan_fulfils_any_more_settles_the_agreed_table(
    folder: Path, autojump_clock: object
) -> None:
    """Coded, and once: the prover finishes what was agreed and is paid."""
    world = World(folder)
    world.requester.cannot_plan = True
    async with proving(world):
        world.ledger.answered_otherwise.add(planned_table().core)
        await until_over(world.requester, world.winner)

    assert "NOT_PLANNABLE" == end(world.requester)[1]
    assert State.EARNED is end(world.winner)[0]
    assert 1 == len(world.requester.planned)


async def test_amends_are_bounded_then_the_agreed_table_is_settled(folder: Path, autojump_clock: object) -> None:
    """Everything moves all the time: two amends, then what was agreed last is proven and owed."""
    world = World(folder)
    async with proving(world) as order:
        world.ledger.moved |= {planned_table(later_s).core for later_s in range(9)}
        await until_over(world.requester, world.winner)

    signed = amend_of(world.winner, order)
    assert signed is not None and 2 == signed.counter
    assert 2 == len(world.requester.planned)
    assert State.EARNED is end(world.winner)[0]


async def test_a_plan_that_outgrew_the_agreement_is_not_amended(folder: Path, autojump_clock: object) -> None:
    """The prover finishes the agreed table and is paid for it."""
    world = World(folder)
    world.requester.replans = replace(planned_table(1), work_log2=30)
    async with proving(world) as order:
        world.ledger.moved.add(planned_table().core)
        await until_over(world.requester, world.winner)

    assert amend_of(world.requester, order) is None
    assert "OUTGROWN" == end(world.requester)[1]
    assert State.EARNED is end(world.winner)[0]


async def test_an_amend_that_leaves_no_time_is_refused_and_the_agreed_table_delivered(
    folder: Path, autojump_clock: object
) -> None:
    """Nobody signs for a deadline that it cannot meet."""
    world = World(folder)
    async with proving(world, prove_s=57) as order:
        await let_pass(52_000)  # the bid said ten seconds, five are left
        world.ledger.moved.add(planned_table().core)
        await until_over(world.requester, world.winner)

    assert amend_of(world.winner, order) is None
    assert State.EARNED is end(world.winner)[0]
    assert BOND_WEI == world.ledger.tickets[(world.winner.key.address, 0)]


@pytest.mark.parametrize("point", ["plan-stale", "amend-signed", "amend-accepted", "done send-amend", "done replan"])
async def test_a_requester_that_dies_during_an_amend_pays_once(
    folder: Path, autojump_clock: object, point: str
) -> None:
    """The same amend is offered again, and answered as before."""
    world = World(folder)
    world.requester.kill_at = f"after requester {point}"
    async with proving(world) as order:
        world.ledger.moved.add(planned_table().core)
        await until_over(world.requester, world.winner)

    assert "" == world.requester.kill_at
    assert amend_of(world.requester, order) == amend_of(world.winner, order) is not None
    assert [State.PAID, State.EARNED] == [end(party)[0] for party in (world.requester, world.winner)]
    assert 1 == len(world.ledger.payments)


async def test_a_prover_that_dies_after_an_amend_proves_the_amended_table(folder: Path, autojump_clock: object) -> None:
    """Its signature was stored with the payload."""
    world = World(folder)
    world.winner.kill_at = "after prover table-amended"
    async with proving(world) as order:
        world.ledger.moved.add(planned_table().core)
        await until_over(world.requester, world.winner)

    assert "" == world.winner.kill_at
    assert amend_of(world.requester, order) == amend_of(world.winner, order) is not None
    assert [State.PAID, State.EARNED] == [end(party)[0] for party in (world.requester, world.winner)]


def offered(world: World, order: Order) -> tuple[Amend, bytes]:
    """The requester's AMEND and its sealed payload."""
    with world.requester.disk() as store:
        body = store.document(order.order_id, Role.REQUESTER, kept.AMEND_OFFER)
        box = store.document(order.order_id, Role.REQUESTER, kept.BOX)
    assert body is not None and box is not None
    return decode_body(Amend, body), box


def signed(amend: Amend, key: AccountKey) -> Amend:
    """The same with a signature that fits it."""
    said = StatementAmend(
        agreement_hash=amend.agreement_hash, counter=amend.counter, statement_commit=amend.statement_commit
    )
    return replace(amend, requester_signature=key.sign_digest(amend_digest(MARKET.chain_id, MARKET.contract, said)))


async def test_a_prover_signs_one_counter_for_one_table_and_for_its_requester_only(
    folder: Path, autojump_clock: object
) -> None:
    """Asked again it answers again; another table under the same number, or a gap, is refused."""
    world = World(folder)
    async with proving(world, prove_s=40) as order:
        world.ledger.moved.add(planned_table().core)
        with trio.fail_after(LONG_S):
            while amend_of(world.requester, order) is None:
                await let_pass(100)
            await world.winner.reaches(State.AT_WORK)
        offer, box = offered(world, order)
        link, key = Link(world.network, b"somebody", lambda channel, frame: None), world.requester.key
        peer = world.network.links[b"prover2"].own
        now_ms = TestClock().now_ms()

        async def verdict(amend: Amend, signer: AccountKey) -> int:
            frame = framed(amend, signer, created_ms=now_ms, expires_ms=now_ms + 60_000)
            reply = read_frame(await link.ask(peer, AMEND_EXCHANGE, frame + box), max_body=MAX_DIRECT_BODY)
            return decode_body(AmendReply, reply.body).verdict

        again = await verdict(offer, key)
        other = await verdict(signed(replace(offer, statement_commit=bytes(32)), key), key)
        gap = await verdict(signed(replace(offer, counter=3), key), key)
        with pytest.raises(Refused):
            await verdict(signed(replace(offer, counter=2), world.provers[0].key), world.provers[0].key)
        with pytest.raises(Refused):
            await verdict(signed(replace(offer, counter=2), world.provers[0].key), key)
        await until_over(world.requester, world.winner)

    assert (AckVerdict.START, AckVerdict.UNSUPPORTED, AckVerdict.UNSUPPORTED) == (again, other, gap)
    last = amend_of(world.winner, order)
    assert last is not None and 1 == last.counter
