"""The wire messages (SPEC §9.2, §9.3): frozen records whose fields carry their own width and bounds.

A field's type says how it is encoded: `UInt` as a msgpack integer up to 64 bits and as a fixed-length big-endian
`bin` above,
`Fixed` and `Bounded` bytes as `bin`, `ListOf` as an array. A message that exists is in range: the constructor checks
it.
What needs more than the message itself (times, tickets, signatures) is checked in `protocol/gossip.py` and
`protocol/reqresp.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Annotated, ClassVar, Final, get_args, get_origin, get_type_hints

from protocol.constants import MAX_LOCKSET

MAX_DIRECT_BODY: Final = 65535  # bytes; the header's length field is a u16
MAX_ADDRESSES: Final = 4
MAX_ADDRESS_BYTES: Final = 128
MAX_OPENINGS: Final = 3  # the winner and two runners-up
MAX_PROOF_BYTES: Final = 16384  # fits every proof system's proof of one rollup; a Groth16 proof has 289
OPENING_BYTES: Final = 116  # a bid's opening, always this long, so that its size says nothing
SEALED_OPENING_BYTES: Final = 32 + OPENING_BYTES + 16  # HPKE encapsulated key and tag


class MessageId(IntEnum):
    """Numbers of the messages on the wire (SPEC §9.2). Numbers of later messages are reserved there."""

    REQUEST_COMMIT = 1
    BID_COMMIT = 2
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
    PROVER_AD = 15
    AMEND = 16
    TABLE_REPLY = 17
    DECLINE_REQUEST = 18
    DECLINE_REPLY = 19
    AMEND_REPLY = 20


class FieldOutOfRange(ValueError):
    """A message field breaks its width or bound.

    Attributes:
        message, field: where.
        reason: which bound, in words.
    """

    def __init__(self, message: str, field: str, reason: str) -> None:
        self.message, self.field, self.reason = message, field, reason
        super().__init__(f"{message}.{field}: {reason}")


@dataclass(frozen=True, slots=True)
class UInt:
    """An unsigned integer of `bits` bits."""

    bits: int


@dataclass(frozen=True, slots=True)
class Fixed:
    """Exactly one of the listed lengths of bytes."""

    lengths: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Bounded:
    """Between `low` and `high` bytes, both included."""

    low: int
    high: int


@dataclass(frozen=True, slots=True)
class ListOf:
    """At most `limit` items, each of kind `item`."""

    item: Kind
    limit: int


@dataclass(frozen=True, slots=True)
class RecordOf:
    """A nested record, encoded as an array of its fields."""

    record: type[Record]


Kind = UInt | Fixed | Bounded | ListOf | RecordOf

U8 = Annotated[int, UInt(8)]
U16 = Annotated[int, UInt(16)]
U32 = Annotated[int, UInt(32)]
U64 = Annotated[int, UInt(64)]
Wei96 = Annotated[int, UInt(96)]
Address = Annotated[bytes, Fixed((20,))]
Hash32 = Annotated[bytes, Fixed((32,))]
SealKey = Annotated[bytes, Fixed((32,))]
Signature = Annotated[bytes, Fixed((65,))]
MaybeSignature = Annotated[bytes, Fixed((0, 65))]
SealedOpening = Annotated[bytes, Fixed((SEALED_OPENING_BYTES,))]
PeerId = Annotated[bytes, Bounded(1, 64)]
AddressText = Annotated[bytes, Bounded(1, MAX_ADDRESS_BYTES)]
ProofBytes = Annotated[bytes, Bounded(1, MAX_PROOF_BYTES)]
AddressList = Annotated[tuple[AddressText, ...], MAX_ADDRESSES]


def _kind_of(hint: object) -> Kind:
    """The field kind that a type hint declares."""
    if isinstance(hint, type) and issubclass(hint, Record):
        return RecordOf(hint)
    if get_origin(hint) is Annotated:
        inner, mark = get_args(hint)
        if isinstance(mark, UInt | Fixed | Bounded):
            return mark
        if isinstance(mark, int) and get_origin(inner) is tuple:
            return ListOf(_kind_of(get_args(inner)[0]), mark)
    raise TypeError(f"not a wire type: {hint!r}")


_SCHEMAS: Final[dict[type[Record], tuple[tuple[str, Kind], ...]]] = {}


def schema_of(record: type[Record]) -> tuple[tuple[str, Kind], ...]:
    """(name, kind) of each field, in wire order; read once from the class."""
    known = _SCHEMAS.get(record)
    if known is None:
        hints = get_type_hints(record, include_extras=True)
        known = tuple((field.name, _kind_of(hints[field.name])) for field in fields(record))
        _SCHEMAS[record] = known
    return known


def check_value(record: str, name: str, kind: Kind, value: object) -> None:
    """Raises FieldOutOfRange unless `value` is of `kind`."""
    match kind:
        case UInt(bits):
            # bool is an int in Python and would be encoded as another msgpack type
            if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << bits:
                raise FieldOutOfRange(record, name, f"not an unsigned {bits}-bit integer")
        case Fixed(lengths):
            if type(value) is not bytes or len(value) not in lengths:
                raise FieldOutOfRange(record, name, f"not bytes of length {lengths}")
        case Bounded(low, high):
            if type(value) is not bytes or not low <= len(value) <= high:
                raise FieldOutOfRange(record, name, f"not {low} to {high} bytes")
        case ListOf(item, limit):
            if type(value) is not tuple or len(value) > limit:
                raise FieldOutOfRange(record, name, f"not a tuple of at most {limit}")
            for element in value:
                check_value(record, name, item, element)
        case RecordOf(inner):
            if type(value) is not inner:
                raise FieldOutOfRange(record, name, f"not a {inner.__name__}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A group of fields with a fixed order on the wire."""

    def __post_init__(self) -> None:
        for name, kind in schema_of(type(self)):
            check_value(type(self).__name__, name, kind, getattr(self, name))


@dataclass(frozen=True, slots=True, kw_only=True)
class Message(Record):
    """A record that is the body of a frame."""

    ID: ClassVar[MessageId]


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestCommit(Message):
    """A requester asks for bids. It says what a prover needs for a price, and commitments for the rest."""

    ID: ClassVar[MessageId] = MessageId.REQUEST_COMMIT

    request_id: Hash32
    """`commitments.request_id` of the signer and the three fields below: nobody can take another's id."""
    statement_commit: Hash32
    """Opens to the core with a salt (SPEC §5.3)."""
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
        StandDown,
        Cancel,
        ProverAd,
        TableReply,
        DeclineRequest,
        DeclineReply,
        Amend,
        AmendReply,
    )
}
"""Every message that this version can read."""

GOSSIP_CHANNELS: Final[dict[str, frozenset[MessageId]]] = {
    "req": frozenset({MessageId.REQUEST_COMMIT}),
    "bid": frozenset({MessageId.BID_COMMIT}),
    "award": frozenset({MessageId.AWARD, MessageId.STAND_DOWN, MessageId.CANCEL}),
    "ready": frozenset({MessageId.READY_TABLE}),
    "ad": frozenset({MessageId.PROVER_AD}),
}
"""Which messages a gossip channel carries (SPEC §9.2)."""


def topic(chain_id: int, market: bytes, channel: str) -> str:
    """Gossip topic of a channel of GOSSIP_CHANNELS (SPEC §9.2)."""
    if channel not in GOSSIP_CHANNELS:
        raise ValueError(f"no gossip channel {channel!r}")
    return f"/unveto/1/{chain_id}/{market.hex()}/{channel}"
