"""Bytes to frame and message, and back (SPEC §9.1). The only place that knows the byte layout of frames.

Reading goes in steps, cheapest first, and each step has its own type, so that nobody can use what was not checked:
bytes -> `Frame` (lengths, magic, known id) -> message (canonical body, fields in range). The signature is checked in
`signing`.
The msgpack library never sees a body whose depth, counts and lengths were not bounded before.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar, cast

import msgpack  # type: ignore[import-untyped]

from protocol.constants import MAX_FAULT_BODY, MAX_GOSSIP_BODY
from protocol.errors import Reject
from protocol.fields import (
    Bounded,
    FieldOutOfRange,
    Fixed,
    Kind,
    ListOf,
    Record,
    RecordOf,
    UInt,
    schema_of,
)
from protocol.hashing import keccak256
from protocol.messages import MAX_DIRECT_BODY, MESSAGES, Message, MessageId
from protocol.verdicts import WireCode

M = TypeVar("M", bound=Message)

MAGIC: Final = b"UNV1"
HEADER_BYTES: Final = 80
SIGNATURE_BYTES: Final = 65
MAX_BODY_DEPTH: Final = 4  # message, list, record, and one to spare for later messages
MAX_BODY_ITEMS: Final = 256  # values and arrays together; the largest message of today has under 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The 80 bytes in front of a body, without magic, flags and length."""

    message_id: MessageId
    chain_id: int
    """u64."""
    market: bytes
    """20 bytes, the ProofMarket contract."""
    created_ms: int
    """Unix ms, u64; as `expires_ms`."""
    expires_ms: int
    signer: bytes
    """20 bytes."""
    sequence: int
    """u64, strictly increasing per signer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """A frame with well-formed lengths and header. Neither its body nor its signature has been looked at."""

    header: Header
    body: bytes
    signature: bytes
    """r | s | v, 65 bytes."""
    raw: bytes
    """All bytes as received."""

    @property
    def digest(self) -> bytes:
        """What the signer signs: keccak(0x19 | magic | header 80 | keccak256(body))."""
        return frame_digest(self.raw[:HEADER_BYTES], self.body)


def frame_digest(header_bytes: bytes, body: bytes) -> bytes:
    """keccak(0x19 | "UNV1" | header 80 | keccak256(body)), SPEC §9.1."""
    return keccak256(b"\x19" + MAGIC + header_bytes + keccak256(body))


def pack_header(header: Header, body_bytes: int) -> bytes:
    """The 80 header bytes. Raises FieldOutOfRange for values that do not fit."""
    for name, value, bits in (
        ("body length", body_bytes, 16),
        ("chain_id", header.chain_id, 64),
        ("created_ms", header.created_ms, 64),
        ("expires_ms", header.expires_ms, 64),
        ("sequence", header.sequence, 64),
    ):
        if not 0 <= value < 1 << bits:
            raise FieldOutOfRange("Header", name, f"not an unsigned {bits}-bit integer")
    if len(header.market) != 20 or len(header.signer) != 20:
        raise FieldOutOfRange("Header", "market, signer", "not 20 bytes")
    return (
        MAGIC
        + bytes((header.message_id, 0))
        + body_bytes.to_bytes(2, "big")
        + header.chain_id.to_bytes(8, "big")
        + header.market
        + header.created_ms.to_bytes(8, "big")
        + header.expires_ms.to_bytes(8, "big")
        + header.signer
        + header.sequence.to_bytes(8, "big")
    )


def encode_frame(header: Header, message: Message, sign: Callable[[bytes], bytes]) -> bytes:
    """Header, body and signature.

    Args:
        sign: 32-byte digest -> 65-byte signature by `header.signer`.
    """
    if header.message_id != message.ID:
        raise FieldOutOfRange("Header", "message_id", f"not that of {type(message).__name__}")
    body = encode_body(message)
    header_bytes = pack_header(header, len(body))
    return header_bytes + body + sign(frame_digest(header_bytes, body))


def read_frame(data: bytes, *, max_body: int = MAX_GOSSIP_BODY) -> Frame:
    """Cuts received bytes into a frame; constant work, nothing is hashed or decoded.

    Raises:
        Reject: length, magic, flags, unknown message id, or a body longer than its message can be.
    """
    if len(data) < HEADER_BYTES + SIGNATURE_BYTES:
        raise Reject(WireCode.TOO_SHORT, size=len(data))
    if data[4] == MessageId.FAULT:
        max_body = max(max_body, MAX_FAULT_BODY)
    if len(data) > HEADER_BYTES + max_body + SIGNATURE_BYTES:
        raise Reject(WireCode.TOO_LONG, size=len(data), limit=max_body)
    if data[:4] != MAGIC:
        raise Reject(WireCode.BAD_MAGIC, magic=data[:4])
    if data[5] != 0:
        raise Reject(WireCode.BAD_FLAGS, flags=data[5])
    kind = MESSAGES.get(cast(MessageId, data[4]))
    if kind is None:
        raise Reject(WireCode.UNKNOWN_MESSAGE, message_id=data[4])
    body_bytes = int.from_bytes(data[6:8], "big")
    if body_bytes != len(data) - HEADER_BYTES - SIGNATURE_BYTES or body_bytes > max_body_bytes(kind):
        raise Reject(WireCode.BODY_LENGTH, declared=body_bytes, size=len(data))
    header = Header(
        message_id=kind.ID,
        chain_id=int.from_bytes(data[8:16], "big"),
        market=data[16:36],
        created_ms=int.from_bytes(data[36:44], "big"),
        expires_ms=int.from_bytes(data[44:52], "big"),
        signer=data[52:72],
        sequence=int.from_bytes(data[72:80], "big"),
    )
    end = HEADER_BYTES + body_bytes
    return Frame(header=header, body=data[HEADER_BYTES:end], signature=data[end:], raw=data)


def encode_body(message: Message) -> bytes:
    """Canonical msgpack array of the message's fields."""
    return cast(bytes, msgpack.packb(_plain(RecordOf(type(message)), message), use_bin_type=True))


