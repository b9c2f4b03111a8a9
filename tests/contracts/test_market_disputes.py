"""Promises that were broken: failover, forced release, tickets promised twice, dead configurations, declines."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from protocol.agreement import Agreement
from protocol.constants import MAX_BOX, PEEK_DIVISOR, RELEASE_WINDOW, SLASH_WINDOW, WITHDRAW_DELAY
from protocol.signing import AccountKey
from protocol.table import Core, core_id, encode_core
from protocol.types import ZERO_HASH
from tests.support.evmworld import Receipt
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
    land,
    names,
    paid,
    receipt_bytes,
    settle_bytes,
    slash,
    state_of,
    table,
    ticket,
)
from tests.support.rollupworld import DELAY, FAMILY, Setup, expect_revert

OTHER_REQUEST = b"\x78" * 32
BURNED = bytes(20)


@pytest.fixture
def rival(made: Setup, who: Party) -> Party:
    """The same requester with another prover, which has a ticket of its own."""
    prover = AccountKey(b"\x04" * 32)
    made.world.fund(prover.address)
    made.market.send("deposit", TICKET_CLASS, 1, sender=prover.address, value=2 * TICKET)
    return replace(who, prover=prover, payee=b"\x9b" * 20)


def held(made: Setup, who: Party, rival: Party) -> int:
    """Everything that tickets and credits say, wei."""
    owners = (who.requester.address, who.prover.address, rival.prover.address)
    tickets = sum(
        sum(made.market.view("ticketOf", owner, number)[1:3])
        for owner in owners
        for number in range(made.market.view("ticketCount", owner))
    )
    return tickets + sum(credit(made, account) for account in {*owners, who.payee, rival.payee, BURNED})


# -- failover ----------------------------------------------------------------------------------------------------------


def failover_bytes(made: Setup, who: Party, agreement: Agreement, core: Core) -> bytes:
    """Evidence that this agreement was paid."""
    return core_id(encode_core(core)) + settle_bytes(made, who, agreement)


def test_a_first_rank_that_failed_is_slashed_although_the_second_was_paid(
    made: Setup, who: Party, rival: Party
) -> None:
    core = table(made, who)
    first, second = agree(made, who, core), agree(made, rival, core, rank=2)
    made.world.pass_time(31)  # its time to deliver is over
    land(made, rival, core, second)
    made.world.pass_time(601)
    with expect_revert("Unfunded"):  # without the evidence the requester looks like one that could not pay
        slash(made, who, first)
    slash(made, who, first, failover=failover_bytes(made, rival, second, core))
    assert credit(made, who.requester.address) == TICKET - PRICE + BOND
    assert made.world.balance(made.market.address) == held(made, who, rival)


def test_a_rank_that_another_was_faster_than_is_spared(made: Setup, who: Party, rival: Party) -> None:
    """Rank 2 started in parallel, acknowledged, and stopped when rank 1 was paid."""
    core = table(made, who)
    first, second = agree(made, who, core), agree(made, rival, core, rank=2)
    land(made, who, core, first)
    made.world.pass_time(601)
    for evidence, error in (
        (b"", "Unfunded"),
        (failover_bytes(made, who, first, core), "NotFailover"),  # an earlier rank
        (failover_bytes(made, rival, second, core), "NotFailover"),  # itself
        (b"\x01" * 31, "MalformedSettlement"),
    ):
        with expect_revert(error):
            slash(made, rival, second, failover=evidence)
    assert ticket(made, rival.prover)[1:3] == (TICKET, TICKET)


def test_failover_evidence_is_a_later_rank_of_the_same_request_that_was_paid(
    made: Setup, who: Party, rival: Party
) -> None:
    core = table(made, who)
    first = agree(made, who, core)
    other = agree(made, rival, core, rank=2, request_id=OTHER_REQUEST)
    unpaid = agree(made, rival, core, rank=2)
    land(made, rival, core, other)
    made.world.pass_time(601)
    for evidence in (failover_bytes(made, rival, other, core), failover_bytes(made, rival, unpaid, core)):
        with expect_revert("NotFailover"):
            slash(made, who, first, failover=evidence)


# -- forced release ----------------------------------------------------------------------------------------------------


def force(made: Setup, who: Party, agreement: Agreement, box: bytes = b"sealed", **changes: Any) -> Receipt:
    """forceRelease by the requester."""
    fields = {"sender": who.requester.address} | changes
    return made.market.send("forceRelease", settle_bytes(made, who, agreement), box, **fields)


def penalise(made: Setup, who: Party, agreement: Agreement) -> Receipt:
    """takePeekPenalty by anybody."""
    return made.market.send("takePeekPenalty", settle_bytes(made, who, agreement), sender=made.stranger)


def respond(made: Setup, who: Party, agreement: Agreement, ack: bytes | None = None) -> Receipt:
    """answerRelease by anybody."""
    ack = ack_bytes(made, who, agreement) if ack is None else ack
    return made.market.send("answerRelease", settle_bytes(made, who, agreement), ack, sender=made.stranger)


def long_agreement(made: Setup, who: Party, core: Core, **changes: Any) -> Agreement:
    """An agreement whose claims outlast a forced release."""
    return agree(made, who, core, **({"claim_by": made.world.time + 2000} | changes))


def test_silence_after_a_forced_release_costs_a_sixteenth_and_the_agreement_goes_on(
    made: Setup, who: Party, rival: Party
) -> None:
    core = table(made, who)
    agreement = long_agreement(made, who, core)
    log = force(made, who, agreement).events[0]
    assert (log.name, log.values["box"]) == ("ReleaseForced", b"sealed")
    assert log.values["respondBy"] == made.world.time + RELEASE_WINDOW
    made.world.pass_time(RELEASE_WINDOW)
    with expect_revert("NotPenalisable"):
        penalise(made, who, agreement)
    made.world.pass_time(1)
    penalise(made, who, agreement)
    assert credit(made, who.requester.address) == TICKET // PEEK_DIVISOR
    assert credit(made, who.prover.address) == TICKET - TICKET // PEEK_DIVISOR
    with expect_revert("NotPenalisable"):
        penalise(made, who, agreement)
    claim(made, who, core, agreement, receipt=receipt_bytes(made, who, agreement, core))
    assert paid(made, who) == PRICE
    assert made.world.balance(made.market.address) == held(made, who, rival)
    assert state_of(made, agreement) == {"recorded", "penalised"}


@pytest.mark.parametrize("way", ["ack", "cancel", "claim"])
def test_a_prover_that_answers_in_any_way_is_not_penalised(made: Setup, who: Party, way: str) -> None:
    core = table(made, who)
    agreement = long_agreement(made, who, core)
    force(made, who, agreement)
    made.world.pass_time(200)
    if way == "ack":
        assert names(respond(made, who, agreement)) == ["ReleaseAnswered"]
    elif way == "cancel":
        made.market.send("cancelAgreement", settle_bytes(made, who, agreement), sender=who.prover.address)
    else:
        claim(made, who, core, agreement)
    made.world.pass_time(RELEASE_WINDOW)
    with expect_revert("(NotPenalisable|Unfunded)"):
        penalise(made, who, agreement)
    assert ticket(made, who.prover)[1:3] == (TICKET, TICKET)


def test_an_answer_makes_the_prover_liable_as_any_ack_does(made: Setup, who: Party) -> None:
    agreement = long_agreement(made, who, table(made, who))
    force(made, who, agreement)
    respond(made, who, agreement)
    made.world.pass_time(2001)
    slash(made, who, agreement)
    assert credit(made, who.requester.address) == BOND


def test_a_release_is_forced_once_by_the_requester_in_time_and_answered_in_time(
    made: Setup, who: Party, rival: Party
) -> None:
    core = table(made, who)
    agreement = long_agreement(made, who, core)
    for sender in (who.prover.address, made.stranger):
        with expect_revert("NotRequester"):
            force(made, who, agreement, sender=sender)
    with expect_revert("BoxTooLong"):
        force(made, who, agreement, bytes(MAX_BOX + 1))
    with expect_revert("AgreementNotOpen"):
        force(made, who, replace(agreement, open_from=made.world.time + 1, claim_from=made.world.time + 1))
    with expect_revert("NotForced"):
        penalise(made, who, agreement)
    with expect_revert("Unfunded"):
        force(made, who, replace(agreement, price_wei=TICKET + 1))
    unsigned = settle_bytes(made, rival, agreement)
    with expect_revert("BadSignature"):
        made.market.send("forceRelease", unsigned, b"", sender=who.requester.address)
    force(made, who, agreement)
    with expect_revert("AlreadyForced"):
        force(made, who, agreement)
    for bad, error in (
        (ack_bytes(made, who, agreement, agreement.ack_by + 1), "LateAck"),
        (ack_bytes(made, rival, agreement), "BadSignature"),
    ):
        with expect_revert(error):
            respond(made, who, agreement, bad)
    made.world.pass_time(31)
    with expect_revert("ReleaseTooLate"):
        force(
            made,
            who,
            long_agreement(
                made,
                who,
                core,
                open_from=agreement.open_from,
                ack_by=agreement.ack_by,
                deliver_by=agreement.deliver_by,
                request_id=OTHER_REQUEST,
            ),
        )
    made.world.pass_time(RELEASE_WINDOW)
    with expect_revert("ReleaseTooLate"):
        respond(made, who, agreement)
    made.world.pass_time(2000 + SLASH_WINDOW)
    with expect_revert("SlashTooLate"):
        penalise(made, who, agreement)


# -- one ticket, two promises ------------------------------------------------------------------------------------------


def report(made: Setup, first: bytes, second: bytes, paid_core: bytes = ZERO_HASH) -> Receipt:
    """slashEquivocation by anybody."""
    return made.market.send("slashEquivocation", first, second, paid_core, sender=made.stranger)


def test_a_ticket_promised_to_two_requests_compensates_who_is_not_paid(made: Setup, who: Party, rival: Party) -> None:
    """The rival has worked in vain: its price comes out of the bond, the rest of which is burned."""
    core, other = table(made, who), table(made, who, new_root=1002)
    first, second = agree(made, who, core), agree(made, rival, other, request_id=OTHER_REQUEST)
    land(made, who, core, first)
    packed = [settle_bytes(made, party, deal) for party, deal in ((who, first), (rival, second))]
    paid_core = core_id(encode_core(core))
    with expect_revert("NotThePayment"):  # the one that was paid is no victim
        report(made, packed[1], packed[0], paid_core)
    with expect_revert("NotThePayment"):
        report(made, *packed)
    log = report(made, *packed, paid_core).events
    assert [event.name for event in log] == ["BondTaken", "EquivocationSlashed"]
    assert (log[1].values["firstWei"], log[1].values["secondWei"]) == (0, PRICE)
    assert (paid(made, who), credit(made, rival.payee), credit(made, BURNED)) == (PRICE, PRICE, TICKET - PRICE)
    with expect_revert("NoBond"):
        report(made, *packed, paid_core)
    assert made.world.balance(made.market.address) == held(made, who, rival)


def test_two_live_promises_are_enough_and_nobody_gets_more_than_its_price_or_its_share(
    made: Setup, who: Party, rival: Party
) -> None:
    core = table(made, who)
    first = agree(made, who, core)
    second = agree(made, rival, core, request_id=OTHER_REQUEST, price_wei=TICKET)
    packed = [settle_bytes(made, party, deal) for party, deal in ((who, first), (rival, second))]
    report(made, *packed)
    assert (paid(made, who), credit(made, rival.payee)) == (PRICE, TICKET // 4)
    assert credit(made, BURNED) == TICKET - PRICE - TICKET // 4
    assert ticket(made, who.requester)[1:3] == (TICKET, 0)
    land(made, who, core, first)  # the ticket itself still pays
    assert paid(made, who) == 2 * PRICE
    assert made.world.balance(made.market.address) == held(made, who, rival)


def test_an_owner_that_reports_itself_loses_at_least_half_of_the_bond(made: Setup, who: Party) -> None:
    """Agreements with itself, drawn and reported in one go before the victim can."""
    alone = Party(requester=who.requester, prover=who.requester, payee=who.requester.address)
    core = table(made, who)
    first = agree(made, alone, core, price_wei=TICKET)
    second = agree(made, alone, core, price_wei=TICKET, request_id=OTHER_REQUEST)
    before = credit(made, who.requester.address)
    report(made, settle_bytes(made, alone, first), settle_bytes(made, alone, second))
    assert credit(made, who.requester.address) - before == TICKET // 2
    assert credit(made, BURNED) == TICKET // 2


@pytest.mark.parametrize("paid_first", [True, False])
def test_honest_failover_is_no_equivocation(made: Setup, who: Party, rival: Party, paid_first: bool) -> None:
    core = table(made, who)
    first, second = agree(made, who, core), agree(made, rival, core, rank=2)
    if paid_first:
        land(made, who, core, first)
    packed = (settle_bytes(made, who, first), settle_bytes(made, rival, second))
    with expect_revert("NotEquivocation"):
        report(made, *packed, core_id(encode_core(core)))


def test_a_ticket_used_again_after_its_first_term_is_no_equivocation(made: Setup, who: Party, rival: Party) -> None:
    core, now = table(made, who), made.world.time
    first = agree(made, who, core)
    again = {"open_from": now + 601, "ack_by": now + 605, "deliver_by": now + 610, "claim_from": now + 610}
    later = agree(made, rival, core, request_id=OTHER_REQUEST, claim_by=now + 1200, **again)
    packed = (settle_bytes(made, who, first), settle_bytes(made, rival, later))
    with expect_revert("NotEquivocation"):
        report(made, *packed)
    touching = agree(
        made, rival, core, request_id=OTHER_REQUEST, claim_by=now + 1200, **(again | {"open_from": now + 600})
    )
    assert names(report(made, packed[0], settle_bytes(made, rival, touching)))[-1] == "EquivocationSlashed"


def test_evidence_needs_both_signatures_one_ticket_and_agreements_that_hold(
    made: Setup, who: Party, rival: Party
) -> None:
    core = table(made, who)
    first = settle_bytes(made, who, agree(made, who, core))
    second = agree(made, rival, core, request_id=OTHER_REQUEST)
    good = settle_bytes(made, rival, second)
    ticket_2 = agree(made, rival, core, request_id=OTHER_REQUEST, requester_ticket=1)
    stranger = replace(rival, requester=rival.prover)
    of_stranger = agree(made, stranger, core, request_id=OTHER_REQUEST)
    for bad, error in (
        (settle_bytes(made, replace(rival, prover=who.prover), second), "BadSignature"),
        (settle_bytes(made, stranger, second), "BadSignature"),
        (settle_bytes(made, rival, ticket_2), "NotEquivocation"),
        (settle_bytes(made, stranger, of_stranger), "NotEquivocation"),
        (first, "NotEquivocation"),
    ):
        for pair in ((first, bad), (bad, first)):
            with expect_revert(f"({error}|NotEquivocation|NoBond)"):
                report(made, *pair)
    made.market.send("cancelAgreement", good, sender=rival.prover.address)
    for pair in ((first, good), (good, first)):
        with expect_revert("NotEquivocation"):
            report(made, *pair)
    assert ticket(made, who.requester)[1:3] == (TICKET, TICKET)


def test_the_bond_of_a_ticket_that_paid_stays_until_its_other_victims_could_come(
    made: Setup, who: Party, rival: Party
) -> None:
    core, other = table(made, who), table(made, who, new_root=1002)
    first, second = agree(made, who, core), agree(made, rival, other, request_id=OTHER_REQUEST)
    land(made, who, core, first)
    made.world.pass_time(WITHDRAW_DELAY - 1)
    with expect_revert("WithdrawTooEarly"):
        made.market.send("withdraw", 0, sender=who.requester.address)
    packed = [settle_bytes(made, party, deal) for party, deal in ((who, first), (rival, second))]
    report(made, *packed, core_id(encode_core(core)))
    made.world.pass_time(1)
    with expect_revert("NoTicket"):
        made.market.send("withdraw", 0, sender=who.requester.address)


def test_a_bond_ticket_drawn_by_its_owner_does_not_save_it_from_the_slash(
    made: Setup, who: Party, rival: Party
) -> None:
    """The prover slashes itself first, by an agreement with itself of an earlier term; the ticket's bond answers."""
    now = made.world.time
    made.world.pass_time(200)
    core = table(made, who)
    terms = {"open_from": now, "ack_by": now, "deliver_by": now, "claim_from": now, "claim_by": now + 1}
    alone = Party(requester=who.prover, prover=who.prover, payee=who.prover.address)
    made.market.send("deposit", TICKET_CLASS, 1, sender=who.prover.address, value=2 * TICKET)
    false = agree(made, alone, core, requester_ticket=1, bond_wei=TICKET, **terms)
    victim = agree(made, who, core)
    slash(made, alone, false)
    made.world.pass_time(601)
    log = slash(made, who, victim).events
    assert [event.name for event in log] == ["BondTaken", "AgreementSlashed"]
    assert credit(made, who.requester.address) == BOND
    assert credit(made, BURNED) == TICKET - BOND
    with expect_revert("AlreadySlashed"):
        slash(made, who, victim)
    assert made.world.balance(made.market.address) == held(made, who, rival)


