"""Claims without a load, and what becomes of an agreement that was not kept."""

from __future__ import annotations

from dataclasses import replace

from protocol.agreement import paid_tag
from protocol.constants import WITHDRAW_DELAY
from protocol.table import Entry, encode_core
from protocol.types import ZERO_HASH, Address
from tests.support.marketworld import (
    BOND,
    HOUR,
    PRICE,
    TICKET,
    TICKET_CLASS,
    Party,
    ack_bytes,
    agree,
    assert_market_conserves,
    claim,
    digest,
    land,
    paid,
    settle_bytes,
    slash,
    table,
    ticket,
)
from tests.support.rollupworld import DELAY, Setup, answer, expect_revert, l1_call

# -- claim -------------------------------------------------------------------------------------------------------------


def test_claim_pays_even_if_the_table_can_no_longer_load(made: Setup, who: Party) -> None:
    core = table(made, who)
    agreement = agree(made, who, core)
    made.run(made.open_core([replace_source(made, 1999)]), sender=made.stranger)
    with expect_revert("StaleTable"):
        land(made, who, core, agreement)
    receipt = claim(made, who, core, agreement)
    assert [e.name for e in receipt.events] == ["AgreementSettled"]
    assert paid(made, who) == PRICE
    assert_market_conserves(made, who)


def replace_source(made: Setup, new_root: int) -> Entry:
    """A stranger's own entry."""
    trigger = l1_call(made.stranger, 1)
    return Entry(mid=False, new_root=new_root, trigger=trigger, next_action=answer(trigger))


def test_claiming_twice_or_after_landing_is_refused(made: Setup, who: Party) -> None:
    core = table(made, who)
    agreement = agree(made, who, core)
    claim(made, who, core, agreement)
    with expect_revert("AlreadySettled"):
        claim(made, who, core, agreement)
    other = table(made, who, new_root=1002, data=b"x")
    second = agree(made, who, other, request_id=b"\x78" * 32, requester_ticket=1)
    made.market.send("deposit", TICKET_CLASS, 1, sender=who.requester.address, value=2 * TICKET)
    land(made, who, other, second)
    with expect_revert("AlreadySettled"):
        claim(made, who, other, second)
    assert paid(made, who) == 2 * PRICE


def test_a_request_is_paid_once_whatever_the_rank_and_the_other_rank_counts_as_delivered(
    made: Setup, who: Party
) -> None:
    core = table(made, who)
    first, second = agree(made, who, core), agree(made, who, core, rank=2)
    land(made, who, core, first)
    made.world.pass_time(331)
    receipt = claim(made, who, core, second)
    assert [e.name for e in receipt.events] == ["DeliveredUnpaid"]
    assert paid(made, who) == PRICE
    made.world.pass_time(270)
    with expect_revert("AlreadyDelivered"):
        slash(made, who, second)


def test_a_requester_whose_ticket_is_gone_cannot_get_the_provers_bond(made: Setup, who: Party) -> None:
    """Equivocation: the ticket paid for another request. The delivery still counts."""
    other = table(made, who, new_root=1002, data=b"x")
    claim(made, who, other, agree(made, who, other, request_id=b"\x78" * 32))
    core = table(made, who)
    agreement = agree(made, who, core)
    assert [e.name for e in claim(made, who, core, agreement).events] == ["DeliveredUnpaid"]
    made.world.pass_time(601)
    with expect_revert("AlreadyDelivered"):
        slash(made, who, agreement)


def test_claim_with_an_invalid_proof_is_refused(made: Setup, who: Party) -> None:
    odd = made.world.deploy("OddProofSystem")
    made.create_rollup(3, system=odd)
    trigger = l1_call(who.requester.address, 3)
    entry = Entry(mid=False, new_root=3001, trigger=trigger, next_action=answer(trigger))
    core = made.core([entry], members=(3,), executor=Address(who.requester.address))
    agreement = agree(replace(made, accept_all=odd), who, core)
    proofs = bytearray(made.proofs(core, who.payee, digest(made, agreement)))
    proofs[61:81] = odd.address
    arguments = (encode_core(core), bytes(proofs), settle_bytes(made, who, agreement), b"")
    with expect_revert("InvalidProof"):
        made.market.send("claimWithProof", *arguments, sender=made.stranger)
    odd.send("set", 1, sender=made.stranger)
    made.market.send("claimWithProof", *arguments, sender=made.stranger)
    assert paid(made, who) == PRICE


