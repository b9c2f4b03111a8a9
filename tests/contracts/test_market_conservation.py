"""Random lives of the market against a model: who holds what, who is paid once, and that no wei appears or vanishes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from protocol.agreement import Agreement, claim_window, paid_tag
from protocol.constants import PEEK_DIVISOR, RELEASE_WINDOW, SLASH_WINDOW, WITHDRAW_DELAY
from protocol.signing import AccountKey
from protocol.table import Core, core_id, encode_core
from protocol.types import ZERO_HASH
from tests.support.evmworld import Reverted
from tests.support.marketworld import (
    TICKET,
    TICKET_CLASS,
    Party,
    ack_bytes,
    agree,
    claim,
    declined_bytes,
    digest,
    settle_bytes,
    slash,
    table,
)
from tests.support.rollupworld import Setup

REQUESTERS = (AccountKey(b"\x01" * 32),)
PROVERS = tuple(AccountKey(bytes((i,)) * 32) for i in (3, 4))
OWNERS = (*REQUESTERS, *PROVERS)
TICKETS = 2
BURNED = bytes(20)


@dataclass(slots=True)
class Slot:
    """A ticket of the model."""

    cap: int = TICKET
    bond: int = TICKET
    withdrawable_at: int = 0
    tag: int = 0


@dataclass(slots=True)
class Deal:
    """An agreement of the model."""

    who: Party
    core: Core
    agreement: Agreement
    ended: set[str] = field(default_factory=set)
    respond_by: int = 0


class Market(RuleBasedStateMachine):
    """Each rule does what it does on L1 and in the model; both must agree on whether it works."""

    made: Setup
    """Set by the test: one world for all runs, put back after each."""

    @initialize()
    def begin(self) -> None:
        """Everybody has tickets, and a ticket of the requester is promised twice."""
        self.point = self.made.world.snapshot()
        self.slots = {(key.address, number): Slot() for key in OWNERS for number in range(TICKETS)}
        self.credit: dict[bytes, int] = {}
        self.deals: list[Deal] = []
        self.count = 0
        for key in OWNERS:
            self.made.world.fund(key.address)
            self.made.market.send("deposit", TICKET_CLASS, TICKETS, sender=key.address, value=2 * TICKET * TICKETS)
        for prover in PROVERS:
            self.sign((REQUESTERS[0], prover), (0, 0), TICKET // 3, TICKET // 3, 1, same_request=False)

    def teardown(self) -> None:
        """Put the world back."""
        if hasattr(self, "point"):
            self.made.world.restore(self.point)

    # -- the model -----------------------------------------------------------------------------------------------------

    @property
    def now(self) -> int:
        """Unix seconds."""
        return self.made.world.time

    def give(self, account: bytes, wei: int) -> None:
        """Credit."""
        self.credit[account] = self.credit.get(account, 0) + wei

    def spend(self, owner: bytes, number: int, wei: int, to: bytes, tag: int) -> None:
        """A ticket pays."""
        slot = self.slots[owner, number]
        self.give(to, wei)
        self.give(owner, slot.cap - wei)
        slot.cap, slot.tag = 0, tag
        slot.withdrawable_at = slot.withdrawable_at or self.now + WITHDRAW_DELAY

    def take_bond(self, slot: Slot, *lost: tuple[bytes, int]) -> None:
        """At most half to those who lost, the rest to nobody."""
        each = slot.bond // (2 * len(lost))
        taken = [min(wei, each) for _, wei in lost]
        for (account, _), wei in zip(lost, taken, strict=True):
            self.give(account, wei)
        self.give(BURNED, slot.bond - sum(taken))
        slot.bond = 0

    def funds(self, deal: Deal) -> Slot:
        """The requester's ticket."""
        return self.slots[deal.agreement.requester, deal.agreement.requester_ticket]

    def bonds(self, deal: Deal) -> Slot:
        """The prover's ticket."""
        return self.slots[deal.agreement.prover, deal.agreement.prover_ticket]

    def attempt(self, works: bool, call: Any, *arguments: Any, **options: Any) -> bool:
        """Do it; it must work exactly if the model says so."""
        try:
            call(*arguments, **options)
        except Reverted as error:
            assert not works, f"the model says that this works: {error}"
            return False
        assert works, "the model says that this is refused"
        return True

    def send(self, works: bool, function: str, *arguments: object, sender: bytes | None = None) -> bool:
        """A transaction to the market."""
        return self.attempt(works, self.made.market.send, function, *arguments, sender=sender or self.made.stranger)

    def pick(self, which: int) -> Deal | None:
        """One of the agreements so far, recent ones more often."""
        return self.deals[-1 - which % len(self.deals)] if self.deals else None

    # -- rules ---------------------------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([1, 1, 1, 20, 20, 301, 601, 601, SLASH_WINDOW, WITHDRAW_DELAY]))
    def time_passes(self, seconds: int) -> None:
        """Deadlines come."""
        self.made.world.pass_time(seconds)

    @rule(
        parties=st.tuples(st.sampled_from(REQUESTERS), st.sampled_from(PROVERS)),
        tickets=st.tuples(st.integers(0, TICKETS - 1), st.integers(0, TICKETS - 1)),
        price=st.sampled_from([TICKET // 3, 1, TICKET, 0, TICKET // 5, TICKET + 1]),
        bond=st.sampled_from([TICKET // 3, 1, TICKET, 0, TICKET // 5, TICKET + 1]),
        rank=st.integers(1, 2),
        same_request=st.booleans(),
    )
    def agree(
        self, parties: tuple[AccountKey, AccountKey], tickets: tuple[int, int], price: int, bond: int, rank: int,
        same_request: bool,
    ) -> None:  # fmt: skip
        """Two sign, whatever else they have signed."""
        self.sign(parties, tickets, price, bond, rank, same_request=same_request)

    def sign(
        self,
        parties: tuple[AccountKey, AccountKey],
        tickets: tuple[int, int],
        price: int,
        bond: int,
        rank: int,
        *,
        same_request: bool,
    ) -> None:
        """An agreement more."""
        self.count += 1
        who = Party(requester=parties[0], prover=parties[1], payee=bytes((0x90 + self.count % 3,)) * 20)
        core = table(self.made, who, new_root=1001 + self.count)
        request = self.count - 1 if same_request and self.count > 1 else self.count
        agreement = agree(
            self.made,
            who,
            core,
            request_id=request.to_bytes(32, "big"),
            requester_ticket=tickets[0],
            prover_ticket=tickets[1],
            price_wei=price,
            bond_wei=bond,
            rank=rank,
        )
        self.deals.append(Deal(who=who, core=core, agreement=agreement))

    @rule(which=st.integers(0, 2))
    def claims(self, which: int) -> None:
        """A proof comes without a load."""
        deal = self.pick(which)
        if deal is None:
            return
        agreement, slot = deal.agreement, self.funds(deal)
        first, last = claim_window(agreement, has_receipt=False)
        tag = paid_tag(digest(self.made, agreement), core_id(encode_core(deal.core)))
        works = first <= self.now <= last and not deal.ended & {"delivered", "relieved"} and slot.tag != tag
        if not self.attempt(works, claim, self.made, deal.who, deal.core, agreement):
            return
        if slot.cap >= max(agreement.price_wei, 1) and "cancelled" not in deal.ended:
            self.spend(agreement.requester, agreement.requester_ticket, agreement.price_wei, agreement.payee, tag)
        else:
            deal.ended.add("delivered")

    @rule(which=st.integers(0, 2))
    def slashes(self, which: int) -> None:
        """The prover had acknowledged."""
        deal = self.pick(which)
        if deal is None:
            return
        agreement, slot = deal.agreement, self.bonds(deal)
        can_pay = slot.cap >= max(agreement.bond_wei, 1) or (slot.cap == 0 and slot.bond > 0)
        works = (
            agreement.claim_by < self.now <= agreement.claim_by + SLASH_WINDOW
            and not deal.ended & {"delivered", "relieved", "slashed"}
            and ("freed" in deal.ended or self.funds(deal).cap >= max(agreement.price_wei, 1))
            and can_pay
        )
        if not self.attempt(works, slash, self.made, deal.who, agreement):
            return
        deal.ended.add("slashed")
        if slot.cap:
            tag = paid_tag(digest(self.made, agreement), ZERO_HASH)
            self.spend(agreement.prover, agreement.prover_ticket, agreement.bond_wei, agreement.requester, tag)
        else:
            self.take_bond(slot, (agreement.requester, agreement.bond_wei))

    @rule(which=st.integers(0, 2))
    def cancels(self, which: int) -> None:
        """The prover lets go."""
        deal = self.pick(which)
        if deal is None:
            return
        works = not deal.ended & {"cancelled", "relieved"}
        packed = settle_bytes(self.made, deal.who, deal.agreement)
        if self.send(works, "cancelAgreement", packed, sender=deal.agreement.prover):
            deal.ended.add("cancelled")
            if self.funds(deal).cap >= max(deal.agreement.price_wei, 1):
                deal.ended.add("freed")

    @rule(which=st.integers(0, 2), fee=st.sampled_from([0, 1, TICKET // 3]))
    def declines(self, which: int, fee: int) -> None:
        """Both let go."""
        deal = self.pick(which)
        if deal is None:
            return
        agreement = deal.agreement
        works = (
            self.now <= agreement.claim_by
            and fee <= agreement.price_wei
            and "relieved" not in deal.ended
            and (fee == 0 or self.funds(deal).cap >= fee)
        )
        packed = settle_bytes(self.made, deal.who, agreement)
        if self.send(works, "decline", packed, declined_bytes(self.made, deal.who, agreement, fee)):
            deal.ended.add("relieved")
            if fee:
                tag = paid_tag(digest(self.made, agreement), ZERO_HASH)
                self.spend(agreement.requester, agreement.requester_ticket, fee, agreement.payee, tag)

    @rule(which=st.integers(0, 2), silent=st.booleans())
    def forces(self, which: int, silent: bool) -> None:
        """The requester publishes the payload; sometimes nobody answers in time."""
        deal = self.pick(which)
        if deal is None:
            return
        agreement = deal.agreement
        works = (
            self.now <= agreement.deliver_by
            and not deal.ended & {"delivered", "relieved", "cancelled"}
            and deal.respond_by == 0
            and self.funds(deal).cap >= max(agreement.price_wei, 1)
        )
        packed = settle_bytes(self.made, deal.who, agreement)
        if self.send(works, "forceRelease", packed, b"box", sender=agreement.requester):
            deal.respond_by = self.now + RELEASE_WINDOW
            if silent:
                self.made.world.pass_time(RELEASE_WINDOW + 1)

    @rule(which=st.integers(0, 2), answer=st.booleans())
    def answers_or_pays(self, which: int, answer: bool) -> None:
        """The prover answers, or somebody takes the penalty."""
        deal = self.pick(which)
        if deal is None:
            return
        agreement, slot = deal.agreement, self.bonds(deal)
        packed = settle_bytes(self.made, deal.who, agreement)
        if answer:
            works = self.now <= (deal.respond_by or agreement.claim_by) and "answered" not in deal.ended
            if self.send(works, "answerRelease", packed, ack_bytes(self.made, deal.who, agreement)):
                deal.ended.add("answered")
            return
        works = (
            0 < deal.respond_by < self.now <= agreement.claim_by + SLASH_WINDOW
            and not deal.ended & {"delivered", "relieved", "cancelled", "answered", "penalised", "slashed"}
            and self.funds(deal).cap >= max(agreement.price_wei, 1)
            and slot.cap > 0
        )
        if self.send(works, "takePeekPenalty", packed):
            deal.ended.add("penalised")
            tag = paid_tag(digest(self.made, agreement), ZERO_HASH)
            self.spend(agreement.prover, agreement.prover_ticket, slot.cap // PEEK_DIVISOR, agreement.requester, tag)

    @rule(pair=st.tuples(st.integers(0, 2), st.integers(0, 2)))
    def reports(self, pair: tuple[int, int]) -> None:
        """Somebody shows two agreements about one ticket that may have paid the first."""
        first, second = self.pick(pair[0]), self.pick(pair[1])
        if first is None or second is None:
            return
        a, b, slot = first.agreement, second.agreement, self.funds(second)
        ended = {"cancelled", "relieved"}
        double = (
            a.requester == b.requester
            and a.requester_ticket == b.requester_ticket
            and a.request_id != b.request_id
            and a.open_from <= b.claim_by
            and b.open_from <= a.claim_by
        )
        core = core_id(encode_core(first.core))
        whole = slot.cap > 0
        is_evidence = not first.ended & ended if whole else slot.tag == paid_tag(digest(self.made, a), core)
        works = double and not second.ended & ended and is_evidence and slot.bond > 0
        packed = [settle_bytes(self.made, deal.who, deal.agreement) for deal in (first, second)]
        if not self.send(works, "slashEquivocation", *packed, core):
            return
        lost = [(a.payee, a.price_wei), (b.payee, b.price_wei)] if whole else [(b.payee, b.price_wei)]
        self.take_bond(slot, *([each for each in lost if each[1]] or lost))

    @rule(owner=st.sampled_from(OWNERS), number=st.integers(0, TICKETS - 1), request=st.booleans())
    def withdraws(self, owner: AccountKey, number: int, request: bool) -> None:
        """An owner takes a ticket out."""
        slot = self.slots[owner.address, number]
        exists = slot.cap + slot.bond > 0
        if request:
            if self.send(exists, "requestWithdraw", number, sender=owner.address):
                slot.withdrawable_at = slot.withdrawable_at or self.now + WITHDRAW_DELAY
            return
        works = exists and 0 < slot.withdrawable_at <= self.now
        if self.send(works, "withdraw", number, sender=owner.address):
            self.give(owner.address, slot.cap + slot.bond)
            slot.cap = slot.bond = 0

    @rule(account=st.sampled_from([key.address for key in OWNERS] + [bytes((i,)) * 20 for i in (0x90, 0x91, 0x92)]))
    def collects(self, account: bytes) -> None:
        """Anybody sends an account its credit."""
        before, wei = self.made.world.balance(account), self.credit.get(account, 0)
        if self.send(wei > 0, "collect", account):
            self.credit[account] = 0
            assert self.made.world.balance(account) == before + wei

    # -- laws ----------------------------------------------------------------------------------------------------------

    @invariant()
    def the_contract_holds_what_tickets_and_credits_say(self) -> None:
        """And says what the model says."""
        if not hasattr(self, "slots"):
            return
        owed = sum(slot.cap + slot.bond for slot in self.slots.values()) + sum(self.credit.values())
        assert self.made.world.balance(self.made.market.address) == owed
        for account, wei in self.credit.items():
            assert self.made.market.view("payoutOf", account) == wei
        for deal in self.deals[-2:]:
            for key, slot in (
                ((deal.agreement.requester, deal.agreement.requester_ticket), self.funds(deal)),
                ((deal.agreement.prover, deal.agreement.prover_ticket), self.bonds(deal)),
            ):
                found = self.made.market.view("ticketOf", *key)
                assert found[1:] == (slot.cap, slot.bond, slot.withdrawable_at, slot.tag)


def check_lives(world: Setup, examples: int, steps: int) -> None:
    """Play histories."""

    class Played(Market):
        made = world

    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        Played,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_no_wei_appears_vanishes_or_is_paid_twice(made: Setup) -> None:
    """Fewer lives on the other EVMs, which are slower; their opinion on each call is asked all the same."""
    is_fast = type(made.world).__name__ == "NativeWorld"
    check_lives(made, examples=60 if is_fast else 2, steps=40)


@pytest.mark.campaign
def test_no_wei_appears_vanishes_or_is_paid_twice_for_long(made: Setup) -> None:
    """python -m pytest -m campaign tests/contracts/test_market_conservation.py"""
    check_lives(made, examples=1500, steps=60)
