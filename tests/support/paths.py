"""Every way through an order's life that the fault campaign disturbs. Together they reach every write of a node."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import trio

from market.lanes import Lane
from market.lifecycle import Event, State
from node import market_state as kept
from node.prover import ProvingNode
from node.requester import Requester
from protocol.agreement import Settlement, agreement_of, by_key, pack_settlement
from protocol.codec import decode_body, encode_body
from protocol.messages import Award, ProverAck
from protocol.reqresp import AWARD_EXCHANGE, DECLINE_EXCHANGE, KEY_EXCHANGE, PROOF_EXCHANGE
from protocol.signing import agreement_digest
from tests.support.campaign import Interfere, Path
from tests.support.market_ledger import BOND_WEI, MARKET, START_MS, TICKET_WEI, let_pass, planned_table
from tests.support.market_sim import Party, World, timed

ENOUGH_S: Final = 3_000  # an interference that never got its moment gives up
LOOK_MS: Final = 50


def asking(world: World, **terms: Any) -> None:
    """The requester asks for the toy table, on other terms if given."""
    world.requester.asks = planned_table()
    world.requester.terms = replace(world.requester.terms, **terms)
    every(world, 5_000)


def every(world: World, poll_ms: int) -> None:
    """How often the parties look at L1: the longer a path, the less often."""
    for party in world.parties:
        party.poll_ms = poll_ms


def with_standby(world: World) -> None:
    """prover3 stands by; its own claim opens five minutes after its time, so the window reaches beyond."""
    asking(world, standbys=1)
    world.requester.terms = timed(world.requester.terms, claim_s=450)
    every(world, 10_000)


def deaf(party: Party, *names: str) -> None:
    """A party never answers these exchanges, or never hears these channels."""
    party.deaf_to = frozenset(names)


async def moment(is_there: Callable[[], bool]) -> bool:
    """Whether something came to be, within a bound."""
    with trio.move_on_after(ENOUGH_S):
        while not is_there():
            await let_pass(LOOK_MS)
        return True
    return False


def is_in(party: Party, state: State) -> bool:
    """Whether an order of the party is in a state."""
    return party.node is not None and any(order.state is state for order in party.node.loop.orders())


# -- without a runner-up -----------------------------------------------------------------------------------------------


def _sealed(world: World) -> None:
    asking(world)
    world.requester.sidecars = (world.sidecar.public,)


def _declined(world: World) -> None:
    asking(world)
    world.winner.prover.refuses = "STALE"


def _broken_envelope(world: World) -> None:
    asking(world)
    world.requester.asks = replace(planned_table(), proof_count=2)


def _fee_refused(world: World) -> None:
    _broken_envelope(world)
    deaf(world.requester, DECLINE_EXCHANGE.protocol_id)


def _fee_reverts(world: World) -> None:
    _broken_envelope(world)
    world.ledger.reverting |= {"decline"}


def _never_accepted(world: World) -> None:
    asking(world)
    deaf(world.winner, AWARD_EXCHANGE.protocol_id)


def _never_acknowledged(world: World) -> None:
    asking(world)
    deaf(world.winner, KEY_EXCHANGE.protocol_id)


def _never_proven(world: World) -> None:
    asking(world)
    world.winner.prover.crashes = True


def _never_slashed(world: World) -> None:
    _never_proven(world)
    every(world, 60_000)
    world.ledger.reverting |= {"slash"}


def _lies(world: World) -> None:
    asking(world)
    world.winner.prover.lies = True


def _hidden_from(world: World) -> None:
    asking(world)
    deaf(world.requester, PROOF_EXCHANGE.protocol_id)


def _claim_reverts(world: World) -> None:
    _hidden_from(world)
    world.ledger.reverting |= {"claim"}


def _landing_reverts(world: World) -> None:
    asking(world)
    world.ledger.reverting |= {"land"}


def _never_submitted(world: World) -> None:
    asking(world, is_submitted=False)


def _no_provers(world: World) -> None:
    asking(world, rounds=1)
    world.provers = ()


def _spare_ticket(world: World) -> None:
    asking(world, rounds=1, spare_tickets=(1,))
    world.ledger.tickets[(world.requester.key.address, 1)] = TICKET_WEI
    world.winner.prover.crashes = True


def _unheard_award(world: World) -> None:
    asking(world)
    deaf(world.provers[0], "award")
    del world.ledger.tickets[(world.provers[2].key.address, 0)]  # it has no bond, and skips


def _slow(world: World) -> None:
    asking(world)
    world.requester.intent = b"wish"
    world.winner.prover.prove_s = 20


def _outgrown(world: World) -> None:
    _slow(world)
    world.requester.replans = replace(planned_table(1), work_log2=30)


async def _move(world: World) -> None:
    if await moment(lambda: is_in(world.winner, State.AT_WORK)):
        world.ledger.moved.add(planned_table().core)


async def _cancel(world: World) -> None:
    if await moment(lambda: all(is_in(prover, State.BID) for prover in world.provers)):
        node = world.requester.node
        assert isinstance(node, Requester)
        for order in node.loop.orders():
            await node.cancel(order.order_id)


def _cancel_at(state: State) -> Interfere:
    """Its owner withdraws the order in a state."""

    async def cancel(world: World) -> None:
        if await moment(lambda: is_in(world.requester, state)):
            node = world.requester.node
            assert isinstance(node, Requester)
            for order in node.loop.orders():
                await node.cancel(order.order_id)

    return cancel


def _slow_to_check(world: World) -> None:
    asking(world)
    world.winner.prover.check_s = 5


def _kept_back(world: World) -> None:
    asking(world, is_submitted=False)


def _withdrawn_and_failed(world: World) -> None:
    asking(world)
    world.winner.prover.hangs = True


def _capacity(world: World) -> None:
    asking(world, lane=Lane.CAPACITY)
    world.requester.intent = b"wish"


async def _made_up_dispute(world: World) -> None:
    """The prover says that a good payload breaks its envelope; the requester looks and signs nothing."""
    if not await moment(lambda: is_in(world.winner, State.HOLDING)):
        return
    node = world.winner.node
    assert isinstance(node, ProvingNode)
    for order in node.loop.orders():
        deal = await node.loop.deal(order)
        ack = ProverAck(
            request_id=order.order_id,
            agreement_hash=deal.agreement_hash,
            verdict=2,
            ack_at=0,
            ack_signature=b"",
            amend_signature=b"",
        )
        said = {kept.ACK: encode_body(ack)}
        await node.loop.happen(order.order_id, Event.PAYLOAD_BREAKS, reason="PROOF_COUNT", document=said)


async def _spend_ticket_twice(world: World) -> None:
    """The requester's ticket pays another promise while the winner is at work."""
    if not await moment(lambda: is_in(world.winner, State.AT_WORK)):
        return
    place = (world.requester.key.address, 0)
    request = next(frame for channel, frame in world.network.frames if channel == "req")
    award = decode_body(Award, next(frame for channel, frame in world.network.frames if channel == "award")[80:-65])
    known = world.winner.known(award.request_id)
    if known is None or place not in world.ledger.tickets:
        return
    assert request[52:72] == world.requester.key.address
    other = world.provers[0].key
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
    world.ledger.minted_wei -= world.ledger.tickets.pop(place)
    world.ledger.spent[place] = (bytes(32), packed)


