"""Second adversarial round on the market and its proof system: what was tried to steal, forge, grief or starve.

Each test says what must hold.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import permutations

import pytest

from protocol.agreement import Agreement, SignedAmend, StatementAmend, by_contract, by_key, pack_dated
from protocol.contracts.artifacts import call_data
from protocol.load import config_hash, lockset_systems_hash
from protocol.signing import AccountKey, amend_digest
from protocol.table import Core, Entry, core_id, encode_core
from protocol.types import ZERO_HASH, Address, Hash32
from tests.support.evmworld import CHAIN_ID, Contract, Receipt, Reverted
from tests.support.marketworld import (
    BOND,
    PRICE,
    TICKET,
    TICKET_CLASS,
    Party,
    ack_bytes,
    agree,
    amended,
    claim,
    credit,
    declined_bytes,
    digest,
    land,
    names,
    paid,
    settle_bytes,
    slash,
    state_of,
    table,
    ticket,
)
from tests.support.rollupworld import DELAY, FAMILY, GENESIS, Setup, answer, expect_revert, l1_call, word

OTHER_REQUEST = b"\x78" * 32


def tickets(made: Setup, owner: AccountKey, count: int = 1) -> None:
    """More tickets of the usual class."""
    made.world.fund(owner.address)
    made.market.send("deposit", TICKET_CLASS, count, sender=owner.address, value=2 * TICKET * count)


def sybil_of(made: Setup, who: Party) -> Party:
    """The requester with a prover that is its own, which has a ticket."""
    key = AccountKey(b"\x07" * 32)
    tickets(made, key)
    return Party(requester=who.requester, prover=key, payee=key.address)


def draw_by_decline(made: Setup, who: Party, agreement: Agreement, fee_wei: int = 1) -> Receipt:
    """Both sign a decline whose fee draws the requester's ticket: no proof of anything is needed."""
    return made.market.send(
        "decline",
        settle_bytes(made, who, agreement),
        declined_bytes(made, who, agreement, fee_wei),
        sender=made.stranger,
    )


def evidence(made: Setup, who: Party, agreement: Agreement, core: Core | None) -> bytes:
    """What `slash` takes as proof that a later rank was paid; None for a decline."""
    return (ZERO_HASH if core is None else core_id(encode_core(core))) + settle_bytes(made, who, agreement)


# -- slashing who did its work -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("by_claim", [False, True])
@pytest.mark.parametrize("declined", [True, False])
def test_a_prover_that_was_paid_is_not_slashed_by_a_made_up_rank_with_another_ticket(
    made: Setup, who: Party, by_claim: bool, declined: bool
) -> None:
    """The 'later rank' names a second ticket of the requester: drawn by a decline with itself, or by its own table."""
    tickets(made, who.requester)
    core = table(made, who)
    victim = agree(made, who, core)
    (claim if by_claim else land)(made, who, core, victim)
    assert paid(made, who) == PRICE
    sybil = sybil_of(made, who)
    other = table(made, sybil, new_root=1777)
    own = agree(made, sybil, other, rank=2, requester_ticket=1, price_wei=1)
    if declined:
        draw_by_decline(made, sybil, own)
    else:
        land(made, sybil, other, own)
    made.world.pass_time(601)
    with expect_revert("(NotFailover|Unfunded|AlreadyDelivered)"):
        slash(made, who, victim, failover=evidence(made, sybil, own, None if declined else other))
    assert ticket(made, who.prover)[1:3] == (TICKET, TICKET)


def test_a_decline_of_a_later_rank_is_no_failover(made: Setup, who: Party) -> None:
    """One wei to a prover of its own, no proof: rank 1 could not be paid any more, so it owes nothing."""
    core = table(made, who)
    victim = agree(made, who, core)
    sybil = sybil_of(made, who)
    own = agree(made, sybil, core, rank=2)
    draw_by_decline(made, sybil, own)
    made.world.pass_time(601)
    with expect_revert("(NotFailover|Unfunded)"):
        slash(made, who, victim, failover=evidence(made, sybil, own, None))


