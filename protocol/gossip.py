"""Validation of gossip, one ordered function per channel (SPEC §9.4).

Every check is tagged with its verdict. [REJECT]: the sender could have known better. [IGNORE]: late, early, known,
over quota or out of
context. Cheap checks come first; a signature is only recovered for a frame that would otherwise be accepted, and only
an accepted
frame changes `GossipMemory`. The clock and the chain come in as parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Generic, Protocol, TypeVar

from protocol.agreement import awarded_agreement, rank_times
from protocol.codec import HEADER_BYTES, SIGNATURE_BYTES, Frame, decode_body, read_frame
from protocol.commitments import bid_hash, rank_key, request_id, shard_of
from protocol.constants import (
    FIELD_ORDER,
    MAX_CLOCK_SKEW_MS,
    MAX_LIFETIME_MS,
    MAX_LOCKSET,
    MAX_PAYLOAD_LOG2,
    MAX_TERM,
    MIN_PAYLOAD_LOG2,
)
from protocol.errors import Ignore, Reject
from protocol.faults import accusation_of, is_passed_over, verify_accusation
from protocol.gossip_memory import GossipMemory, KnownRequest
from protocol.messages import (
    GOSSIP_CHANNELS,
    MAX_OPENINGS,
    Award,
    BidCommit,
    BidReveal,
    BidsSeen,
    Cancel,
    Fault,
    Message,
    MessageId,
    ProverAd,
    ReadyTable,
    ReleasePolicy,
    RequestCommit,
    StandDown,
)
from protocol.signing import agreement_digest, recover_signer, verify_frame
from protocol.verdicts import WireCode

MAX_WORK_LOG2: Final = 40
MAX_TABLE_LOG2: Final = 17  # 128 KiB, the largest transaction that execution clients pool
AD_INTERVAL_MS: Final = 30_000  # one advertisement per prover and interval

M = TypeVar("M", bound=Message)


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketId:
    """Which market a node takes part in."""

    chain_id: int
    contract: bytes
    """ProofMarket, 20 bytes."""


class TicketView(Protocol):
    """What validation asks about the chain. Answers come from a local copy; a validator never waits."""

    def free_ticket_wei(self, owner: bytes, ticket: int) -> int | None:
        """Wei in a ticket that is neither spent nor being withdrawn; None if there is no such ticket."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted(Generic[M]):
    """A message whose every check passed, signature included."""

    frame: Frame
    message: M

    @property
    def signer(self) -> bytes:
        """The account that signed, 20 bytes."""
        return self.frame.header.signer


def validate(
    channel: str,
    data: bytes,
    *,
    market: MarketId,
    now_ms: int,
    memory: GossipMemory,
    view: TicketView,
    shard: int | None = None,
) -> Accepted[Message]:
    """Judges one frame received on a gossip channel and, if it is accepted, remembers it.

    Args:
        channel: key of GOSSIP_CHANNELS.
        data: bytes as received, of any length.
        now_ms: unix ms of the receiver.
        shard: of the channel on which it came; None where the transport has none.

    Raises:
        Reject, Ignore: with a `WireCode`.
    """
    frame = open_frame(channel, data, market=market, now_ms=now_ms, memory=memory)
    message, remember = _CHECKS[frame.header.message_id](frame, now_ms, memory, view, market)
    # [REJECT] the shard is that of the request's proof class
    if shard is not None and shard != shard_in(message, memory):
        raise Reject(WireCode.WRONG_CHANNEL, channel=channel, shard=shard)
    # [REJECT] the signer signed these bytes
    verify_frame(frame)
    _remember_frame(frame, memory)
    remember()
    return Accepted(frame=frame, message=message)


def _remember_frame(frame: Frame, memory: GossipMemory) -> None:
    if frame.header.message_id != MessageId.FAULT:
        memory.remember_frame(frame.header.signer, frame.header.sequence, frame.header.expires_ms)


class _WasChecked:
    """Tickets of frames that this node accepted at their time."""

    def free_ticket_wei(self, owner: bytes, ticket: int) -> int | None:
        """More than any bond."""
        return 1 << 96


def remember_again(channel: str, data: bytes, *, market: MarketId, accepted_ms: int, memory: GossipMemory) -> bool:
    """Puts a frame that this node accepted before it ended into a fresh memory, as it was at its time.

    Neither its signature nor its tickets are looked at again: `data` comes from the node's own disk.

    Args:
        accepted_ms: unix ms when it was accepted.

    Returns:
        False if it does not fit the memory, which knows the same by other ways.
    """
    try:
        frame = open_frame(channel, data, market=market, now_ms=accepted_ms, memory=memory)
        _, remember = _CHECKS[frame.header.message_id](frame, accepted_ms, memory, _WasChecked(), market)
    except (Reject, Ignore):
        return False
    _remember_frame(frame, memory)
    remember()
    return True


