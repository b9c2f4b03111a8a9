"""Evidence: what holds against a requester, and everything that almost does; revealed bids."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from protocol.agreement import Agreement, Settlement, agreement_of, awarded_agreement, by_key, pack_settlement
from protocol.codec import decode_body
from protocol.errors import Ignore, Reject
from protocol.faults import FaultKind, accusation_of
from protocol.gossip import MarketId, validate
from protocol.gossip_memory import GossipMemory
from protocol.hashing import keccak256
from protocol.messages import Award, BidReveal, Fault, Message
from protocol.signing import AccountKey, agreement_digest
from protocol.verdicts import WireCode
from tests.support.wire_samples import (
    MARKET,
    NOW_MS,
    PROVERS,
    REQUESTER,
    AllTickets,
    award,
    bid,
    double_award,
    framed,
    opening,
    request,
)


def judge(channel: str, data: bytes, memory: GossipMemory | None = None, market: MarketId = MARKET) -> Message:
    """`validate` at NOW_MS, on a chain that knows every ticket."""
    memory = GossipMemory() if memory is None else memory
    return validate(channel, data, market=market, now_ms=NOW_MS, memory=memory, view=AllTickets()).message


def expect_refusal(code: WireCode, kind: type[Reject] | type[Ignore], act: Callable[[], object]) -> None:
    """Exactly this verdict and code."""
    with pytest.raises((Reject, Ignore)) as refused:
        act()
    assert (kind, code) == (type(refused.value), refused.value.reason)


def told(fault: Fault) -> bytes:
    """A FAULT frame of somebody."""
    return framed(fault, key=PROVERS[2], sequence=50)


def agreed(**changes: Any) -> Agreement:
    """What REQUESTER and PROVERS[0] agreed."""
    return replace(agreement_of(REQUESTER.address, request(), 1, award().openings[0]), **changes)


def settled(
    agreement: Agreement, requester: AccountKey = REQUESTER, prover: AccountKey = PROVERS[0], kind: bytes = b"\0"
) -> bytes:
    """A settlement with both signatures; its salt is nobody's business."""
    digest = agreement_digest(MARKET.chain_id, MARKET.contract, agreement)
    return pack_settlement(
        Settlement(
            agreement=agreement,
            salt=bytes(32),
            requester_signature=by_key(requester.sign_digest(digest)),
            prover_signature=kind + by_key(prover.sign_digest(digest))[1:],
        )
    )


def twice(first: bytes, second: bytes) -> Fault:
    """A FAULT about one ticket."""
    return Fault(kind=int(FaultKind.TICKET_TWICE), pieces=(first, second))


OTHER_ID = keccak256(b"other request")


def test_two_promises_of_one_ticket_are_evidence_once() -> None:
    """Of the ticket's owner, whoever tells it."""
    memory = GossipMemory()
    fault = twice(settled(agreed()), settled(agreed(request_id=OTHER_ID)))

    assert fault == judge("fault", told(fault), memory)
    said = accusation_of(fault, chain_id=MARKET.chain_id, market=MARKET.contract)
    assert (FaultKind.TICKET_TWICE, REQUESTER.address, bytes(4)) == (said.kind, said.accused, said.subject)
    swapped = framed(twice(*fault.pieces[::-1]), key=PROVERS[1], sequence=51)
    expect_refusal(WireCode.KNOWN_FAULT, Ignore, lambda: judge("fault", swapped, memory))


@pytest.mark.parametrize(
    "second",
    [
        settled(agreed(rank=2)),
        settled(agreed(request_id=OTHER_ID, requester_ticket=1)),
        settled(agreed(request_id=OTHER_ID, requester=PROVERS[1].address), requester=PROVERS[1]),
        settled(agreed(request_id=OTHER_ID, open_from=agreed().claim_by + 1, claim_by=agreed().claim_by + 9)),
        settled(agreed(request_id=OTHER_ID), requester=PROVERS[1]),
        settled(agreed(request_id=OTHER_ID), prover=PROVERS[1]),
    ],
)
def test_a_legal_or_a_forged_second_promise_is_no_evidence(second: bytes) -> None:
    """Another rank, ticket, owner or term, or a signature of somebody else."""
    expect_refusal(WireCode.BAD_EVIDENCE, Reject, lambda: judge("fault", told(twice(settled(agreed()), second))))


def test_evidence_that_is_no_settlement_is_rejected() -> None:
    """As is a contract's signature, which only L1 could check."""
    fault = twice(settled(agreed()), b"junk")
    expect_refusal(WireCode.BAD_AGREEMENT, Reject, lambda: judge("fault", told(fault)))
    by_contract = pack_settlement(
        Settlement(
            agreement=agreed(request_id=OTHER_ID),
            salt=bytes(32),
            requester_signature=by_key(REQUESTER.sign_digest(bytes(32))),
            prover_signature=b"\x01\x00\x00",
        )
    )
    expect_refusal(WireCode.BAD_EVIDENCE, Reject, lambda: judge("fault", told(twice(settled(agreed()), by_contract))))


def changed_award(**changes: Any) -> Fault:
    """The double award with another second frame."""
    key, sequence = changes.pop("key", REQUESTER), changes.pop("sequence", 3)
    header = {name: changes.pop(name) for name in ("market", "chain_id") if name in changes}
    other = replace(award((2 * 10**14,)), **changes)
    return with_second(framed(other, key=key, sequence=sequence, **header))


