"""Whole auctions in one process, on a mock clock: the ordinary story, and every way in which a party can fall silent
or lie."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from market.lifecycle import Event, Order, Role, State
from node import market_state as kept
from node.frames import FrameWriter
from node.ports import Refused
from node.prover import ProvingNode
from node.ready import pull_table
from node.requester import Requester
from node.store.database import Database
from node.store.sequences import Sequences
from protocol.codec import decode_body, encode_body
from protocol.messages import DeliveryReceipt, ProverAck, ReadyTable, ReceiptVerdict
from protocol.reqresp import AWARD_EXCHANGE, DECLINE_EXCHANGE, KEY_EXCHANGE, PROOF_EXCHANGE
from protocol.sealing import SealKeyPair
from tests.support.market_ledger import BOND_WEI, MARKET, SALT, START_MS, TICKET_WEI, TestClock, let_pass, planned_table
from tests.support.market_sim import Link, Party, World, inline, memory_folder

LONG_S = 20_000  # of mock time: beyond every deadline


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """In memory where the system can."""
    with memory_folder(tmp_path) as made:
        yield made


@asynccontextmanager
async def running(world: World) -> AsyncIterator[None]:
    """All parties up, each restarted when killed."""
    async with trio.open_nursery() as nursery:
        for party in world.parties:
            await nursery.start(party.run)
        yield
        nursery.cancel_scope.cancel()


async def until_over(*parties: Party) -> None:
    """Returns when the only order of each party has ended on disk; bounded in mock time."""
    with trio.fail_after(LONG_S):
        for party in parties:
            await party.ended.wait()


async def ask(world: World) -> Order:
    """The requester starts its auction."""
    node = world.requester.node
    assert isinstance(node, Requester)
    return await node.request(planned_table(), ticket=0)


def ends(world: World) -> dict[str, tuple[State, str]]:
    """State and reason of each party's order."""
    return {party.name: (order.state, order.reason) for party in world.parties if (order := party.order()) is not None}


async def test_the_cheapest_prover_is_paid_and_the_others_lose(folder: Path, autojump_clock: object) -> None:
    """The whole story: request, three bids, award, payload, Ack, proof, one transaction, payment."""
    world = World(folder)
    async with running(world):
        await ask(world)
        await until_over(*world.parties)

    assert {
        "requester": (State.PAID, ""),
        "prover1": (State.LOST, ""),
        "prover2": (State.EARNED, ""),
        "prover3": (State.LOST, ""),
    } == ends(world)
    assert 1 == len(world.ledger.payments)
    assert 10**14 == world.ledger.credit_wei[b"payee of prover2____"]
    assert TICKET_WEI - 10**14 == world.ledger.credit_wei[world.requester.key.address]


async def test_no_private_field_is_gossiped_or_kept_by_a_loser(folder: Path, autojump_clock: object) -> None:
    """Neither core, core id, salt nor payload, in any frame, nor in what a losing prover has on its disk."""
    world = World(folder)
    plan = planned_table()
    async with running(world):
        await ask(world)
        await until_over(*world.parties)
    private = [plan.core_id, SALT, plan.core[:64], plan.payload[40:104]]
    gossip = b"".join(frame for _, frame in world.network.frames)
    losers = b"".join(
        path.read_bytes() for path in folder.iterdir() if path.name.startswith(("prover1.db", "prover3.db"))
    )

    assert {"req", "bid", "award"} == {channel for channel, _ in world.network.frames}
    leaked = [field.hex() for field in private if field in gossip or field in losers]
    assert [] == leaked
    looks_at_the_right_bytes = world.requester.key.address in losers
    assert looks_at_the_right_bytes


async def test_a_bid_whose_ticket_shrank_after_it_is_not_signed_for(folder: Path, autojump_clock: object) -> None:
    """Half of a class is what a promise is worth: the next best bid, whose ticket still answers, is awarded."""
    world = World(folder)
    async with running(world):
        await ask(world)
        await let_pass(1_500)  # bids are in, and open for a second more
        world.ledger.tickets[(world.winner.key.address, 0)] = BOND_WEI - 1
        await until_over(world.requester, world.provers[2])

    assert State.EARNED is ends(world)["prover3"][0]
    assert 2 * 10**14 == world.ledger.credit_wei[b"payee of prover3____"]
    assert b"payee of prover2____" not in world.ledger.credit_wei


