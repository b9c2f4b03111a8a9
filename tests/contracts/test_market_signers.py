"""Who may sign for whom: contract accounts, honest and hostile, and submitter keys of both kinds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from protocol.agreement import Agreement, by_contract, by_key
from protocol.constants import WITHDRAW_DELAY
from protocol.contracts.artifacts import call_data
from protocol.signing import AccountKey
from protocol.table import Core
from tests.support.evmworld import Contract, Receipt
from tests.support.marketworld import (
    PRICE,
    TICKET,
    TICKET_CLASS,
    Party,
    agree,
    amended,
    assert_market_conserves,
    claim,
    digest,
    land,
    names,
    paid,
    settle_bytes,
    state_of,
    table,
)
from tests.support.rollupworld import Setup, expect_revert

HOT = AccountKey(b"\x05" * 32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A contract where a Party has a key."""

    contract: Contract

    @property
    def address(self) -> bytes:
        """Of the contract."""
        return self.contract.address

    def sign_digest(self, _digest: bytes) -> bytes:
        """What it is asked about: nothing it looks at."""
        return b"\x2a" * 65


def contract_account(made: Setup, with_ticket: bool = True) -> Account:
    """A contract account that says yes to everything, with a ticket."""
    contract = made.world.deploy("OddSigner")
    made.world.fund(made.stranger)
    if with_ticket:
        data = call_data("ProofMarket", "deposit", TICKET_CLASS, 1)
        contract.send("act", made.market.address, data, sender=made.stranger, value=2 * TICKET)
    return Account(contract=contract)


def signed_by_contracts(made: Setup, who: Party, agreement: Agreement, **changes: bytes) -> bytes:
    """A settlement whose requester or prover is a contract."""
    agreed = digest(made, agreement)
    fields = {
        f"{role}_signature": by_contract(b"anything") if isinstance(key, Account) else by_key(key.sign_digest(agreed))
        for role, key in (("requester", who.requester), ("prover", who.prover))
    }
    return settle_bytes(made, who, agreement, **(fields | changes))


# -- contracts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["requester", "prover"])
def test_a_contract_account_signs_by_saying_yes(made: Setup, who: Party, role: str) -> None:
    account = contract_account(made)
    party = replace(who, **{role: account})
    core = table(made, who)
    agreement = agree(made, party, core)
    assert names(claim(made, party, core, agreement, signed_by_contracts(made, party, agreement))) == [
        "AgreementSettled"
    ]
    assert paid(made, who) == PRICE


def test_four_contract_signatures_that_burn_their_limit_fit_into_a_settlement(made: Setup, who: Party) -> None:
    """Rollups leaves 300,000 gas to settle: agreement and amend, both sides, each asked at its dearest."""
    requester, prover = contract_account(made), contract_account(made)
    for account in (requester, prover):
        account.contract.send("set", 9, sender=made.stranger)
    party = replace(who, requester=requester, prover=prover)
    core = table(made, who)
    agreement = agree(made, party, core, statement_commit=bytes(32))
    yes = by_contract(b"")
    amend = amended(made, party, agreement, core, requester_signature=yes, prover_signature=yes)
    settlement = signed_by_contracts(made, party, agreement, amend=amend)  # type: ignore[arg-type]
    receipt = made.run(
        core,
        sender=who.requester.address,
        payee=agreement.payee,
        agreement=digest(made, agreement),
        settlement=settlement,
    )
    assert "AgreementSettled" in names(receipt)
    assert receipt.gas_used > 4 * 40_000
    assert paid(made, who) == PRICE


@pytest.mark.parametrize("mode", [1, 2, 3, 4, 5, 6, 7, 10])
@pytest.mark.parametrize("role", ["requester", "prover"])
def test_any_answer_but_one_magic_word_is_a_no(made: Setup, who: Party, role: str, mode: int) -> None:
    """A refusal, another size, a dirty word, nothing, burnt gas, a revert bomb, a return bomb, `true`."""
    account = contract_account(made)
    account.contract.send("set", mode, sender=made.stranger)
    party = replace(who, **{role: account})
    core = table(made, who)
    agreement = agree(made, party, core)
    with expect_revert("BadSignature"):
        claim(made, party, core, agreement, signed_by_contracts(made, party, agreement))
    account.contract.send("set", 0, sender=made.stranger)
    claim(made, party, core, agreement, signed_by_contracts(made, party, agreement))
    assert paid(made, who) == PRICE


def test_a_bomb_costs_no_more_than_its_limit(made: Setup, who: Party) -> None:
    """A contract that burns everything costs the asker SIGNATURE_GAS, one that returns a lot is not copied."""
    account = contract_account(made)
    party = replace(who, requester=account)
    agreement = agree(made, party, table(made, who))
    settlement = signed_by_contracts(made, party, agreement)
    for mode in (5, 6, 7):
        account.contract.send("set", mode, sender=made.stranger)
        with expect_revert("BadSignature"):
            made.market.send("record", settlement, sender=made.stranger, gas=160_000)