def test_a_ticket_lost_as_a_provers_answers_for_its_promise_as_a_requesters(
    made: Setup, who: Party, rival: Party
) -> None:
    """One account is requester of one agreement and prover of another on the same ticket."""
    core, now = table(made, who), made.world.time
    both = Party(requester=rival.prover, prover=who.requester, payee=who.payee)
    terms = {"open_from": now, "ack_by": now, "deliver_by": now, "claim_from": now, "claim_by": now + 1}
    lost = agree(made, both, core, bond_wei=TICKET, **terms)
    made.world.pass_time(2)
    victim = agree(made, who, core)
    slash(made, both, lost)
    report(made, settle_bytes(made, both, lost), settle_bytes(made, who, victim))
    assert paid(made, who) == PRICE
    assert made.world.balance(made.market.address) == held(made, who, rival)


# -- nobody's fault ----------------------------------------------------------------------------------------------------


def switch(made: Setup) -> int:
    """The owner of rollup 1 announces and gets another configuration. Returns when it took effect."""
    config = ([made.accept_all.hex], [FAMILY[:-1] + b"\x01"], 1)
    made.rollups.send("scheduleConfig", 1, config, sender=made.world.account("owner"))
    made.world.pass_time(DELAY)
    return made.world.time


def void(
    made: Setup, who: Party, agreement: Agreement, core: Core, ack_at: int, *about: int, **changes: Any
) -> Receipt:
    """voidAgreement by anybody."""
    settlement = settle_bytes(made, who, agreement, **changes)
    ack = ack_bytes(made, who, agreement, ack_at)
    return made.market.send("voidAgreement", settlement, ack, encode_core(core), *about, sender=made.stranger)