@pytest.mark.parametrize(("over_wei", "end"), [(0, State.PAID), (1, State.EXPIRED)])
async def test_a_price_is_at_most_what_a_promise_on_the_ticket_is_worth(
    folder: Path, autojump_clock: object, over_wei: int, end: State
) -> None:
    """Exactly that is bid and paid; a wei more is skipped by every prover."""
    world = World(folder)
    for prover in world.provers:
        prover.price_wei = TICKET_WEI + over_wei
    world.requester.terms = replace(world.requester.terms, max_price_wei=2 * TICKET_WEI)
    async with running(world):
        await ask(world)
        await until_over(world.requester)

    assert end is ends(world)["requester"][0]
    if over_wei:
        assert {"TICKET_TOO_SMALL"} == {reason for name, (_, reason) in ends(world).items() if name != "requester"}


async def test_an_auction_without_provers_expires_with_its_reason(folder: Path, autojump_clock: object) -> None:
    """Nobody is there; the ticket is not touched."""
    world = World(folder)
    world.provers = ()
    async with running(world):
        await ask(world)
        await until_over(world.requester)

    assert {"requester": (State.EXPIRED, "NO_BIDS")} == ends(world)
    assert TICKET_WEI == world.ledger.tickets[(world.requester.key.address, 0)]


async def test_a_winner_that_never_countersigns_costs_nothing(folder: Path, autojump_clock: object) -> None:
    """Refunded after claimBy; the prover is free and its bond untouched."""
    world = World(folder)
    world.winner.deaf_to = frozenset({AWARD_EXCHANGE.protocol_id})
    async with running(world):
        await ask(world)
        await until_over(world.requester, world.winner)

    assert (State.REFUNDED, "NOT_ACCEPTED") == ends(world)["requester"]
    assert State.RELEASED is ends(world)["prover2"][0]
    assert TICKET_WEI == world.ledger.tickets[(world.requester.key.address, 0)]
    assert BOND_WEI == world.ledger.tickets[(world.winner.key.address, 0)]


async def test_a_winner_that_takes_the_payload_and_is_silent_is_not_slashed(
    folder: Path, autojump_clock: object
) -> None:
    """Without its Ack nobody can prove that it got the payload; the ticket comes back."""
    world = World(folder)
    world.winner.deaf_to = frozenset({KEY_EXCHANGE.protocol_id})
    async with running(world):
        await ask(world)
        await until_over(world.requester, world.winner)

    assert (State.REFUNDED, "NO_ACK") == ends(world)["requester"]
    assert (State.RELEASED, "NO_PAYLOAD") == ends(world)["prover2"]
    assert BOND_WEI == world.ledger.tickets[(world.winner.key.address, 0)]


@pytest.mark.parametrize("fault", ["hangs", "crashes", "lies"])
async def test_an_ack_without_a_valid_proof_costs_the_bond(folder: Path, autojump_clock: object, fault: str) -> None:
    """A prover that hangs, crashes or delivers rubbish after its Ack is slashed after claimBy."""
    world = World(folder)
    setattr(world.winner.prover, fault, True)
    async with running(world):
        await ask(world)
        await until_over(world.requester)

    assert State.SLASHED is ends(world)["requester"][0]
    assert BOND_WEI == world.ledger.credit_wei[world.requester.key.address]
    assert TICKET_WEI == world.ledger.tickets[(world.requester.key.address, 0)]
    assert [] == world.ledger.payments


async def test_a_valid_proof_delivered_twice_over_does_not_end_the_requester(
    folder: Path, autojump_clock: object
) -> None:
    """Each verifies, but L1 takes only ascending ones: refused on delivery."""
    world = World(folder)
    world.winner.prover.repeats = True
    async with running(world):
        order = await ask(world)
        node = world.requester.node
        assert isinstance(node, Requester)
        with trio.fail_after(LONG_S):
            while (receipt := await node.loop.document(order.order_id, kept.RECEIPT)) is None:
                await let_pass(100)
        await let_pass(1_000)  # the next effect would have run
        now = node.loop.order(order.order_id)

    assert decode_body(DeliveryReceipt, receipt).verdict == ReceiptVerdict.INVALID_PROOF
    assert now is not None and now.state is State.PROVING


async def test_a_slashed_prover_knows_it(folder: Path, autojump_clock: object) -> None:
    """Its own order ends as slashed, by what it sees on L1."""
    world = World(folder)
    world.winner.prover.crashes = True
    async with running(world):
        await ask(world)
        await until_over(world.requester, world.winner)

    assert State.FORFEITED is ends(world)["prover2"][0]


async def test_a_declined_payload_costs_neither_side(folder: Path, autojump_clock: object) -> None:
    """The reason reaches the requester."""
    world = World(folder)
    world.winner.prover.refuses = "STALE"
    async with running(world):
        await ask(world)
        await until_over(world.requester, world.winner)

    assert {"requester": (State.REFUNDED, "DECLINED_STALE"), "prover2": (State.DECLINED, "STALE")} == {
        name: end for name, end in ends(world).items() if name in ("requester", "prover2")
    }


