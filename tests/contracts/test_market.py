"""Tickets, settlement inside a load, claims, slashing: who is paid what, once, and who is not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from protocol.agreement import Agreement
from protocol.contracts.artifacts import call_data
from protocol.load import encode_expects
from protocol.signing import GROUP_ORDER, AccountKey
from protocol.table import Core, Entry, encode_core, encode_triggers
from protocol.types import Address
from tests.support.evmworld import Receipt
from tests.support.marketworld import (
    BOND,
    PRICE,
    TICKET,
    Party,
    ack_bytes,
    agree,
    digest,
    parties,
    settle_bytes,
)
from tests.support.rollupworld import Setup, answer, expect_revert, l1_call

HOUR = 3600


@pytest.fixture
def who(made: Setup) -> Party:
    """Requester and prover with a ticket each."""
    return parties(made)


def table(made: Setup, who: Party, new_root: int = 1001, data: bytes = b"") -> Core:
    """A one-entry table of the requester."""
    trigger = l1_call(who.requester.address, 1, data=data)
    entry = Entry(mid=False, new_root=new_root, trigger=trigger, next_action=answer(trigger))
    return made.core([entry], executor=Address(who.requester.address))


def land(made: Setup, who: Party, core: Core, agreement: Agreement, settlement: bytes | None = None) -> Receipt:
    """The requester's one transaction."""
    settlement = settle_bytes(made, who, agreement) if settlement is None else settlement
    return made.run(
        core,
        sender=who.requester.address,
        payee=agreement.payee,
        agreement=digest(made, agreement),
        settlement=settlement,
    )


def claim(made: Setup, who: Party, core: Core, agreement: Agreement, settlement: bytes | None = None) -> Receipt:
    """claimWithProof by anybody."""
    settlement = settle_bytes(made, who, agreement) if settlement is None else settlement
    proofs = made.proofs(core, agreement.payee, digest(made, agreement))
    return made.market.send("claimWithProof", encode_core(core), proofs, settlement, sender=made.stranger)


def paid(made: Setup, who: Party) -> int:
    """Credit of the payee."""
    return int(made.market.view("payoutOf", who.payee))


def assert_market_conserves(made: Setup, who: Party) -> None:
    """What the market holds is what tickets and credits say."""
    tickets = sum(made.market.view("ticketOf", key.address, 0)[0] for key in (who.requester, who.prover))
    accounts = (who.payee, who.requester.address, who.prover.address)
    credits = sum(made.market.view("payoutOf", account) for account in accounts)
    assert made.world.balance(made.market.address) == tickets + credits


# -- settle ------------------------------------------------------------------------------------------------------------


def test_digests_agree(made: Setup, who: Party) -> None:
    agreement = agree(made, who, table(made, who))
    assert made.market.view("agreementHash", settle_bytes(made, who, agreement)) == digest(made, agreement)


def test_landing_pays_the_payee_and_frees_the_rest_of_the_ticket(made: Setup, who: Party) -> None:
    core = table(made, who)
    agreement = agree(made, who, core)
    receipt = land(made, who, core, agreement)
    assert [e.name for e in receipt.events] == ["TableLoaded", "AgreementSettled", "ExecutionConsumed"]
    assert paid(made, who) == PRICE
    assert made.market.view("ticketOf", who.requester.address, 0) == (TICKET - PRICE, 1)
    assert made.market.view("ticketOf", who.prover.address, 0) == (TICKET, 0)
    assert made.market.view("settledBy", who.requester.address, agreement.request_id) == digest(made, agreement)
    assert_market_conserves(made, who)
    made.market.send("withdraw", 0, sender=who.requester.address)
    made.market.send("collect", who.payee, sender=made.stranger)
    assert made.world.balance(who.payee) == PRICE
    assert_market_conserves(made, who)


def test_a_copy_by_another_account_pays_nobody_and_the_original_lands(made: Setup, who: Party) -> None:
    """The copier is not the executor: its transaction reverts. The user's own lands and pays once."""
    core = table(made, who)
    agreement = agree(made, who, core)
    copy = dict(payee=agreement.payee, agreement=digest(made, agreement), settlement=settle_bytes(made, who, agreement))
    with expect_revert("NotExecutor"):
        made.run(core, sender=made.stranger, **copy)
    land(made, who, core, agreement)
    assert paid(made, who) == PRICE