def _accusation_reverts(world: World) -> None:
    asking(world)
    world.ledger.reverting |= {"accuse"}


# -- a winner that is silent with the payload, asked on L1 -------------------------------------------------------------


def _peeked(world: World) -> None:
    """It countersigns, gets the payload, and is never heard of again, not on L1 either."""
    asking(world, force="worth")
    every(world, 30_000)
    deaf(world.winner, KEY_EXCHANGE.protocol_id)
    world.ledger.ignored.add(world.winner.key.address)


def _gives_up(world: World) -> None:
    """Its Ack would come too late, and it tells L1 so."""
    _peeked(world)
    world.ledger.ignored.clear()


def _not_worth(world: World) -> None:
    _peeked(world)
    world.ledger.gas_wei = BOND_WEI


def _release_reverts(world: World) -> None:
    _peeked(world)
    world.ledger.reverting |= {"force"}


def _penalty_reverts(world: World) -> None:
    _peeked(world)
    world.ledger.reverting |= {"peek"}


def _heard_on_l1(world: World) -> None:
    asking(world, force="always")
    every(world, 30_000)
    world.requester.intent = b"wish"
    world.requester.terms = timed(world.requester.terms, prove_ms=300_000)
    world.winner.prover.prove_s = 100


def _heard_on_l1_unproven(world: World) -> None:
    _heard_on_l1(world)
    world.winner.prover.hangs = True


