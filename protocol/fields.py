"""How fields of messages say their width and bounds (SPEC §9.2).

A field's type says how it is encoded: `UInt` as a msgpack integer up to 64 bits and as a fixed-length big-endian
`bin` above, `Fixed` and `Bounded` bytes as `bin`, `ListOf` as an array. A record that exists is in range: the
constructor checks it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Annotated, Final, get_args, get_origin, get_type_hints

MAX_ADDRESSES: Final = 4
MAX_ADDRESS_BYTES: Final = 128
MAX_EVIDENCE_BYTES: Final = 4096  # of one piece: any gossip frame but a FAULT
MAX_PROOF_BYTES: Final = 16384  # fits every proof system's proof of one rollup; a Groth16 proof has 289
OPENING_BYTES: Final = 116  # a bid's opening, always this long, so that its size says nothing
SEALED_OPENING_BYTES: Final = 32 + OPENING_BYTES + 16  # HPKE encapsulated key and tag


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
Evidence = Annotated[bytes, Bounded(1, MAX_EVIDENCE_BYTES)]
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