def test_an_agreement_whose_configuration_died_before_the_ack_binds_nobody(made: Setup, who: Party) -> None:
    core, now = table(made, who), made.world.time
    late = {"ack_by": now + DELAY + 10, "deliver_by": now + DELAY + 20, "claim_by": now + 2 * DELAY}
    agreement = agree(made, who, core, **late)
    switched = switch(made)
    with expect_revert("ConfigurationLives"):  # the Ack came before: the duty stands, and the claim
        void(made, who, agreement, core, switched - 1, 1, 2)
    for about in ((1, 1), (2, 1)):  # epoch 1 was there before openFrom
        with expect_revert("ConfigurationLives"):
            void(made, who, agreement, core, switched, *about)
    with expect_revert("ConfigurationLives"):  # an Ack from the future
        void(made, who, agreement, core, switched + 1, 1, 2)
    point = made.world.snapshot()
    claim(made, who, core, agreement)  # a proof for the configuration of openFrom is still owed its price
    assert paid(made, who) == PRICE
    made.world.restore(point)
    assert names(void(made, who, agreement, core, switched, 1, 2)) == ["AgreementVoided"]
    with expect_revert("(AgreementIsVoid|StaleTable|ThresholdNotMet|TableExpired|SystemsMismatch)"):
        land(made, who, core, agreement)
    point = made.world.snapshot()
    assert names(claim(made, who, core, agreement)) == ["DeliveredUnpaid"]
    made.world.restore(point)
    made.world.pass_time(2 * DELAY)
    with expect_revert("AgreementIsVoid"):
        slash(made, who, agreement)
    with expect_revert("AgreementIsVoid"):
        void(made, who, agreement, core, switched, 1, 2)
    assert ticket(made, who.prover)[1:3] == ticket(made, who.requester)[1:3] == (TICKET, TICKET)