def test_a_requester_that_broke_its_promise_makes_up_no_failover(made: Setup, who: Party) -> None:
    """The ticket went to another request. A rank of another ticket and another table does not bring the duty back."""
    tickets(made, who.requester)
    core = table(made, who)
    victim = agree(made, who, core)
    sybil = sybil_of(made, who)
    elsewhere = table(made, sybil, new_root=1777)
    claim(made, sybil, elsewhere, agree(made, sybil, elsewhere, request_id=OTHER_REQUEST))
    own = agree(made, sybil, elsewhere, rank=2, requester_ticket=1, price_wei=0)
    made.world.pass_time(331)
    assert names(claim(made, sybil, elsewhere, own)) == ["AgreementSettled"]
    made.world.pass_time(270)
    with expect_revert("(NotFailover|Unfunded)"):
        slash(made, who, victim, failover=evidence(made, sybil, own, elsewhere))


def test_a_first_rank_that_was_overtaken_in_its_time_owes_nothing(made: Setup, who: Party) -> None:
    """Rank 2 (of the requester's own) lands a second after rank 1's Ack: rank 1 may stop, as any that was overtaken."""
    core = table(made, who)
    victim = agree(made, who, core)
    sybil = sybil_of(made, who)
    own = agree(made, sybil, core, rank=2)
    made.world.pass_time(1)
    land(made, sybil, core, own)
    made.world.pass_time(600)
    with expect_revert("(NotFailover|Unfunded)"):
        slash(made, who, victim, failover=evidence(made, sybil, own, core))


# -- promises that cost less than they say -----------------------------------------------------------------------------


def test_a_prover_cannot_take_back_a_proof_that_it_has_handed_over(made: Setup, who: Party) -> None:
    """It gives its price up just before the user's transaction, and a claim would then save its bond."""
    core = table(made, who)
    agreement = agree(made, who, core)
    made.market.send("cancelAgreement", settle_bytes(made, who, agreement), sender=who.prover.address)
    land(made, who, core, agreement)
    assert (made.root(1), paid(made, who)) == (1001, 0)


def test_the_ack_of_a_cancelled_agreement_counts_although_the_freed_ticket_was_used(made: Setup, who: Party) -> None:
    core = table(made, who)
    given_up = agree(made, who, core)
    made.market.send("cancelAgreement", settle_bytes(made, who, given_up), sender=who.prover.address)
    next_one = sybil_of(made, who)
    land(made, next_one, core, agree(made, next_one, core, request_id=OTHER_REQUEST))
    made.world.pass_time(601)
    slash(made, who, given_up)
    assert credit(made, who.requester.address) == TICKET - PRICE + BOND


def draw_and_report_itself(made: Setup, owner: AccountKey) -> None:
    """An owner empties its ticket 0 by a decline with itself and takes half of the bond home before others can."""
    alone = Party(requester=owner, prover=owner, payee=owner.address)
    core = table(made, alone, new_root=1555)
    first, second = (
        agree(made, alone, core, request_id=bytes((i,)) * 32, price_wei=TICKET, bond_wei=0) for i in (1, 2)
    )
    draw_by_decline(made, alone, first)
    packed = settle_bytes(made, alone, first), settle_bytes(made, alone, second)
    made.market.send("slashEquivocation", *packed, ZERO_HASH, sender=owner.address)


