"""REJECT blames whoever handed a frame over, so it must not depend on what a node happens to know.

A cheat says different things to different nodes. Whatever one node accepts, and so passes on, no other node may find
against the rules, in whatever order and at whatever moment each heard it.
"""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import dataclass, replace

import pytest

from protocol.agreement import awarded_agreement
from protocol.commitments import bids_root
from protocol.errors import Ignore, Reject
from protocol.gossip import validate
from protocol.gossip_memory import GossipMemory
from protocol.messages import Award, BidReveal, Cancel, Message, ProverAd, RequestCommit, StandDown
from protocol.signing import AccountKey, agreement_digest
from tests.support.wire_samples import (
    MARKET,
    NOW_MS,
    PROVERS,
    REQUESTER,
    TICKET_WEI,
    award,
    bid,
    double_award,
    framed,
    opening,
    ready_table,
    request,
    samples,
)

ACCEPTED, IGNORED, REJECTED = "accepted", "ignored", "rejected"
SEEDS = 60


@dataclass
class SomeTickets:
    """One node's view of L1, which is behind or ahead of another's."""

    missing: frozenset[bytes]

    def free_ticket_wei(self, owner: bytes, ticket: int) -> int | None:
        """As the real view."""
        return None if owner in self.missing or ticket >= 100 else TICKET_WEI


def _awarded(asked: RequestCommit, prices_wei: tuple[int, ...], rank: int = 1) -> Award:
    """`award` for another request."""
    plain = award(prices_wei, rank)
    moved = replace(plain, request_id=asked.request_id, bids_root=bids_root([]))
    digest = agreement_digest(MARKET.chain_id, MARKET.contract, awarded_agreement(REQUESTER.address, asked, moved))
    return replace(moved, agreement_hash=digest, requester_signature=REQUESTER.sign_digest(digest))


def _frames() -> list[tuple[str, bytes]]:
    """Everything that cheating requesters and provers could sign about one order, each frame well formed."""
    twin = request(bond_min_wei=1)  # the same table, payload and key, other terms
    said: list[tuple[str, Message, AccountKey]] = [("req", request(), REQUESTER), ("req", twin, REQUESTER)]
    for place, key in enumerate(PROVERS):
        for price_wei in (10**14, 7):
            plain = bid(place, price_wei=price_wei)
            said += [("bid", plain, key), ("bid", replace(plain, request_id=twin.request_id, bond_wei=1), key)]
            opened = opening(place, price_wei)
            for asked in (request(), twin):
                said.append(("bid", BidReveal(request_id=asked.request_id, opening=opened), key))
    for asked in (request(), twin):
        for prices_wei in ((10**14, 2 * 10**14), (7,), (5, 6)):
            said.append(("award", _awarded(asked, prices_wei), REQUESTER))
        said.append(("award", _awarded(asked, (5, 6), rank=2), REQUESTER))
        said.append(("award", Cancel(request_id=asked.request_id, reason=1), REQUESTER))
        said.append(("award", StandDown(request_id=asked.request_id, rank=2), REQUESTER))
    ad = next(message for message in samples() if isinstance(message, ProverAd))
    said += [("ad", ad, PROVERS[0]), ("ad", replace(ad, free_slots=9), PROVERS[0])]
    twice = double_award()
    said += [("ready", ready_table(), REQUESTER), ("fault", twice, PROVERS[2])]
    said.append(("fault", replace(twice, pieces=twice.pieces[::-1]), PROVERS[1]))
    return [(channel, framed(message, key=key, sequence=n)) for n, (channel, message, key) in enumerate(said)]


@pytest.mark.parametrize("seed", range(SEEDS))
def test_what_one_node_accepts_no_other_rejects(seed: int) -> None:
    """Eight nodes that hear the same frames in different orders, with other clocks and other views of L1."""
    rng = random.Random(seed)
    frames = _frames()
    verdicts: dict[int, set[str]] = defaultdict(set)
    for _ in range(8):
        memory = GossipMemory()
        view = SomeTickets(frozenset(key.address for key in (REQUESTER, *PROVERS) if rng.random() < 0.1))
        order = sorted(range(len(frames)), key=lambda n: (n / len(frames) + rng.random() * rng.choice((0.1, 2.0)), n))
        for n in order:
            channel, data = frames[n]
            now_ms = NOW_MS + rng.choice((-1_500, 0, 2_000, 2_600, 3_000, 5_000))
            try:
                validate(channel, data, market=MARKET, now_ms=now_ms, memory=memory, view=view)
                verdicts[n].add(ACCEPTED)
            except Ignore:
                verdicts[n].add(IGNORED)
            except Reject:
                verdicts[n].add(REJECTED)

    torn = [(frames[n][0], n) for n, seen in verdicts.items() if {ACCEPTED, REJECTED} <= seen]
    assert [] == torn
    assert ACCEPTED in set().union(*verdicts.values())


def test_the_sample_holds_accepted_frames_of_every_kind() -> None:
    """Else the law above would be about nothing."""
    heard: set[int] = set()
    for seed in range(20):
        rng = random.Random(seed)
        memory, frames = GossipMemory(), _frames()
        for channel, data in sorted(frames, key=lambda each: rng.random()) + frames:
            try:
                validate(channel, data, market=MARKET, now_ms=NOW_MS, memory=memory, view=SomeTickets(frozenset()))
                heard.add(data[4])
            except (Ignore, Reject):
                continue

    assert {int(message.ID) for message in (request(), bid(0), award(), ready_table(), double_award())} <= heard
    assert {3, 12, 13, 15} <= heard
