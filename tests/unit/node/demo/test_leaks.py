"""The leak search finds what it must and counts nothing that chance makes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from node.demo.leaks import MIN_DISTINCT_BYTES, MIN_FIELD_BYTES, find_leaks, private_fields


def _is_field(value: bytes) -> bool:
    return 0 not in (value[0], value[-1]) and len(set(value)) >= MIN_DISTINCT_BYTES


@given(
    st.binary(min_size=16, max_size=40).filter(_is_field),
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
    short = bytes(range(1, MIN_FIELD_BYTES))

    assert private_fields([("short", short), ("padded", bytes(17) + short), ("zero", bytes(32))]) == ()
