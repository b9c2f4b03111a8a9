"""What an agreement is about and when: terms, claim windows, receipts, amended statements, recorded signatures."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from protocol.agreement import Agreement, by_key
from protocol.constants import CLAIM_GRACE, MAX_TERM
from tests.support.evmworld import Receipt
from tests.support.marketworld import (
    PRICE,
    SALT,
    Party,
    agree,
    amended,
    assert_market_conserves,
    claim,
    land,
    names,
    paid,
    receipt_bytes,
    settle_bytes,
    slash,
    state_of,
    table,
)
from tests.support.rollupworld import Setup, expect_revert


def record(made: Setup, who: Party, agreement: Agreement, **changes: Any) -> Receipt:
    """record by anybody."""
    return made.market.send("record", settle_bytes(made, who, agreement, **changes), sender=made.stranger)


# -- terms -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"rank": 0}, "BadRank"),
        ({"open_from": 6}, "BadTimes"),  # after ackBy
        ({"ack_by": 31}, "BadTimes"),  # after deliverBy
        ({"deliver_by": 600}, "BadTimes"),  # not before claimBy
        ({"open_from": 1, "claim_from": 0}, "BadTimes"),
        ({"claim_from": 601}, "BadTimes"),  # after claimBy
        ({"claim_by": MAX_TERM + 1}, "BadTimes"),
    ],
)
def test_terms_that_no_ticket_covers_or_that_contradict_themselves_are_refused(
    made: Setup, who: Party, changes: dict[str, int], error: str
) -> None:
    """A ticket can be taken out WITHDRAW_DELAY after it was accepted: no claim or slash may come later."""
    core, now = table(made, who), made.world.time
    shifted = {name: value if name == "rank" else now + value for name, value in changes.items()}
    agreement = agree(made, who, core, **shifted)
    made.world.pass_time(10)  # open, even if it opens late
    with expect_revert(error):
        land(made, who, core, agreement)


def test_the_longest_term_is_accepted_and_ends_before_the_ticket_can_leave(made: Setup, who: Party) -> None:
    """A withdrawal requested the moment after the agreement was opened ends after the last slash."""
    core, now = table(made, who), made.world.time
    agreement = agree(made, who, core, claim_by=now + MAX_TERM)
    made.market.send("requestWithdraw", 0, sender=who.prover.address)
    made.world.pass_time(MAX_TERM + 3600)
    with expect_revert("WithdrawTooEarly"):
        made.market.send("withdraw", 0, sender=who.prover.address)
    assert names(slash(made, who, agreement)) == ["AgreementSlashed"]


def test_nothing_is_paid_before_openfrom(made: Setup, who: Party) -> None:
    """Else a ticket could be drawn by an agreement whose term has not begun, without evidence of the double use."""
    core, later = table(made, who), made.world.time + 2
    agreement = agree(made, who, core, open_from=later, claim_from=later)
    with expect_revert("AgreementNotOpen"):
        land(made, who, core, agreement)
    with expect_revert("ClaimClosed"):
        claim(made, who, core, agreement)
    made.world.pass_time(2)
    land(made, who, core, agreement)
    assert paid(made, who) == PRICE


# -- claim windows -----------------------------------------------------------------------------------------------------

TERM = {"deliver_by": 30, "claim_from": 100, "claim_by": 2000}
TURN = 100 + CLAIM_GRACE


@pytest.mark.parametrize(
    ("rank", "has_receipt", "first", "last"),
    [
        (1, False, 100, TURN),
        (2, False, TURN + 1, 2000),
        (3, False, TURN + CLAIM_GRACE + 1, 2000),
        (1, True, 100, 2000),
        (2, True, 100, 2000),
    ],
)
def test_a_rank_claims_in_its_window_only(
    made: Setup, who: Party, rank: int, has_receipt: bool, first: int, last: int
) -> None:
    """Before claimFrom a claim would show the table; after its turn a rank needs the requester's receipt."""
    core, now = table(made, who), made.world.time
    agreement = agree(made, who, core, rank=rank, **{name: now + value for name, value in TERM.items()})
    receipt = receipt_bytes(made, who, agreement, core) if has_receipt else b""
    for early_or_late in (first - 1, last + 1):
        point = made.world.snapshot()
        made.world.pass_time(early_or_late)
        with expect_revert("ClaimClosed"):
            claim(made, who, core, agreement, receipt=receipt)
        made.world.restore(point)
    for within in (first, last):
        point = made.world.snapshot()
        made.world.pass_time(within)
        assert names(claim(made, who, core, agreement, receipt=receipt)) == ["AgreementSettled"]
        made.world.restore(point)


