"""A slot and memory are kept from the bid until the order is lost, declined or proven, and never given twice."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from market.capacity import AHEAD, HOLDING, Capacity
from market.lifecycle import INITIAL, Order, Role, State
from tests.support.wire_samples import NOW_MS


def order(number: int, state: State) -> Order:
    """One of a prover."""
    return Order(
        order_id=bytes([number]) * 32,
        role=Role.PROVER,
        state=state,
        bid_close_ms=NOW_MS,
        award_by_ms=NOW_MS,
        accept_by_ms=NOW_MS,
        ack_by=1,
        deliver_by=2,
        claim_by=3,
        valid_until=4,
    )


def test_what_is_held_is_not_free() -> None:
    """Slots and memory, each by itself."""
    capacity = Capacity(slots=2, memory_mib=500)
    capacity.hold(bytes([1]) * 32, 400, 7)

    assert (1, 100) == capacity.free()
    capacity.hold(bytes([1]) * 32, 300, 7)  # the same order again
    assert (1, 200) == capacity.free()
    capacity.hold(bytes([2]) * 32, 300, 8)
    assert (0, 0) == capacity.free()
    assert {7, 8} == capacity.tickets()


@pytest.mark.parametrize("state", sorted(State))
def test_an_order_holds_from_its_bid_until_it_needs_no_machine(state: State) -> None:
    """Lost, declined, skipped, proven: free. Those that were awarded come before a new one."""
    capacity = Capacity(slots=1, memory_mib=100)
    capacity.hold(bytes([1]) * 32, 100, 7)
    ahead = capacity.settle([order(1, state)])

    assert capacity.free() == ((0, 0) if state in HOLDING else (1, 100))
    assert ahead == (state in AHEAD)


def test_an_order_that_nobody_knows_holds_nothing() -> None:
    """It has ended, and the loop has forgotten it."""
    capacity = Capacity(slots=1, memory_mib=100)
    capacity.hold(bytes([1]) * 32, 100, 7)

    assert 0 == capacity.settle([order(2, State.AT_WORK)])
    assert (1, 100) == capacity.free()


def test_no_final_state_holds() -> None:
    """Else a slot would be gone for good."""
    assert not any(order(1, state).is_over for state in HOLDING)
    assert INITIAL[Role.PROVER] in HOLDING


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 50), st.sampled_from(sorted(State))), max_size=20))
def test_free_and_held_add_up(history: list[tuple[int, int, State]]) -> None:
    """After anything."""
    capacity, states = Capacity(slots=30, memory_mib=2_000), {}
    held = {}
    for number, mib, state in history:
        capacity.hold(bytes([number]) * 32, mib, number)
        held[number], states[number] = mib, state
        capacity.settle([order(n, s) for n, s in states.items()])
        held = {n: m for n, m in held.items() if states[n] in HOLDING}

        assert (30 - len(held), 2_000 - sum(held.values())) == capacity.free()
