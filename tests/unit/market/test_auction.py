"""Opening, voiding and ranking of bids."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import pytest

from market.auction import ReceivedBid, choose, judge_price, open_bid
from market.errors import BidVoid
from protocol.commitments import bid_hash, bids_root, pack_opening
from protocol.messages import BidCommit
from protocol.sealing import bid_info, seal
from tests.support.wire_samples import (
    BOND_WEI,
    PROVER_SEALS,
    PROVERS,
    REQUEST_SEAL,
    bid,
    opening,
    request,
    sealed_bid,
)

LIMIT_WEI = 10**16
EQUAL = 7 * 10**13


def received(place: int, price_wei: int) -> ReceivedBid:
    """A sealed bid of PROVERS[place]."""
    return ReceivedBid(prover=PROVERS[place].address, bid=sealed_bid(place, price_wei))


def sealed_as(place: int, packed: bytes, plain: BidCommit) -> ReceivedBid:
    """A bid whose box holds other bytes than its hash says."""
    info = bid_info(plain.request_id, PROVERS[place].address, plain.bid_hash)
    return ReceivedBid(
        prover=PROVERS[place].address, bid=replace(plain, sealed_opening=seal(packed, REQUEST_SEAL.public, info))
    )


def test_the_lowest_price_wins_and_all_are_counted() -> None:
    """Ranked best first, with the root over all."""
    bids = [received(0, 3 * 10**14), received(1, 10**14), received(2, 2 * 10**14)]

    outcome = choose(request(), bids, REQUEST_SEAL, LIMIT_WEI)

    assert [PROVERS[1].address, PROVERS[2].address, PROVERS[0].address] == [item.prover for item in outcome.ranked]
    assert (3, ()) == (outcome.bid_count, outcome.void)
    assert bids_root(item.bid.bid_hash for item in bids) == outcome.bids_root


def test_the_order_of_arrival_decides_nothing() -> None:
    """Also among equal prices; so a restart chooses the same winner."""
    bids = [received(0, EQUAL), received(1, EQUAL), received(2, EQUAL)]

    outcomes = {
        tuple(item.prover for item in choose(request(), order, REQUEST_SEAL, LIMIT_WEI).ranked)
        for order in permutations(bids)
    }
    assert 1 == len(outcomes)


def test_among_equal_prices_the_larger_bond_wins() -> None:
    """Before any hash is asked."""
    rich = replace(opening(2, EQUAL), bond_wei=2 * BOND_WEI)
    hashed = bid_hash(request().request_id, PROVERS[2].address, rich)
    plain = replace(bid(2), bid_hash=hashed, bond_wei=rich.bond_wei)

    outcome = choose(
        request(),
        [received(0, EQUAL), received(1, EQUAL), sealed_as(2, pack_opening(rich), plain)],
        REQUEST_SEAL,
        10**16,
    )

    assert PROVERS[2].address == outcome.ranked[0].prover


def test_nobody_wins_an_auction_without_valid_bids() -> None:
    """No bids, or none within the limit."""
    assert () == choose(request(), [], REQUEST_SEAL, LIMIT_WEI).ranked
    outcome = choose(request(), [received(0, LIMIT_WEI + 1)], REQUEST_SEAL, LIMIT_WEI)
    assert ((), ((PROVERS[0].address, "TOO_EXPENSIVE"),)) == (outcome.ranked, outcome.void)


@pytest.mark.parametrize(
    ("reason", "made"),
    [
        ("UNDECRYPTABLE", ReceivedBid(prover=PROVERS[0].address, bid=bid(0))),
        # another prover copies the whole bid: the box is bound to its author
        ("UNDECRYPTABLE", ReceivedBid(prover=PROVERS[1].address, bid=sealed_bid(0))),
        ("HASH", sealed_as(0, pack_opening(opening(0, 1)), bid(0))),
        ("HASH", sealed_as(0, pack_opening(replace(opening(0), payee=bytes(20))), bid(0))),
        ("TICKET", ReceivedBid(prover=PROVERS[0].address, bid=replace(sealed_bid(0), prover_ticket=5))),
        ("BOND", ReceivedBid(prover=PROVERS[0].address, bid=replace(sealed_bid(0), bond_wei=BOND_WEI + 1))),
    ],
)
def test_a_bid_that_is_not_what_it_committed_to_is_void(reason: str, made: ReceivedBid) -> None:
    """It takes no part, but it still counts in the root."""
    with pytest.raises(BidVoid) as refused:
        open_bid(request(), made, REQUEST_SEAL)
    assert reason == refused.value.reason
    outcome = choose(request(), [made, received(2, EQUAL)], REQUEST_SEAL, LIMIT_WEI)
    assert ((made.prover, reason),) == outcome.void
    assert 2 == outcome.bid_count


def test_a_bond_below_the_minimum_is_void() -> None:
    """Even if its frame got past a lenient relay."""
    with pytest.raises(BidVoid) as refused:
        open_bid(request(bond_min_wei=BOND_WEI + 1), received(0, EQUAL), REQUEST_SEAL)
    assert "BOND" == refused.value.reason


def test_another_requesters_key_opens_nothing() -> None:
    """Bids are sealed to one request."""
    with pytest.raises(BidVoid):
        open_bid(request(), received(0, EQUAL), PROVER_SEALS[0])


def test_a_promise_beyond_the_deadline_is_void() -> None:
    """The time counts from the last moment of acceptance."""
    opened = open_bid(request(), received(0, EQUAL), REQUEST_SEAL)
    late = request(deliver_by=request().accept_by_ms // 1000 + 9, ack_by=request().accept_by_ms // 1000 + 1)
    judge_price(request(), opened, LIMIT_WEI)
    with pytest.raises(BidVoid) as refused:
        judge_price(late, replace(opened, opening=replace(opened.opening, eta_ms=9_001)), LIMIT_WEI)
    assert "TOO_SLOW" == refused.value.reason
