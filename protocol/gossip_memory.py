"""What a node must remember to judge gossip: sequences, live requests and their bids (SPEC §9.4). Every table is
bounded.

Entries are forgotten when the frames that made them have expired, so that a replayed frame is always either expired
or remembered.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from protocol.agreement import rank_times
from protocol.errors import Ignore, Reject
from protocol.hashing import keccak256
from protocol.messages import MAX_BIDS, AwardedBid, BidOpening, RequestCommit
from protocol.verdicts import WireCode

MAX_SIGNERS: Final = 4096  # accounts with unexpired frames
MAX_LIVE_FRAMES: Final = 128  # unexpired frames per account
MAX_LIVE_REQUESTS: Final = 1024
MAX_WITNESSES: Final = 16  # lists of seen bids per request
MAX_FAULTS: Final = 4096
MAX_TABLES: Final = 1024  # announcements of public tables whose content was judged
MAX_EVIDENCE: Final = 64  # pieces that wait to be published
AFTERLIFE_MS: Final = 60_000  # how long after the accept deadline, or the last runner-up's ackBy, a request is known


@dataclass(slots=True, kw_only=True)
class KnownRequest:
    """A request whose frame was accepted, and what has happened to it."""

    requester: bytes
    request: RequestCommit
    bids: dict[bytes, bytes] = field(default_factory=dict)
    """Prover -> bid hash; the first bid of a prover is final."""
    awards: dict[int, bytes] = field(default_factory=dict)
    """Rank -> its first AWARD frame."""
    winner: AwardedBid | None = None
    """Of rank 1, once it is awarded."""
    frame: bytes = b""
    """The REQUEST_COMMIT as it came; empty if this node knows the request from its own store."""
    bodies: dict[bytes, bytes] = field(default_factory=dict)
    """Prover -> body of its BID_COMMIT."""
    stakes: dict[bytes, int] = field(default_factory=dict)
    """Prover -> wei in the bond ticket that its bid names."""
    witnesses: dict[bytes, bytes] = field(default_factory=dict)
    """Relay -> its BIDS_SEEN frame."""
    revealed: set[bytes] = field(default_factory=set)
    """Provers whose bids were revealed after the award."""
    stood_down: set[int] = field(default_factory=set)

    @property
    def until_ms(self) -> int:
        """When it may be forgotten, unix ms."""
        last_s = rank_times(self.request, 1 + self.request.standbys)[0] if self.request.standbys else 0
        return max(self.request.accept_by_ms, last_s * 1000) + AFTERLIFE_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class PassedOver:
    """A better bid than the awarded one, and who says that it was there in time."""

    known: KnownRequest
    prover: bytes
    opening: BidOpening


class GossipMemory:
    """Bounded memory of one node's gossip validation. `check_*` raise Ignore and change nothing; `remember_*`
    record."""

    def __init__(self) -> None:
        self._frames: dict[bytes, dict[int, int]] = {}  # signer -> sequence -> expires_ms
        self._requests: dict[bytes, KnownRequest] = {}
        self._tickets: dict[tuple[bytes, int], bytes] = {}  # (owner, ticket) -> request id
        self._faults: dict[tuple[int, bytes, bytes], None] = {}
        self.double_awards: list[tuple[bytes, bytes]] = []
        """Evidence that this node saw itself and has not published."""
        self.passed_over: list[PassedOver] = []
        """Awards that ignored a better bid which this node had seen in time."""
        self._tables: dict[bytes, bool] = {}  # keccak of an announcement's body -> whether its content is as it says
        self._ads: dict[bytes, int] = {}  # signer -> created_ms of its last advertisement

    def request(self, request_id: bytes) -> KnownRequest | None:
        """A live request, or None."""
        return self._requests.get(request_id)

    def check_table(self, body: bytes) -> None:
        """Raises Ignore while nobody has judged the content of a public table here, Reject if it was found wrong."""
        verdict = self._tables.get(keccak256(body))
        if verdict is None:
            raise Ignore(WireCode.UNCHECKED_TABLE)
        if not verdict:
            raise Reject(WireCode.BAD_TABLE)

    def remember_table(self, body: bytes, *, is_good: bool) -> None:
        """Records what the content of an announced table was found to be; the oldest verdict goes first."""
        self._tables[keccak256(body)] = is_good
        while len(self._tables) > MAX_TABLES:
            del self._tables[next(iter(self._tables))]

    def check_frame(self, signer: bytes, sequence: int, now_ms: int) -> None:
        """Raises Ignore if the sequence was seen or the signer has too many unexpired frames."""
        known = self._frames.get(signer)
        if known is None:
            if len(self._frames) >= MAX_SIGNERS:
                self._forget_expired(now_ms)
                if len(self._frames) >= MAX_SIGNERS:
                    raise Ignore(WireCode.SIGNERS_FULL, limit=MAX_SIGNERS)
            return
        if sequence in known:
            raise Ignore(WireCode.REPLAYED, signer=signer, sequence=sequence)
        if len(known) >= MAX_LIVE_FRAMES:
            for old in [old for old, expires_ms in known.items() if expires_ms <= now_ms]:
                del known[old]
            if len(known) >= MAX_LIVE_FRAMES:
                raise Ignore(WireCode.SIGNER_QUOTA, signer=signer, limit=MAX_LIVE_FRAMES)

    def remember_frame(self, signer: bytes, sequence: int, expires_ms: int) -> None:
        """Records an accepted frame."""
        self._frames.setdefault(signer, {})[sequence] = expires_ms

    def check_request(self, requester: bytes, request: RequestCommit, now_ms: int) -> None:
        """Raises Ignore if the request is known, its ticket is in another live request, or there is no room."""
        if request.request_id in self._requests:
            raise Ignore(WireCode.REPLAYED, request_id=request.request_id)
        if len(self._requests) >= MAX_LIVE_REQUESTS or (requester, request.requester_ticket) in self._tickets:
            self._forget_expired(now_ms)
        if (requester, request.requester_ticket) in self._tickets:
            raise Ignore(WireCode.TICKET_BUSY, owner=requester, ticket=request.requester_ticket)
        if len(self._requests) >= MAX_LIVE_REQUESTS:
            raise Ignore(WireCode.REQUESTS_FULL, limit=MAX_LIVE_REQUESTS)

    def remember_request(self, requester: bytes, request: RequestCommit, frame: bytes = b"") -> None:
        """Records an accepted request and the use of its ticket."""
        self._requests[request.request_id] = KnownRequest(requester=requester, request=request, frame=frame)
        self._tickets[(requester, request.requester_ticket)] = request.request_id

    def forget_request(self, request_id: bytes) -> None:
        """Drops a request and frees its ticket; nothing if it is not known."""
        known = self._requests.pop(request_id, None)
        if known is not None:
            self._tickets.pop((known.requester, known.request.requester_ticket), None)

    def check_bid(self, known: KnownRequest, prover: bytes, stake_wei: int) -> None:
        """Raises Ignore if the prover has bid already, or the request has enough bids with as much at stake."""
        if prover in known.bids:
            raise Ignore(WireCode.ALREADY_BID, prover=prover)
        if len(known.bids) >= MAX_BIDS and stake_wei <= min(known.stakes.values()):
            raise Ignore(WireCode.BIDS_FULL, limit=MAX_BIDS)

    def remember_bid(self, known: KnownRequest, prover: bytes, bid_hash: bytes, body: bytes, stake_wei: int) -> None:
        """Records an accepted bid. Of too many the one with the least at stake goes: names cost nothing, stakes do."""
        if len(known.bids) >= MAX_BIDS:
            least = min(known.stakes, key=lambda other: known.stakes[other])
            del known.bids[least], known.bodies[least], known.stakes[least]
        known.bids[prover] = bid_hash
        known.bodies[prover] = body
        known.stakes[prover] = stake_wei

    def closed(self, now_ms: int) -> tuple[KnownRequest, ...]:
        """Requests with bids whose bids are closed and whose award may still come."""
        return tuple(
            known
            for known in self._requests.values()
            if known.bids and known.request.bid_close_ms <= now_ms <= known.request.accept_by_ms
        )

    def check_witness(self, known: KnownRequest, relay: bytes) -> None:
        """Raises Ignore if the relay has said what it saw, or enough others have."""
        if relay in known.witnesses:
            raise Ignore(WireCode.REPLAYED, relay=relay)
        if len(known.witnesses) >= MAX_WITNESSES:
            raise Ignore(WireCode.WITNESSES_FULL, limit=MAX_WITNESSES)

    def remember_witness(self, known: KnownRequest, relay: bytes, frame: bytes) -> None:
        """Records which bids a relay had seen."""
        known.witnesses[relay] = frame

    def remember_award(self, known: KnownRequest, rank: int, winner: AwardedBid, frame: bytes) -> None:
        """Records an accepted award; `winner` is of rank 1."""
        known.awards[rank] = frame
        known.winner = winner

    def remember_second_award(self, known: KnownRequest, rank: int, frame: bytes) -> None:
        """Keeps the evidence of an award that contradicts an earlier one, for whoever publishes it."""
        if len(self.double_awards) < MAX_EVIDENCE:
            self.double_awards.append((known.awards[rank], frame))

    def remember_reveal(self, known: KnownRequest, prover: bytes, better: BidOpening | None) -> None:
        """Records a revealed bid; a better one than the awarded was passed over."""
        known.revealed.add(prover)
        if better is not None and len(self.passed_over) < MAX_EVIDENCE:
            self.passed_over.append(PassedOver(known=known, prover=prover, opening=better))

    def check_fault(self, kind: int, accused: bytes, subject: bytes) -> None:
        """Raises Ignore if the same is known already."""
        if (kind, accused, subject) in self._faults:
            raise Ignore(WireCode.KNOWN_FAULT, accused=accused, kind=kind)

    def remember_fault(self, kind: int, accused: bytes, subject: bytes) -> None:
        """Records evidence that holds; the one known longest makes room."""
        if len(self._faults) >= MAX_FAULTS:
            del self._faults[next(iter(self._faults))]
        self._faults[(kind, accused, subject)] = None

    def remember_stand_down(self, known: KnownRequest, rank: int) -> None:
        """Records that a runner-up was let go."""
        known.stood_down.add(rank)

    def check_ad(self, signer: bytes, created_ms: int, interval_ms: int) -> None:
        """Raises Ignore if the signer's last advertisement is younger than the interval."""
        last_ms = self._ads.get(signer)
        if last_ms is not None and created_ms < last_ms + interval_ms:
            raise Ignore(WireCode.AD_QUOTA, signer=signer, interval_ms=interval_ms)

    def remember_ad(self, signer: bytes, created_ms: int) -> None:
        """Records an accepted advertisement. Bounded: entries go with the signer's frames."""
        self._ads[signer] = created_ms

    def _forget_expired(self, now_ms: int) -> None:
        for signer in list(self._frames):
            live = {seq: expires_ms for seq, expires_ms in self._frames[signer].items() if expires_ms > now_ms}
            if live:
                self._frames[signer] = live
            else:
                del self._frames[signer]
                self._ads.pop(signer, None)
        for request_id in [key for key, known in self._requests.items() if known.until_ms <= now_ms]:
            self.forget_request(request_id)
