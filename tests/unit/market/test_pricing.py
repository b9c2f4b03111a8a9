"""Prices, admission and ticket arithmetic: integers, and a reason for every refusal."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from market.admission import Capability, admit
from market.errors import Skip, TicketError
from market.pricing import Curve, PriceRule, ProofCost, Quote, ceiling, quote
from market.tickets import conserved, highest_payable, split
from tests.support.wire_samples import BOND_WEI, NOW_MS, TICKET_WEI, request

CURVE = Curve(
    wei_per_step=10**9,
    wei_per_proof=10**12,
    floor_wei=10**12,
    margin_permille=250,
    overhead_ms=1_000,
    costs={0: ProofCost(prove_ms=8_000, memory_mib=300)},
)
ABLE = Capability(
    systems=frozenset({request().systems_hash}),
    tiers=frozenset({0}),
    free_slots=1,
    free_memory_mib=1_000,
    max_size_log2=20,
    bond_wei=BOND_WEI,
)
OFFER = Quote(price_wei=10**12, eta_ms=9_000, memory_mib=300)
CALLER = b"\x07" * 20


def test_a_price_covers_the_whole_bucket() -> None:
    """2^9 steps at a gwei and one proof, plus a quarter."""
    assert (512 * 10**9 + 10**12) * 5 // 4 == quote(request(), CURVE, queued=0).price_wei
    assert 9_000 == quote(request(), CURVE, queued=0).eta_ms


def test_a_price_never_falls_below_the_floor() -> None:
    """Collecting it would cost more."""
    cheap = replace(CURVE, wei_per_step=0, wei_per_proof=0, floor_wei=5)
    assert 5 == quote(request(), cheap, queued=3).price_wei


def test_time_on_the_machine_is_paid_by_the_measured_second() -> None:
    """8 s at 3 wei, a quarter on top, beside the price of one proof; memory for each proof."""
    dear = replace(CURVE, wei_per_step=0, wei_per_proof=0, floor_wei=0, wei_per_second=3)

    assert 30 == quote(request(), dear, queued=0).price_wei
    assert 60 == quote(request(proof_count=2), dear, queued=0).price_wei
    assert 600 == quote(request(proof_count=2), dear, queued=0).memory_mib


def test_a_tier_without_a_cost_is_not_priced() -> None:
    """Its time is unknown."""
    with pytest.raises(Skip, match="TIER"):
        quote(request(tier=1), CURVE, queued=0)


@pytest.mark.parametrize(
    ("rules", "permille"),
    [
        ((PriceRule(requester=CALLER, price_permille=2_000),), 2_000),
        ((PriceRule(requester=b"\x08" * 20, price_permille=2_000),), 1_000),
        ((PriceRule(tier=0, price_permille=500), PriceRule(price_permille=3_000)), 500),
        ((PriceRule(tier=1, price_permille=500), PriceRule(price_permille=3_000)), 3_000),
    ],
)
def test_the_first_rule_that_covers_a_request_changes_its_price(rules: tuple[PriceRule, ...], permille: int) -> None:
    """By account, by tier, by neither."""
    curve = replace(CURVE, floor_wei=0)
    plain = quote(request(), curve, queued=0, requester=CALLER)
    changed = quote(request(), replace(curve, rules=rules), queued=0, requester=CALLER)

    assert plain.price_wei * permille == changed.price_wei * 1_000
    assert plain.eta_ms == changed.eta_ms


def test_a_rule_of_nothing_is_no_bid() -> None:
    """For that requester only; below the floor no rule goes."""
    rules = (PriceRule(requester=CALLER, price_permille=0), PriceRule(price_permille=1))

    with pytest.raises(Skip, match="OPERATOR"):
        quote(request(), replace(CURVE, rules=rules), queued=0, requester=CALLER)
    assert CURVE.floor_wei == quote(request(), replace(CURVE, rules=rules), queued=0).price_wei


@given(st.integers(0, 40), st.integers(1, 8), st.integers(0, 10))
def test_more_work_more_proofs_and_more_load_never_cost_less(work_log2: int, proof_count: int, queued: int) -> None:
    """Monotone in each."""
    here = quote(request(work_log2=work_log2, proof_count=proof_count), CURVE, queued=queued)

    assert here.price_wei <= quote(request(work_log2=work_log2 + 1, proof_count=8), CURVE, queued=queued).price_wei or (
        work_log2 == 40
    )
    assert (
        here.price_wei
        < quote(request(work_log2=work_log2, proof_count=proof_count), CURVE, queued=queued + 1).price_wei
    )
    assert here.eta_ms < quote(request(work_log2=work_log2, proof_count=proof_count), CURVE, queued=queued + 1).eta_ms


@pytest.mark.parametrize(
    ("reason", "ask", "able", "offer", "ticket_wei", "now_ms"),
    [
        ("FAMILY", {"systems_hash": bytes(32)}, {}, OFFER, TICKET_WEI, NOW_MS),
        ("TIER", {"tier": 1}, {}, OFFER, TICKET_WEI, NOW_MS),
        ("SIZE", {"size_log2": 21}, {}, OFFER, TICKET_WEI, NOW_MS),
        ("NO_CAPACITY", {}, {"free_slots": 0}, OFFER, TICKET_WEI, NOW_MS),
        ("NO_MEMORY", {}, {"free_memory_mib": 299}, OFFER, TICKET_WEI, NOW_MS),
        ("NO_BOND", {}, {"bond_wei": BOND_WEI - 1}, OFFER, TICKET_WEI, NOW_MS),
        ("NO_BOND", {"bond_min_wei": 0}, {"bond_wei": 0}, OFFER, TICKET_WEI, NOW_MS),
        ("NO_TICKET", {}, {}, OFFER, None, NOW_MS),
        ("TICKET_TOO_SMALL", {}, {}, OFFER, OFFER.price_wei - 1, NOW_MS),
        ("CLOSED", {}, {}, OFFER, TICKET_WEI, NOW_MS + 2_401),
        ("TOO_SLOW", {}, {}, Quote(price_wei=1, eta_ms=116_001, memory_mib=0), TICKET_WEI, NOW_MS),
        ("TOO_LONG", {"standbys": 1, "standby_step_s": 900}, {}, OFFER, TICKET_WEI, NOW_MS),
        ("CLAIM_WINDOW", {"claim_by": request().deliver_by + 59}, {}, OFFER, TICKET_WEI, NOW_MS),
    ],
)
def test_every_reason_to_skip_has_its_word(
    reason: str, ask: dict[str, Any], able: dict[str, Any], offer: Quote, ticket_wei: int | None, now_ms: int
) -> None:
    """And without it the same request is bid on."""
    able_now = Capability(**({name: getattr(ABLE, name) for name in Capability.__slots__} | able))

    with pytest.raises(Skip) as refused:
        admit(request(**ask), able_now, offer, ticket_wei=ticket_wei, now_ms=now_ms)
    assert reason == refused.value.reason
    admit(request(), ABLE, OFFER, ticket_wei=TICKET_WEI, now_ms=NOW_MS)


@given(st.integers(0, 1 << 96), st.integers(-5, 1 << 96))
def test_no_wei_appears_or_vanishes(held_wei: int, wanted_wei: int) -> None:
    """A ticket pays exactly what is wanted and gives back the rest, or refuses."""
    if 0 <= wanted_wei <= held_wei:
        result = split(held_wei, wanted_wei)
        assert conserved(held_wei, result)
        assert wanted_wei == result.to_counterparty_wei
    else:
        with pytest.raises(TicketError):
            split(held_wei, wanted_wei)


def test_a_requester_pays_at_most_what_its_ticket_holds() -> None:
    """Whatever its limit says."""
    assert (5, 7) == (highest_payable(5, 9), highest_payable(9, 7))


@pytest.mark.parametrize(
    ("seen", "attempt", "expected"),
    [
        ((), 1, 1_000),
        ((10, 400, 20), 1, 40),
        ((10, 400, 20), 2, 60),
        ((10, 400, 20), 3, 1_000),
        ((900,), 1, 1_000),
        ((7,), 2, 21),
    ],
)
def test_a_ceiling_follows_the_prices_seen_and_the_last_auction_allows_all(
    seen: tuple[int, ...], attempt: int, expected: int
) -> None:
    """Twice the median, half more each time, rounded up; never above the user's limit."""
    assert expected == ceiling(seen, max_price_wei=1_000, attempt=attempt, last=3, bump_permille=500)