def test_void_is_about_a_member_of_the_agreed_tables_lockset(made: Setup, who: Party) -> None:
    core, now = table(made, who), made.world.time
    late = {"ack_by": now + DELAY + 10, "deliver_by": now + DELAY + 20, "claim_by": now + 2 * DELAY}
    agreement = agree(made, who, core, **late)
    made.create_rollup(3, owner=made.world.account("owner"))
    config = ([made.accept_all.hex], [FAMILY[:-1] + b"\x01"], 1)
    made.rollups.send("scheduleConfig", 3, config, sender=made.world.account("owner"))
    switched = switch(made)
    with expect_revert("NotInLockset"):
        void(made, who, agreement, core, switched, 3, 2)
    other = table(made, who, new_root=1002)
    with expect_revert("StatementMismatch"):
        void(made, who, agreement, other, switched, 1, 2)
    with expect_revert("BadSignature"):
        void(made, replace(who, prover=who.requester), agreement, core, switched, 1, 2)
    amend = amended(made, who, agreement, other)
    void(made, who, agreement, other, switched, 1, 2, amend=amend)
    assert state_of(made, agreement) == {"voided"}


# -- declines ----------------------------------------------------------------------------------------------------------


def decline(made: Setup, who: Party, agreement: Agreement, fee_wei: int, declined: bytes | None = None) -> Receipt:
    """decline by anybody."""
    declined = declined_bytes(made, who, agreement, fee_wei) if declined is None else declined
    return made.market.send("decline", settle_bytes(made, who, agreement), declined, sender=made.stranger)


