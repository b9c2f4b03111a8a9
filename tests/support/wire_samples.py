"""One valid sample of every wire message, with fixed keys, for codec, gossip and direct tests."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from protocol.agreement import awarded_agreement
from protocol.codec import Header, encode_body, encode_frame
from protocol.commitments import bid_hash, bids_root, identified, pack_opening
from protocol.faults import FaultKind
from protocol.fields import SEALED_OPENING_BYTES
from protocol.gossip import MarketId
from protocol.hashing import keccak256
from protocol.messages import (
    Amend,
    AmendReply,
    Award,
    AwardAccept,
    AwardedBid,
    BidCommit,
    BidOpening,
    BidReveal,
    BidsSeen,
    Cancel,
    DeclineReply,
    DeclineRequest,
    DeliveryReceipt,
    Fault,
    KeyRelease,
    Message,
    ProofDelivery,
    ProverAck,
    ProverAd,
    ReadyTable,
    ReleasePolicy,
    RequestCommit,
    RollupProof,
    StandDown,
    TablePull,
    TableReply,
)
from protocol.sealing import SealKeyPair, bid_info, seal_opening
from protocol.signing import AccountKey, agreement_digest

NOW_MS: Final = 1_800_000_000_000
NOW_S: Final = NOW_MS // 1000
MARKET: Final = MarketId(chain_id=31337, contract=bytes.fromhex("11" * 20))
REQUESTER: Final = AccountKey(bytes.fromhex("01" * 32))
PROVERS: Final = tuple(AccountKey(bytes([n]) * 32) for n in (2, 3, 4))
REQUEST_SEAL: Final = SealKeyPair(bytes.fromhex("21" * 32))
PROVER_SEALS: Final = tuple(SealKeyPair(bytes([n]) * 32) for n in (0x31, 0x32, 0x33))
BOND_WEI: Final = 10**15
TICKET_WEI: Final = 10**17


class AllTickets:
    """A chain on which everybody has every ticket below 100."""

    def free_ticket_wei(self, owner: bytes, ticket: int) -> int | None:
        """TICKET_WEI for tickets below 100."""
        return TICKET_WEI if ticket < 100 else None


def request(**changes: Any) -> RequestCommit:
    """A request by REQUESTER created at NOW_MS; its id fits whatever is changed, unless it is changed itself."""
    message = RequestCommit(
        request_id=bytes(32),
        statement_commit=keccak256(b"statement"),
        payload_commit=keccak256(b"payload"),
        seal_key=REQUEST_SEAL.public,
        systems_hash=keccak256(b"family"),
        tier=0,
        proof_count=1,
        work_log2=9,
        size_log2=14,
        bid_close_ms=NOW_MS + 2_500,
        award_by_ms=NOW_MS + 3_200,
        accept_by_ms=NOW_MS + 4_000,
        ack_by=NOW_S + 20,
        deliver_by=NOW_S + 120,
        claim_by=NOW_S + 3_600,
        standbys=1,
        standby_step_s=60,
        requester_ticket=0,
        bond_min_wei=BOND_WEI,
        privacy=0,
        peer_id=bytes(range(38)),
        addresses=(b"/ip4/127.0.0.1/tcp/4001",),
    )
    changed = replace(message, **changes)
    return changed if "request_id" in changes else identified(REQUESTER.address, changed)


def opening(place: int, price_wei: int = 10**14) -> BidOpening:
    """The opening of PROVERS[place]'s bid."""
    return BidOpening(
        price_wei=price_wei,
        eta_ms=9_000 + place,
        prover_ticket=0,
        bond_wei=BOND_WEI,
        payee=bytes([0xA0 + place]) * 20,
        seal_key=PROVER_SEALS[place].public,
        salt=keccak256(b"bid salt" + bytes([place])),
    )


def bid(place: int, sealed: bytes = bytes(SEALED_OPENING_BYTES), price_wei: int = 10**14) -> BidCommit:
    """The bid of PROVERS[place] for `request()`. Sealing is random, so vectors pass a fixed box."""
    wanted = request().request_id
    opened = opening(place, price_wei)
    return BidCommit(
        request_id=wanted,
        bid_hash=bid_hash(wanted, PROVERS[place].address, opened),
        sealed_opening=sealed,
        prover_ticket=opened.prover_ticket,
        bond_wei=opened.bond_wei,
        peer_id=bytes(range(1, 39)),
        addresses=(b"/ip4/127.0.0.1/tcp/4002",),
    )


def sealed_bid(place: int, price_wei: int = 10**14) -> BidCommit:
    """`bid` with its opening really sealed to the request's key."""
    plain = bid(place, price_wei=price_wei)
    info = bid_info(plain.request_id, PROVERS[place].address, plain.bid_hash)
    opened = opening(place, price_wei)
    return replace(plain, sealed_opening=seal_opening(pack_opening(opened), opened.salt, REQUEST_SEAL.public, info))