async def lying_request(world: World) -> Order:
    """The envelope says two proofs, the table needs one: a lie about work, in any direction."""
    node = world.requester.node
    assert isinstance(node, Requester)
    return await node.request(replace(planned_table(), proof_count=2), ticket=0)


async def test_a_payload_that_breaks_its_envelope_costs_the_fee_that_both_sign(
    folder: Path, autojump_clock: object
) -> None:
    """A tenth of the price to the payee, the rest of the ticket back, no bond touched."""
    world = World(folder)
    async with running(world):
        await lying_request(world)
        await until_over(world.requester, world.winner)

    assert (State.COMPENSATED, "PROOF_COUNT") == ends(world)["prover2"]
    assert (State.REFUNDED, "DECLINED_OVERSIZE") == ends(world)["requester"]
    assert 10**13 == world.ledger.credit_wei[b"payee of prover2____"]
    assert TICKET_WEI - 10**13 == world.ledger.credit_wei[world.requester.key.address]
    assert BOND_WEI == world.ledger.tickets[(world.winner.key.address, 0)]
    assert [] == world.ledger.payments


async def test_a_prover_asks_no_fee_for_a_payload_that_is_what_was_said(folder: Path, autojump_clock: object) -> None:
    """The requester looks at its own payload and does not sign."""
    world = World(folder)
    async with running(world):
        order = await ask(world)
        node = world.winner.node
        assert isinstance(node, ProvingNode)
        with trio.fail_after(LONG_S):
            while (now := node.loop.order(order.order_id)) is None or now.state is not State.HOLDING:
                await let_pass(10)
        deal = kept.unpack_deal(await stored(node, order, kept.REQUEST), await stored(node, order, kept.AWARD))
        ack = ProverAck(
            request_id=order.order_id,
            agreement_hash=deal.agreement_hash,
            verdict=2,
            ack_at=0,
            ack_signature=b"",
            amend_signature=b"",
        )
        document = {kept.ACK: encode_body(ack)}
        await node.loop.happen(order.order_id, Event.PAYLOAD_BREAKS, reason="MADE_UP", document=document)
        await until_over(world.requester, world.winner)

    assert (State.DECLINED, "NO_FEE") == ends(world)["prover2"]
    assert TICKET_WEI == world.ledger.tickets[(world.requester.key.address, 0)]


async def stored(node: ProvingNode, order: Order, name: str) -> bytes:
    """A document that is there."""
    found = await node.loop.document(order.order_id, name)
    assert found is not None
    return found


async def test_a_requester_that_signs_no_fee_is_left_alone_after_three_strikes(
    folder: Path, autojump_clock: object
) -> None:
    """Without its signature a decline costs it nothing on L1, and its standing here."""
    world = World(folder)
    (prover,) = world.provers = world.provers[1:2]
    world.requester.deaf_to = frozenset({DECLINE_EXCHANGE.protocol_id})
    seen = []
    async with running(world):
        for ticket in range(4):
            world.ledger.tickets[(world.requester.key.address, ticket)] = TICKET_WEI
            node = world.requester.node
            assert isinstance(node, Requester)
            order = await node.request(replace(planned_table(), proof_count=2), ticket=ticket)
            with trio.fail_after(LONG_S):
                while (found := disk_order(prover, order)) is None or not found.is_over:
                    await let_pass(2_000)
            seen.append((found.state, found.reason))

    assert [(State.DECLINED, "NO_FEE")] * 3 + [(State.SKIPPED, "STANDING")] == seen


def disk_order(party: Party, order: Order) -> Order | None:
    """A party's own view of an order."""
    with party.disk() as store:
        return next((each for each in store.recent(9) if each.order_id == order.order_id), None)


async def test_a_prover_that_acknowledges_and_fails_wins_no_second_auction(
    folder: Path, autojump_clock: object
) -> None:
    """Its bid is void for this requester, whatever it asks; the next one proves."""
    world = World(folder)
    world.winner.prover.crashes = True
    world.ledger.tickets[(world.winner.key.address, 0)] = 4 * BOND_WEI
    async with running(world):
        await ask(world)
        await until_over(world.requester, *world.provers)
        world.ledger.tickets[(world.winner.key.address, 0)] = 4 * BOND_WEI
        world.ledger.tickets[(world.requester.key.address, 1)] = TICKET_WEI
        node = world.requester.node
        assert isinstance(node, Requester)
        second = await node.request(planned_table(), ticket=1)
        with trio.fail_after(LONG_S):
            while (found := disk_order(world.requester, second)) is None or not found.is_over:
                await let_pass(2_000)

    assert State.PAID is found.state
    assert 2 * 10**14 == world.ledger.credit_wei[b"payee of prover3____"]


