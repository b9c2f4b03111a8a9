"""The leak search finds what it must and counts nothing that chance makes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from node.demo.leaks import MIN_FIELD_BYTES, find_leaks, private_fields


@given(
    st.binary(min_size=16, max_size=40).filter(lambda v: len(set(v)) > 1),
    st.binary(max_size=50),
    st.binary(max_size=50),
)
def test_a_field_is_found_wherever_it_stands_and_however_it_is_written(
    value: bytes, before: bytes, after: bytes
) -> None:
    fields = private_fields([("secret", value)])

    for form in (value, value[::-1], value.hex().encode()):
        assert [leak.place for leak in find_leaks(fields, [("frame 1", before + form + after)])] == ["frame 1"]


def test_one_changed_byte_is_no_leak() -> None:
    value = bytes(range(32))

    assert find_leaks(private_fields([("secret", value)]), [("frame", value[:31] + b"\xff")]) == ()


def test_short_and_constant_fields_are_not_searched() -> None:
    assert private_fields([("short", b"\x01" * (MIN_FIELD_BYTES - 1)), ("zero", bytes(32))]) == ()
