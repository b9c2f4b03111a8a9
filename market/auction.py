"""Who wins: opening of sealed bids, checks, ranking by the public rule (SPEC §9.3)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from market.errors import BidVoid
from protocol.commitments import bid_hash, bids_root, rank_key, unpack_opening
from protocol.fields import FieldOutOfRange
from protocol.messages import MAX_OPENINGS, AwardedBid, BidCommit, RequestCommit
from protocol.sealing import SealError, SealKeyPair, bid_info


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedBid:
    """A bid whose frame was accepted while bids were open."""

    prover: bytes
    """The frame's signer, 20 bytes."""
    bid: BidCommit


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The result of an auction."""

    bids_root: bytes
    """Over the hashes of all received bids, void ones included: leaving one out must show."""
    bid_count: int
    ranked: tuple[AwardedBid, ...]
    """Valid bids, best first, at most MAX_OPENINGS. Empty: nobody can be awarded."""
    void: tuple[tuple[bytes, str], ...]
    """(prover, reason) of bids that take no part."""


def open_bid(request: RequestCommit, received: ReceivedBid, key: SealKeyPair) -> AwardedBid:
    """Opens a sealed bid and checks that it is what was committed to.

    Args:
        key: the request's own key pair.

    Raises:
        BidVoid: UNDECRYPTABLE, HASH, TICKET or BOND.
    """
    bid = received.bid
    try:
        packed = key.open(bid.sealed_opening, bid_info(bid.request_id, received.prover, bid.bid_hash))
        opening = unpack_opening(packed)
    except (SealError, FieldOutOfRange, ValueError) as error:
        raise BidVoid("UNDECRYPTABLE") from error
    if bid_hash(bid.request_id, received.prover, opening) != bid.bid_hash:
        raise BidVoid("HASH")
    if opening.prover_ticket != bid.prover_ticket:
        raise BidVoid("TICKET", opened=opening.prover_ticket, committed=bid.prover_ticket)
    if opening.bond_wei != bid.bond_wei or opening.bond_wei < request.bond_min_wei:
        raise BidVoid("BOND", opened=opening.bond_wei, minimum=request.bond_min_wei)
    return AwardedBid(prover=received.prover, opening=opening)


def judge_price(request: RequestCommit, bid: AwardedBid, max_price_wei: int) -> None:
    """What the requester demands beyond the protocol.

    Raises:
        BidVoid: TOO_EXPENSIVE or TOO_SLOW.
    """
    if bid.opening.price_wei > max_price_wei:
        raise BidVoid("TOO_EXPENSIVE", price_wei=bid.opening.price_wei, maximum=max_price_wei)
    key_release_ms = request.accept_by_ms
    if key_release_ms + bid.opening.eta_ms > request.deliver_by * 1000:
        raise BidVoid("TOO_SLOW", eta_ms=bid.opening.eta_ms, deliver_by=request.deliver_by)


def choose(
    request: RequestCommit,
    received: Iterable[ReceivedBid],
    key: SealKeyPair,
    max_price_wei: int,
    shunned: frozenset[bytes] = frozenset(),
    unbacked: frozenset[bytes] = frozenset(),
) -> Outcome:
    """Opens, checks and ranks all bids; the same bids in any order give the same outcome.

    Args:
        received: timely bids, at most one per prover.
        max_price_wei: the requester's limit, at most what its ticket holds.
        unbacked: provers whose ticket does not answer for the bond that they name; void, BOND_OVER_HALF.
        shunned: provers that it does not deal with; their bids are void with the reason STANDING.
    """
    bids = sorted(received, key=lambda item: item.prover)
    root = bids_root(item.bid.bid_hash for item in bids)
    valid: list[AwardedBid] = []
    void: list[tuple[bytes, str]] = []
    for item in bids:
        try:
            if item.prover in shunned:
                raise BidVoid("STANDING")
            if item.prover in unbacked:
                raise BidVoid("BOND_OVER_HALF")
            opened = open_bid(request, item, key)
            judge_price(request, opened, max_price_wei)
        except BidVoid as refused:
            void.append((item.prover, refused.reason))
        else:
            valid.append(opened)
    valid.sort(key=lambda bid: rank_key(bid.opening, bid_hash(request.request_id, bid.prover, bid.opening), root))
    return Outcome(bids_root=root, bid_count=len(bids), ranked=tuple(valid[:MAX_OPENINGS]), void=tuple(void))