def test_an_owner_cannot_make_old_agreements_claimable_by_a_new_proof_system(made: Setup, who: Party) -> None:
    """The configuration of openFrom decides, whatever the owner puts in force later under the same family."""
    core = table(made, who)
    late = made.world.time + 2 * DELAY
    agreement = agree(made, who, core, deliver_by=late, claim_by=late + HOUR)
    odd = made.world.deploy("OddProofSystem")
    odd.send("set", 1, sender=made.stranger)
    owner = made.world.account("owner")
    made.rollups.send("scheduleConfig", 1, ([odd.hex], [b"\xfa" * 32], 1), sender=owner)
    made.world.pass_time(DELAY)
    proofs = bytearray(made.proofs(core, who.payee, digest(made, agreement)))
    proofs[61:81] = odd.address
    with expect_revert("NotActiveSystem"):
        made.market.send(
            "claimWithProof",
            encode_core(core),
            bytes(proofs),
            settle_bytes(made, who, agreement),
            b"",
            sender=made.stranger,
        )
    claim(made, who, core, agreement)
    assert paid(made, who) == PRICE


# -- faults ------------------------------------------------------------------------------------------------------------


def test_a_silent_prover_that_acknowledged_loses_its_bond_to_the_requester(made: Setup, who: Party) -> None:
    agreement = agree(made, who, table(made, who))
    with expect_revert("SlashTooEarly"):
        slash(made, who, agreement)
    made.world.pass_time(601)
    slash(made, who, agreement)
    assert made.market.view("payoutOf", who.requester.address) == BOND
    assert made.market.view("payoutOf", who.prover.address) == TICKET - BOND
    tag = paid_tag(digest(made, agreement), ZERO_HASH)
    assert ticket(made, who.prover) == (TICKET_CLASS, 0, TICKET, made.world.time + WITHDRAW_DELAY, tag)
    assert ticket(made, who.requester) == (TICKET_CLASS, TICKET, TICKET, 0, 0)
    with expect_revert("AlreadySlashed"):
        slash(made, who, agreement)
    assert_market_conserves(made, who)


def test_slash_needs_the_provers_timely_ack_of_this_payload(made: Setup, who: Party) -> None:
    agreement = agree(made, who, table(made, who))
    good = ack_bytes(made, who, agreement)
    other = agree(made, who, table(made, who), payload_commit=b"\x01" * 32)
    made.world.pass_time(601)
    requester_signs = replace(who, prover=who.requester)
    for ack, error in (
        (ack_bytes(made, who, agreement, agreement.ack_by + 1), "LateAck"),
        ((agreement.ack_by - 1).to_bytes(8, "big") + good[8:], "BadSignature"),
        (ack_bytes(made, who, other), "BadSignature"),
        (ack_bytes(made, requester_signs, agreement), "BadSignature"),
        (good[:7], "MalformedAck"),
        (good[:8], "MalformedSignature"),
        (good[:-1], "MalformedSignature"),
        (good + b"\x00", "MalformedSignature"),
    ):
        with expect_revert(error):
            slash(made, who, agreement, ack)
    slash(made, who, agreement, good)
    assert made.market.view("payoutOf", who.requester.address) == BOND


def test_a_prover_that_landed_or_claimed_is_not_slashed(made: Setup, who: Party) -> None:
    core = table(made, who)
    agreement = agree(made, who, core)
    land(made, who, core, agreement)
    made.world.pass_time(601)
    with expect_revert("Unfunded"):
        slash(made, who, agreement)


def test_slash_ends_and_needs_the_bond(made: Setup, who: Party) -> None:
    core = table(made, who)
    agreement = agree(made, who, core)
    unfunded = agree(made, who, core, bond_wei=TICKET + 1)
    made.world.pass_time(601)
    with expect_revert("Unfunded"):
        slash(made, who, unfunded)
    made.world.pass_time(HOUR)
    with expect_revert("SlashTooLate"):
        slash(made, who, agreement)


def test_a_cancelled_agreement_pays_nobody_but_its_ack_still_counts(made: Setup, who: Party) -> None:
    core = table(made, who)
    agreement = agree(made, who, core)
    settlement = settle_bytes(made, who, agreement)
    with expect_revert("NotProver"):
        made.market.send("cancelAgreement", settlement, sender=who.requester.address)
    made.market.send("cancelAgreement", settlement, sender=who.prover.address)
    with expect_revert("AgreementIsCancelled"):
        made.market.send("cancelAgreement", settlement, sender=who.prover.address)
    made.world.pass_time(601)
    slash(made, who, agreement)
    assert (paid(made, who), made.market.view("payoutOf", who.requester.address)) == (0, BOND)
