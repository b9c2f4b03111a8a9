"""Every state and every event: live iff the table says so, with its effects, and nothing else happens."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import product

import pytest

from market.effects import Effect
from market.errors import InvalidTransition
from market.lifecycle import (
    INITIAL,
    TERMINAL,
    TRANSITIONS,
    Event,
    Order,
    Role,
    State,
    advance,
    deadline,
    diagram,
)
from tests.support.tools import ROOT
from tests.support.write_lifecycle_vectors import SPEC, lifecycle_vectors, spec_diagram

VECTORS = json.loads(ROOT.joinpath("tests", "vectors", "lifecycle.json").read_text(encoding="utf-8"))
TABLE = {(row["state"], row["event"]): row for row in VECTORS["transitions"]}


def order(state: State) -> Order:
    """An order in a state, with distinct times."""
    return Order(
        order_id=bytes(32),
        role=state.role,
        state=state,
        bid_close_ms=1_000_000,
        award_by_ms=2_000_000,
        accept_by_ms=3_000_000,
        ack_by=4_000,
        deliver_by=5_000,
        claim_by=9_000,
        valid_until=6_000,
        call_ms=3_500_000,
    )


@pytest.mark.parametrize("state", State)
def test_an_event_is_live_iff_the_table_has_it(state: State) -> None:
    """All events of a state: the target, the effects, and no other change; or a refusal."""
    for event in Event:
        row = TABLE.get((state.value, event.value))
        if row is None:
            with pytest.raises(InvalidTransition) as refused:
                advance(order(state), event)
            assert (state.value, event.value) == (refused.value.state, refused.value.event)
            continue
        before = order(state)
        after, effects = advance(before, event)

        assert row["target"] == after.state.value
        assert row["effects"] == [effect.value for effect in effects]
        assert before == replace(after, state=state)
        assert order(state) == before


def test_terminal_states_have_no_exits_and_all_others_have() -> None:
    """And there are ends for both roles."""
    assert {state.value for state in TERMINAL} == set(VECTORS["terminal"])
    for state, event in product(TERMINAL, Event):
        assert (state, event) not in TRANSITIONS
    assert {role for role in Role} == {state.role for state in TERMINAL}


def test_every_state_can_be_reached_and_can_end() -> None:
    """No dead corner, no trap."""
    for role in Role:
        reached = {INITIAL[role]}
        while more := {step.target for (state, _), step in TRANSITIONS.items() if state in reached} - reached:
            reached |= more
        assert {state for state in State if state.role is role} == reached
    ending = set(TERMINAL)
    while more := {state for (state, _), step in TRANSITIONS.items() if step.target in ending} - ending:
        ending |= more
    assert set(State) == ending


def test_no_transition_changes_the_role() -> None:
    """A requester's order never becomes a prover's."""
    assert all(state.role is step.target.role for (state, _), step in TRANSITIONS.items())


def test_every_event_and_effect_is_used() -> None:
    """No dead names."""
    assert set(Event) == {event for _, event in TRANSITIONS}
    assert set(Effect) == {effect for step in TRANSITIONS.values() for effect in step.effects}


def test_vectors_and_specification_are_what_the_table_says() -> None:
    """Regenerate with `python -m tests.support.write_lifecycle_vectors`."""
    assert VECTORS == lifecycle_vectors()
    assert diagram() == spec_diagram(SPEC.read_text(encoding="utf-8"))


def test_silence_never_leaves_a_live_order_waiting_for_ever() -> None:
    """Each deadline is an event of its state. Only states that wait for our own work have none."""
    waits_for_us = {State.CLOSED, State.DELIVERED, State.S_DELIVERED, State.S_VERIFIED}
    for state in State:
        found = deadline(order(state))
        if state in TERMINAL or state in waits_for_us:
            assert found is None
        else:
            assert found is not None
            assert (state, found[1]) in TRANSITIONS


def test_following_only_deadlines_ends_every_order() -> None:
    """Whatever state an order is in, silence of all others ends it, in order of time."""
    for state in State:
        current, last_ms = order(state), 0
        while (due := deadline(current)) is not None:
            assert due[0] >= last_ms or current.state in (State.OWING,)
            last_ms = due[0]
            current, _ = advance(current, due[1], due[2])
        assert current.is_over or current.state in (
            State.CLOSED,
            State.DELIVERED,
            State.S_DELIVERED,
            State.S_VERIFIED,
        )


@pytest.mark.parametrize(
    ("silent_in", "end"),
    [
        (State.AWARDED, State.REFUNDED),
        (State.ACCEPTED, State.REFUNDED),
        (State.KEYED, State.REFUNDED),
        (State.PROVING, State.REFUNDED),
    ],
)
def test_a_silent_winner_costs_the_requester_nothing(silent_in: State, end: State) -> None:
    """Ticket back; with an Ack the bond is taken on the way, if the chain lets us before its window ends."""
    current = order(silent_in)
    passed = []
    while (due := deadline(current)) is not None:
        passed.append(current.state)
        current, _ = advance(current, due[1], due[2])

    assert end is current.state
    assert (State.SLASH_DUE in passed) == (silent_in is State.PROVING)
    assert current.reason


def test_a_reason_stays_until_another_comes() -> None:
    """An operator sees why an order ended, not only that it did."""
    lapsed, _ = advance(order(State.AWARDED), Event.ACCEPT_TIMEOUT, "NOT_ACCEPTED")
    ended, _ = advance(lapsed, Event.CLAIMS_OVER)

    assert ("NOT_ACCEPTED", State.REFUNDED) == (ended.reason, ended.state)
