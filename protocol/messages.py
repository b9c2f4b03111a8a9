"""The wire messages (SPEC §9.2, §9.3): frozen records whose fields carry their own width and bounds.

What needs more than the message itself (times, tickets, signatures) is checked in `protocol/gossip.py` and
`protocol/reqresp.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated, ClassVar, Final

from protocol.constants import MAX_LOCKSET
from protocol.fields import (
    U8,
    U16,
    U32,
    U64,
    Address,
    AddressList,
    Evidence,
    Fixed,
    Hash32,
    MaybeSignature,
    PeerId,
    ProofBytes,
    Record,
    SealedOpening,
    SealKey,
    Signature,
    Wei96,
)

MAX_DIRECT_BODY: Final = 65535  # bytes; the header's length field is a u16
MAX_OPENINGS: Final = 3  # the winner and two runners-up
MAX_BIDS: Final = 64  # kept and relayed per request
MAX_PIECES: Final = 8  # of evidence in a FAULT


class MessageId(IntEnum):
    """Numbers of the messages on the wire (SPEC §9.2). Numbers of later messages are reserved there."""

    REQUEST_COMMIT = 1
    BID_COMMIT = 2
    BID_REVEAL = 3
    AWARD = 4
    AWARD_ACCEPT = 5
    KEY_RELEASE = 6
    PROVER_ACK = 7
    PROOF_DELIVERY = 8
    DELIVERY_RECEIPT = 9
    READY_TABLE = 10
    TABLE_PULL = 11
    STAND_DOWN = 12
    CANCEL = 13
    FAULT = 14
    PROVER_AD = 15
    AMEND = 16
    TABLE_REPLY = 17
    DECLINE_REQUEST = 18
    DECLINE_REPLY = 19
    AMEND_REPLY = 20
    BIDS_SEEN = 21


@dataclass(frozen=True, slots=True, kw_only=True)
class Message(Record):
    """A record that is the body of a frame."""

    ID: ClassVar[MessageId]


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestCommit(Message):
    """A requester asks for bids. It says what a prover needs for a price, and commitments for the rest."""

    ID: ClassVar[MessageId] = MessageId.REQUEST_COMMIT

    request_id: Hash32
    """`commitments.request_id` of the signer and all other fields: one id, one request."""
    statement_commit: Hash32
    """Opens to the core with a salt (SPEC §5.3). Zeros with the next: the table is named when the payload is released
    (capacity)."""
    payload_commit: Hash32
    """Hash of the padded payload, which itself begins with a salt (SPEC §11)."""
    seal_key: SealKey
    """X25519 key made for this request; bids are sealed to it."""
    systems_hash: Hash32
    """keccak of the families of the lockset (SPEC §8.2)."""
    tier: U8
    """Proof class: the tier that every proof of the table needs."""
    proof_count: U8
    """Number of rollups to prove for, 1..8."""
    work_log2: U8
    """Ceiling of log2 of the machine steps of the whole table."""
    size_log2: U8
    """log2 of the padded payload's bytes, 10..22."""
    bid_close_ms: U64
    """Bids that arrive at or after it are late. Unix ms, as all `_ms`."""
    award_by_ms: U64
    accept_by_ms: U64
    ack_by: U64
    """Unix seconds, as the agreement has it; also the next two."""
    deliver_by: U64
    claim_by: U64
    standbys: U8
    """Runners-up that are engaged with the winner, 0..2. Their ranks count from 2."""
    standby_step_s: U32
    """By how much later than the rank before it each rank must acknowledge and deliver, seconds."""
    requester_ticket: U32
    """Escrow ticket of the signer that will pay."""
    bond_min_wei: Wei96
    """Smallest bond that a bid may name."""
    privacy: U8
    """0: the winner sees the plaintext. Other levels are reserved."""
    peer_id: PeerId
    """libp2p peer id of the requester, for direct messages."""
    addresses: AddressList
    """Multiaddrs as ASCII text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BidOpening(Record):
    """What a bid commits to, 116 bytes. The signer of the bid is the prover."""

    price_wei: Wei96
    eta_ms: U32
    """Expected milliseconds from key release to delivery."""
    prover_ticket: U32
    bond_wei: Wei96
    payee: Address
    """Who is paid; any address."""
    seal_key: SealKey
    """X25519 key to which the payload will be sealed."""
    salt: Hash32


@dataclass(frozen=True, slots=True, kw_only=True)
class BidCommit(Message):
    """A prover's sealed bid: the hash binds it, the opening travels with it for the requester alone."""

    ID: ClassVar[MessageId] = MessageId.BID_COMMIT

    request_id: Hash32
    bid_hash: Hash32
    """`commitments.bid_hash` of request, prover and opening."""
    sealed_opening: SealedOpening
    """HPKE of the 116 opening bytes to the request's seal key, bound to request, prover and bid hash."""
    prover_ticket: U32
    """Bond ticket, in clear, so that relays can bound the bids per ticket."""
    bond_wei: Wei96
    """Uniform per class by convention: a bond that followed the price would leak it."""
    peer_id: PeerId
    addresses: AddressList