def shard_in(message: Message, memory: GossipMemory) -> int | None:
    """Shard of the request that a message makes or names; None if the message is of no auction, or of none known."""
    match message:
        case RequestCommit():
            request = message
        case BidCommit() | BidReveal() | BidsSeen() | Award() | StandDown() | Cancel():
            known = memory.request(message.request_id)
            if known is None:
                return None
            request = known.request
        case _:
            return None
    return shard_of(request.systems_hash, request.tier)


def open_frame(channel: str, data: bytes, *, market: MarketId, now_ms: int, memory: GossipMemory) -> Frame:
    """The checks that all channels share; nothing is decoded or hashed yet."""
    # [REJECT] size, magic, flags, known message, declared length
    frame = read_frame(data)
    header = frame.header
    # [REJECT] the channel carries this message
    if header.message_id not in GOSSIP_CHANNELS[channel]:
        raise Reject(WireCode.WRONG_CHANNEL, channel=channel, message_id=int(header.message_id))
    # [REJECT] this chain and market
    if header.chain_id != market.chain_id:
        raise Reject(WireCode.WRONG_CHAIN, chain_id=header.chain_id)
    if header.market != market.contract:
        raise Reject(WireCode.WRONG_MARKET, market=header.market)
    # [REJECT] 0 < lifetime <= MAX_LIFETIME_MS
    if not 0 < header.expires_ms - header.created_ms <= MAX_LIFETIME_MS:
        raise Reject(WireCode.BAD_LIFETIME, created_ms=header.created_ms, expires_ms=header.expires_ms)
    # [IGNORE] not expired
    if header.expires_ms <= now_ms:
        raise Ignore(WireCode.EXPIRED, expires_ms=header.expires_ms, now_ms=now_ms)
    # [IGNORE] not from the future
    if header.created_ms > now_ms + MAX_CLOCK_SKEW_MS:
        raise Ignore(WireCode.FROM_FUTURE, created_ms=header.created_ms, now_ms=now_ms)
    # [IGNORE] sequence not seen, signer within its quota; evidence costs no ticket, and is known by what it says
    if header.message_id != MessageId.FAULT:
        memory.check_frame(header.signer, header.sequence, now_ms)
    return frame


Remember = Callable[[], None]
_Check = Callable[[Frame, int, GossipMemory, TicketView, MarketId], tuple[Message, Remember]]


def _check_request(
    frame: Frame, now_ms: int, memory: GossipMemory, view: TicketView, market: MarketId
) -> tuple[Message, Remember]:
    # [REJECT] canonical body, fields in range
    message = decode_body(RequestCommit, frame.body)
    signer, created_ms = frame.header.signer, frame.header.created_ms
    # [REJECT] buckets, class and privacy level exist
    if (
        not MIN_PAYLOAD_LOG2 <= message.size_log2 <= MAX_PAYLOAD_LOG2
        or message.work_log2 > MAX_WORK_LOG2
        or not 1 <= message.proof_count <= MAX_LOCKSET
        or message.privacy != 0
        or message.standbys >= MAX_OPENINGS
    ):
        raise Reject(WireCode.BAD_BUCKET, size_log2=message.size_log2, work_log2=message.work_log2)
    # [REJECT] a table is named whole or not at all
    if any(message.statement_commit) != any(message.payload_commit):
        raise Reject(WireCode.BAD_BUCKET, statement=message.statement_commit, payload=message.payload_commit)
    # [REJECT] times ascend, and the claim window ends before a ticket could be withdrawn
    _, last_due = rank_times(message, 1 + message.standbys)
    times = (created_ms, message.bid_close_ms, message.award_by_ms, message.accept_by_ms, message.ack_by * 1000 + 999)
    if (
        any(earlier >= later for earlier, later in zip(times, times[1:], strict=False))
        or not message.ack_by <= message.deliver_by <= last_due < message.claim_by
        or message.claim_by > created_ms // 1000 + MAX_TERM
    ):
        raise Reject(WireCode.BAD_TIMES, bid_close_ms=message.bid_close_ms, claim_by=message.claim_by)
    _check_addresses(message.addresses)
    # [REJECT] the id is that of these fields, and the signer's
    if message.request_id != request_id(signer, message):
        raise Reject(WireCode.REQUEST_ID, request_id=message.request_id)
    # [IGNORE] bids are still open
    if now_ms >= message.bid_close_ms:
        raise Ignore(WireCode.LATE, bid_close_ms=message.bid_close_ms, now_ms=now_ms)
    # [IGNORE] the ticket is free on chain, and no other live request names it; room for one more
    _check_ticket(view, signer, message.requester_ticket)
    memory.check_request(signer, message, now_ms)
    return message, lambda: memory.remember_request(signer, message, frame.raw)