def with_second(frame: bytes) -> Fault:
    """The double award with another second frame."""
    return replace(double_award(), pieces=(double_award().pieces[0], frame))


def test_two_awards_of_one_rank_are_evidence_of_their_signer() -> None:
    """The frames as they came say it all."""
    assert double_award() == judge("fault", told(double_award()))
    said = accusation_of(double_award(), chain_id=MARKET.chain_id, market=MARKET.contract)
    assert (REQUESTER.address, request().request_id) == (said.accused, said.subject)


@pytest.mark.parametrize(
    "fault",
    [
        with_second(double_award().pieces[0]),
        replace(double_award(), kind=3),
        replace(double_award(), kind=0),
        with_second(framed(request(), sequence=3)),
        changed_award(rank=2),
        changed_award(request_id=OTHER_ID),
        changed_award(key=PROVERS[0]),
        changed_award(market=bytes(20)),
        changed_award(chain_id=1),
        changed_award(requester_signature=PROVERS[0].sign_digest(bytes(32))),
    ],
)
def test_awards_that_do_not_contradict_each_other_are_no_evidence(fault: Fault) -> None:
    """Another rank, request, signer, market or chain, the same one twice, or no signature of an agreement."""
    expect_refusal(WireCode.BAD_EVIDENCE, Reject, lambda: judge("fault", told(fault)))


def test_an_award_frame_that_its_signer_did_not_sign_is_no_evidence() -> None:
    """A relay cannot make a double award out of one."""
    real = double_award().pieces[1]
    forged = real[:-1] + bytes((real[-1] ^ 7,))
    expect_refusal(WireCode.WRONG_SIGNER, Reject, lambda: judge("fault", told(with_second(forged))))


def with_bids() -> GossipMemory:
    """A node that has seen the request and two bids in time."""
    memory = GossipMemory()
    judge("req", framed(request(), sequence=1), memory)
    for place, price_wei in ((0, 10**14), (1, 2 * 10**14)):
        judge("bid", framed(bid(place, price_wei=price_wei), key=PROVERS[place], sequence=1), memory)
    return memory


def reveal(place: int, price_wei: int) -> bytes:
    """PROVERS[place] opens its bid."""
    message = BidReveal(request_id=request().request_id, opening=opening(place, price_wei))
    return framed(message, key=PROVERS[place], sequence=9)


def test_a_better_bid_that_was_passed_over_is_noticed() -> None:
    """By everybody who had seen it in time, once."""
    memory = with_bids()
    expect_refusal(WireCode.LATE, Ignore, lambda: judge("bid", reveal(0, 10**14), memory))
    judge("award", second_alone(), memory)
    expect_refusal(WireCode.BAD_OPENINGS, Ignore, lambda: judge("bid", reveal(0, 10**14 - 1), memory))
    expect_refusal(WireCode.LATE, Ignore, lambda: judge("bid", reveal(2, 1), memory))
    judge("bid", reveal(0, 10**14), memory)

    (passed,) = memory.passed_over
    assert (REQUESTER.address, request()) == (passed.known.requester, passed.known.request)
    assert (PROVERS[0].address, opening(0, 10**14)) == (passed.prover, passed.opening)
    again = framed(BidReveal(request_id=request().request_id, opening=opening(0, 10**14)), key=PROVERS[0], sequence=10)
    expect_refusal(WireCode.LATE, Ignore, lambda: judge("bid", again, memory))


def second_alone() -> bytes:
    """An award that leaves the better bid of PROVERS[0] out."""
    whole = award()
    alone = replace(whole, openings=whole.openings[1:], bid_count=1)
    digest = agreement_digest(MARKET.chain_id, MARKET.contract, awarded_agreement(REQUESTER.address, request(), alone))
    return framed(replace(alone, agreement_hash=digest, requester_signature=REQUESTER.sign_digest(digest)), sequence=7)


def test_a_worse_bid_that_is_revealed_says_nothing() -> None:
    """It lost by the rule."""
    memory = with_bids()
    judge("award", framed(award(), sequence=7), memory)
    judge("bid", reveal(1, 2 * 10**14), memory)

    assert [] == memory.passed_over


def test_a_second_award_is_kept_as_evidence_and_not_passed_on() -> None:
    """Only if the requester really signed it; the frame's sender is not to blame."""
    memory = with_bids()
    judge("award", framed(award(), sequence=7), memory)
    other = second_alone()
    expect_refusal(WireCode.ALREADY_AWARDED, Ignore, lambda: judge("award", framed(award(), sequence=8), memory))
    forged = other[:-1] + bytes((other[-1] ^ 7,))
    expect_refusal(WireCode.REPLAYED, Ignore, lambda: judge("award", forged, memory))
    assert [] == memory.double_awards

    fresh = framed(decode_award(other), sequence=11)
    expect_refusal(WireCode.ALREADY_AWARDED, Ignore, lambda: judge("award", fresh, memory))
    ((first, second),) = memory.double_awards
    fault = Fault(kind=int(FaultKind.DOUBLE_AWARD), pieces=(first, second))
    assert fault == judge("fault", told(fault))


def decode_award(frame: bytes) -> Message:
    """The message in an AWARD frame."""
    return decode_body(Award, frame[80:-65])