def decode_message(frame: Frame) -> Message:
    """The message in a frame's body.

    Raises:
        Reject: not the canonical encoding of a message of this id with fields in range.
    """
    return decode_body(MESSAGES[frame.header.message_id], frame.body)


def decode_body(kind: type[M], body: bytes) -> M:
    """The message of class `kind` in `body`; raises Reject as `decode_message`."""
    _check_structure(body)
    plain = msgpack.unpackb(body, raw=True, use_list=False, strict_map_key=True)
    try:
        message = cast(M, _value(kind.__name__, "body", RecordOf(kind), plain))
    except FieldOutOfRange as error:
        raise Reject(WireCode.BODY_FIELDS, field=f"{error.message}.{error.field}", why=error.reason) from error
    # The structure check already demands shortest forms; this also holds msgpack itself to it.
    if encode_body(message) != body:
        raise Reject(WireCode.NOT_CANONICAL)
    return message


def max_body_bytes(kind: type[Message]) -> int:
    """Longest canonical body of a message class."""
    return _MAX_BODY[kind.ID]


def _max_size(kind: Kind) -> int:
    match kind:
        case UInt(bits):
            return 1 + bits // 8 if bits <= 64 else 2 + bits // 8
        case Fixed(lengths):
            return 3 + max(lengths)
        case Bounded(_, high):
            return 3 + high
        case ListOf(item, limit):
            return 3 + limit * _max_size(item)
        case RecordOf(record):
            return 3 + sum(_max_size(inner) for _, inner in schema_of(record))