def test_a_copied_claim_pays_the_payee_and_the_users_load_still_runs(made: Setup, who: Party) -> None:
    """Whoever takes core, proofs and settlement from the user's transaction can only claim for the agreed payee."""
    core = table(made, who)
    agreement = agree(made, who, core)
    claim(made, who, core, agreement)
    receipt = land(made, who, core, agreement)
    assert "AgreementSettled" not in [e.name for e in receipt.events]
    assert (paid(made, who), made.root(1)) == (PRICE, 1001)
    assert_market_conserves(made, who)


def test_a_load_without_triggers_never_settles(made: Setup, who: Party) -> None:
    trigger = l1_call(who.requester.address, 1)
    entry = Entry(mid=False, new_root=1001, trigger=trigger, next_action=answer(trigger))
    core = made.open_core([entry])
    agreement = agree(made, who, core)
    settlement = settle_bytes(made, who, agreement)
    made.run(core, (), sender=made.stranger, payee=who.payee, agreement=digest(made, agreement), settlement=settlement)
    assert paid(made, who) == 0


def test_a_reverting_trigger_pays_nobody(made: Setup, who: Party) -> None:
    trigger = l1_call(who.requester.address, 1)
    entry = Entry(mid=False, new_root=1001, trigger=trigger, next_action=answer(trigger, b"no", failed=True))
    core = made.core([entry], executor=Address(who.requester.address))
    with expect_revert("CallReverted"):
        land(made, who, core, agree(made, who, core))
    assert paid(made, who) == 0


def test_an_agreement_about_another_request_of_the_same_id_blocks_nobody(made: Setup, who: Party) -> None:
    """A stranger signs agreements with itself under the victim's request id; ids are kept per requester."""
    mallory = AccountKey(b"\x03" * 32)
    made.world.fund(mallory.address)
    made.market.send("deposit", 1, sender=mallory.address, value=1)
    core = table(made, who)
    false = Party(requester=mallory, prover=mallory, payee=mallory.address)
    claim(made, false, core, agree(made, false, core, price_wei=0, bond_wei=0))
    agreement = agree(made, who, core)
    land(made, who, core, agreement)
    assert paid(made, who) == PRICE


def test_a_requester_cannot_settle_by_an_agreement_with_itself_and_use_the_provers_proof(
    made: Setup, who: Party
) -> None:
    """Whether the false agreement spends the ticket or only the request id: the load pays the prover or reverts."""
    core = table(made, who)
    agreement = agree(made, who, core)
    alone = Party(requester=who.requester, prover=who.requester, payee=who.requester.address)
    made.market.send("deposit", 1, sender=who.requester.address, value=1)
    trivial = table(made, who, new_root=1777)
    for false, error in (
        (agree(made, alone, trivial, price_wei=1, requester_ticket=1), "RequestSettled"),
        (agree(made, alone, trivial, request_id=b"\x88" * 32, price_wei=TICKET), "Unfunded"),
    ):
        point = made.world.snapshot()
        claim(made, alone, trivial, false)
        with expect_revert(error):
            land(made, who, core, agreement)
        assert made.root(1) == 1000
        made.world.restore(point)
    land(made, who, core, agreement)
    assert paid(made, who) == PRICE


CHANGES = {
    "request_id": b"\x78" * 32,
    "rank": 2,
    "requester": b"\x12" * 20,
    "requester_ticket": 1,
    "prover": b"\x13" * 20,
    "prover_ticket": 1,
    "payee": b"\x14" * 20,
    "price_wei": PRICE + 1,
    "bond_wei": BOND + 1,
    "statement_commit": b"\x15" * 32,
    "payload_commit": b"\x16" * 32,
    "family_hash": b"\x17" * 32,
    "ack_by": 1,
    "deliver_by": 2,
    "claim_by": 3,
}