async def _lose_acks(world: World) -> None:
    """The Ack leaves the prover and never arrives."""
    if await moment(lambda: is_in(world.winner, State.HOLDING)):
        world.network.deaf_answers.add(KEY_EXCHANGE.protocol_id)


def _void(world: World) -> None:
    """A configuration that was agreed on was replaced before the Ack."""
    asking(world)
    world.winner.prover.crashes = True
    world.winner.prover.check_s = 5
    world.ledger.replaced[planned_table().core] = START_MS // 1000 + 4


def _void_reverts(world: World) -> None:
    _void(world)
    world.ledger.reverting |= {"void"}


# -- with a runner-up --------------------------------------------------------------------------------------------------


def _silent_winner(world: World) -> None:
    with_standby(world)
    deaf(world.winner, KEY_EXCHANGE.protocol_id)


def _overtaken(world: World) -> None:
    with_standby(world)
    world.winner.prover.hangs = True


def _late_winner(world: World) -> None:
    _overtaken(world)
    world.provers[2].prover.prove_s = 45  # called at 35, done after the winner's deadline at 65


def _late_winner_shows_proof(world: World) -> None:
    with_standby(world)
    world.winner.prover.prove_s = 75
    world.provers[2].prover.prove_s = 45


def _second_runner_up(world: World) -> None:
    with_standby(world)
    world.winner.prover.prove_s = 40
    world.provers[2].prover.prove_s = 2_000


def _everybody_fails(world: World) -> None:
    _overtaken(world)
    world.provers[2].prover.hangs = True


def _everybody_is_kept(world: World) -> None:
    _everybody_fails(world)
    every(world, 60_000)
    world.ledger.reverting |= {"slash"}


def _standby_claims(world: World) -> None:
    _overtaken(world)
    every(world, 30_000)
    deaf(world.requester, PROOF_EXCHANGE.protocol_id)


def _standby_never_accepts(world: World) -> None:
    with_standby(world)
    deaf(world.provers[2], AWARD_EXCHANGE.protocol_id)


def _standby_silent(world: World) -> None:
    _overtaken(world)
    deaf(world.provers[2], KEY_EXCHANGE.protocol_id)


def _standby_declines(world: World) -> None:
    _overtaken(world)
    world.provers[2].prover.refuses = "UNSUPPORTED"


def _standby_lies(world: World) -> None:
    _overtaken(world)
    world.provers[2].prover.lies = True


def _away_while_engaging(world: World) -> None:
    """The requester is away from the moment at which the runner-up is to be engaged until nobody waits for it."""
    with_standby(world)
    world.requester.down_s = 8


S = State
PAID: Final = frozenset({S.PAID})
REFUNDED: Final = frozenset({S.REFUNDED})

