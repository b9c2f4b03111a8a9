"""Gossip validation: which verdict, in which order, and what is remembered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

import protocol.gossip as gossip
from protocol.agreement import awarded_agreement
from protocol.codec import encode_body
from protocol.commitments import rank_key
from protocol.constants import FIELD_ORDER, MAX_CLOCK_SKEW_MS, MAX_LIFETIME_MS
from protocol.errors import Ignore, Reject
from protocol.gossip import AD_INTERVAL_MS, Accepted, MarketId, validate
from protocol.gossip_memory import AFTERLIFE_MS, MAX_BIDS, MAX_LIVE_FRAMES, MAX_TABLES, GossipMemory
from protocol.messages import Cancel, Message, ProverAd, ReleasePolicy, StandDown, topic
from protocol.signing import AccountKey
from protocol.verdicts import WireCode
from tests.support.wire_samples import (
    BOND_WEI,
    MARKET,
    NOW_MS,
    NOW_S,
    PROVERS,
    REQUESTER,
    TICKET_WEI,
    AllTickets,
    award,
    bid,
    framed,
    ready_table,
    request,
    samples,
)


def judge(
    channel: str, data: bytes, memory: GossipMemory | None = None, now_ms: int = NOW_MS, market: MarketId = MARKET
) -> Accepted[Message]:
    """`validate` with this file's market and a chain that knows every ticket."""
    return validate(
        channel,
        data,
        market=market,
        now_ms=now_ms,
        memory=GossipMemory() if memory is None else memory,
        view=AllTickets(),
    )


def with_request() -> GossipMemory:
    """A node that has accepted `request()`."""
    memory = GossipMemory()
    judge("req", framed(request(), sequence=1000), memory)
    return memory


def expect_refusal(code: WireCode, kind: type[Reject] | type[Ignore], act: Callable[[], object]) -> None:
    """Asserts that `act` is refused with exactly this verdict and code."""
    with pytest.raises((Reject, Ignore)) as refused:
        act()

    assert (kind, code) == (type(refused.value), refused.value.reason)


def test_the_story_is_accepted() -> None:
    """Request, three bids, award; then an advertisement and a ready table."""
    memory = with_request()
    for place, key in enumerate(PROVERS):
        judge("bid", framed(bid(place), key=key), memory)
    accepted = judge("award", framed(award(), sequence=2), memory, now_ms=NOW_MS + 3_000)

    assert award() == accepted.message
    assert REQUESTER.address == accepted.signer
    judge("ready", framed(ready_table(), sequence=3), memory)
    judge("ad", framed(ad(), key=PROVERS[0], sequence=4), memory)


def ad() -> ProverAd:
    """The sample advertisement."""
    return next(message for message in samples() if isinstance(message, ProverAd))


@pytest.mark.parametrize(
    ("code", "kind", "data"),
    [
        (WireCode.TOO_SHORT, Reject, b""),
        (WireCode.TOO_LONG, Reject, bytes(5000)),
        (WireCode.BAD_MAGIC, Reject, bytes(500)),
        (WireCode.WRONG_CHANNEL, Reject, framed(bid(0), key=PROVERS[0])),
        (WireCode.WRONG_CHAIN, Reject, framed(request(), chain_id=1)),
        (WireCode.WRONG_MARKET, Reject, framed(request(), market=bytes(20))),
        (WireCode.BAD_LIFETIME, Reject, framed(request(), expires_ms=NOW_MS)),
        (WireCode.BAD_LIFETIME, Reject, framed(request(), expires_ms=NOW_MS + MAX_LIFETIME_MS + 1)),
        (WireCode.EXPIRED, Ignore, framed(request(), created_ms=NOW_MS - 10, expires_ms=NOW_MS)),
        (
            WireCode.FROM_FUTURE,
            Ignore,
            framed(request(), created_ms=NOW_MS + MAX_CLOCK_SKEW_MS + 1, expires_ms=NOW_MS + 9_000),
        ),
        (WireCode.BODY_STRUCTURE, Reject, framed(request())[:80] + b"\xc1" + framed(request())[81:]),
        (WireCode.WRONG_SIGNER, Reject, framed(request(), key=PROVERS[0], signer=REQUESTER.address)),
        (WireCode.BAD_SIGNATURE, Reject, framed(request())[:-1] + b"\x00"),
    ],
)
def test_a_bad_frame_gets_its_verdict(code: WireCode, kind: type[Reject] | type[Ignore], data: bytes) -> None:
    """On the request channel of an otherwise fresh node."""
    expect_refusal(code, kind, lambda: judge("req", data))


