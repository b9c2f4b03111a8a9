"""What a review of the node's newest parts found, each as the thing that must not happen.

A test that is expected to fail shows a finding that is still open.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import trio

import protocol.gossip_memory as gossip_memory
from market.admission import Capability, admit
from market.errors import Skip
from market.lifecycle import State
from market.pricing import Quote
from market.standing import PASSED_OVER, is_shunned
from node import market_state as kept
from node.chain.errors import ChainError, FeeTooHigh, RpcMisbehaved, RpcRefused, StateUnproven
from node.frames import FrameWriter
from node.l1port import asked
from node.ports import ChainCall, Prepared, Refused, TryAgain
from node.requester import Requester
from node.shunning import Shunning
from node.store.database import Database
from node.store.faults import FaultStore
from node.store.orders import OrderStore
from node.store.sequences import Sequences
from node.store.vault import Vault
from node.witness import Witness
from protocol.agreement import Decline, Settlement, agreement_of, by_key, decline_fee, pack_settlement
from protocol.codec import decode_body, read_frame
from protocol.commitments import request_id
from protocol.errors import Ignore, Reject
from protocol.faults import FaultKind, accusation_of
from protocol.gossip import validate
from protocol.gossip_memory import MAX_WITNESSES, GossipMemory
from protocol.messages import (
    MAX_DIRECT_BODY,
    AckVerdict,
    Award,
    DeclineReply,
    DeclineRequest,
    Fault,
    ProofDelivery,
    RollupProof,
)
from protocol.reqresp import DECLINE_EXCHANGE
from protocol.signing import AccountKey, agreement_digest, decline_digest
from protocol.table import statement_commit
from protocol.types import Hash32
from tests.support.market_ledger import MARKET, START_MS, TestClock, let_pass, planned_table
from tests.support.market_sim import World, inline
from tests.support.sim_chain import LedgerChain
from tests.support.sim_network import Link
from tests.support.wire_samples import (
    BOND_WEI,
    NOW_MS,
    PROVERS,
    REQUESTER,
    TICKET_WEI,
    AllTickets,
    award,
    bid,
    framed,
    ready_table,
    request,
)
from tests.support.wire_samples import MARKET as WIRE_MARKET

LONG_S = 20_000  # of mock time: beyond every deadline
HOUR_MS = 3_600_000


class NoTickets:
    """A chain on which nobody has a ticket."""

    def free_ticket_wei(self, owner: bytes, ticket: int) -> int | None:
        """None."""
        return None


def cheap_evidence(key: AccountKey) -> bytes:
    """Two awards of its own, by an account that has nothing and is nobody's counterparty."""

    def signed(prices_wei: tuple[int, ...], sequence: int) -> bytes:
        said: Award = award(prices_wei)
        said = replace(said, requester_signature=key.sign_digest(said.agreement_hash))
        return framed(said, key, sequence=sequence)

    pieces = (signed((10**14, 2 * 10**14), 2), signed((2 * 10**14,), 3))
    return framed(Fault(kind=int(FaultKind.DOUBLE_AWARD), pieces=pieces), key)


def throwaway(number: int) -> AccountKey:
    """A key that nobody knows."""
    return AccountKey((10_000 + number).to_bytes(32, "big"))


async def test_a_prover_gets_no_decline_for_a_table_that_it_amended(tmp_path: Path, autojump_clock: object) -> None:
    """Finding 1: the amended payload was held against the commitment of the table before it."""
    world = World(tmp_path)
    world.winner.prover.prove_s = 40
    async with trio.open_nursery() as nursery:
        for party in reversed(world.parties):
            await nursery.start(party.run_lives)
        node = world.requester.node
        assert isinstance(node, Requester)
        order = await node.request(planned_table(), ticket=0, intent=b"wish")
        with trio.fail_after(LONG_S):
            await world.winner.reaches(State.AT_WORK)
            world.ledger.moved.add(planned_table().core)
            while not await node.loop.document(order.order_id, kept.AMEND):
                await let_pass(100)
        deal = await node.loop.deal(order)
        wanted = Decline(
            agreement_hash=deal.agreement_hash, verdict=int(AckVerdict.INVALID), fee_wei=decline_fee(deal.agreement)
        )
        message = DeclineRequest(
            request_id=order.order_id,
            agreement_hash=deal.agreement_hash,
            verdict=wanted.verdict,
            fee_wei=wanted.fee_wei,
            prover_signature=world.winner.key.sign_digest(decline_digest(MARKET.chain_id, MARKET.contract, wanted)),
        )
        now_ms = TestClock().now_ms()
        frame = framed(message, world.winner.key, sequence=10**6, created_ms=now_ms, expires_ms=now_ms + 60_000)
        link = Link(world.network, b"somebody", lambda channel, frame: None)
        raw = await link.ask(world.network.links[b"requester"].own, DECLINE_EXCHANGE, frame)
        reply = decode_body(DeclineReply, read_frame(raw, max_body=MAX_DIRECT_BODY).body)
        nursery.cancel_scope.cancel()

    assert b"" == reply.requester_signature
    assert agreement_digest(MARKET.chain_id, MARKET.contract, deal.agreement) == reply.agreement_hash


