"""Attacks that fail, named after what they prevent."""

from __future__ import annotations

from protocol.contracts.artifacts import call_data
from protocol.signing import AccountKey
from protocol.table import core_id, encode_core
from tests.support.marketworld import (
    PRICE,
    Party,
    agree,
    declined_bytes,
    land,
    paid,
    settle_bytes,
    table,
    ticket,
)
from tests.support.rollupworld import PROGRAM, Setup, expect_revert, proxy_of

OTHER_REQUEST = b"\x78" * 32


def test_a_requester_that_draws_its_ticket_by_a_decline_with_itself_pays_with_the_bond(made: Setup, who: Party) -> None:
    """A decline needs no proof, so the ticket is gone at once; the prover that was promised it gets its price."""
    core = table(made, who)
    victim = agree(made, who, core)
    sybil = AccountKey(b"\x07" * 32)
    itself = Party(requester=who.requester, prover=sybil, payee=sybil.address)
    own = agree(made, itself, core, request_id=OTHER_REQUEST)
    packed = settle_bytes(made, itself, own), settle_bytes(made, who, victim)
    made.market.send("decline", packed[0], declined_bytes(made, itself, own, PRICE), sender=made.stranger)
    assert ticket(made, who.requester)[1] == 0
    with expect_revert("NotThePayment"):
        made.market.send("slashEquivocation", *packed, core_id(encode_core(core)), sender=made.stranger)
    made.market.send("slashEquivocation", *packed, bytes(32), sender=made.stranger)
    assert paid(made, who) == PRICE


def test_a_credit_of_a_proxy_does_not_make_the_proxy_act(made: Setup, who: Party) -> None:
    """Paid by the market, a proxy sees a call to its original, which no entry answers: the credit stays where it is."""
    proxy = proxy_of(made, PROGRAM, 1).address
    itself = Party(requester=who.requester, prover=who.prover, payee=proxy)
    core = table(made, who)
    land(made, itself, core, agree(made, itself, core))
    held = made.world.balance(made.market.address)
    with expect_revert("PaymentFailed"):
        made.market.send("collect", proxy, sender=made.stranger)
    assert (made.market.view("payoutOf", proxy), made.world.balance(made.market.address)) == (PRICE, held)


def test_rollups_as_a_payee_holds_its_credit_for_ever_and_books_nothing(made: Setup, who: Party) -> None:
    """Ether that comes by a payout is refused, so no rollup's or loader's balance can be made out of it."""
    itself = Party(requester=who.requester, prover=who.prover, payee=made.rollups.address)
    core = table(made, who)
    land(made, itself, core, agree(made, itself, core))
    with expect_revert("PaymentFailed"):
        made.market.send("collect", made.rollups.address, sender=made.stranger)
    assert made.world.balance(made.rollups.address) == 0
    assert made.rollups.view("claimableOf", made.rollups.address) == 0


def test_a_payee_cannot_enter_the_market_or_a_load_to_be_paid_twice(made: Setup, who: Party) -> None:
    """The payee collects again and settles by itself while it is paid: both fail, it gets its price once."""
    for inner in (
        lambda account: (made.market.hex, call_data("ProofMarket", "collect", account)),
        lambda _account: (
            made.market.hex,
            call_data("ProofMarket", "settle", bytes(32), bytes(32), made.stranger, bytes(32), b""),
        ),
        lambda _account: (made.rollups.hex, call_data("IRollups", "settleLoaded", bytes(32), b"")),
    ):
        point = made.world.snapshot()
        payee = made.world.deploy("OddSigner")
        payee.send("instruct", *inner(payee.address), sender=made.stranger)
        itself = Party(requester=who.requester, prover=who.prover, payee=payee.address)
        core = table(made, who)
        land(made, itself, core, agree(made, itself, core))
        made.market.send("collect", payee.address, sender=made.stranger)
        assert made.world.balance(payee.address) == PRICE
        made.world.restore(point)