def award(prices_wei: tuple[int, ...] = (10**14, 2 * 10**14), rank: int = 1) -> Award:
    """The award of `request()` among the first provers, cheapest first, signed by REQUESTER."""
    wanted = request()
    bids = tuple(AwardedBid(prover=PROVERS[i].address, opening=opening(i, price)) for i, price in enumerate(prices_wei))
    unsigned = Award(
        request_id=wanted.request_id,
        rank=rank,
        bids_root=bids_root(bid_hash(wanted.request_id, item.prover, item.opening) for item in bids),
        bid_count=len(bids),
        openings=bids,
        agreement_hash=bytes(32),
        requester_signature=bytes(65),
    )
    digest = agreement_digest(MARKET.chain_id, MARKET.contract, awarded_agreement(REQUESTER.address, wanted, unsigned))
    return replace(unsigned, agreement_hash=digest, requester_signature=REQUESTER.sign_digest(digest))


def ready_table(**changes: Any) -> ReadyTable:
    """A sealed ready table."""
    message = ReadyTable(
        table_id=keccak256(b"table"),
        policy=ReleasePolicy.SEALED,
        seal_key=SealKeyPair(bytes.fromhex("41" * 32)).public,
        size_log2=13,
        not_before=NOW_S,
        valid_until=NOW_S + 60,
        rollup_ids=(),
        pre_roots=(),
        post_roots=(),
        ticket=0,
        peer_id=bytes(range(38)),
        addresses=(),
    )
    return replace(message, **changes) if changes else message


def double_award() -> Fault:
    """Two awards of rank 1 to different provers."""
    other = award((2 * 10**14,))
    return Fault(kind=int(FaultKind.DOUBLE_AWARD), pieces=(framed(award(), sequence=2), framed(other, sequence=3)))


def bids_seen(*bids: BidCommit, ticket: int = 0) -> BidsSeen:
    """What a relay says that had these bids when bids closed."""
    hashes = sorted(keccak256(encode_body(each)) for each in bids)
    return BidsSeen(request_id=request().request_id, bids=tuple(hashes), ticket=ticket)


def samples() -> tuple[Message, ...]:
    """One of each message, in order of their numbers; equal on every run."""
    wanted = request().request_id
    agreed = award().agreement_hash
    signature = PROVERS[0].sign_digest(agreed)
    return (
        request(),
        bid(0),
        award(),
        AwardAccept(request_id=wanted, agreement_hash=agreed, prover_signature=signature),
        KeyRelease(
            request_id=wanted,
            agreement_hash=agreed,
            cipher_bytes=9,
            cipher_hash=keccak256(b"ciphertext"[:9]),
            statement_commit=keccak256(b"first statement"),
            amend_signature=signature,
        ),
        ProverAck(
            request_id=wanted,
            agreement_hash=agreed,
            verdict=0,
            ack_at=NOW_S + 5,
            ack_signature=signature,
            amend_signature=signature,
        ),
        ProofDelivery(
            request_id=wanted,
            agreement_hash=agreed,
            proofs=(RollupProof(rollup_id=1, system=bytes.fromhex("22" * 20), proof=bytes(range(256)) + bytes(33)),),
            prove_ms=8_000,
        ),
        DeliveryReceipt(
            request_id=wanted,
            agreement_hash=agreed,
            verdict=1,
            core_id=keccak256(b"core"),
            received_at=NOW_S + 20,
            receipt_signature=b"",
        ),
        ready_table(),
        TablePull(table_id=keccak256(b"table")),
        BidReveal(request_id=wanted, opening=opening(0)),
        double_award(),
        StandDown(request_id=wanted, rank=2),
        Cancel(request_id=wanted, reason=1),
        ProverAd(
            peer_id=bytes(range(1, 39)),
            addresses=(b"/ip4/127.0.0.1/tcp/4002", b"/dns4/prover/tcp/4002"),
            seal_key=PROVER_SEALS[0].public,
            families=(keccak256(b"family"),),
            tiers=(0,),
            prover_ticket=0,
            free_slots=1,
            prove_p50_ms=8_000,
            prove_p95_ms=12_000,
        ),
        TableReply(table_id=keccak256(b"table"), status=1, content_bytes=0, content_hash=bytes(32)),
        DeclineRequest(request_id=wanted, agreement_hash=agreed, verdict=1, fee_wei=10**13, prover_signature=signature),
        DeclineReply(request_id=wanted, agreement_hash=agreed, requester_signature=b""),
        Amend(
            request_id=wanted,
            agreement_hash=agreed,
            counter=1,
            statement_commit=keccak256(b"other statement"),
            requester_signature=signature,
            cipher_bytes=9,
            cipher_hash=keccak256(b"ciphertext"[:9]),
        ),
        AmendReply(request_id=wanted, agreement_hash=agreed, verdict=0, prover_signature=signature),
        bids_seen(bid(0), bid(1)),
    )


def framed(message: Message, key: AccountKey = REQUESTER, sequence: int = 1, **changes: Any) -> bytes:
    """A message in a frame signed by `key`, created at NOW_MS and living for a minute unless changed."""
    header = Header(
        message_id=message.ID,
        chain_id=MARKET.chain_id,
        market=MARKET.contract,
        created_ms=NOW_MS,
        expires_ms=NOW_MS + 60_000,
        signer=key.address,
        sequence=sequence,
    )
    return encode_frame(replace(header, **changes) if changes else header, message, key.sign_digest)
