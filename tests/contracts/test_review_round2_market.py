"""Second adversarial round on the market and its proof system: what was tried to steal, forge, grief or starve.

Each test says what must hold.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace

import pytest

from protocol.agreement import Agreement, by_contract, pack_dated
from protocol.contracts.artifacts import call_data
from protocol.signing import AccountKey
from protocol.table import Core, core_id, encode_core
from protocol.types import ZERO_HASH
from tests.support.evmworld import Contract, Receipt, Reverted
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
from tests.support.rollupworld import DELAY, Setup, expect_revert

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


@pytest.mark.xfail(
    reason="open: who has signed two Acks is slashed for one and kept from delivering by the other", strict=True
)
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