def _check_bid(
    frame: Frame, now_ms: int, memory: GossipMemory, view: TicketView, market: MarketId
) -> tuple[Message, Remember]:
    # [REJECT] canonical body, fields in range
    message = decode_body(BidCommit, frame.body)
    _check_addresses(message.addresses)
    # [IGNORE] the request is known and still open
    known = _known(memory, message.request_id)
    if now_ms >= known.request.bid_close_ms:
        raise Ignore(WireCode.LATE, bid_close_ms=known.request.bid_close_ms, now_ms=now_ms)
    # [REJECT] the bond reaches the request's minimum
    if message.bond_wei < known.request.bond_min_wei:
        raise Reject(WireCode.BOND_TOO_SMALL, bond_wei=message.bond_wei, minimum=known.request.bond_min_wei)
    # [IGNORE] the bond ticket is free and holds the bond
    signer = frame.header.signer
    stake_wei = _check_ticket(view, signer, message.prover_ticket, at_least_wei=message.bond_wei)
    # [IGNORE] the first bid of this prover, and room for one more, or one with less at stake
    memory.check_bid(known, signer, stake_wei)
    return message, lambda: memory.remember_bid(known, signer, message.bid_hash, frame.body, stake_wei)


def _check_award(
    frame: Frame, now_ms: int, memory: GossipMemory, view: TicketView, market: MarketId
) -> tuple[Message, Remember]:
    # [REJECT] canonical body, fields in range
    message = decode_body(Award, frame.body)
    # [IGNORE] the request is known
    known = _known(memory, message.request_id)
    check_award(frame.header.signer, message, known)
    # [IGNORE] in time, and the first award of this rank
    if now_ms > known.request.accept_by_ms:
        raise Ignore(WireCode.LATE, accept_by_ms=known.request.accept_by_ms, now_ms=now_ms)
    earlier = known.awards.get(message.rank)
    if earlier is not None:
        if _agreement_in(earlier) != message.agreement_hash:
            # Evidence against the requester, if it signed this too; nobody is to blame for passing it on.
            check_award_signature(message, known, market)
            verify_frame(frame)
            memory.remember_second_award(known, message.rank, frame.raw)
        raise Ignore(WireCode.ALREADY_AWARDED, request_id=message.request_id, rank=message.rank)
    # [REJECT] the requester signed the agreement that follows from the opened bid
    check_award_signature(message, known, market)
    return message, lambda: memory.remember_award(known, message.rank, message.openings[0], frame.raw)


def _agreement_in(frame: bytes) -> bytes:
    return decode_body(Award, frame[HEADER_BYTES:-SIGNATURE_BYTES]).agreement_hash


def _check_reveal(
    frame: Frame, now_ms: int, memory: GossipMemory, view: TicketView, market: MarketId
) -> tuple[Message, Remember]:
    # [REJECT] canonical body, fields in range
    message = decode_body(BidReveal, frame.body)
    signer = frame.header.signer
    # [IGNORE] the request is known and awarded, this bid was seen in time, and is revealed for the first time
    known = _known(memory, message.request_id)
    committed = known.bids.get(signer)
    if known.winner is None or committed is None or signer in known.revealed:
        raise Ignore(WireCode.LATE, request_id=message.request_id)
    # [IGNORE] the opening is that of the bid seen here: a prover may have sent others another one
    opened = bid_hash(message.request_id, signer, message.opening)
    if opened != committed:
        raise Ignore(WireCode.BAD_OPENINGS, prover=signer)
    better = message.opening if is_passed_over(known.request, known.winner, signer, message.opening) else None
    return message, lambda: memory.remember_reveal(known, signer, better)


def _check_seen(
    frame: Frame, now_ms: int, memory: GossipMemory, view: TicketView, market: MarketId
) -> tuple[Message, Remember]:
    # [REJECT] canonical body, fields in range; bids ascend, each once
    message = decode_body(BidsSeen, frame.body)
    if not message.bids or any(a >= b for a, b in zip(message.bids, message.bids[1:], strict=False)):
        raise Reject(WireCode.BAD_LIST, bids=len(message.bids))
    # [IGNORE] the request is known; the first list of this relay, and room for one more; a live ticket
    known = _known(memory, message.request_id)
    signer = frame.header.signer
    memory.check_witness(known, signer)
    _check_ticket(view, signer, message.ticket)
    return message, lambda: memory.remember_witness(known, signer, frame.raw)