PATHS: Final = (
    Path(name="happy", prepare=asking, ends=PAID),
    Path(name="sealed-to-sidecar", prepare=_sealed, ends=PAID),
    Path(name="wiped", prepare=asking, ends=PAID, linger_s=800),
    Path(name="unheard-award", prepare=_unheard_award, ends=PAID),
    Path(name="declined", prepare=_declined, ends=REFUNDED),
    Path(name="broken-envelope", prepare=_broken_envelope, ends=REFUNDED),
    Path(name="fee-refused", prepare=_fee_refused, ends=REFUNDED),
    Path(name="fee-reverts", prepare=_fee_reverts, ends=REFUNDED),
    Path(name="made-up-dispute", prepare=asking, interfere=_made_up_dispute, ends=REFUNDED),
    Path(name="never-accepted", prepare=_never_accepted, ends=REFUNDED),
    Path(name="never-acknowledged", prepare=_never_acknowledged, ends=REFUNDED),
    Path(name="never-proven", prepare=_never_proven, ends=frozenset({S.SLASHED})),
    Path(name="never-slashed", prepare=_never_slashed, ends=REFUNDED),
    Path(name="lies", prepare=_lies, ends=frozenset({S.SLASHED})),
    Path(name="claim", prepare=_hidden_from, ends=PAID),
    Path(name="claim-reverts", prepare=_claim_reverts, ends=frozenset({S.SLASHED})),
    Path(name="landing-reverts", prepare=_landing_reverts, ends=PAID),
    Path(name="never-submitted", prepare=_never_submitted, ends=PAID),
    Path(name="cancelled", prepare=asking, interfere=_cancel, ends=frozenset({S.CANCELLED})),
    Path(name="withdrawn-awarded", prepare=_never_accepted, interfere=_cancel_at(S.AWARDED), ends=REFUNDED),
    Path(name="withdrawn-keyed", prepare=_slow_to_check, interfere=_cancel_at(S.KEYED), ends=PAID),
    Path(name="withdrawn-lapsed", prepare=_never_acknowledged, interfere=_cancel_at(S.LAPSED), ends=REFUNDED),
    Path(name="given-up", prepare=asking, interfere=_cancel_at(S.PROVING), ends=PAID),
    Path(
        name="given-up-unproven",
        prepare=_withdrawn_and_failed,
        interfere=_cancel_at(S.PROVING),
        ends=frozenset({S.SLASHED}),
    ),
    Path(name="given-up-verified", prepare=_kept_back, interfere=_cancel_at(S.VERIFIED), ends=PAID),
    Path(name="capacity", prepare=_capacity, ends=PAID),
    Path(name="peeked", prepare=_peeked, ends=REFUNDED),
    Path(name="gives-up", prepare=_gives_up, ends=REFUNDED),
    Path(name="not-worth", prepare=_not_worth, ends=REFUNDED),
    Path(name="release-reverts", prepare=_release_reverts, ends=REFUNDED),
    Path(name="penalty-reverts", prepare=_penalty_reverts, ends=REFUNDED),
    Path(name="heard-on-l1", prepare=_heard_on_l1, interfere=_lose_acks, ends=PAID),
    Path(name="heard-on-l1-unproven", prepare=_heard_on_l1_unproven, interfere=_lose_acks, ends=REFUNDED),
    Path(name="void", prepare=_void, ends=REFUNDED),
    Path(name="void-reverts", prepare=_void_reverts, ends=frozenset({S.SLASHED})),
    Path(name="amended", prepare=_slow, interfere=_move, ends=PAID),
    Path(name="outgrown", prepare=_outgrown, interfere=_move, ends=PAID),
    Path(name="no-provers", prepare=_no_provers, ends=frozenset({S.EXPIRED})),
    Path(name="spare-ticket", prepare=_spare_ticket, ends=frozenset({S.SLASHED, S.PAID})),
    Path(name="ticket-twice", prepare=asking, interfere=_spend_ticket_twice, ends=REFUNDED),
    Path(name="accusation-reverts", prepare=_accusation_reverts, interfere=_spend_ticket_twice, ends=REFUNDED),
    Path(name="not-needed", prepare=with_standby, ends=PAID),
    Path(name="silent-winner", prepare=_silent_winner, ends=PAID),
    Path(name="overtaken", prepare=_overtaken, ends=PAID),
    Path(name="late-winner", prepare=_late_winner, ends=PAID),
    Path(name="late-winner-shows-proof", prepare=_late_winner_shows_proof, ends=PAID),
    Path(name="second-runner-up", prepare=_second_runner_up, ends=PAID),
    Path(name="everybody-fails", prepare=_everybody_fails, ends=frozenset({S.SLASHED})),
    Path(name="everybody-is-kept", prepare=_everybody_is_kept, ends=REFUNDED),
    Path(name="standby-claims", prepare=_standby_claims, ends=PAID),
    Path(name="standby-never-accepts", prepare=_standby_never_accepts, ends=PAID),
    Path(name="standby-silent", prepare=_standby_silent, ends=frozenset({S.SLASHED})),
    Path(name="standby-declines", prepare=_standby_declines, ends=frozenset({S.SLASHED})),
    Path(name="standby-lies", prepare=_standby_lies, ends=frozenset({S.SLASHED})),
    Path(
        name="away-while-engaging",
        prepare=_away_while_engaging,
        ends=REFUNDED,
        kills=(("requester", "after standby create"),),
    ),
)
"""The campaign's table."""