@pytest.mark.parametrize("field", CHANGES)
def test_no_field_of_the_settlement_can_be_changed_alone(made: Setup, who: Party, field: str) -> None:
    core = table(made, who)
    agreement = agree(made, who, core)
    changed = replace(agreement, **{field: CHANGES[field]})
    original = settle_bytes(made, who, agreement)
    forged = settle_bytes(made, who, changed)[:277] + original[277:]  # the signatures of what was agreed
    with expect_revert("AgreementMismatch"):
        land(made, who, core, agreement, forged)
    with expect_revert("(BadSignature|AgreementExpired)"):  # proofs made for the changed agreement do not help
        claim(made, who, core, changed, forged)


def test_agreement_of_another_payee_family_statement_or_salt_is_refused(made: Setup, who: Party) -> None:
    core = table(made, who)
    agreement = agree(made, who, core)
    settlement = settle_bytes(made, who, agreement)
    user = who.requester.address
    with expect_revert("PayeeMismatch"):
        made.run(core, sender=user, payee=b"\x01" * 20, agreement=digest(made, agreement), settlement=settlement)
    for changes, error in (
        ({"family_hash": b"\x01" * 32}, "FamilyMismatch"),
        ({"statement_commit": b"\x01" * 32}, "StatementMismatch"),
    ):
        with expect_revert(error):
            land(made, who, core, agree(made, who, core, **changes))
    with expect_revert("StatementMismatch"):
        land(made, who, core, agreement, settle_bytes(made, who, agreement, salt=b"\x01" * 32))
    with expect_revert("StatementMismatch"):  # the agreed proof of another table
        other = table(made, who, new_root=1234)
        land(made, who, other, agreement)


def test_bad_signatures_are_refused(made: Setup, who: Party) -> None:
    core = table(made, who)
    agreement = agree(made, who, core)
    agreed = digest(made, agreement)
    good = who.requester.sign_digest(agreed)
    high_s = good[:32] + (GROUP_ORDER - int.from_bytes(good[32:64], "big")).to_bytes(32, "big")
    for bad in (
        who.prover.sign_digest(agreed),
        bytes(65),
        good[:64] + bytes((good[64] - 27,)),
        high_s + bytes((55 - good[64],)),
        good[:64] + bytes((55 - good[64],)),
        who.requester.sign_digest(b"\x01" * 32),
    ):
        for role in ("requester_signature", "prover_signature"):
            if bad == who.prover.sign_digest(agreed) and role == "prover_signature":
                continue
            with expect_revert("BadSignature"):
                land(made, who, core, agreement, settle_bytes(made, who, agreement, **{role: bad}))


def test_settlement_of_a_wrong_length_is_refused(made: Setup, who: Party) -> None:
    core = table(made, who)
    agreement = agree(made, who, core)
    settlement = settle_bytes(made, who, agreement)
    for wrong in (settlement[:-1], settlement + b"\x00", b"\x00"):
        with expect_revert("MalformedSettlement"):
            land(made, who, core, agreement, wrong)


def test_a_ticket_pays_once_and_only_what_it_holds(made: Setup, who: Party) -> None:
    core = table(made, who)
    with expect_revert("Unfunded"):
        land(made, who, core, agree(made, who, core, price_wei=TICKET + 1))
    with expect_revert("Unfunded"):
        land(made, who, core, agree(made, who, core, requester_ticket=5))
    land(made, who, core, agree(made, who, core))
    again = table(made, who, new_root=1002, data=b"next")
    with expect_revert("Unfunded"):  # the rest of a ticket that paid does not pay
        land(made, who, again, agree(made, who, again, request_id=b"\x78" * 32, price_wei=1))


def test_an_expired_agreement_does_not_pay(made: Setup, who: Party) -> None:
    core = table(made, who)
    agreement = agree(made, who, core, claim_by=made.world.time - 1)
    with expect_revert("AgreementExpired"):
        land(made, who, core, agreement)
    with expect_revert("AgreementExpired"):
        claim(made, who, core, agreement)