def _check_fault(
    frame: Frame, now_ms: int, memory: GossipMemory, view: TicketView, market: MarketId
) -> tuple[Message, Remember]:
    # [REJECT] canonical body, fields in range; signed things that must not exist, or not together
    message = decode_body(Fault, frame.body)
    said = accusation_of(message, chain_id=market.chain_id, market=market.contract)
    # [IGNORE] not known yet, and due
    memory.check_fault(said.kind, said.accused, said.subject)
    if now_ms < said.due * 1000:
        raise Ignore(WireCode.EARLY_FAULT, due=said.due, now_ms=now_ms)
    # [IGNORE] relays on whose word it rests have live tickets
    for relay, ticket in said.witnesses:
        _check_ticket(view, relay, ticket)
    # [REJECT] the signatures hold
    verify_accusation(message, chain_id=market.chain_id, market=market.contract)
    return message, lambda: memory.remember_fault(said.kind, said.accused, said.subject)


def check_award(signer: bytes, message: Award, known: KnownRequest) -> None:
    """What must hold in an award of a known request, short of signatures. Raises Reject."""
    # [REJECT] signed by the requester
    if signer != known.requester:
        raise Reject(WireCode.WRONG_SIGNER, claimed=signer, requester=known.requester)
    # [REJECT] distinct provers, bonds reach the minimum, openings best first, none more than bids
    provers = [bid.prover for bid in message.openings]
    ranks = [
        rank_key(bid.opening, bid_hash(message.request_id, bid.prover, bid.opening), message.bids_root)
        for bid in message.openings
    ]
    if (
        not message.openings
        or not 1 <= message.rank <= 1 + known.request.standbys
        or len(set(provers)) != len(provers)
        or ranks != sorted(ranks)
        or message.bid_count < len(provers)
        or any(bid.opening.bond_wei < known.request.bond_min_wei for bid in message.openings)
    ):
        raise Reject(WireCode.BAD_OPENINGS, openings=len(provers), bid_count=message.bid_count)


def check_award_signature(message: Award, known: KnownRequest, market: MarketId) -> None:
    """Raises Reject unless the award's hash and signature are those of the agreement with the awarded bid."""
    agreement = awarded_agreement(known.requester, known.request, message)
    digest = agreement_digest(market.chain_id, market.contract, agreement)
    if message.agreement_hash != digest:
        raise Reject(WireCode.BAD_AGREEMENT, agreement_hash=message.agreement_hash, expected=digest)
    if recover_signer(digest, message.requester_signature) != known.requester:
        raise Reject(WireCode.BAD_AGREEMENT, why="not signed by the requester")


def _check_cancel(
    frame: Frame, now_ms: int, memory: GossipMemory, view: TicketView, market: MarketId
) -> tuple[Message, Remember]:
    # [REJECT] canonical body, fields in range
    message = decode_body(Cancel, frame.body)
    # [IGNORE] the request is known
    known = _known(memory, message.request_id)
    # [REJECT] signed by the requester
    if frame.header.signer != known.requester:
        raise Reject(WireCode.WRONG_SIGNER, claimed=frame.header.signer, requester=known.requester)
    # [IGNORE] not awarded yet
    if known.awards:
        raise Ignore(WireCode.ALREADY_AWARDED, request_id=message.request_id)
    return message, lambda: memory.forget_request(message.request_id)


def _check_stand_down(
    frame: Frame, now_ms: int, memory: GossipMemory, view: TicketView, market: MarketId
) -> tuple[Message, Remember]:
    # [REJECT] canonical body, fields in range
    message = decode_body(StandDown, frame.body)
    # [IGNORE] the request is known
    known = _known(memory, message.request_id)
    # [REJECT] signed by the requester, and a runner-up's rank
    if frame.header.signer != known.requester:
        raise Reject(WireCode.WRONG_SIGNER, claimed=frame.header.signer, requester=known.requester)
    if not 2 <= message.rank <= 1 + known.request.standbys:
        raise Reject(WireCode.BAD_OPENINGS, rank=message.rank, standbys=known.request.standbys)
    # [IGNORE] the first one for this rank
    if message.rank in known.stood_down:
        raise Ignore(WireCode.REPLAYED, request_id=message.request_id, rank=message.rank)
    return message, lambda: memory.remember_stand_down(known, message.rank)