def test_the_next_rank_is_paid_if_the_one_before_let_its_turn_pass(made: Setup, who: Party) -> None:
    """Both have proofs; the late first one is not paid any more, and its delivery does not count."""
    core, now = table(made, who), made.world.time
    first, second = (agree(made, who, core, rank=rank, claim_by=now + 2000) for rank in (1, 2))
    made.world.pass_time(30 + CLAIM_GRACE + 1)
    with expect_revert("ClaimClosed"):
        claim(made, who, core, first)
    assert names(claim(made, who, core, second)) == ["AgreementSettled"]
    assert paid(made, who) == PRICE
    assert_market_conserves(made, who)


def test_a_receipt_of_another_core_agreement_or_signer_opens_no_window(made: Setup, who: Party) -> None:
    core, other = table(made, who), table(made, who, new_root=1002)
    agreement, another = agree(made, who, core), agree(made, who, core, rank=2)
    good = receipt_bytes(made, who, agreement, core)
    swapped = Party(requester=who.prover, prover=who.prover, payee=who.payee)
    made.world.pass_time(400)
    for bad, error in (
        (receipt_bytes(made, who, agreement, other), "BadSignature"),
        (receipt_bytes(made, who, another, core), "BadSignature"),
        (receipt_bytes(made, swapped, agreement, core), "BadSignature"),
        (b"\x01" + good[1:], "BadSignature"),
        (good[:7], "MalformedReceipt"),
        (good[:-1], "MalformedSignature"),
        (good + b"\0", "MalformedSignature"),
    ):
        with expect_revert(error):
            claim(made, who, core, agreement, receipt=bad)
    claim(made, who, core, agreement, receipt=good)
    assert paid(made, who) == PRICE


# -- amended statements ------------------------------------------------------------------------------------------------


def test_an_amended_agreement_pays_for_the_amended_table_only(made: Setup, who: Party) -> None:
    core, moved = table(made, who), table(made, who, new_root=1002)
    agreement = agree(made, who, core)
    with_amend = settle_bytes(made, who, agreement, amend=amended(made, who, agreement, moved))
    with expect_revert("StatementMismatch"):
        land(made, who, core, agreement, with_amend)
    with expect_revert("StatementMismatch"):
        land(made, who, moved, agreement)
    land(made, who, moved, agreement, with_amend)
    assert (paid(made, who), made.root(1)) == (PRICE, 1002)


@pytest.mark.parametrize("first_by_claim", [True, False])
def test_a_requester_gets_no_second_table_for_one_price(made: Setup, who: Party, first_by_claim: bool) -> None:
    """The prover has proven both; whichever is paid, a load of the other one reverts."""
    core, moved = table(made, who), table(made, who, new_root=1002)
    agreement = agree(made, who, core)
    with_amend = settle_bytes(made, who, agreement, amend=amended(made, who, agreement, moved))
    if first_by_claim:
        claim(made, who, core, agreement)
    else:
        made.world.pass_time(0)
        land(made, who, table(made, who), agreement)
        moved = table(made, who, new_root=1002)
        with_amend = settle_bytes(made, who, agreement, amend=amended(made, who, agreement, moved))
    with expect_revert("Unfunded"):
        land(made, who, moved, agreement, with_amend)
    assert names(claim(made, who, moved, agreement, with_amend)) == ["DeliveredUnpaid"]
    assert paid(made, who) == PRICE


def test_a_recorded_amend_makes_all_before_it_worthless(made: Setup, who: Party) -> None:
    """The requester records it, so that the prover cannot claim for the table that nobody wants any more."""
    core, moved = table(made, who), table(made, who, new_root=1002)
    agreement = agree(made, who, core)
    amend = amended(made, who, agreement, moved, counter=2)
    old = amended(made, who, agreement, core, counter=1)
    receipt = record(made, who, agreement, amend=amend)
    assert receipt.events[0].values["counter"] == 2
    assert receipt.events[0].values["statementCommit"] == amend.statement_commit
    with expect_revert("StatementMismatch"):
        claim(made, who, core, agreement)
    with expect_revert("StaleAmend"):
        claim(made, who, core, agreement, settle_bytes(made, who, agreement, amend=old))
    twice = amended(made, who, agreement, core, counter=2)
    with expect_revert("StaleAmend"):
        claim(made, who, core, agreement, settle_bytes(made, who, agreement, amend=twice))
    with expect_revert("NothingToRecord"):
        record(made, who, agreement, amend=amend)
    # a transaction that brings the recorded amend along is not stopped by whoever recorded it just before
    land(made, who, moved, agreement, settle_bytes(made, who, agreement, amend=amend))
    assert paid(made, who) == PRICE