def test_a_countersigned_decline_pays_its_fee_and_ends_the_agreement(made: Setup, who: Party, rival: Party) -> None:
    core = table(made, who)
    agreement = agree(made, who, core)
    assert names(decline(made, who, agreement, 7)) == ["AgreementDeclined"]
    assert (paid(made, who), credit(made, who.requester.address)) == (7, TICKET - 7)
    assert state_of(made, agreement) == {"relieved"}
    for call in (land, claim):
        with expect_revert("AgreementIsRelieved"):
            call(made, who, core, agreement)
    with expect_revert("AgreementIsRelieved"):
        decline(made, who, agreement, 7)
    made.world.pass_time(601)
    with expect_revert("AgreementIsRelieved"):
        slash(made, who, agreement)
    assert made.world.balance(made.market.address) == held(made, who, rival)


def test_a_decline_without_a_fee_leaves_the_ticket_free_for_the_next_request(made: Setup, who: Party) -> None:
    core = table(made, who)
    decline(made, who, agree(made, who, core), 0)
    assert ticket(made, who.requester) == (TICKET_CLASS, TICKET, TICKET, 0, 0)
    land(made, who, core, agree(made, who, core, request_id=OTHER_REQUEST))
    assert paid(made, who) == PRICE


def test_a_decline_that_only_one_signed_or_that_costs_more_than_the_price_is_refused(made: Setup, who: Party) -> None:
    agreement = agree(made, who, table(made, who))
    for party in (replace(who, requester=who.prover), replace(who, prover=who.requester)):
        with expect_revert("BadSignature"):
            decline(made, who, agreement, 7, declined_bytes(made, party, agreement, 7))
    good = declined_bytes(made, who, agreement, 7)
    for bad, error in (
        (b"\x03" + good[1:], "BadSignature"),
        (good[:12] + b"\x08" + good[13:], "BadSignature"),
        (good[:12], "MalformedDecline"),
        (good[:-1], "MalformedSignature"),
        (good + b"\0", "MalformedSignature"),
    ):
        with expect_revert(error):
            decline(made, who, agreement, 7, bad)
    with expect_revert("FeeAbovePrice"):
        decline(made, who, agreement, PRICE + 1)
    made.world.pass_time(601)
    with expect_revert("AgreementExpired"):
        decline(made, who, agreement, 7)