@dataclass(frozen=True, slots=True, kw_only=True)
class BidReveal(Message):
    """A bidder opens its bid after the award, so that everybody who saw the bid in time sees whether it was passed
    over."""

    ID: ClassVar[MessageId] = MessageId.BID_REVEAL

    request_id: Hash32
    opening: BidOpening


@dataclass(frozen=True, slots=True, kw_only=True)
class BidsSeen(Message):
    """A relay signs which bids it had seen when bids closed, before anybody knows what is in them."""

    ID: ClassVar[MessageId] = MessageId.BIDS_SEEN

    request_id: Hash32
    bids: Annotated[tuple[Hash32, ...], MAX_BIDS]
    """keccak of the bodies of the BID_COMMITs, ascending."""
    ticket: U32
    """A live escrow ticket of the signer, so that witnessing in many names costs deposits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AwardedBid(Record):
    """An opened bid inside an award."""

    prover: Address
    opening: BidOpening


@dataclass(frozen=True, slots=True, kw_only=True)
class Award(Message):
    """The requester opens the winner and its runners-up, and signs the agreement with the winner."""

    ID: ClassVar[MessageId] = MessageId.AWARD

    request_id: Hash32
    rank: U8
    """Which of the openings is awarded, counted from 1."""
    bids_root: Hash32
    """Merkle root of the hashes of all timely bids (SPEC §9.3)."""
    bid_count: U16
    openings: Annotated[tuple[AwardedBid, ...], MAX_OPENINGS]
    """Best first by the public rule."""
    agreement_hash: Hash32
    """EIP-712 digest of the agreement with `openings[rank-1]`."""
    requester_signature: Signature


@dataclass(frozen=True, slots=True, kw_only=True)
class AwardAccept(Message):
    """The winner countersigns the agreement."""

    ID: ClassVar[MessageId] = MessageId.AWARD_ACCEPT

    request_id: Hash32
    agreement_hash: Hash32
    prover_signature: Signature


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRelease(Message):
    """The sealed payload for the winner. The ciphertext follows the frame as its attachment."""

    ID: ClassVar[MessageId] = MessageId.KEY_RELEASE

    request_id: Hash32
    agreement_hash: Hash32
    cipher_bytes: U32
    """Length of the attachment: 2^size_log2 + 48."""
    cipher_hash: Hash32
    """keccak of the attachment."""
    statement_commit: Hash32
    """What the payload opens, where the request names no table (capacity): the first StatementAmend. Zeros else."""
    amend_signature: MaybeSignature
    """EIP-712 StatementAmend with counter 1; empty iff the request names a table."""


class AckVerdict(IntEnum):
    """What the winner says about the payload. Only START makes non-delivery slashable."""

    START = 0
    OVERSIZE = 1
    INVALID = 2
    STALE = 3
    UNSUPPORTED = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class ProverAck(Message):
    """The winner has checked the payload against the circuit and starts, or declines."""

    ID: ClassVar[MessageId] = MessageId.PROVER_ACK

    request_id: Hash32
    agreement_hash: Hash32
    verdict: U8
    ack_at: U64
    """Unix seconds, as in the signed Ack."""
    ack_signature: MaybeSignature
    """EIP-712 Ack; empty iff the verdict is a decline."""
    amend_signature: MaybeSignature
    """EIP-712 StatementAmend of the KEY_RELEASE; empty if that had none, or the verdict is a decline."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RollupProof(Record):
    """One proof of one rollup (SPEC §8 `proofs`)."""

    rollup_id: U64
    system: Address
    """Proof system contract."""
    proof: ProofBytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofDelivery(Message):
    """The proofs of the agreed table. The requester has the core; only proofs travel."""

    ID: ClassVar[MessageId] = MessageId.PROOF_DELIVERY

    request_id: Hash32
    agreement_hash: Hash32
    proofs: Annotated[tuple[RollupProof, ...], MAX_LOCKSET]
    """Strictly ascending by (rollup id, system)."""
    prove_ms: U32


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclineRequest(Message):
    """The prover has declined a payload that is not what its envelope said, and asks for the fee of that."""

    ID: ClassVar[MessageId] = MessageId.DECLINE_REQUEST

    request_id: Hash32
    agreement_hash: Hash32
    verdict: U8
    """OVERSIZE or INVALID."""
    fee_wei: Wei96
    """At most `agreement.decline_fee`."""
    prover_signature: Signature
    """EIP-712 Decline."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclineReply(Message):
    """The requester agrees, or says that its payload is what it said."""

    ID: ClassVar[MessageId] = MessageId.DECLINE_REPLY

    request_id: Hash32
    agreement_hash: Hash32
    requester_signature: MaybeSignature
    """EIP-712 Decline; empty: it does not agree."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Amend(Message):
    """The requester wants another table than the agreed one, for the same price; its sealed payload is attached."""

    ID: ClassVar[MessageId] = MessageId.AMEND

    request_id: Hash32
    agreement_hash: Hash32
    counter: U16
    """From 1, one more than the last that both signed."""
    statement_commit: Hash32
    requester_signature: Signature
    """EIP-712 StatementAmend."""
    cipher_bytes: U32
    """Length of the attachment: 2^size_log2 + 48."""
    cipher_hash: Hash32
    """keccak of the attachment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AmendReply(Message):
    """The prover starts anew, or goes on with the agreed table."""

    ID: ClassVar[MessageId] = MessageId.AMEND_REPLY

    request_id: Hash32
    agreement_hash: Hash32
    verdict: U8
    """As in PROVER_ACK."""
    prover_signature: MaybeSignature
    """EIP-712 StatementAmend; empty iff the verdict is not START."""


class ReceiptVerdict(IntEnum):
    """What the requester says about a delivery."""

    VALID = 0
    INVALID_PROOF = 1
    LATE = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryReceipt(Message):
    """The requester has verified the delivery locally, or refuses it with a code."""

    ID: ClassVar[MessageId] = MessageId.DELIVERY_RECEIPT

    request_id: Hash32
    agreement_hash: Hash32
    verdict: U8
    core_id: Hash32
    received_at: U64
    """Unix seconds."""
    receipt_signature: MaybeSignature
    """EIP-712 Receipt; empty iff the verdict is a refusal."""


class ReleasePolicy(IntEnum):
    """Who may read a ready table before it lands."""

    PUBLIC = 0
    SEALED = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadyTable(Message):
    """A proven table waits in signed form. With policy SEALED it says nothing but an id and a size class."""

    ID: ClassVar[MessageId] = MessageId.READY_TABLE

    table_id: Hash32
    """keccak of the content: salt b32 | raw signed L1 transaction."""
    policy: U8
    seal_key: Annotated[bytes, Fixed((0, 32))]
    """X25519 key of the proposer's sidecar; empty iff public."""
    size_log2: U8
    """Size class of the padded content, 10..17."""
    not_before: U64
    """Unix seconds, window in which the transaction can land."""
    valid_until: U64
    rollup_ids: Annotated[tuple[U64, ...], MAX_LOCKSET]
    """Strictly ascending; empty iff sealed; as the next two."""
    pre_roots: Annotated[tuple[Hash32, ...], MAX_LOCKSET]
    post_roots: Annotated[tuple[Hash32, ...], MAX_LOCKSET]
    ticket: U32
    """A live escrow ticket of the signer, so that announcing in many names costs deposits."""
    peer_id: PeerId
    addresses: AddressList