def test_a_bid_keeps_no_slot_and_no_bond_for_hours() -> None:
    """Finding 2: a request that is never awarded costs nothing, and held whoever bid until its acceptBy."""
    able = Capability(
        systems=frozenset({request().systems_hash}),
        tiers=frozenset({0}),
        free_slots=1,
        free_memory_mib=1_000,
        max_size_log2=20,
        bond_wei=BOND_WEI,
    )
    offer = Quote(price_wei=10**12, eta_ms=9_000, memory_mib=300)
    usual = request()
    late = replace(
        usual,
        bid_close_ms=usual.bid_close_ms + HOUR_MS,
        award_by_ms=usual.award_by_ms + HOUR_MS,
        accept_by_ms=usual.accept_by_ms + HOUR_MS,
        ack_by=usual.ack_by + HOUR_MS // 1000,
        deliver_by=usual.deliver_by + HOUR_MS // 1000,
        claim_by=usual.claim_by + HOUR_MS // 1000,
    )
    slow_runner_up = replace(usual, standbys=2, standby_step_s=1_500, claim_by=usual.claim_by + 3_000)

    admit(usual, able, offer, ticket_wei=TICKET_WEI, now_ms=NOW_MS)
    for each in (late, slow_runner_up):
        with pytest.raises(Skip, match="TOO_LONG"):
            admit(each, able, offer, ticket_wei=TICKET_WEI, now_ms=NOW_MS)


def test_evidence_without_a_ticket_takes_no_place_of_those_who_have_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Finding 3: accounts out of thin air told faults of themselves until no new signer was heard."""
    monkeypatch.setattr(gossip_memory, "MAX_SIGNERS", 4)
    memory = GossipMemory()
    for number in range(4):
        validate(
            "fault",
            cheap_evidence(throwaway(number)),
            market=WIRE_MARKET,
            now_ms=NOW_MS,
            memory=memory,
            view=NoTickets(),
        )

    heard = validate("req", framed(request()), market=WIRE_MARKET, now_ms=NOW_MS, memory=memory, view=AllTickets())
    assert REQUESTER.address == heard.signer


async def test_a_relay_whose_receipt_is_refused_does_not_sign_it_again_and_again(autojump_clock: object) -> None:
    """Finding 5: sixteen others were faster, and it signed and wrote a number to disk ten times a second."""
    memory = GossipMemory()
    validate("req", framed(request()), market=WIRE_MARKET, now_ms=NOW_MS, memory=memory, view=AllTickets())
    validate("bid", framed(bid(0), throwaway(0)), market=WIRE_MARKET, now_ms=NOW_MS, memory=memory, view=AllTickets())
    known = memory.request(request().request_id)
    assert known is not None
    known.witnesses.update({bytes([number]) * 20: b"" for number in range(MAX_WITNESSES)})
    database = Database("sqlite://", now_ms=START_MS)
    key, clock, asked = throwaway(1), Later(), Refusing()
    frames = FrameWriter(
        market=WIRE_MARKET, key=key, sequences=Sequences(database, key.address), clock=clock, in_thread=inline
    )
    with trio.move_on_after(1.5):
        await Witness(memory=memory, gossip=asked, frames=frames, clock=clock, ticket=0).serve()
    database.close()

    assert 1 == asked.count


class Later(TestClock):
    """Just after bids have closed."""

    def now_ms(self) -> int:
        """Unix ms."""
        return super().now_ms() - START_MS + request().bid_close_ms


class Refusing:
    """Gossip of a node whose validation takes nothing."""

    count = 0

    async def publish(self, channel: str, frame: bytes) -> None:
        """Refuses."""
        self.count += 1
        raise Refused("WITNESSES_FULL")

    def frames(self, channel: str) -> AsyncIterator[bytes]:
        """Nobody reads."""
        raise NotImplementedError


@pytest.mark.parametrize(
    "error",
    [
        RpcRefused("eth_call", -32005, "limit exceeded"),
        RpcMisbehaved("eth_call", "no JSON"),
        StateUnproven("0x00", "there is no such block"),
    ],
)
async def test_a_client_that_cannot_answer_has_not_said_no(error: ChainError) -> None:
    """Finding 7: a no ends a look at L1 with the node, drops an effect for good, and gives a verified table up."""

    async def question() -> int:
        await trio.lowlevel.checkpoint()
        raise error

    with pytest.raises(TryAgain):
        await asked(question)


async def test_a_verified_table_is_not_given_up_for_a_fee(
    tmp_path: Path, autojump_clock: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Finding 11: one endpoint's fee above the limit, and the price was owed for a table that never landed."""
    world, honest = World(tmp_path), LedgerChain.prepare
    refused: list[str] = []

    async def prepare(chain: LedgerChain, call: ChainCall) -> Prepared:
        if call.purpose.startswith("land ") and len(refused) < 3:
            refused.append(call.purpose)
            raise Refused(FeeTooHigh.code, "the fee needed is above the configured limit")
        return await honest(chain, call)

    monkeypatch.setattr(LedgerChain, "prepare", prepare)
    async with trio.open_nursery() as nursery:
        for party in reversed(world.parties):
            await nursery.start(party.run_lives)
        node = world.requester.node
        assert isinstance(node, Requester)
        await node.request(planned_table(), ticket=0)
        with trio.fail_after(LONG_S):
            await world.requester.ended.wait()
        nursery.cancel_scope.cancel()

    order = world.requester.order()
    assert order is not None
    assert (State.PAID, "", 3) == (order.state, order.reason, len(refused))