def _check_ready(
    frame: Frame, now_ms: int, memory: GossipMemory, view: TicketView, market: MarketId
) -> tuple[Message, Remember]:
    # [REJECT] canonical body, fields in range
    message = decode_body(ReadyTable, frame.body)
    _check_addresses(message.addresses)
    # [REJECT] size class and window
    if not MIN_PAYLOAD_LOG2 <= message.size_log2 <= MAX_TABLE_LOG2:
        raise Reject(WireCode.BAD_BUCKET, size_log2=message.size_log2)
    if message.not_before > message.valid_until:
        raise Reject(WireCode.BAD_TIMES, not_before=message.not_before, valid_until=message.valid_until)
    # [REJECT] a sealed table has a key and says no roots; a public one has roots for ascending rollups and no key
    is_sealed = message.policy == ReleasePolicy.SEALED
    counts = {len(message.rollup_ids), len(message.pre_roots), len(message.post_roots)}
    ids = message.rollup_ids
    if (
        message.policy not in (ReleasePolicy.PUBLIC, ReleasePolicy.SEALED)
        or len(counts) != 1
        or is_sealed != (len(message.seal_key) == 32)
        or is_sealed != (not ids)
        or any(earlier >= later for earlier, later in zip(ids, ids[1:], strict=False))
        or any(int.from_bytes(root, "big") >= FIELD_ORDER for root in (*message.pre_roots, *message.post_roots))
    ):
        raise Reject(WireCode.BAD_ROOTS, policy=message.policy, rollups=len(ids))
    # [IGNORE] it can still land
    if message.valid_until * 1000 + 999 < now_ms:
        raise Ignore(WireCode.LATE, valid_until=message.valid_until, now_ms=now_ms)
    # [IGNORE] the signer has a live ticket
    _check_ticket(view, frame.header.signer, message.ticket)
    if not is_sealed:
        # [REJECT] the signer signed: whoever announces is asked for the content
        verify_frame(frame)
        # [IGNORE] the content has been checked here; [REJECT] and it was what the announcement says
        memory.check_table(frame.body)
    return message, _nothing_more


def _check_ad(
    frame: Frame, now_ms: int, memory: GossipMemory, view: TicketView, market: MarketId
) -> tuple[Message, Remember]:
    # [IGNORE] one per interval; before the body is decoded, as it only needs the header
    signer = frame.header.signer
    memory.check_ad(signer, frame.header.created_ms, AD_INTERVAL_MS)
    # [REJECT] canonical body, fields in range
    message = decode_body(ProverAd, frame.body)
    _check_addresses(message.addresses)
    # [IGNORE] the signer has a live ticket
    _check_ticket(view, signer, message.prover_ticket)
    return message, lambda: memory.remember_ad(signer, frame.header.created_ms)


def _nothing_more() -> None:
    """For messages of which only the frame is remembered."""


def _known(memory: GossipMemory, wanted: bytes) -> KnownRequest:
    known = memory.request(wanted)
    if known is None:
        raise Ignore(WireCode.UNKNOWN_REQUEST, request_id=wanted)
    return known


def _check_ticket(view: TicketView, owner: bytes, ticket: int, at_least_wei: int = 0) -> int:
    """What the ticket holds, wei."""
    held_wei = view.free_ticket_wei(owner, ticket)
    if held_wei is None or held_wei < at_least_wei:
        raise Ignore(WireCode.UNKNOWN_TICKET, owner=owner, ticket=ticket)
    return held_wei


def _check_addresses(addresses: tuple[bytes, ...]) -> None:
    # [REJECT] a multiaddress as printable ASCII
    for address in addresses:
        if not address.startswith(b"/") or any(not 0x21 <= byte <= 0x7E for byte in address):
            raise Reject(WireCode.BAD_ADDRESS, address=address)


_CHECKS: Final[Mapping[MessageId, _Check]] = MappingProxyType(
    {
        MessageId.REQUEST_COMMIT: _check_request,
        MessageId.BID_COMMIT: _check_bid,
        MessageId.AWARD: _check_award,
        MessageId.BID_REVEAL: _check_reveal,
        MessageId.BIDS_SEEN: _check_seen,
        MessageId.FAULT: _check_fault,
        MessageId.STAND_DOWN: _check_stand_down,
        MessageId.CANCEL: _check_cancel,
        MessageId.READY_TABLE: _check_ready,
        MessageId.PROVER_AD: _check_ad,
    }
)