async def test_a_witness_that_takes_too_long_is_declined_not_acknowledged(folder: Path, autojump_clock: object) -> None:
    """An Ack after ackBy would bind nobody on L1; neither side loses anything."""
    world = World(folder)
    world.winner.prover.check_s = 30  # the window of the Ack has 15
    async with running(world):
        await ask(world)
        await until_over(world.requester, world.winner)

    assert (State.REFUNDED, "NO_ACK") == ends(world)["requester"]
    assert (State.RELEASED, "NO_PAYLOAD") == ends(world)["prover2"]
    assert BOND_WEI == world.ledger.tickets[(world.winner.key.address, 0)]
    assert [] == world.ledger.payments


async def test_a_payload_that_never_checks_out_holds_no_slot_after_its_ack_time(
    folder: Path, autojump_clock: object
) -> None:
    """A payload may run for hours and costs its sender nothing; the next request must find the prover free."""
    world = World(folder)
    world.winner.prover.check_s = LONG_S / 2
    async with running(world):
        await ask(world)
        await until_over(world.requester, world.winner)
        await let_pass(5_000)
        taken = world.winner.prover.at_work

    assert taken == 0


async def test_a_requester_that_hides_from_the_delivery_pays_by_claim(folder: Path, autojump_clock: object) -> None:
    """The prover takes its price on L1 with the proof alone, and the requester's order ends as paid."""
    world = World(folder)
    world.requester.deaf_to = frozenset({PROOF_EXCHANGE.protocol_id})
    async with running(world):
        await ask(world)
        await until_over(world.requester, world.winner)

    assert State.PAID is ends(world)["requester"][0]
    assert (State.EARNED, "NOT_PAID") == ends(world)["prover2"]
    assert 1 == len(world.ledger.payments)


async def test_a_transaction_that_a_client_forgot_is_sent_again(folder: Path, autojump_clock: object) -> None:
    """The same bytes, until they land or the table is over."""
    world = World(folder)
    world.ledger.forgets = 2
    async with running(world):
        await ask(world)
        await until_over(world.requester)

    assert (State.PAID, "") == ends(world)["requester"]
    assert 0 == world.ledger.forgets


async def test_a_ticket_that_is_taken_or_gone_starts_no_auction(folder: Path, autojump_clock: object) -> None:
    """Refused before anything is stored."""
    world = World(folder)
    async with running(world):
        await ask(world)
        with pytest.raises(Refused, match="TICKET_BUSY"):
            await ask(world)
        await until_over(world.requester)
        with pytest.raises(Refused, match="NO_TICKET"):
            await ask(world)


@pytest.mark.parametrize(("when", "end"), [(State.SEEN, State.SKIPPED), (State.BID, State.LOST)])
async def test_a_cancelled_request_frees_everybody(
    folder: Path, autojump_clock: object, when: State, end: State
) -> None:
    """Whether provers have bid or not; a second time it is refused."""
    world = World(folder)
    async with running(world):
        order = await ask(world)
        for prover in world.provers:
            await prover.reaches(when)
        node = world.requester.node
        assert isinstance(node, Requester)
        assert await node.cancel(order.order_id)
        assert not await node.cancel(order.order_id)
        await until_over(*world.parties)

    assert {(State.CANCELLED, "CANCELLED"), (end, "CANCELLED")} == set(ends(world).values())


async def test_a_sidecar_pulls_the_ready_table_before_it_lands(folder: Path, autojump_clock: object) -> None:
    """Announced by id and size only, sealed to its key, and the very transaction that is sent."""
    world = World(folder)
    world.requester.sidecars = (world.sidecar.public,)
    async with running(world):
        link = Link(world.network, b"sidecar", lambda channel, frame: None)
        database = Database(f"sqlite:///{folder / 'sidecar.db'}", now_ms=START_MS)
        key = world.provers[0].key
        frames = FrameWriter(
            market=MARKET,
            key=key,
            sequences=Sequences(database, b"sidecar".ljust(20)),
            clock=TestClock(),
            in_thread=inline,
        )
        await ask(world)
        with trio.fail_after(LONG_S):
            announced = await anext(link.frames("ready"))
        message = decode_body(ReadyTable, announced[80:-65])
        assert [] == world.ledger.payments
        pulled = await pull_table(message, announced[52:72], direct=link, frames=frames, key=world.sidecar)
        with pytest.raises(Refused, match="TABLE_DOES_NOT_OPEN"):
            await pull_table(message, announced[52:72], direct=link, frames=frames, key=SealKeyPair(b"\x01" * 32))
        await until_over(world.requester)
        database.close()

    assert world.requester.key.address == announced[52:72]
    assert pulled.raw.endswith(world.requester.prepared[next(iter(world.requester.prepared))].data)
    assert Role.REQUESTER is world.requester.role