def _plain(kind: Kind, value: Any) -> object:
    """A checked value as nested ints, bytes and lists."""
    match kind:
        case UInt(bits):
            return value if bits <= 64 else value.to_bytes(bits // 8, "big")
        case ListOf(item, _):
            return [_plain(item, element) for element in value]
        case RecordOf(record):
            return [_plain(inner, getattr(value, name)) for name, inner in schema_of(record)]
        case _:
            return value


def _value(record: str, name: str, kind: Kind, plain: object) -> object:
    """The reverse of `_plain`, for values of a bounded structure. The record's constructor checks ranges."""
    match kind:
        case UInt(bits) if bits > 64:
            if type(plain) is not bytes or len(plain) != bits // 8:
                raise FieldOutOfRange(record, name, f"not {bits // 8} bytes")
            return int.from_bytes(plain, "big")
        case ListOf(item, _):
            if type(plain) is not tuple:
                raise FieldOutOfRange(record, name, "not an array")
            return tuple(_value(record, name, item, element) for element in plain)
        case RecordOf(inner):
            return _record(inner, plain)
        case _:
            return plain


def _record(record: type[Record], plain: object) -> Record:
    schema = schema_of(record)
    if type(plain) is not tuple or len(plain) != len(schema):
        raise FieldOutOfRange(record.__name__, "fields", f"not an array of {len(schema)}")
    return record(
        **{
            name: _value(record.__name__, name, kind, element)
            for (name, kind), element in zip(schema, plain, strict=True)
        }
    )


def _check_structure(body: bytes) -> None:
    """One pass without recursion over a body: only unsigned integers, bin and arrays, each in its shortest form,
    bounded in
    depth and number, and nothing after the outermost array.

    Raises:
        Reject: otherwise.
    """
    size = len(body)
    position = 0
    items = 0
    open_arrays: list[int] = []  # how many elements each open array still expects
    while True:
        items += 1
        if position >= size or items > MAX_BODY_ITEMS:
            raise Reject(WireCode.BODY_STRUCTURE, at=position, items=items)
        lead = body[position]
        width = _WIDTH.get(lead, 0)
        argument = int.from_bytes(body[position + 1 : position + 1 + width], "big")
        if position + 1 + width > size or argument < _SMALLEST.get(lead, 0):
            raise Reject(WireCode.BODY_STRUCTURE, at=position)
        position += 1 + width
        if 0x90 <= lead <= 0x9F or lead == 0xDC:
            open_arrays.append(lead & 0x0F if lead != 0xDC else argument)
            if len(open_arrays) > MAX_BODY_DEPTH or argument > MAX_BODY_ITEMS:
                raise Reject(WireCode.BODY_STRUCTURE, at=position, depth=len(open_arrays))
        elif not open_arrays:
            raise Reject(WireCode.BODY_STRUCTURE, at=position)  # the outermost value must be an array
        else:
            if lead in (0xC4, 0xC5):
                position += argument
            elif lead > 0x7F and lead not in (0xCC, 0xCD, 0xCE, 0xCF):
                raise Reject(WireCode.BODY_STRUCTURE, at=position, lead=lead)
            open_arrays[-1] -= 1
        while open_arrays and open_arrays[-1] == 0:
            open_arrays.pop()
            if open_arrays:
                open_arrays[-1] -= 1
        if not open_arrays:
            break
    if position != size:
        raise Reject(WireCode.BODY_STRUCTURE, at=position, size=size)


# msgpack lead bytes: uint 8..64 (cc..cf), bin 8 and 16 (c4, c5), array 16 (dc); how many length or value bytes
# follow, and the
# smallest number that has no shorter form.
_WIDTH: Final = {0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8, 0xC4: 1, 0xC5: 2, 0xDC: 2}
_SMALLEST: Final = {0xCC: 1 << 7, 0xCD: 1 << 8, 0xCE: 1 << 16, 0xCF: 1 << 32, 0xC5: 1 << 8, 0xDC: 16}

_MAX_BODY: Final = {kind.ID: min(_max_size(RecordOf(kind)), MAX_DIRECT_BODY) for kind in MESSAGES.values()}
_MAX_BODY[MessageId.FAULT] = min(_MAX_BODY[MessageId.FAULT], MAX_FAULT_BODY)
