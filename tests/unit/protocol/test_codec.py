"""Frames: vectors, lengths, canonical bodies."""

from __future__ import annotations

import json

import msgpack
import pytest

from protocol.codec import HEADER_BYTES, MAX_BODY_ITEMS, decode_body, decode_message, encode_body, read_frame
from protocol.errors import Reject
from protocol.fields import FieldOutOfRange
from protocol.messages import (
    MAX_DIRECT_BODY,
    MESSAGES,
    Cancel,
    ProverAd,
    TablePull,
)
from protocol.verdicts import WireCode
from tests.support.tools import ROOT
from tests.support.wire_samples import framed, request, samples
from tests.support.write_frame_vectors import frame_vectors

VECTORS = json.loads(ROOT.joinpath("tests", "vectors", "frames.json").read_text(encoding="utf-8"))


def test_vectors_are_what_the_code_makes() -> None:
    """Byte for byte; a change of the format must be deliberate."""
    assert VECTORS == frame_vectors()


def test_every_message_has_a_vector() -> None:
    """None is left out."""
    assert set(MESSAGES) == {entry["id"] for entry in VECTORS["frames"]}


@pytest.mark.parametrize("entry", VECTORS["frames"], ids=lambda entry: entry["message"])
def test_a_vector_decodes_to_its_message(entry: dict[str, str]) -> None:
    """And the sample of that name."""
    frame = read_frame(bytes.fromhex(entry["frame"]), max_body=MAX_DIRECT_BODY)
    message = decode_message(frame)

    assert entry["message"] == type(message).__name__
    assert message in samples()


@pytest.mark.parametrize(
    ("code", "data"),
    [
        (WireCode.TOO_SHORT, b""),
        (WireCode.TOO_SHORT, framed(request())[:144]),
        (WireCode.TOO_LONG, framed(request()) + bytes(4096)),
        (WireCode.BAD_MAGIC, b"UNV2" + framed(request())[4:]),
        (WireCode.UNKNOWN_MESSAGE, framed(request())[:4] + b"\x00" + framed(request())[5:]),
        (WireCode.UNKNOWN_MESSAGE, framed(request())[:4] + b"\x63" + framed(request())[5:]),
        (WireCode.BAD_FLAGS, framed(request())[:5] + b"\x01" + framed(request())[6:]),
        (WireCode.BODY_LENGTH, framed(request()) + b"\x00"),
        (WireCode.BODY_LENGTH, framed(request())[:-1]),
        # a body that is longer than any body of this message
        (WireCode.BODY_LENGTH, framed(request())[:4] + bytes([TablePull.ID]) + framed(request())[5:]),
    ],
)
def test_a_frame_with_wrong_outer_form_is_rejected(code: WireCode, data: bytes) -> None:
    """At the first check that can see it."""
    with pytest.raises(Reject) as refused:
        read_frame(data)

    assert code == refused.value.reason


CANCEL_BODY = encode_body(Cancel(request_id=bytes(32), reason=1))


