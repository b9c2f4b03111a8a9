"""Tickets and settlement inside a load: who is paid what, once, and who is not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from protocol.agreement import by_key, paid_tag, ticket_cap_wei
from protocol.constants import MAX_CLASS, TICKET_UNIT, WITHDRAW_DELAY
from protocol.contracts.artifacts import call_data
from protocol.load import encode_expects
from protocol.signing import GROUP_ORDER, AccountKey
from protocol.table import Entry, core_id, encode_core, encode_triggers
from protocol.types import Address
from tests.support.marketworld import (
    BOND,
    PRICE,
    TICKET,
    TICKET_CLASS,
    Party,
    agree,
    assert_market_conserves,
    claim,
    digest,
    land,
    paid,
    settle_bytes,
    table,
    ticket,
)
from tests.support.rollupworld import Setup, answer, expect_revert, l1_call

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
    agreed, core_hash = digest(made, agreement), core_id(encode_core(core))
    free_again, tag = made.world.time + WITHDRAW_DELAY, paid_tag(agreed, core_hash)
    assert ticket(made, who.requester) == (TICKET_CLASS, 0, TICKET, free_again, tag)
    assert ticket(made, who.prover) == (TICKET_CLASS, TICKET, TICKET, 0, 0)
    assert made.market.view("payoutOf", who.requester.address) == TICKET - PRICE
    assert made.market.view("isPaid", who.requester.address, 0, agreed, core_hash)
    assert not made.market.view("isPaid", who.requester.address, 0, agreed, b"\x01" * 32)
    assert_market_conserves(made, who)
    with expect_revert("WithdrawTooEarly"):
        made.market.send("withdraw", 0, sender=who.requester.address)
    made.world.pass_time(WITHDRAW_DELAY)
    made.market.send("withdraw", 0, sender=who.requester.address)
    assert made.market.view("payoutOf", who.requester.address) == 2 * TICKET - PRICE
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
    made.market.send("deposit", 0, 1, sender=mallory.address, value=2 * TICKET_UNIT)
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
    made.market.send("deposit", 0, 1, sender=who.requester.address, value=2 * TICKET_UNIT)
    trivial = table(made, who, new_root=1777)
    point = made.world.snapshot()
    claim(made, alone, trivial, agree(made, alone, trivial, request_id=b"\x88" * 32, price_wei=TICKET))
    with expect_revert("Unfunded"):
        land(made, who, core, agreement)
    assert made.root(1) == 1000
    made.world.restore(point)
    claim(made, alone, trivial, agree(made, alone, trivial, price_wei=1, requester_ticket=1))
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
    "systems_hash": b"\x17" * 32,
    "open_from": 1_800_000_001,
    "ack_by": 1_800_000_001,
    "deliver_by": 1_800_000_031,
    "claim_from": 1_800_000_001,
    "claim_by": 1_800_000_601,
}


@pytest.mark.parametrize("field", CHANGES)
def test_no_field_of_the_settlement_can_be_changed_alone(made: Setup, who: Party, field: str) -> None:
    core = table(made, who)
    agreement = agree(made, who, core)
    changed = replace(agreement, **{field: CHANGES[field]})
    original = settle_bytes(made, who, agreement)
    forged = settle_bytes(made, who, changed)[:293] + original[293:]  # the signatures of what was agreed
    with expect_revert("AgreementMismatch"):
        land(made, who, core, agreement, forged)
    with expect_revert("(BadSignature|BadTimes|ClaimClosed)"):  # proofs made for the changed agreement do not help
        claim(made, who, core, changed, forged)


def test_agreement_of_another_payee_system_statement_or_salt_is_refused(made: Setup, who: Party) -> None:
    core = table(made, who)
    agreement = agree(made, who, core)
    settlement = settle_bytes(made, who, agreement)
    user = who.requester.address
    with expect_revert("PayeeMismatch"):
        made.run(core, sender=user, payee=b"\x01" * 20, agreement=digest(made, agreement), settlement=settlement)
    for changes, error in (
        ({"systems_hash": b"\x01" * 32}, "SystemsMismatch"),
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
                land(made, who, core, agreement, settle_bytes(made, who, agreement, **{role: by_key(bad)}))


def test_settlement_of_a_wrong_length_is_refused(made: Setup, who: Party) -> None:
    core = table(made, who)
    agreement = agree(made, who, core)
    settlement = settle_bytes(made, who, agreement)
    for wrong, error in (
        (b"\x00", "MalformedSettlement"),
        (settlement[:292], "MalformedSettlement"),
        (settlement[:293], "MalformedSignature"),
        (settlement[:-1], "MalformedSignature"),
        (settlement + b"\x00", "MalformedSettlement"),
    ):
        with expect_revert(error):
            land(made, who, core, agreement, wrong)


def test_a_ticket_pays_once_and_only_what_it_holds(made: Setup, who: Party) -> None:
    core = table(made, who)
    with expect_revert("Unfunded"):
        land(made, who, core, agree(made, who, core, price_wei=TICKET + 1))
    with expect_revert("Unfunded"):
        land(made, who, core, agree(made, who, core, requester_ticket=5))
    land(made, who, core, agree(made, who, core))
    again = table(made, who, new_root=1002, data=b"next")
    with expect_revert("Unfunded"):  # the bond of a ticket that paid does not pay
        land(made, who, again, agree(made, who, again, request_id=b"\x78" * 32, price_wei=1))


def test_an_expired_agreement_does_not_pay(made: Setup, who: Party) -> None:
    core = table(made, who)
    agreement = agree(made, who, core, claim_by=made.world.time + 31)
    made.world.pass_time(32)
    with expect_revert("AgreementExpired"):
        land(made, who, core, agreement)
    with expect_revert("ClaimClosed"):
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
                agreement.systems_hash,
                settle_bytes(made, who, agreement),
                sender=sender,
            )


# -- tickets -----------------------------------------------------------------------------------------------------------


def test_tickets_are_numbered_and_hold_equal_shares(made: Setup, who: Party) -> None:
    user = who.requester.address
    receipt = made.market.send("deposit", 1, 3, sender=user, value=3 * 2 * 4 * TICKET_UNIT)
    assert receipt.value == 1
    assert receipt.events[0].values == {
        "owner": "0x" + user.hex(),
        "first": 1,
        "count": 3,
        "class": 1,
        "amountEach": 4 * TICKET_UNIT,
    }
    held = [made.market.view("ticketOf", user, i) for i in range(5)]
    small = (1, 4 * TICKET_UNIT, 4 * TICKET_UNIT, 0, 0)
    assert held == [(TICKET_CLASS, TICKET, TICKET, 0, 0), small, small, small, (0, 0, 0, 0, 0)]
    assert made.market.view("ticketCount", user) == 4
    top = 2 * ticket_cap_wei(MAX_CLASS)
    made.world.fund(user, top)
    made.market.send("deposit", MAX_CLASS, 1, sender=user, value=top)
    assert made.market.view("ticketOf", user, 4)[1:3] == (ticket_cap_wei(MAX_CLASS), ticket_cap_wei(MAX_CLASS))


@pytest.mark.parametrize(
    ("ticket_class", "count", "value"),
    [
        (0, 0, 0),
        (0, 1, 0),
        (0, 1, TICKET_UNIT),
        (0, 1, 2 * TICKET_UNIT - 1),
        (0, 1, 2 * TICKET_UNIT + 1),
        (0, 2, 2 * TICKET_UNIT),
        (1, 1, 2 * TICKET_UNIT),
        (0, 257, 257 * 2 * TICKET_UNIT),
        (16, 1, 2 * TICKET_UNIT << 32),
        (255, 1, 2 * TICKET_UNIT),
    ],
)
def test_a_deposit_is_whole_tickets_of_a_class(
    made: Setup, who: Party, ticket_class: int, count: int, value: int
) -> None:
    made.world.fund(made.stranger, 1 << 100)
    with expect_revert("BadDeposit"):
        made.market.send("deposit", ticket_class, count, sender=made.stranger, value=value)


def test_a_ticket_comes_back_only_after_the_delay(made: Setup, who: Party) -> None:
    user = who.requester.address
    with expect_revert("WithdrawNotRequested"):
        made.market.send("withdraw", 0, sender=user)
    made.market.send("requestWithdraw", 0, sender=user)
    made.world.pass_time(WITHDRAW_DELAY - 1)
    made.market.send("requestWithdraw", 0, sender=user)  # does not postpone
    with expect_revert("WithdrawTooEarly"):
        made.market.send("withdraw", 0, sender=user)
    made.world.pass_time(1)
    made.market.send("withdraw", 0, sender=user)
    with expect_revert("NoTicket"):
        made.market.send("withdraw", 0, sender=user)
    before = made.world.balance(user)
    made.market.send("collect", user, sender=made.stranger)
    assert made.world.balance(user) == before + 2 * TICKET
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
