"""Windows in slots, and the lane of a table from how often its roots move."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from market.lanes import (
    AMENDS,
    MAX_AMENDS,
    Churn,
    Lane,
    Windows,
    WindowsError,
    amends_signed,
    choose_lane,
    due_times,
    is_capacity,
    windows_in_slots,
)
from node.config import AuctionSection
from protocol.constants import MAX_TERM
from tests.support.tools import ROOT
from tests.support.wire_samples import request

SLOT_MS = 12_000
SECTIONS: dict[str, Any] = {"bid": 208, "accept": 167, "ack": 1_250, "prove": 10_000, "margin": 5_000, "claim": 300_000}
HOUR_MS = 3_600_000


def windows(span_ms: int) -> Windows:
    """Windows that last so long together, before claims."""
    return Windows(bid_ms=1_000, accept_ms=1_000, ack_ms=1_000, prove_ms=span_ms - 2_000, margin_ms=0, claim_s=60)


LANES = {
    Lane.RELAXED: windows(320_000),
    Lane.STANDARD: windows(120_000),
    Lane.EXPRESS: windows(12_000),
    Lane.CAPACITY: windows(120_000),
}


def test_windows_are_thousandths_of_a_slot() -> None:
    made = windows_in_slots(Lane.STANDARD, slot_ms=SLOT_MS, standbys=1, **SECTIONS)

    assert (
        Windows(bid_ms=2_496, accept_ms=2_004, ack_ms=15_000, prove_ms=120_000, margin_ms=60_000, claim_s=3_600) == made
    )
    assert 124_500 == made.span_ms


def test_a_chain_with_other_slots_has_other_windows() -> None:
    assert 416 == windows_in_slots(Lane.STANDARD, slot_ms=2_000, standbys=0, **SECTIONS).bid_ms


@pytest.mark.parametrize("name", ["bid", "accept", "ack", "prove", "claim", "slot_ms"])
def test_a_window_of_nothing_is_refused_by_its_name(name: str) -> None:
    values = {"slot_ms": SLOT_MS, **SECTIONS, name: 0}

    with pytest.raises(WindowsError, match=name):
        windows_in_slots(Lane.EXPRESS, standbys=0, **values)


@pytest.mark.parametrize("standbys", [0, 1, 2])
def test_windows_that_exceed_the_longest_term_are_refused(standbys: int) -> None:
    """Runners-up lengthen the term: the last claimBy that the market allows goes through, one second more does not."""
    base = due_times(
        windows_in_slots(Lane.STANDARD, slot_ms=1_000, standbys=standbys, **SECTIONS), now_ms=0, standbys=standbys
    )
    longest = 300 + MAX_TERM - base.claim_by
    at_most = {**SECTIONS, "claim": 1_000 * longest}
    beyond = {**SECTIONS, "claim": 1_000 * (longest + 1)}
    made = windows_in_slots(Lane.STANDARD, slot_ms=1_000, standbys=standbys, **at_most)

    assert MAX_TERM == due_times(made, now_ms=0, standbys=standbys).claim_by
    with pytest.raises(WindowsError, match=str(MAX_TERM)):
        windows_in_slots(Lane.STANDARD, slot_ms=1_000, standbys=standbys, **beyond)


@given(now_ms=st.integers(0, 2**40), standbys=st.integers(0, 2), prove_ms=st.integers(1, 600_000))
def test_times_of_a_request_ascend(now_ms: int, standbys: int, prove_ms: int) -> None:
    """Whatever the windows: the order that gossip validation demands (SPEC §9.4)."""
    made = Windows(bid_ms=1, accept_ms=2, ack_ms=1, prove_ms=prove_ms, margin_ms=30_000, claim_s=60)
    due = due_times(made, now_ms=now_ms, standbys=standbys)

    assert now_ms < due.bid_close_ms < due.award_by_ms < due.accept_by_ms <= due.ack_by * 1000
    assert due.ack_by <= due.deliver_by <= due.deliver_by + standbys * due.standby_step_s < due.claim_by


@pytest.mark.parametrize(
    ("moves_an_hour", "lane"),
    [
        (0, Lane.RELAXED),
        (2, Lane.RELAXED),  # 0.18 of a move in 320 s
        (3, Lane.STANDARD),  # 0.27, and 0.1 in 120 s
        (7, Lane.STANDARD),
        (8, Lane.EXPRESS),  # 0.27 in 120 s
        (74, Lane.EXPRESS),
        (75, Lane.CAPACITY),  # a quarter of a move in 12 s
        (300, Lane.CAPACITY),  # every slot
    ],
)
def test_the_slowest_lane_in_which_the_table_will_hold(moves_an_hour: int, lane: Lane) -> None:
    assert lane is choose_lane(Churn(moves=moves_an_hour, seen_ms=HOUR_MS), LANES)


def test_who_has_just_started_takes_no_slower_lane_than_the_standard() -> None:
    """Nothing seen in five seconds says nothing about five minutes."""
    assert Lane.STANDARD is choose_lane(Churn(moves=0, seen_ms=0), LANES)
    assert Lane.STANDARD is choose_lane(Churn(moves=0, seen_ms=319_999), LANES)
    assert Lane.RELAXED is choose_lane(Churn(moves=0, seen_ms=320_000), LANES)


def test_one_move_in_a_short_look_is_one_in_a_lane_and_not_many() -> None:
    """A move in the first second is not one for every second to come; but a table there will not stay."""
    assert Lane.CAPACITY is choose_lane(Churn(moves=1, seen_ms=1_000), LANES)
    assert Lane.EXPRESS is choose_lane(Churn(moves=1, seen_ms=60_000), LANES)


@given(st.integers(0, 500), st.integers(0, 500), st.integers(0, 2 * HOUR_MS))
def test_more_moves_never_lead_to_a_slower_lane(fewer: int, more: int, seen_ms: int) -> None:
    order = [Lane.RELAXED, Lane.STANDARD, Lane.EXPRESS, Lane.CAPACITY]
    fewer, more = sorted((fewer, more))
    chosen = [order.index(choose_lane(Churn(moves=each, seen_ms=seen_ms), LANES)) for each in (fewer, more)]

    assert chosen == sorted(chosen)


def test_the_specification_states_the_windows_and_amends_of_every_lane() -> None:
    """A node's defaults, row by row."""
    text = ROOT.joinpath("protocol", "SPEC.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| ")]
    stated = {row[0]: row for row in rows if len(row) == 10 and row[0] in set(Lane)}

    assert set(Lane) == set(stated)
    for lane in Lane:
        section = getattr(AuctionSection(), lane.value)
        windows = [section.bid, section.accept, section.ack, section.prove, section.margin, section.claim]
        assert [str(value) for value in windows] == stated[lane][1:7]
        assert str(AMENDS[lane]) == stated[lane][8].partition(",")[0]
        assert ("payload" if lane is Lane.CAPACITY else "request") == stated[lane][7].rpartition(" ")[2]


def test_a_request_without_a_statement_is_one_for_capacity() -> None:
    named, unnamed = request(), request(statement_commit=bytes(32), payload_commit=bytes(32))

    assert not is_capacity(named) and is_capacity(unnamed)
    assert MAX_AMENDS == amends_signed(named) < amends_signed(unnamed) == AMENDS[Lane.CAPACITY]
