"""What a promise on a ticket is worth: half of its class."""

from __future__ import annotations

import pytest

from market.tickets import highest_payable, promise_limit
from protocol.agreement import ticket_cap_wei
from protocol.constants import MAX_CLASS


@pytest.mark.parametrize("ticket_class", range(MAX_CLASS + 1))
def test_two_promises_of_the_limit_are_the_class_and_not_a_wei_is_lost(ticket_class: int) -> None:
    """A ticket holds exactly its class, which is even."""
    cap_wei = ticket_cap_wei(ticket_class)

    assert 2 * promise_limit(cap_wei) == cap_wei


def test_a_promise_never_exceeds_the_half() -> None:
    assert [0, 0, 1, 1] == [promise_limit(wei) for wei in range(4)]


@pytest.mark.parametrize(("promised", "maximum", "payable"), [(5, 9, 5), (9, 5, 5), (0, 9, 0)])
def test_the_highest_price_is_what_is_worth_promising_and_wanted(promised: int, maximum: int, payable: int) -> None:
    assert payable == highest_payable(promised, maximum)