@dataclass(frozen=True, slots=True, kw_only=True)
class TablePull(Message):
    """Asks the announcer for a ready table."""

    ID: ClassVar[MessageId] = MessageId.TABLE_PULL

    table_id: Hash32


class PullStatus(IntEnum):
    """Answer to a pull."""

    HERE = 0
    UNKNOWN = 1
    NOT_YET = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class TableReply(Message):
    """The content of a ready table follows as the attachment: plain, or HPKE-sealed to the announced key."""

    ID: ClassVar[MessageId] = MessageId.TABLE_REPLY

    table_id: Hash32
    status: U8
    content_bytes: U32
    """Length of the attachment; 0 unless status is HERE."""
    content_hash: Hash32
    """keccak of the attachment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel(Message):
    """The requester withdraws a request that it has not awarded."""

    ID: ClassVar[MessageId] = MessageId.CANCEL

    request_id: Hash32
    reason: U8


@dataclass(frozen=True, slots=True, kw_only=True)
class StandDown(Message):
    """The requester has a proof and will not call a runner-up. Nobody must send it: silence until ackBy frees too."""

    ID: ClassVar[MessageId] = MessageId.STAND_DOWN

    request_id: Hash32
    rank: U8
    """2 or 3."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault(Message):
    """Evidence against somebody that needs no teller's word (`protocol.faults`)."""

    ID: ClassVar[MessageId] = MessageId.FAULT

    kind: U8
    pieces: Annotated[tuple[Evidence, ...], MAX_PIECES]
    """What each kind consists of is in SPEC §9.4."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProverAd(Message):
    """A prover says what it can prove and how fast."""

    ID: ClassVar[MessageId] = MessageId.PROVER_AD

    peer_id: PeerId
    addresses: AddressList
    seal_key: SealKey
    families: Annotated[tuple[Hash32, ...], 8]
    """Families whose keys it holds."""
    tiers: Annotated[tuple[U8, ...], 8]
    prover_ticket: U32
    """A live bond ticket of the signer, so that advertising in many names costs deposits."""
    free_slots: U8
    """Proofs that it would start at once."""
    prove_p50_ms: U32
    prove_p95_ms: U32


MESSAGES: Final[dict[MessageId, type[Message]]] = {
    kind.ID: kind
    for kind in (
        RequestCommit,
        BidCommit,
        Award,
        AwardAccept,
        KeyRelease,
        ProverAck,
        ProofDelivery,
        DeliveryReceipt,
        ReadyTable,
        TablePull,
        BidReveal,
        Fault,
        StandDown,
        Cancel,
        ProverAd,
        TableReply,
        DeclineRequest,
        DeclineReply,
        Amend,
        AmendReply,
        BidsSeen,
    )
}
"""Every message that this version can read."""

GOSSIP_CHANNELS: Final[dict[str, frozenset[MessageId]]] = {
    "req": frozenset({MessageId.REQUEST_COMMIT}),
    "bid": frozenset({MessageId.BID_COMMIT, MessageId.BID_REVEAL, MessageId.BIDS_SEEN}),
    "award": frozenset({MessageId.AWARD, MessageId.STAND_DOWN, MessageId.CANCEL}),
    "ready": frozenset({MessageId.READY_TABLE}),
    "fault": frozenset({MessageId.FAULT}),
    "ad": frozenset({MessageId.PROVER_AD}),
}
"""Which messages a gossip channel carries (SPEC §9.2)."""


SHARDS: Final = 4  # of each channel that carries auctions
SHARDED: Final = frozenset({"req", "bid", "award"})
"""Channels whose frames belong to one request, and so to its proof class."""


def shards_of(channel: str) -> tuple[int | None, ...]:
    """The shards of a channel of GOSSIP_CHANNELS; None alone for a channel without."""
    if channel not in GOSSIP_CHANNELS:
        raise ValueError(f"no gossip channel {channel!r}")
    return tuple(range(SHARDS)) if channel in SHARDED else (None,)


def topic(chain_id: int, market: bytes, channel: str, shard: int | None = None) -> str:
    """Gossip topic of a channel, or of one of its shards (SPEC §9.2)."""
    if shard not in shards_of(channel):
        raise ValueError(f"no shard {shard} of gossip channel {channel!r}")
    plain = f"/unveto/1/{chain_id}/{market.hex()}/{channel}"
    return plain if shard is None else f"{plain}/{shard}"