def test_the_recorded_statement_holds_without_bringing_it_along_until_a_later_one_comes(
    made: Setup, who: Party
) -> None:
    core, moved, again = (table(made, who, new_root=root) for root in (1001, 1002, 1003))
    agreement = agree(made, who, core)
    record(made, who, agreement, amend=amended(made, who, agreement, moved))
    point = made.world.snapshot()
    claim(made, who, moved, agreement)
    assert paid(made, who) == PRICE
    made.world.restore(point)
    claim(
        made, who, again, agreement, settle_bytes(made, who, agreement, amend=amended(made, who, agreement, again, 9))
    )
    assert paid(made, who) == PRICE


def test_an_amend_is_recorded_only_while_it_can_still_be_proven(made: Setup, who: Party) -> None:
    """At the last moment it would take the prover's payment for a proof that it has made."""
    core, moved = table(made, who), table(made, who, new_root=1002)
    agreement = agree(made, who, core)
    made.world.pass_time(31)
    with expect_revert("AmendTooLate"):
        record(made, who, agreement, amend=amended(made, who, agreement, moved))
    assert state_of(made, agreement) == frozenset()
    claim(made, who, core, agreement)
    assert paid(made, who) == PRICE


def test_an_amend_needs_both_signatures_of_this_agreement_counter_and_statement(made: Setup, who: Party) -> None:
    core, moved = table(made, who), table(made, who, new_root=1002)
    agreement, other = agree(made, who, core), agree(made, who, core, rank=2)
    good = amended(made, who, agreement, moved)
    wrong = amended(made, who, other, moved)
    for changes, error in (
        ({"requester_signature": good.prover_signature}, "BadSignature"),
        ({"prover_signature": good.requester_signature}, "BadSignature"),
        ({"requester_signature": wrong.requester_signature}, "BadSignature"),
        ({"counter": 2}, "BadSignature"),
        ({"statement_commit": b"\x01" * 32}, "BadSignature"),
        ({"counter": 0}, "StaleAmend"),
    ):
        amend = replace(good, **changes)
        with expect_revert(error):
            land(made, who, moved, agreement, settle_bytes(made, who, agreement, amend=amend))
    packed = settle_bytes(made, who, agreement, amend=good)
    for cut, error in ((packed[:-1], "MalformedSignature"), (packed[:440], "MalformedSettlement")):
        with expect_revert(error):
            land(made, who, moved, agreement, cut)
    with expect_revert("MalformedSignature"):
        land(made, who, moved, agreement, packed + b"\0")


def test_an_agreement_about_capacity_is_about_nothing_until_it_is_amended(made: Setup, who: Party) -> None:
    """statementCommit 0: it neither pays nor costs a bond before both have signed a table."""
    core = table(made, who)
    agreement = agree(made, who, core, statement_commit=bytes(32), payload_commit=bytes(32))
    for salt in (SALT, bytes(32)):
        with expect_revert("NoStatement"):
            land(made, who, core, agreement, settle_bytes(made, who, agreement, salt=salt))
    with expect_revert("NoStatement"):
        claim(made, who, core, agreement)
    point = made.world.snapshot()
    made.world.pass_time(601)
    with expect_revert("NoStatement"):
        slash(made, who, agreement)
    made.world.restore(point)
    amend = amended(made, who, agreement, core)
    land(made, who, core, agreement, settle_bytes(made, who, agreement, amend=amend))
    assert paid(made, who) == PRICE


# -- recorded signatures -----------------------------------------------------------------------------------------------


def test_recorded_signatures_are_not_asked_again_but_their_place_stays(made: Setup, who: Party) -> None:
    core = table(made, who)
    agreement = agree(made, who, core)
    assert names(record(made, who, agreement)) == ["AgreementRecorded"]
    assert state_of(made, agreement) == {"recorded"}
    with expect_revert("NothingToRecord"):
        record(made, who, agreement)
    blank = by_key(bytes(65))
    packed = settle_bytes(made, who, agreement, requester_signature=blank, prover_signature=blank)
    with expect_revert("MalformedSignature"):
        land(made, who, core, agreement, packed[:-1])
    land(made, who, core, agreement, packed)
    assert paid(made, who) == PRICE


def test_nobody_records_what_was_not_signed_or_is_over(made: Setup, who: Party) -> None:
    core = table(made, who)
    agreement, other = agree(made, who, core), agree(made, who, core, price_wei=PRICE + 1)
    forged = settle_bytes(made, who, other)[:293] + settle_bytes(made, who, agreement)[293:]
    with expect_revert("BadSignature"):
        made.market.send("record", forged, sender=made.stranger)
    made.world.pass_time(601)
    with expect_revert("AgreementExpired"):
        record(made, who, agreement)
    assert state_of(made, other) == frozenset()