RACES: Final = frozenset(
    (state, event)
    for event, states in {
        Event.ACK_TIMEOUT: (
            S.ACCEPTED,
            S.S_CALLED,
        ),
        Event.AMEND_REFUSED: (S.AMENDED,),
        Event.CANCEL: (
            S.ACCEPTED,
            S.AMENDED,
            S.AMENDING,
            S.CLOSED,
            S.DEFAULTED,
            S.DRAFT,
        ),
        Event.CLAIMS_OVER: (
            S.LANDED,
            S.VOIDING,
        ),
        Event.CLAIM_FAILED: (S.OWED,),
        Event.EQUIVOCATION_FAILED: (S.WRONGED,),
        Event.FEE_FAILED: (S.FEE_DUE,),
        Event.NOT_NEEDED: (
            S.WON,
            S.S_AWARDED,
            S.S_CALLED,
            S.S_FORCE_DUE,
            S.S_FORCED,
            S.S_KEYED,
            S.S_PEEKED,
            S.S_SILENT,
            S.S_VERIFIED,
        ),
        Event.OUTRUN: (
            S.ACKED,
            S.RECEIPTED,
            S.MISSED,
            S.OWED,
            S.PROVED,
            S.VOIDING,
        ),
        Event.PAYLOAD_MISSING: (
            S.HOLDING,
            S.WON,
        ),
        Event.PAYMENT_SEEN: (
            S.LAPSED,
            S.OWED,
            S.PROVED,
        ),
        Event.PENALTY_FAILED: (S.S_PEEKED,),
        Event.PENALTY_SEEN: (S.S_PEEKED,),
        Event.PROOF_FAILED: (S.ACKED,),
        Event.PROOF_RECEIVED: (
            S.AMENDED,
            S.AMENDING,
        ),
        Event.PROOF_TIMEOUT: (
            S.AMENDED,
            S.AMENDING,
        ),
        Event.REQUEST_CANCELLED: (S.SEEN,),
        Event.SLASH_FAILED: (
            S.S_SLASH_DUE,
            S.SLASH_DUE,
        ),
        Event.SLASH_SEEN: (
            S.VOIDING,
            S.S_SLASH_DUE,
            S.SLASH_DUE,
        ),
        Event.TABLE_EXPIRED: (S.TX_STORED,),
        Event.TAKEN_OVER: (
            S.ACCEPTED,
            S.AWARDED,
            S.KEYED,
        ),
    }.items()
    for state in states
)
"""Rows of the table of states that no undisturbed path takes: what comes there comes a moment earlier or later than it
does undisturbed. Deaths and weather lead to many of them. Each of their events is in a path with another state.
"""
