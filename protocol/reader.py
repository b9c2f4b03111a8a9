"""Cursor over untrusted bytes: every read is bounded, and leftover bytes are an error."""

from __future__ import annotations

from protocol.errors import DecodeError
from protocol.types import Address, Field, Hash32, field_from_bytes


class Reader:
    """Reads big-endian fields from the front of a byte string.

    Args:
        data: the bytes.
        what: upper-case name of the format, first part of every error code raised here.
    """

    __slots__ = ("_data", "_what", "offset")

    def __init__(self, data: bytes, what: str) -> None:
        self._data = data
        self._what = what
        self.offset = 0

    def take(self, count: int) -> bytes:
        """The next `count` bytes.

        Raises:
            DecodeError: <WHAT>_TRUNCATED.
        """
        end = self.offset + count
        if end > len(self._data):
            raise DecodeError(f"{self._what}_TRUNCATED", offset=self.offset, wanted=count)
        raw = self._data[self.offset : end]
        self.offset = end
        return raw

    def uint(self, size: int) -> int:
        """An unsigned integer of `size` bytes."""
        return int.from_bytes(self.take(size), "big")

    def hash32(self) -> Hash32:
        """32 raw bytes."""
        return Hash32(self.take(32))

    def address(self) -> Address:
        """20 raw bytes."""
        return Address(self.take(20))

    def field(self) -> Field:
        """A field element; an encoding not below r raises FIELD_RANGE."""
        return field_from_bytes(self.take(32))

    @property
    def remaining(self) -> int:
        """Bytes not read yet."""
        return len(self._data) - self.offset

    def end(self) -> None:
        """Require that everything was read.

        Raises:
            DecodeError: <WHAT>_TRAILING_BYTES.
        """
        if self.remaining:
            raise DecodeError(f"{self._what}_TRAILING_BYTES", count=self.remaining)
