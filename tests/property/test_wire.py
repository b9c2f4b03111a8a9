"""Laws of the wire: what is written is read back, one encoding only, and every changed byte is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.codec import decode_body, encode_body
from protocol.commitments import bids_root
from protocol.errors import Ignore, Reject
from protocol.fields import (
    Bounded,
    Fixed,
    Kind,
    ListOf,
    RecordOf,
    UInt,
    schema_of,
)
from protocol.gossip import validate
from protocol.gossip_memory import GossipMemory
from protocol.messages import MESSAGES, Message
from protocol.reqresp import read_direct
from tests.support.wire_samples import MARKET, NOW_MS, PROVERS, AllTickets, award, bid, framed, request, samples


def values(kind: Kind) -> st.SearchStrategy[object]:
    """Values of a field kind, its bounds included."""
    match kind:
        case UInt(bits):
            return st.one_of(
                st.integers(0, (1 << bits) - 1), st.sampled_from((0, 127, 128, 255, (1 << bits) - 1))
            ).filter(lambda value: value < 1 << bits)
        case Fixed(lengths):
            return st.sampled_from(lengths).flatmap(lambda size: st.binary(min_size=size, max_size=size))
        case Bounded(low, high):
            return st.binary(min_size=low, max_size=min(high, 300))
        case ListOf(item, limit):
            return st.lists(values(item), max_size=limit).map(tuple)
        case RecordOf(record):
            return st.builds(record, **{name: values(inner) for name, inner in schema_of(record)})


@settings(max_examples=40)
@given(
    st.sampled_from(sorted(MESSAGES.values(), key=lambda kind: kind.ID)).flatmap(lambda kind: values(RecordOf(kind)))
)
def test_every_message_survives_the_round_trip(message: Message) -> None:
    """For each message class, fields at their bounds included."""
    body = encode_body(message)

    assert message == decode_body(type(message), body)


@settings(max_examples=150)
@given(st.sampled_from(sorted(MESSAGES.values(), key=lambda kind: kind.ID)), st.binary(max_size=600))
def test_bytes_that_decode_are_the_only_encoding(kind: type[Message], body: bytes) -> None:
    """Arbitrary bytes are refused, or are exactly what encoding gives back."""
    try:
        message = decode_body(kind, body)
    except Reject:
        return

    assert body == encode_body(message)


@settings(max_examples=150)
@given(
    st.sampled_from(samples()),
    st.integers(0, 10**6),
    st.sampled_from(("flip", "delete", "insert", "widen")),
    st.integers(1, 255),
)
def test_a_changed_body_is_refused_or_another_message(sample: Message, where: int, how: str, value: int) -> None:
    """No two bodies decode to the same message."""
    body = bytearray(encode_body(sample))
    place = where % len(body)
    match how:
        case "flip":
            body[place] ^= value
        case "delete":
            del body[place]
        case "insert":
            body.insert(place, value)
        case _:
            body[place : place + 1] = b"\xcc" + bytes([body[place]])
    try:
        message = decode_body(type(sample), bytes(body))
    except Reject:
        return

    assert message != sample or bytes(body) == encode_body(sample)


def _gossip(channel: str) -> Callable[[bytes], object]:
    def judge(data: bytes) -> object:
        memory = GossipMemory()
        if channel != "req":
            memory.remember_request(framed_signer(request()), request())
        return validate(channel, data, market=MARKET, now_ms=NOW_MS, memory=memory, view=AllTickets())

    return judge


def framed_signer(message: Message) -> bytes:
    """Who signs `framed(message)`."""
    return framed(message)[52:72]


@pytest.mark.parametrize(
    ("channel", "data"),
    [("req", framed(request())), ("bid", framed(bid(0), key=PROVERS[0])), ("award", framed(award()))],
)
def test_every_changed_byte_of_a_gossip_frame_is_refused(channel: str, data: bytes) -> None:
    """Each byte once, by one of its bits: header, body and signature alike."""
    judge = _gossip(channel)
    judge(data)
    accepted = []
    for place in range(len(data)):
        changed = data[:place] + bytes([data[place] ^ (1 << place % 8)]) + data[place + 1 :]
        try:
            judge(changed)
        except (Reject, Ignore):
            continue
        accepted.append(place)

    assert [] == accepted


@pytest.mark.parametrize("sample", samples(), ids=lambda sample: type(sample).__name__)
def test_every_changed_byte_of_a_direct_frame_is_refused(sample: Message) -> None:
    """As above, for all messages as if sent directly."""
    data = framed(sample)
    attachment = b"ciphertext"[:9] if type(sample).__name__ in ("KeyRelease", "Amend") else b""

    def read(frame: bytes) -> None:
        read_direct(frame + attachment, type(sample), max_attachment=1 << 20, market=MARKET, now_ms=NOW_MS, signer=None)

    read(data)
    for place in range(len(data)):
        with pytest.raises((Reject, Ignore)):
            read(data[:place] + bytes([data[place] ^ (1 << place % 8)]) + data[place + 1 :])


@given(st.lists(st.binary(min_size=32, max_size=32), max_size=9, unique=True))
def test_the_root_over_bids_is_of_the_set(hashes: list[bytes]) -> None:
    """Order and repetition do not matter; one bid less or more does."""
    assert bids_root(hashes) == bids_root(sorted(hashes)[::-1] + hashes)
    if hashes:
        assert bids_root(hashes) != bids_root(hashes[1:])


@settings(max_examples=300)
@given(st.binary(max_size=400))
def test_junk_is_refused_by_every_channel(data: bytes) -> None:
    """With and without a plausible beginning; no other exception escapes."""
    for channel in ("req", "bid", "award", "ready", "ad"):
        for candidate in (data, framed(request())[:80] + data):
            with pytest.raises((Reject, Ignore)):
                validate(channel, candidate, market=MARKET, now_ms=NOW_MS, memory=GossipMemory(), view=AllTickets())


def test_no_message_has_a_field_that_the_wire_does_not_carry() -> None:
    """The schema is the dataclass."""
    for kind in MESSAGES.values():
        assert [field.name for field in fields(kind)] == [name for name, _ in schema_of(kind)]