def test_an_account_without_code_or_a_precompile_says_nothing(made: Setup, who: Party) -> None:
    core = table(made, who)
    agreement = agree(made, who, core)
    with expect_revert("BadSignature"):
        land(made, who, core, agreement, settle_bytes(made, who, agreement, prover_signature=by_contract(b"yes")))
    for precompile in (1, 2, 4):
        odd = agree(made, who, core, prover=precompile.to_bytes(20, "big"))
        packed = settle_bytes(made, who, odd, prover_signature=by_contract(b"yes"))
        with expect_revert("BadSignature"):
            land(made, who, core, odd, packed)


@pytest.mark.parametrize(
    "call",
    [
        lambda made, packed: ("record", packed),
        lambda made, packed: ("cancelAgreement", packed),
        lambda made, packed: ("deposit", 0, 1),
        lambda made, packed: ("collect", b"\x9a" * 20),
        lambda made, packed: ("withdraw", 0),
        lambda made, packed: ("requestWithdraw", 0),
        lambda made, packed: ("proposeSubmitter", b"\x01" * 20),
        lambda made, packed: ("claimWithProof", b"", b"", packed, b""),
        lambda made, packed: ("slash", packed, b"", b""),
    ],
)
def test_a_contract_that_is_asked_cannot_change_anything(
    made: Setup, who: Party, call: Callable[[Setup, bytes], tuple[object, ...]]
) -> None:
    """It is asked by STATICCALL: re-entering any function fails, and the asker goes on."""
    account = contract_account(made)
    party = replace(who, requester=account)
    core = table(made, who)
    agreement = agree(made, party, core)
    packed = signed_by_contracts(made, party, agreement)
    function, *arguments = call(made, packed)
    data = call_data("ProofMarket", str(function), *arguments)
    account.contract.send("instruct", made.market.address, data, sender=made.stranger)
    account.contract.send("set", 8, sender=made.stranger)
    claim(made, party, core, agreement, packed)
    assert paid(made, who) == PRICE


def test_a_contract_that_changes_its_mind_is_bound_by_what_was_recorded(made: Setup, who: Party) -> None:
    account = contract_account(made)
    party = replace(who, requester=account)
    core = table(made, who)
    agreement = agree(made, party, core)
    packed = signed_by_contracts(made, party, agreement)
    point = made.world.snapshot()
    account.contract.send("set", 1, sender=made.stranger)
    with expect_revert("BadSignature"):
        claim(made, party, core, agreement, packed)
    made.world.restore(point)
    made.market.send("record", packed, sender=made.stranger)
    account.contract.send("set", 1, sender=made.stranger)
    claim(made, party, core, agreement, packed)
    assert paid(made, who) == PRICE


def test_a_contract_that_signed_one_digest_has_signed_no_other(made: Setup, who: Party) -> None:
    account = contract_account(made)
    party = replace(who, requester=account)
    core = table(made, who)
    agreement, dearer = agree(made, party, core), agree(made, party, core, price_wei=PRICE + 1)
    account.contract.send("signOnly", digest(made, agreement), sender=made.stranger)
    with expect_revert("BadSignature"):
        claim(made, party, core, dearer, signed_by_contracts(made, party, dearer))
    claim(made, party, core, agreement, signed_by_contracts(made, party, agreement))
    assert paid(made, who) == PRICE


def test_a_payee_that_re_enters_while_it_is_paid_gets_its_credit_once(made: Setup, who: Party) -> None:
    payee = contract_account(made, with_ticket=False)
    core = table(made, who)
    agreement = agree(made, who, core, payee=payee.address)
    land(made, who, core, agreement)
    again = call_data("ProofMarket", "collect", payee.address)
    payee.contract.send("instruct", made.market.address, again, sender=made.stranger)
    made.market.send("collect", payee.address, sender=made.stranger)
    assert made.world.balance(payee.address) == PRICE
    assert made.market.view("payoutOf", payee.address) == 0
    assert_market_conserves(made, who)


# -- submitters --------------------------------------------------------------------------------------------------------


def authorise(made: Setup, owner: bytes, key: bytes = HOT.address) -> None:
    """Both steps."""
    made.market.send("proposeSubmitter", key, sender=owner)
    made.market.send("acceptSubmitter", owner, sender=key)


def hot_settlement(made: Setup, who: Party, agreement: Agreement) -> bytes:
    """Signed by the prover's hot key."""
    return settle_bytes(made, who, agreement, prover_signature=by_key(HOT.sign_digest(digest(made, agreement))))