def test_only_rollups_settles(made: Setup, who: Party) -> None:
    core = table(made, who)
    agreement = agree(made, who, core)
    for sender in (made.stranger, who.payee):
        with expect_revert("NotRollups"):
            made.market.send(
                "settle",
                bytes(32),
                digest(made, agreement),
                who.payee,
                agreement.family_hash,
                settle_bytes(made, who, agreement),
                sender=sender,
            )


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
    with expect_revert("AlreadyDelivered"):
        claim(made, who, core, agreement)
    other = table(made, who, new_root=1002, data=b"x")
    second = agree(made, who, other, request_id=b"\x78" * 32, requester_ticket=1)
    made.market.send("deposit", 1, sender=who.requester.address, value=TICKET)
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
    receipt = claim(made, who, core, second)
    assert [e.name for e in receipt.events] == ["DeliveredUnpaid"]
    assert paid(made, who) == PRICE
    made.world.pass_time(601)
    with expect_revert("AlreadyDelivered"):
        made.market.send("slash", settle_bytes(made, who, second), ack_bytes(made, who, second), sender=made.stranger)


def test_a_requester_whose_ticket_is_gone_cannot_get_the_provers_bond(made: Setup, who: Party) -> None:
    """Equivocation: the ticket paid for another request. The delivery still counts."""
    other = table(made, who, new_root=1002, data=b"x")
    claim(made, who, other, agree(made, who, other, request_id=b"\x78" * 32))
    core = table(made, who)
    agreement = agree(made, who, core)
    assert [e.name for e in claim(made, who, core, agreement).events] == ["DeliveredUnpaid"]
    made.world.pass_time(601)
    with expect_revert("AlreadyDelivered"):
        made.market.send(
            "slash", settle_bytes(made, who, agreement), ack_bytes(made, who, agreement), sender=made.stranger
        )


def test_claim_with_an_invalid_proof_is_refused(made: Setup, who: Party) -> None:
    odd = made.world.deploy("OddProofSystem")
    made.create_rollup(3, system=odd)
    trigger = l1_call(who.requester.address, 3)
    entry = Entry(mid=False, new_root=3001, trigger=trigger, next_action=answer(trigger))
    core = made.core([entry], members=(3,), executor=Address(who.requester.address))
    agreement = agree(made, who, core)
    proofs = bytearray(made.proofs(core, who.payee, digest(made, agreement)))
    proofs[61:81] = odd.address
    arguments = (encode_core(core), bytes(proofs), settle_bytes(made, who, agreement))
    with expect_revert("InvalidProof"):
        made.market.send("claimWithProof", *arguments, sender=made.stranger)
    odd.send("set", 1, sender=made.stranger)
    made.market.send("claimWithProof", *arguments, sender=made.stranger)
    assert paid(made, who) == PRICE


def test_an_owner_cannot_make_old_agreements_claimable_by_a_new_proof_system(made: Setup, who: Party) -> None:
    """The configuration of ackBy decides, whatever the owner puts in force later under the same family."""
    core = table(made, who)
    agreement = agree(made, who, core, claim_by=made.world.time + 2 * HOUR)
    odd = made.world.deploy("OddProofSystem")
    odd.send("set", 1, sender=made.stranger)
    owner = made.world.account("owner")
    made.rollups.send("scheduleConfig", 1, ([odd.hex], [b"\xfa" * 32], 1), sender=owner)
    made.world.pass_time(HOUR)
    proofs = bytearray(made.proofs(core, who.payee, digest(made, agreement)))
    proofs[61:81] = odd.address
    with expect_revert("NotActiveSystem"):
        made.market.send(
            "claimWithProof", encode_core(core), bytes(proofs), settle_bytes(made, who, agreement), sender=made.stranger
        )
    claim(made, who, core, agreement)
    assert paid(made, who) == PRICE


# -- faults ------------------------------------------------------------------------------------------------------------


def slash(made: Setup, who: Party, agreement: Agreement, ack: bytes | None = None) -> Receipt:
    """slash by anybody."""
    ack = ack_bytes(made, who, agreement) if ack is None else ack
    return made.market.send("slash", settle_bytes(made, who, agreement), ack, sender=made.stranger)