@pytest.mark.parametrize(
    ("code", "body"),
    [
        (WireCode.BODY_STRUCTURE, b""),
        (WireCode.BODY_STRUCTURE, CANCEL_BODY[:-1]),
        (WireCode.BODY_STRUCTURE, CANCEL_BODY + b"\x00"),
        (WireCode.BODY_STRUCTURE, b"\x01"),  # no array
        (WireCode.BODY_STRUCTURE, b"\x80"),  # a map
        (WireCode.BODY_STRUCTURE, CANCEL_BODY[:-1] + b"\xcc\x01"),  # 1 in two bytes
        (WireCode.BODY_STRUCTURE, b"\xdc\x00\x02" + CANCEL_BODY[1:]),  # a short array in long form
        (WireCode.BODY_STRUCTURE, b"\x92\xc5\x00\x20" + CANCEL_BODY[3:]),  # a short bin in long form
        (WireCode.BODY_STRUCTURE, b"\x92\xc6\x00\x00\x00\x20" + CANCEL_BODY[3:]),  # bin 32
        (WireCode.BODY_STRUCTURE, b"\x92\xd9\x20" + CANCEL_BODY[3:]),  # text
        (WireCode.BODY_STRUCTURE, CANCEL_BODY[:-1] + b"\xff"),  # -1
        (WireCode.BODY_STRUCTURE, CANCEL_BODY[:-1] + b"\xc3"),  # true
        (WireCode.BODY_STRUCTURE, CANCEL_BODY[:-1] + b"\xc0"),  # nil
        (WireCode.BODY_STRUCTURE, CANCEL_BODY[:-1] + b"\xca\x3f\x80\x00\x00"),  # a float
        (WireCode.BODY_STRUCTURE, CANCEL_BODY[:-1] + b"\xd4\x01\x00"),  # an extension
        (WireCode.BODY_STRUCTURE, b"\x91" * 2000 + b"\x00"),  # depth
        (WireCode.BODY_STRUCTURE, b"\xdc\x10\x00" + bytes(0x1000)),  # count
        (WireCode.BODY_STRUCTURE, b"\x93" + b"\x9f" * 3 + bytes(44)),  # nested counts that lie
        (WireCode.BODY_STRUCTURE, b"\xdd\x00\xff\xff\xff"),  # array 32
        (WireCode.BODY_STRUCTURE, b"\x92\xc4\xff" + bytes(3)),  # a bin beyond the end
        (WireCode.BODY_FIELDS, b"\x90"),
        (WireCode.BODY_FIELDS, b"\x93" + CANCEL_BODY[1:] + b"\x00"),  # a field too many
        (WireCode.BODY_FIELDS, b"\x92\x01\x01"),  # a number for an id
        (WireCode.BODY_FIELDS, CANCEL_BODY[:-1] + b"\xcd\x01\x00"),  # 256 in a u8
        (WireCode.BODY_FIELDS, CANCEL_BODY[:-1] + b"\x90"),  # a list for a number
    ],
)
def test_a_body_that_is_not_the_canonical_one_is_rejected(code: WireCode, body: bytes) -> None:
    """Whatever msgpack itself would make of it."""
    with pytest.raises(Reject) as refused:
        decode_body(Cancel, body)

    assert code == refused.value.reason


def test_items_are_bounded_before_msgpack_sees_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library is not called at all for a body with too many values."""
    monkeypatch.setattr(msgpack, "unpackb", lambda *_, **__: pytest.fail("msgpack was called"))

    with pytest.raises(Reject):
        decode_body(Cancel, b"\xdc\x01\x01" + bytes(MAX_BODY_ITEMS + 1))


def test_wide_amounts_are_fixed_length_bytes() -> None:
    """12 bytes big-endian, so that there is one form of each amount."""
    frame = read_frame(framed(request(bond_min_wei=258)))

    assert b"\xc4\x0c" + bytes(10) + b"\x01\x02" in frame.body


@pytest.mark.parametrize(
    "wrong",
    [
        {"tier": 256},
        {"tier": -1},
        {"tier": True},
        {"request_id": bytes(31)},
        {"request_id": bytearray(32)},
        {"bond_min_wei": 1 << 96},
        {"addresses": [b"/ip4/127.0.0.1"]},
        {"addresses": (b"/x",) * 5},
        {"addresses": (bytes(129),)},
        {"peer_id": b""},
    ],
)
def test_a_message_out_of_range_cannot_be_made(wrong: dict[str, object]) -> None:
    """Neither a width, nor a type, nor a count."""
    with pytest.raises(FieldOutOfRange):
        request(**wrong)


def test_a_list_element_out_of_range_cannot_be_made() -> None:
    """The element's width counts, not only the list's length."""
    sample = next(message for message in samples() if isinstance(message, ProverAd))

    with pytest.raises(FieldOutOfRange):
        type(sample)(**{name: getattr(sample, name) for name in sample.__slots__} | {"tiers": (256,)})


def test_header_layout_is_that_of_the_specification() -> None:
    """SPEC §9.1, offset by offset."""
    data = framed(request(), sequence=7)

    assert 80 == HEADER_BYTES
    assert (31337).to_bytes(8, "big") == data[8:16]
    assert b"\x11" * 20 == data[16:36]
    assert (7).to_bytes(8, "big") == data[72:80]
    assert len(data) - 145 == int.from_bytes(data[6:8], "big")