def hot_land(made: Setup, who: Party, core: Core, agreement: Agreement) -> Receipt:
    """Lands what the hot key signed."""
    return land(made, who, core, agreement, hot_settlement(made, who, agreement))


def test_a_key_signs_for_its_owner_only_after_both_have_said_so(made: Setup, who: Party) -> None:
    core = table(made, who)
    agreement = agree(made, who, core)
    with expect_revert("BadSubmitter"):
        made.market.send("acceptSubmitter", who.prover.address, sender=HOT.address)
    made.market.send("proposeSubmitter", HOT.address, sender=who.prover.address)
    with expect_revert("BadSignature"):
        hot_land(made, who, core, agreement)
    with expect_revert("BadSubmitter"):
        made.market.send("acceptSubmitter", who.prover.address, sender=made.stranger)
    made.market.send("acceptSubmitter", who.prover.address, sender=HOT.address)
    with expect_revert("BadSubmitter"):
        made.market.send("acceptSubmitter", who.prover.address, sender=HOT.address)
    hot_land(made, who, core, agreement)
    assert paid(made, who) == PRICE


def test_a_key_signs_for_nobody_else_and_touches_no_money(made: Setup, who: Party) -> None:
    authorise(made, who.prover.address)
    core = table(made, who)
    agreement = agree(made, who, core)
    as_requester = settle_bytes(
        made, who, agreement, requester_signature=by_key(HOT.sign_digest(digest(made, agreement)))
    )
    with expect_revert("BadSignature"):
        land(made, who, core, agreement, as_requester)
    for function in ("requestWithdraw", "withdraw"):
        with expect_revert("NoTicket"):
            made.market.send(function, 0, sender=HOT.address)
    made.market.send("cancelAgreement", hot_settlement(made, who, agreement), sender=HOT.address)
    assert state_of(made, agreement) == {"cancelled"}


def test_a_revoked_key_counts_for_the_delay_more_and_then_no_longer(made: Setup, who: Party) -> None:
    """Longer than any agreement that it may have signed before."""
    owner = who.prover.address
    authorise(made, owner)
    with expect_revert("BadSubmitter"):
        made.market.send("revokeSubmitter", owner, HOT.address, sender=made.stranger)
    made.market.send("revokeSubmitter", owner, HOT.address, sender=owner)
    until = made.world.time + WITHDRAW_DELAY
    assert made.market.view("submitterValidUntil", owner, HOT.address) == until
    with expect_revert("BadSubmitter"):  # asking again does not postpone
        made.market.send("revokeSubmitter", owner, HOT.address, sender=owner)
    for seconds, counts in ((WITHDRAW_DELAY, True), (WITHDRAW_DELAY + 1, False)):
        point = made.world.snapshot()
        made.world.pass_time(seconds)
        core = table(made, who)
        agreement = agree(made, who, core)
        if counts:
            hot_land(made, who, core, agreement)
        else:
            with expect_revert("BadSignature"):
                hot_land(made, who, core, agreement)
        made.world.restore(point)


def test_a_proposal_can_be_taken_back_and_a_revoked_key_proposed_again(made: Setup, who: Party) -> None:
    owner = who.prover.address
    made.market.send("proposeSubmitter", HOT.address, sender=owner)
    made.market.send("revokeSubmitter", owner, HOT.address, sender=owner)
    with expect_revert("BadSubmitter"):
        made.market.send("acceptSubmitter", owner, sender=HOT.address)
    authorise(made, owner)
    made.market.send("revokeSubmitter", owner, HOT.address, sender=HOT.address)
    authorise(made, owner)
    assert made.market.view("submitterValidUntil", owner, HOT.address) == 2**64 - 1
    for wrong in (bytes(20), owner):
        with expect_revert("BadSubmitter"):
            made.market.send("proposeSubmitter", wrong, sender=owner)


def test_a_contract_can_be_the_submitter_of_a_key_account(made: Setup, who: Party) -> None:
    account, core = contract_account(made), table(made, who)
    agreement = agree(made, who, core)
    packed = settle_bytes(made, who, agreement, prover_signature=by_contract(b"x", account.address))
    with expect_revert("BadSignature"):
        land(made, who, core, agreement, packed)
    made.market.send("proposeSubmitter", account.address, sender=who.prover.address)
    accept = call_data("ProofMarket", "acceptSubmitter", who.prover.address)
    account.contract.send("act", made.market.address, accept, sender=made.stranger)
    account.contract.send("set", 1, sender=made.stranger)
    with expect_revert("BadSignature"):
        land(made, who, core, agreement, packed)
    account.contract.send("set", 0, sender=made.stranger)
    land(made, who, core, agreement, packed)
    assert paid(made, who) == PRICE