async def test_a_relay_that_passes_a_checked_table_on_does_not_speak_for_its_announcer(
    tmp_path: Path, autojump_clock: object
) -> None:
    """Finding 10: it publishes the frame again from itself, and was cut by all when the announcer gave itself up."""

    class Shunned:
        """Who is shunned."""

        peers: tuple[str, ...] = ()

        def shun(self, peer_id: str, length_s: float) -> None:
            """As the host."""
            self.peers += (peer_id,)

    database, host = Database("sqlite://", now_ms=NOW_MS), Shunned()
    faults, clock = FaultStore(database), TestClock()
    shunning = Shunning(
        faults=faults,
        store=OrderStore(database, Vault(tmp_path / "vault.key")),
        in_thread=inline,
        clock=clock,
        host=host,
    )
    shunning.heard(framed(ready_table()), "relay")
    shunning.heard(framed(request()), "cheat")
    faults.add(REQUESTER.address, int(FaultKind.DOUBLE_AWARD), b"subject", b"evidence", clock.now_ms())
    with trio.move_on_after(1):
        await shunning.serve()
    database.close()

    assert ("cheat",) == host.peers


@pytest.mark.xfail(strict=True, reason="finding 4: evidence about accounts out of thin air is stored for ever")
def test_evidence_about_an_account_without_a_ticket_is_not_stored() -> None:
    """Sixteen kilobytes a frame, made for nothing, and no table of it is ever shortened."""
    with pytest.raises(Ignore):
        validate(
            "fault",
            cheap_evidence(throwaway(0)),
            market=WIRE_MARKET,
            now_ms=NOW_MS,
            memory=GossipMemory(),
            view=NoTickets(),
        )


@pytest.mark.xfail(strict=True, reason="finding 6: a bidder that tells others another bid gets a requester shunned")
@pytest.mark.parametrize(("kind", "count"), [(PASSED_OVER, 6), (int(FaultKind.BID_IGNORED), 3)])
def test_bids_passed_over_alone_ban_nobody(kind: int, count: int) -> None:
    """A first bid counts, and each node has its own first: a cheap one for relays, a dear one for the requester."""
    faults = [(REQUESTER.address, kind, NOW_MS)] * count

    assert not is_shunned(faults, REQUESTER.address, NOW_MS)


@pytest.mark.xfail(strict=True, reason="finding 8: whoever has enough of the smallest tickets closes the market")
def test_one_owner_does_not_take_every_place_for_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand requests that are never awarded, two hours each; the tickets stay its own."""
    monkeypatch.setattr(gossip_memory, "MAX_LIVE_REQUESTS", 4)
    memory, hoarder = GossipMemory(), throwaway(0)
    for ticket in range(4):
        said = request(requester_ticket=ticket)
        said = replace(said, request_id=request_id(hoarder.address, said))
        frame = framed(said, hoarder, sequence=ticket)
        validate("req", frame, market=WIRE_MARKET, now_ms=NOW_MS, memory=memory, view=AllTickets())

    heard = validate("req", framed(request()), market=WIRE_MARKET, now_ms=NOW_MS, memory=memory, view=AllTickets())
    assert REQUESTER.address == heard.signer


@pytest.mark.xfail(strict=True, reason="finding 19: whoever leaves an amend away convicts the prover that kept it")
def test_a_proof_of_the_amended_table_is_no_bad_proof_of_the_first_one() -> None:
    """A delivery does not say which table it proves, so it is held against the one that the accuser chooses."""
    prover, first = PROVERS[0], planned_table()
    agreement = replace(
        agreement_of(REQUESTER.address, request(), 1, award().openings[0]),
        statement_commit=statement_commit(Hash32(first.salt), Hash32(first.core_id)),
    )
    agreed = agreement_digest(WIRE_MARKET.chain_id, WIRE_MARKET.contract, agreement)
    settlement = pack_settlement(
        Settlement(
            agreement=agreement,
            salt=first.salt,
            requester_signature=by_key(REQUESTER.sign_digest(agreed)),
            prover_signature=by_key(prover.sign_digest(agreed)),
        )
    )
    proof_of_the_second = RollupProof(rollup_id=1, system=bytes(20), proof=planned_table(1).core_id)
    delivery = ProofDelivery(
        request_id=agreement.request_id, agreement_hash=agreed, proofs=(proof_of_the_second,), prove_ms=1
    )
    told = Fault(kind=int(FaultKind.BAD_PROOF), pieces=(settlement, framed(delivery, prover), first.core))

    with pytest.raises(Reject):
        accusation_of(told, chain_id=WIRE_MARKET.chain_id, market=WIRE_MARKET.contract)