def test_a_prover_that_breaks_its_word_loses_at_least_its_bond(made: Setup, who: Party) -> None:
    """Of a bond that may be relied on: half of the ticket at most (SPEC §8.2)."""
    agreement = agree(made, who, table(made, who), bond_wei=TICKET // 2)
    draw_and_report_itself(made, who.prover)
    made.world.pass_time(601)
    with suppress(Reverted):
        slash(made, who, agreement)
    left = credit(made, who.prover.address) + sum(ticket(made, who.prover)[1:3])
    assert 2 * TICKET - left >= agreement.bond_wei


def test_a_bond_of_half_the_ticket_is_never_cheaper_to_avoid_than_to_pay(made: Setup, who: Party) -> None:
    draw_and_report_itself(made, who.prover)
    left = credit(made, who.prover.address) + sum(ticket(made, who.prover)[1:3])
    assert 2 * TICKET - left == TICKET // 2


def open_table(made: Setup, who: Party) -> Core:
    """A table that its requester may run by calls of its own."""
    return replace(table(made, who), triggers_hash=ZERO_HASH)


def test_a_requester_that_draws_its_ticket_loses_at_least_the_price(made: Setup, who: Party) -> None:
    """The requester runs the proof that it got without settlement and has emptied its ticket before the claim. Of a
    price that may be relied on without fixed triggers: half of the ticket at most (SPEC §8.2)."""
    core = open_table(made, who)
    agreement = agree(made, who, core, price_wei=TICKET // 2)
    draw_and_report_itself(made, who.requester)
    made.run(core, (), sender=who.requester.address, payee=who.payee, agreement=digest(made, agreement))
    assert names(claim(made, who, core, agreement)) == ["DeliveredUnpaid"]
    left = credit(made, who.requester.address) + sum(ticket(made, who.requester)[1:3])
    assert 2 * TICKET - left >= agreement.price_wei


# -- signers that change their mind ------------------------------------------------------------------------------------


def contract_prover(made: Setup, who: Party) -> tuple[Contract, Party]:
    """A prover that is a contract, with a ticket, saying yes for now."""
    account = made.world.deploy("OddSigner")
    made.world.fund(made.stranger)
    deposit = call_data("ProofMarket", "deposit", TICKET_CLASS, 1)
    account.send("act", made.market.address, deposit, sender=made.stranger, value=2 * TICKET)

    @dataclass(frozen=True)
    class Account:
        address: bytes

        def sign_digest(self, _digest: bytes) -> bytes:
            return bytes(65)

    return account, replace(who, prover=Account(account.address))  # type: ignore[arg-type]


@pytest.mark.parametrize("forced", [True, False])
def test_an_ack_that_the_contract_saw_holds_although_the_prover_takes_it_back(
    made: Setup, who: Party, forced: bool
) -> None:
    """It has answered a forced release, so that it paid no penalty; when it is slashed, it says no."""
    account, party = contract_prover(made, who)
    core = table(made, party)
    agreement = agree(made, party, core, claim_by=made.world.time + 2000)
    packed = settle_bytes(made, party, agreement, prover_signature=by_contract(b"yes"))
    ack = pack_dated(agreement.ack_by, by_contract(b"yes"))
    if forced:
        made.market.send("forceRelease", packed, b"box", sender=who.requester.address)
        made.market.send("answerRelease", packed, ack, sender=made.stranger)
        assert "answered" in state_of(made, agreement)
    else:
        made.market.send("answerRelease", packed, ack, sender=made.stranger)
    made.world.pass_time(2001)
    account.send("set", 1, sender=made.stranger)
    made.market.send("slash", packed, ack, b"", sender=made.stranger)
    assert credit(made, who.requester.address) == BOND


def switch_configuration(made: Setup, rollup_id: int) -> int:
    """Its owner announces and gets another configuration. Returns when it took effect."""
    config = ([made.accept_all.hex], [b"\xfb" * 32], 1)
    made.rollups.send("scheduleConfig", rollup_id, config, sender=made.world.account("owner"))
    made.world.pass_time(DELAY)
    return made.world.time


def test_a_prover_that_acknowledged_in_time_does_not_free_itself_by_a_later_ack(made: Setup, who: Party) -> None:
    """It owns a rollup of the lockset, or is lucky: after the switch it signs again and voids the agreement."""
    core, now = table(made, who), made.world.time
    agreement = agree(made, who, core, ack_by=now + DELAY, deliver_by=now + DELAY, claim_by=now + DELAY + 60)
    in_time = ack_bytes(made, who, agreement, now)
    switched = switch_configuration(made, 1)
    again = ack_bytes(made, who, agreement, switched)
    packed = settle_bytes(made, who, agreement)
    made.market.send("voidAgreement", packed, again, encode_core(core), 1, 2, sender=who.prover.address)
    made.world.pass_time(61)
    slash(made, who, agreement, in_time)
    assert credit(made, who.requester.address) == BOND


# -- formats -----------------------------------------------------------------------------------------------------------


def test_a_claim_of_rank_0_is_refused_by_name(made: Setup, who: Party) -> None:
    core = table(made, who)
    with expect_revert("BadRank"):
        claim(made, who, core, agree(made, who, core, rank=0))


def test_nothing_follows_an_amend_that_was_recorded(made: Setup, who: Party) -> None:
    core, moved = table(made, who), table(made, who, new_root=1002)
    agreement = agree(made, who, core)
    packed = settle_bytes(made, who, agreement, amend=amended(made, who, agreement, moved))
    made.market.send("record", packed, sender=made.stranger)
    with expect_revert("MalformedSignature"):
        land(made, who, moved, agreement, packed + b"anything")


def test_an_agreement_that_is_void_is_not_slashed_unless_its_prover_can_still_deliver(made: Setup, who: Party) -> None:
    """The requester has two Acks, from before and after a switch: it voids with one and slashes with the other."""
    core, now = table(made, who), made.world.time
    agreement = agree(made, who, core, ack_by=now + DELAY, deliver_by=now + DELAY, claim_by=now + DELAY + 60)
    in_time = ack_bytes(made, who, agreement, now)
    switched = switch_configuration(made, 1)
    again = ack_bytes(made, who, agreement, switched)
    packed = settle_bytes(made, who, agreement)
    made.market.send("voidAgreement", packed, again, encode_core(core), 1, 2, sender=who.requester.address)
    with suppress(Reverted):
        claim(made, who, core, agreement)
    made.world.pass_time(61)
    with expect_revert("(AgreementIsVoid|AlreadyDelivered)"):
        slash(made, who, agreement, in_time)


# -- tickets and bonds -------------------------------------------------------------------------------------------------


def test_a_spent_ticket_owes_no_peek_penalty_and_keeps_its_bond(made: Setup, who: Party) -> None:
    """A decline of one wei with itself: the ticket comes home, and a bond has no sixteenths."""
    agreement = agree(made, who, table(made, who), claim_by=made.world.time + 2000)
    packed = settle_bytes(made, who, agreement)
    made.market.send("forceRelease", packed, b"box", sender=who.requester.address)
    alone = Party(requester=who.prover, prover=who.prover, payee=who.prover.address)
    draw_by_decline(made, alone, agree(made, alone, table(made, alone), request_id=OTHER_REQUEST))
    made.world.pass_time(601)
    with expect_revert("Unfunded"):
        made.market.send("takePeekPenalty", packed, sender=made.stranger)
    assert ticket(made, who.prover)[1:3] == (0, TICKET)


def test_a_ticket_bought_after_a_slash_owes_nothing_of_the_one_before(made: Setup, who: Party) -> None:
    """Old evidence names a ticket by its number, and numbers are not used again."""
    core = table(made, who)
    first, again = agree(made, who, core), agree(made, who, core, request_id=OTHER_REQUEST)
    made.world.pass_time(601)
    slash(made, who, first)
    tickets(made, who.prover)
    slash(made, who, again)  # of ticket 0: what is left of it is its bond
    with expect_revert("AlreadySlashed"):
        slash(made, who, again)
    now = made.world.time
    past = {"open_from": now - 9, "ack_by": now - 9, "claim_from": now - 9, "deliver_by": now - 8, "claim_by": now - 1}
    with expect_revert("Unfunded"):
        slash(made, who, agree(made, who, core, request_id=b"\x79" * 32, **past))
    assert tuple(made.market.view("ticketOf", who.prover.address, 1))[1:4] == (TICKET, TICKET, 0)


def test_evidence_about_one_ticket_takes_no_other(made: Setup, who: Party) -> None:
    """The owner's other ticket, the same number of another owner, and the same evidence a second time."""
    tickets(made, who.requester)
    sybil = sybil_of(made, who)
    core = table(made, who)
    first, second = agree(made, who, core), agree(made, sybil, core, request_id=OTHER_REQUEST)
    on_another = settle_bytes(made, sybil, agree(made, sybil, core, request_id=OTHER_REQUEST, requester_ticket=1))
    packed = settle_bytes(made, who, first), settle_bytes(made, sybil, second)
    for pair in ((packed[0], on_another), (on_another, packed[0])):
        with expect_revert("NotEquivocation"):
            made.market.send("slashEquivocation", *pair, ZERO_HASH, sender=made.stranger)
    made.market.send("slashEquivocation", *packed, ZERO_HASH, sender=made.stranger)
    for pair in (packed, packed[::-1]):
        with expect_revert("NoBond"):
            made.market.send("slashEquivocation", *pair, ZERO_HASH, sender=made.stranger)
    assert tuple(made.market.view("ticketOf", who.requester.address, 1))[1:3] == (TICKET, TICKET)
    assert ticket(made, sybil.prover)[1:3] == ticket(made, who.prover)[1:3] == (TICKET, TICKET)


@pytest.mark.parametrize("price", [0, 1, TICKET // 4, TICKET // 4 + 1, TICKET // 2 + 1, TICKET])
@pytest.mark.parametrize("bond", [0, 1, TICKET // 2, TICKET])
def test_who_deals_with_itself_on_one_ticket_neither_makes_nor_loses_a_wei(made: Setup, price: int, bond: int) -> None:
    """Requester, prover and payee are one, requester's and prover's ticket too: every way to draw it, in one life."""
    key = AccountKey(b"\x01" * 32)
    tickets(made, key)
    alone = Party(requester=key, prover=key, payee=key.address)
    core = table(made, alone)
    terms = {"price_wei": price, "bond_wei": bond}
    first = agree(made, alone, core, **terms)
    second = agree(made, alone, core, request_id=OTHER_REQUEST, **terms)

    def held() -> int:
        return sum(ticket(made, key)[1:3]) + credit(made, key.address) + credit(made, bytes(20))

    def tell() -> None:
        with suppress(Reverted):
            pair = settle_bytes(made, alone, first), settle_bytes(made, alone, second)
            made.market.send("slashEquivocation", *pair, ZERO_HASH, sender=made.stranger)

    lives: list[list[Callable[[], object]]] = [
        [lambda: claim(made, alone, core, first), lambda: claim(made, alone, core, second), tell],
        [lambda: draw_by_decline(made, alone, first, min(price, TICKET)), tell],
        [tell, lambda: land(made, alone, core, first)],
        [
            lambda: made.world.pass_time(601),
            lambda: slash(made, alone, first),
            lambda: slash(made, alone, second),
            tell,
        ],
        [lambda: made.world.pass_time(601), tell, lambda: slash(made, alone, first)],
    ]
    for life in lives:
        point = made.world.snapshot()
        for act in life:
            with suppress(Reverted):
                act()
            assert made.world.balance(made.market.address) == held() == 2 * TICKET
        assert credit(made, bytes(20)) <= TICKET
        made.world.restore(point)


@pytest.mark.parametrize("shift", [-1, 0, 1])
def test_the_configuration_of_openfrom_is_that_of_its_second(made: Setup, who: Party, shift: int) -> None:
    """An owner that may switch at once does so around openFrom, and again later: a claim asks one of them, for good."""
    owner = made.world.account("owner")
    made.rollups.send(
        "createRollup", ([made.accept_all.hex], [FAMILY], 1), owner, 0, word(3000), GENESIS, sender=made.stranger
    )
    trigger = l1_call(who.requester.address, 3)
    entry = Entry(mid=False, new_root=3001, trigger=trigger, next_action=answer(trigger))
    core = made.core([entry], (3,), executor=Address(who.requester.address))
    opens = made.world.time + 10
    terms = {
        "open_from": opens,
        "ack_by": opens,
        "claim_from": opens,
        "deliver_by": opens + 30,
        "claim_by": opens + 600,
    }
    families = FAMILY, b"\xfb" * 32
    system = [Address(made.accept_all.address)]
    deals = [
        agree(made, who, core, systems_hash=lockset_systems_hash([config_hash(1, system, [Hash32(f)])]), **terms)
        for f in families
    ]
    made.world.pass_time(10 + shift)
    for family in (b"\xfa" * 31 + b"\x01", families[1]):  # the last of a second counts
        made.rollups.send("scheduleConfig", 3, ([made.accept_all.hex], [family], 1), sender=owner)
    made.world.pass_time(2)
    made.rollups.send("scheduleConfig", 3, ([made.accept_all.hex], [b"\xfc" * 32], 1), sender=owner)
    made.world.pass_time(5)
    right = 0 if shift > 0 else 1
    with expect_revert("SystemsMismatch"):
        claim(made, who, core, deals[1 - right])
    claim(made, who, core, deals[right])
    assert paid(made, who) == PRICE


# -- amends ------------------------------------------------------------------------------------------------------------


def test_an_amend_of_another_agreement_of_the_same_parties_moves_nothing(made: Setup, who: Party) -> None:
    """Of another rank, request, ticket or price: each has its own hash."""
    core, moved = table(made, who), table(made, who, new_root=1002)
    agreement = agree(made, who, core)
    for change in ({"rank": 2}, {"request_id": OTHER_REQUEST}, {"requester_ticket": 1}, {"price_wei": PRICE + 1}):
        foreign = amended(made, who, replace(agreement, **change), moved)
        with expect_revert("BadSignature"):
            made.market.send("record", settle_bytes(made, who, agreement, amend=foreign), sender=made.stranger)
    assert state_of(made, agreement) == frozenset()


def test_amends_only_go_up_to_the_last_counter(made: Setup, who: Party) -> None:
    """Every order of recording ends with the highest; nothing is above 65,535."""
    cores = {counter: table(made, who, new_root=1000 + counter % 7) for counter in (1, 2, 65_534, 65_535)}
    agreement = agree(made, who, table(made, who))
    bytes_of = {
        counter: settle_bytes(made, who, agreement, amend=amended(made, who, agreement, core, counter))
        for counter, core in cores.items()
    }
    for order in permutations(cores):
        point = made.world.snapshot()
        for counter in order:
            with suppress(Reverted):
                made.market.send("record", bytes_of[counter], sender=made.stranger)
        for counter, core in cores.items():
            if counter < 65_535:
                with expect_revert("(StaleAmend|StatementMismatch)"):
                    claim(made, who, core, agreement, bytes_of[counter])
        claim(made, who, cores[65_535], agreement)
        assert paid(made, who) == PRICE
        made.world.restore(point)


def test_an_amend_to_nothing_makes_nothing_payable_and_nothing_slashable(made: Setup, who: Party) -> None:
    """Both sign that the agreement is about no table for now."""
    core = table(made, who)
    agreement = agree(made, who, core)
    to_nothing = StatementAmend(agreement_hash=digest(made, agreement), counter=1, statement_commit=bytes(32))
    signed = amend_digest(CHAIN_ID, made.market.address, to_nothing)
    amend = SignedAmend(
        counter=1,
        statement_commit=bytes(32),
        requester_signature=by_key(who.requester.sign_digest(signed)),
        prover_signature=by_key(who.prover.sign_digest(signed)),
    )
    made.market.send("record", settle_bytes(made, who, agreement, amend=amend), sender=made.stranger)
    for call in (land, claim):
        with expect_revert("NoStatement"):
            call(made, who, core, agreement)
    made.world.pass_time(601)
    with expect_revert("NoStatement"):
        slash(made, who, agreement)


# -- submitters --------------------------------------------------------------------------------------------------------


def test_a_proposal_that_was_taken_back_is_accepted_by_nobody(made: Setup, who: Party) -> None:
    """Nor by a key that was a submitter before, nor for another owner."""
    key = AccountKey(b"\x05" * 32)
    owner, other = who.prover.address, who.requester.address
    made.market.send("proposeSubmitter", key.address, sender=owner)
    made.market.send("revokeSubmitter", owner, key.address, sender=owner)
    for whose in (owner, other):
        with expect_revert("BadSubmitter"):
            made.market.send("acceptSubmitter", whose, sender=key.address)
    assert made.market.view("submitterValidUntil", owner, key.address) == 0
    made.market.send("proposeSubmitter", key.address, sender=owner)
    made.market.send("acceptSubmitter", owner, sender=key.address)
    made.market.send("revokeSubmitter", owner, key.address, sender=key.address)
    with expect_revert("BadSubmitter"):
        made.market.send("acceptSubmitter", owner, sender=key.address)
    with expect_revert("BadSubmitter"):
        made.market.send("revokeSubmitter", other, key.address, sender=key.address)


def test_a_submitter_of_a_submitter_signs_for_neither_owner(made: Setup, who: Party) -> None:
    middle, last = AccountKey(b"\x05" * 32), AccountKey(b"\x06" * 32)
    for owner, key in ((who.prover.address, middle), (middle.address, last)):
        made.market.send("proposeSubmitter", key.address, sender=owner)
        made.market.send("acceptSubmitter", owner, sender=key.address)
    agreement = agree(made, who, table(made, who))
    signature = by_key(last.sign_digest(digest(made, agreement)))
    packed = settle_bytes(made, who, agreement, prover_signature=signature)
    with expect_revert("BadSignature"):
        made.market.send("record", packed, sender=made.stranger)
    with expect_revert("NotProver"):
        made.market.send("cancelAgreement", settle_bytes(made, who, agreement), sender=last.address)


# -- payees ------------------------------------------------------------------------------------------------------------


def test_the_market_zero_and_the_proof_system_as_payees_move_no_ether_of_others(made: Setup, who: Party) -> None:
    """What is credited to address 0 is burned; a contract that takes no ether keeps its credit; all else stays."""
    for payee, leaves in ((made.market.address, False), (made.accept_all.address, False), (bytes(20), True)):
        point = made.world.snapshot()
        itself = Party(requester=who.requester, prover=who.prover, payee=payee)
        core = table(made, itself)
        land(made, itself, core, agree(made, itself, core))
        held = made.world.balance(made.market.address)
        with suppress(Reverted):
            made.market.send("collect", payee, sender=made.stranger)
        assert made.world.balance(made.market.address) == held - PRICE * leaves
        assert credit(made, payee) == PRICE * (not leaves)
        made.world.restore(point)