def test_a_silent_prover_that_acknowledged_loses_its_bond_to_the_requester(made: Setup, who: Party) -> None:
    agreement = agree(made, who, table(made, who))
    with expect_revert("SlashTooEarly"):
        slash(made, who, agreement)
    made.world.pass_time(601)
    slash(made, who, agreement)
    assert made.market.view("payoutOf", who.requester.address) == BOND
    assert made.market.view("ticketOf", who.prover.address, 0) == (TICKET - BOND, 1)
    assert made.market.view("ticketOf", who.requester.address, 0) == (TICKET, 0)
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
        (good[:-1], "MalformedAck"),
        (good + b"\x00", "MalformedAck"),
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
    with expect_revert("AlreadySettled"):
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
    with expect_revert("AgreementIsCancelled"):
        land(made, who, core, agreement)
    made.world.pass_time(601)
    slash(made, who, agreement)
    assert (paid(made, who), made.market.view("payoutOf", who.requester.address)) == (0, BOND)


# -- tickets -----------------------------------------------------------------------------------------------------------


def test_tickets_are_numbered_and_hold_equal_shares(made: Setup, who: Party) -> None:
    receipt = made.market.send("deposit", 3, sender=who.requester.address, value=30)
    assert receipt.value == 1
    assert [made.market.view("ticketOf", who.requester.address, i)[0] for i in range(5)] == [TICKET, 10, 10, 10, 0]
    assert made.market.view("ticketCount", who.requester.address) == 4


@pytest.mark.parametrize(("count", "value"), [(0, 10), (3, 10), (1, 0), (257, 257), (1, 1 << 96)])
def test_uneven_empty_or_huge_deposits_are_refused(made: Setup, who: Party, count: int, value: int) -> None:
    made.world.fund(made.stranger, 1 << 100)
    with expect_revert("BadDeposit"):
        made.market.send("deposit", count, sender=made.stranger, value=value)


def test_a_ticket_comes_back_only_after_the_delay(made: Setup, who: Party) -> None:
    user = who.requester.address
    with expect_revert("WithdrawNotRequested"):
        made.market.send("withdraw", 0, sender=user)
    made.market.send("requestWithdraw", 0, sender=user)
    made.world.pass_time(7199)
    made.market.send("requestWithdraw", 0, sender=user)  # does not postpone
    with expect_revert("WithdrawTooEarly"):
        made.market.send("withdraw", 0, sender=user)
    made.world.pass_time(1)
    made.market.send("withdraw", 0, sender=user)
    with expect_revert("NoTicket"):
        made.market.send("withdraw", 0, sender=user)
    before = made.world.balance(user)
    made.market.send("collect", user, sender=made.stranger)
    assert made.world.balance(user) == before + TICKET
    with expect_revert("NothingToCollect"):
        made.market.send("collect", user, sender=made.stranger)


def test_nobody_withdraws_anothers_ticket(made: Setup, who: Party) -> None:
    for function in ("requestWithdraw", "withdraw"):
        with expect_revert("NoTicket"):
            made.market.send(function, 0, sender=made.stranger)


def test_a_payee_that_refuses_ether_harms_only_itself(made: Setup, who: Party) -> None:
    refuser = made.world.deploy("Refuser")
    core = table(made, who)
    agreement = agree(made, who, core, payee=refuser.address)
    land(made, who, core, agreement)
    with expect_revert("PaymentFailed"):
        made.market.send("collect", refuser.hex, sender=made.stranger)
    assert made.market.view("payoutOf", refuser.hex) == PRICE


def test_settlement_cannot_be_dodged_by_loading_first(made: Setup, who: Party) -> None:
    """A contract loads without triggers, then fires by a second load of the same core: that one pays."""
    bundle = made.world.deploy("Bundle")
    trigger = l1_call(bundle.address, 1)
    core = made.open_core([Entry(mid=False, new_root=1001, trigger=trigger, next_action=answer(trigger))])
    agreement = agree(made, who, core)
    settlement, agreed = settle_bytes(made, who, agreement), digest(made, agreement)
    steps = [
        (
            made.rollups.address,
            0,
            call_data(
                "IRollups",
                "loadAndRun",
                encode_core(core),
                made.proofs(core, who.payee, agreed),
                encode_expects(()),
                encode_triggers(triggers),
                settlement,
            ),
        )
        for triggers in ((), (0,))
    ]
    bundle.send("run", steps, sender=made.user)
    assert (paid(made, who), made.root(1)) == (PRICE, 1001)