def test_junk_never_reaches_a_hash_or_a_signature(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the header, the times or the memory refuse costs no hashing; what the body refuses costs no recovery."""
    memory = with_request()
    monkeypatch.setattr(gossip, "verify_frame", lambda _: pytest.fail("a signature was recovered"))
    expect_refusal(WireCode.REPLAYED, Ignore, lambda: judge("req", framed(request(), sequence=1000), memory))
    expect_refusal(WireCode.BAD_BUCKET, Reject, lambda: judge("req", framed(request(size_log2=9)), memory))
    monkeypatch.setattr(gossip, "decode_body", lambda *_: pytest.fail("a body was decoded"))
    expect_refusal(WireCode.BAD_MAGIC, Reject, lambda: judge("req", bytes(500), memory))
    expect_refusal(WireCode.EXPIRED, Ignore, lambda: judge("req", framed(request()), memory, now_ms=NOW_MS + 10**9))


def test_a_refused_frame_is_not_remembered() -> None:
    """Nobody can use up another's sequence numbers or ticket with frames that it did not sign."""
    memory = GossipMemory()
    for data in (
        framed(request())[:-1] + b"\x00",
        framed(request(), key=PROVERS[0], signer=REQUESTER.address),
    ):
        with pytest.raises(Reject):
            judge("req", data, memory)

    assert request() == judge("req", framed(request()), memory).message


@pytest.mark.parametrize(
    ("code", "changes"),
    [
        (WireCode.BAD_BUCKET, {"size_log2": 9}),
        (WireCode.BAD_BUCKET, {"size_log2": 23}),
        (WireCode.BAD_BUCKET, {"work_log2": 41}),
        (WireCode.BAD_BUCKET, {"proof_count": 0}),
        (WireCode.BAD_BUCKET, {"proof_count": 9}),
        (WireCode.BAD_BUCKET, {"privacy": 1}),
        (WireCode.BAD_BUCKET, {"standbys": 3}),
        (WireCode.BAD_BUCKET, {"statement_commit": bytes(32)}),
        (WireCode.BAD_BUCKET, {"payload_commit": bytes(32)}),
        (WireCode.BAD_TIMES, {"standby_step_s": 3_480}),
        (WireCode.BAD_TIMES, {"standbys": 2, "standby_step_s": 1_740}),
        (WireCode.BAD_TIMES, {"bid_close_ms": NOW_MS}),
        (WireCode.BAD_TIMES, {"award_by_ms": NOW_MS + 2_500}),
        (WireCode.BAD_TIMES, {"accept_by_ms": NOW_MS + 3_200}),
        (WireCode.BAD_TIMES, {"ack_by": NOW_S + 3}),
        (WireCode.BAD_TIMES, {"deliver_by": NOW_S + 19}),
        (WireCode.BAD_TIMES, {"claim_by": NOW_S + 120}),
        (WireCode.BAD_TIMES, {"claim_by": NOW_S + 7_201}),
        (WireCode.BAD_ADDRESS, {"addresses": (b"ip4/1.2.3.4",)}),
        (WireCode.BAD_ADDRESS, {"addresses": (b"/ip4/\n",)}),
        (WireCode.REQUEST_ID, {"request_id": bytes(32)}),
    ],
)
def test_a_request_that_breaks_a_rule_is_rejected(code: WireCode, changes: dict[str, Any]) -> None:
    """Its sender could have checked it."""
    expect_refusal(code, Reject, lambda: judge("req", framed(request(**changes))))


def test_a_request_under_another_accounts_id_is_rejected() -> None:
    """An id belongs to the account that signs."""
    expect_refusal(WireCode.REQUEST_ID, Reject, lambda: judge("req", framed(request(), key=PROVERS[0])))


def test_the_id_of_a_request_is_that_of_all_its_fields() -> None:
    """Two requests under one id would let one requester turn honest nodes against each other."""
    for changes in ({"bond_min_wei": 1}, {"standbys": 0}, {"deliver_by": NOW_S + 121}, {"addresses": ()}, {"tier": 1}):
        other = replace(request(), **changes)
        expect_refusal(WireCode.REQUEST_ID, Reject, lambda other=other: judge("req", framed(other)))
        assert request().request_id != request(**changes).request_id


def test_requests_out_of_context_are_ignored() -> None:
    """Late, without a ticket, with a ticket in use, known already."""
    memory = with_request()
    expect_refusal(WireCode.LATE, Ignore, lambda: judge("req", framed(request()), now_ms=NOW_MS + 2_500))
    expect_refusal(WireCode.UNKNOWN_TICKET, Ignore, lambda: judge("req", framed(request(requester_ticket=100))))
    expect_refusal(WireCode.REPLAYED, Ignore, lambda: judge("req", framed(request(), sequence=1001), memory))
    again = request(payload_commit=b"\x02" * 32)
    expect_refusal(WireCode.TICKET_BUSY, Ignore, lambda: judge("req", framed(again, sequence=1002), memory))


def test_a_ticket_is_free_again_when_its_request_is_over() -> None:
    """By cancellation, or some time after the last deadline."""
    memory = with_request()
    judge("award", framed(Cancel(request_id=request().request_id, reason=1), sequence=5), memory)
    judge("req", framed(request(payload_commit=b"\x02" * 32), sequence=6), memory)
    later_ms = (request().ack_by + request().standby_step_s) * 1000 + AFTERLIFE_MS
    third = request(
        payload_commit=b"\x01" * 32,
        bid_close_ms=later_ms + 10,
        award_by_ms=later_ms + 20,
        accept_by_ms=later_ms + 30,
        ack_by=later_ms // 1000 + 2,
        deliver_by=later_ms // 1000 + 120,
    )
    frame = framed(third, sequence=7, created_ms=later_ms, expires_ms=later_ms + 1000)

    assert third == judge("req", frame, memory, now_ms=later_ms).message


def test_bids_get_their_verdicts() -> None:
    """Unknown request, late, small bond, no ticket, second bid."""
    memory = with_request()
    key = PROVERS[0]
    expect_refusal(WireCode.UNKNOWN_REQUEST, Ignore, lambda: judge("bid", framed(bid(0), key=key)))
    expect_refusal(WireCode.LATE, Ignore, lambda: judge("bid", framed(bid(0), key=key), memory, now_ms=NOW_MS + 2_500))
    small = replace(bid(0), bond_wei=BOND_WEI - 1)
    expect_refusal(WireCode.BOND_TOO_SMALL, Reject, lambda: judge("bid", framed(small, key=key), memory))
    for wrong in (replace(bid(0), prover_ticket=100), replace(bid(0), bond_wei=TICKET_WEI + 1)):
        expect_refusal(
            WireCode.UNKNOWN_TICKET, Ignore, lambda wrong=wrong: judge("bid", framed(wrong, key=key), memory)
        )
    judge("bid", framed(bid(0), key=key), memory)
    expect_refusal(
        WireCode.ALREADY_BID, Ignore, lambda: judge("bid", framed(bid(0, price_wei=1), key=key, sequence=2), memory)
    )


def test_bids_per_request_are_bounded() -> None:
    """The 65th account is told that the request is full."""
    memory = with_request()
    for n in range(MAX_BIDS):
        judge("bid", framed(bid(0), key=AccountKey(bytes([9, n]) * 16)), memory)

    expect_refusal(
        WireCode.BIDS_FULL, Ignore, lambda: judge("bid", framed(bid(0), key=AccountKey(b"\x0a" * 32)), memory)
    )


def test_sybils_cannot_keep_a_bid_with_more_at_stake_out() -> None:
    """Of too many bids the one whose ticket holds least goes; its prover does not come back with the same stake."""
    held = {PROVERS[0].address: 2 * TICKET_WEI}

    class Stakes:
        def free_ticket_wei(self, owner: bytes, ticket: int) -> int | None:
            return held.get(owner, TICKET_WEI)

    memory = with_request()
    common: dict[str, Any] = {"market": MARKET, "now_ms": NOW_MS, "memory": memory, "view": Stakes()}
    sybils = [AccountKey(bytes([9, n]) * 16) for n in range(MAX_BIDS)]
    for key in sybils:
        validate("bid", framed(bid(0), key=key), **common)
    expect_refusal(WireCode.BIDS_FULL, Ignore, lambda: validate("bid", framed(bid(1), key=PROVERS[1]), **common))
    validate("bid", framed(bid(0), key=PROVERS[0]), **common)

    known = memory.request(request().request_id)
    assert known is not None and PROVERS[0].address in known.bids
    assert MAX_BIDS == len(known.bids) == len(known.bodies) == len(known.stakes)
    (gone,) = [key for key in sybils if key.address not in known.bids]
    expect_refusal(WireCode.BIDS_FULL, Ignore, lambda: validate("bid", framed(bid(0), key=gone, sequence=9), **common))


def test_frames_per_signer_are_bounded_until_they_expire() -> None:
    """One account cannot fill the memory of a node."""
    memory = GossipMemory()
    for n in range(MAX_LIVE_FRAMES):
        judge("ready", framed(ready_table(), sequence=n), memory)
    one_more = framed(ready_table(), sequence=MAX_LIVE_FRAMES, expires_ms=NOW_MS + 90_000)

    expect_refusal(WireCode.SIGNER_QUOTA, Ignore, lambda: judge("ready", one_more, memory))
    assert ready_table() == judge("ready", one_more, memory, now_ms=NOW_MS + 60_000).message


def _changed_award(**changes: Any) -> bytes:
    return framed(replace(award(), **changes), sequence=2)


def test_awards_get_their_verdicts() -> None:
    """Order, signer, agreement, lateness, repetition."""
    memory = with_request()
    expect_refusal(WireCode.UNKNOWN_REQUEST, Ignore, lambda: judge("award", framed(award())))
    expect_refusal(WireCode.WRONG_SIGNER, Reject, lambda: judge("award", framed(award(), key=PROVERS[0]), memory))
    swapped = award().openings[::-1]
    low_bond = replace(award().openings[0], opening=replace(award().openings[0].opening, bond_wei=BOND_WEI - 1))
    for changes in (
        {"openings": ()},
        {"openings": swapped},
        {"openings": (award().openings[0],) * 2},
        {"openings": (low_bond,)},
        {"bid_count": 1},
        {"rank": 3},
        {"rank": 0},
    ):
        expect_refusal(
            WireCode.BAD_OPENINGS,
            Reject,
            lambda changes=changes: judge("award", _changed_award(**changes), memory),
        )
    for changes in (
        {"agreement_hash": bytes(32)},
        {"rank": 2},
        {"openings": award().openings[1:]},
        {"requester_signature": PROVERS[0].sign_digest(award().agreement_hash)},
    ):
        expect_refusal(
            WireCode.BAD_AGREEMENT,
            Reject,
            lambda changes=changes: judge("award", _changed_award(**changes), memory),
        )
    expect_refusal(WireCode.LATE, Ignore, lambda: judge("award", framed(award()), memory, now_ms=NOW_MS + 4_001))
    judge("award", framed(award(), sequence=2), memory)
    expect_refusal(WireCode.ALREADY_AWARDED, Ignore, lambda: judge("award", framed(award(), sequence=3), memory))
    cancel = Cancel(request_id=request().request_id, reason=1)
    expect_refusal(WireCode.ALREADY_AWARDED, Ignore, lambda: judge("award", framed(cancel, sequence=4), memory))


def test_each_engaged_rank_has_one_award_with_its_own_times() -> None:
    """A runner-up's agreement is a step later than the winner's; a rank beyond the engaged ones has none."""
    memory = with_request()
    judge("award", framed(award(), sequence=2), memory)
    judge("award", framed(award(rank=2), sequence=3), memory)
    third = award((5, 6, 7), rank=3)
    expect_refusal(WireCode.BAD_OPENINGS, Reject, lambda: judge("award", framed(third, sequence=4), memory))
    winner, runner_up = (awarded_agreement(REQUESTER.address, request(), award(rank=rank)) for rank in (1, 2))

    assert (NOW_S + 20, NOW_S + 120, NOW_S + 120) == (winner.ack_by, winner.deliver_by, winner.claim_from)
    assert (NOW_S + 80, NOW_S + 180, NOW_S + 180) == (runner_up.ack_by, runner_up.deliver_by, runner_up.claim_from)
    assert winner.claim_by == runner_up.claim_by


def test_only_the_requester_lets_a_runner_up_go_once() -> None:
    """Of a known request, and of a rank that it engages."""
    memory = with_request()
    down = StandDown(request_id=request().request_id, rank=2)
    expect_refusal(WireCode.UNKNOWN_REQUEST, Ignore, lambda: judge("award", framed(down)))
    expect_refusal(WireCode.WRONG_SIGNER, Reject, lambda: judge("award", framed(down, key=PROVERS[1]), memory))
    for rank in (0, 1, 3):
        wrong = replace(down, rank=rank)
        expect_refusal(
            WireCode.BAD_OPENINGS, Reject, lambda wrong=wrong: judge("award", framed(wrong, sequence=9), memory)
        )
    judge("award", framed(down, sequence=10), memory)
    expect_refusal(WireCode.REPLAYED, Ignore, lambda: judge("award", framed(down, sequence=11), memory))


def test_ties_are_ranked_by_a_hash_that_no_bidder_chose() -> None:
    """With another root over the bids the same two bids may swap places."""
    one, two = award((5, 5)).openings

    orders = {
        rank_key(one.opening, b"\x01" * 32, bytes([n]) * 32) < rank_key(two.opening, b"\x02" * 32, bytes([n]) * 32)
        for n in range(16)
    }
    assert {True, False} == orders


def test_only_the_requester_cancels() -> None:
    """And only what is known."""
    cancel = Cancel(request_id=request().request_id, reason=1)
    expect_refusal(WireCode.UNKNOWN_REQUEST, Ignore, lambda: judge("award", framed(cancel)))
    expect_refusal(
        WireCode.WRONG_SIGNER, Reject, lambda: judge("award", framed(cancel, key=PROVERS[0]), with_request())
    )


ROOT = b"\x01" * 32
PUBLIC = {
    "policy": ReleasePolicy.PUBLIC,
    "seal_key": b"",
    "rollup_ids": (1, 2),
    "pre_roots": (ROOT, ROOT),
    "post_roots": (ROOT, ROOT),
}


@pytest.mark.parametrize(
    "changes",
    [
        {"policy": 2},
        {"seal_key": b""},
        PUBLIC | {"seal_key": ROOT},
        {"rollup_ids": (1,), "pre_roots": (ROOT,), "post_roots": (ROOT,)},
        PUBLIC | {"rollup_ids": ()},
        PUBLIC | {"rollup_ids": (2, 1)},
        PUBLIC | {"rollup_ids": (1, 1)},
        PUBLIC | {"post_roots": (ROOT,)},
        PUBLIC | {"post_roots": (ROOT, FIELD_ORDER.to_bytes(32, "big"))},
    ],
)
def test_a_ready_table_that_says_too_much_or_too_little_is_rejected(changes: dict[str, Any]) -> None:
    """Sealed: no roots. Public: all of them, in order."""
    expect_refusal(WireCode.BAD_ROOTS, Reject, lambda: judge("ready", framed(ready_table(**changes))))


def test_a_public_table_is_passed_on_once_its_content_was_found_to_be_as_it_says() -> None:
    """Before: ignored, if it is signed; afterwards accepted or rejected. Other claims are another announcement."""
    memory = GossipMemory()
    public, other = ready_table(**PUBLIC), ready_table(**PUBLIC, ticket=8)
    forged = framed(public)[:-65] + bytes(65)
    expect_refusal(WireCode.BAD_SIGNATURE, Reject, lambda: judge("ready", forged, memory))
    expect_refusal(WireCode.UNCHECKED_TABLE, Ignore, lambda: judge("ready", framed(public), memory))
    memory.remember_table(encode_body(public), is_good=True)
    assert public == judge("ready", framed(public), memory).message
    expect_refusal(WireCode.REPLAYED, Ignore, lambda: judge("ready", framed(public), memory))
    expect_refusal(WireCode.UNCHECKED_TABLE, Ignore, lambda: judge("ready", framed(other, sequence=2), memory))
    memory.remember_table(encode_body(other), is_good=False)
    expect_refusal(WireCode.BAD_TABLE, Reject, lambda: judge("ready", framed(other, sequence=2), memory))


def test_the_oldest_verdicts_on_tables_are_forgotten() -> None:
    """A bound, whatever is announced."""
    memory = GossipMemory()
    for number in range(MAX_TABLES + 1):
        memory.remember_table(b"%d" % number, is_good=True)
    memory.check_table(b"1")
    expect_refusal(WireCode.UNCHECKED_TABLE, Ignore, lambda: memory.check_table(b"0"))


def test_ready_tables_and_ads_need_a_ticket_and_a_live_window() -> None:
    """Announcing in many names costs deposits."""
    expect_refusal(WireCode.UNKNOWN_TICKET, Ignore, lambda: judge("ready", framed(ready_table(ticket=100))))
    expect_refusal(WireCode.BAD_BUCKET, Reject, lambda: judge("ready", framed(ready_table(size_log2=18))))
    expect_refusal(WireCode.BAD_TIMES, Reject, lambda: judge("ready", framed(ready_table(valid_until=NOW_S - 1))))
    old = ready_table(not_before=0, valid_until=NOW_S - 1)
    expect_refusal(WireCode.LATE, Ignore, lambda: judge("ready", framed(old)))
    poor = replace(ad(), prover_ticket=100)
    expect_refusal(WireCode.UNKNOWN_TICKET, Ignore, lambda: judge("ad", framed(poor, key=PROVERS[0])))


def test_advertisements_are_rare() -> None:
    """One per interval and prover."""
    memory = GossipMemory()
    judge("ad", framed(ad(), key=PROVERS[0], sequence=1), memory)
    expect_refusal(WireCode.AD_QUOTA, Ignore, lambda: judge("ad", framed(ad(), key=PROVERS[0], sequence=2), memory))
    at_ms = NOW_MS + AD_INTERVAL_MS
    later = framed(ad(), key=PROVERS[0], sequence=3, created_ms=at_ms, expires_ms=at_ms + 1000)

    assert ad() == judge("ad", later, memory, now_ms=at_ms).message


def test_topics_name_chain_and_market() -> None:
    """SPEC §9.2; an unknown channel is our own mistake."""
    assert f"/unveto/1/31337/{'11' * 20}/req/3" == topic(31337, MARKET.contract, "req", 3)
    assert f"/unveto/1/31337/{'11' * 20}/fault" == topic(31337, MARKET.contract, "fault")
    with pytest.raises(ValueError, match="gossip"):
        topic(1, MARKET.contract, "gossip")
