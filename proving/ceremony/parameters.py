"""What a contribution says about itself, the same in .ptau and .zkey files: a name, and for a beacon its source.

Encoding: type-length-value in ascending types: 1 name (length byte, UTF-8), 2 iterations exponent (one byte), 3 beacon
hash (length byte, bytes).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Self

from proving.errors import Cancelled, CeremonyMisuse, MalformedInput

MAX_NAME_BYTES: Final = 64
"""What is written here; other programs count 64 characters, and up to 255 bytes are read."""
MIN_ITERATIONS_EXPONENT: Final = 10
MAX_ITERATIONS_EXPONENT: Final = 63
WORKABLE_ITERATIONS_EXPONENT: Final = 26
"""2^26 hashes take about a minute; a file that claims more than this is refused unless the caller allows it."""
_HASHES_PER_STEP: Final = 1 << 14


@dataclass(frozen=True, slots=True, kw_only=True)
class Beacon:
    """A public random value that was not known when the last contribution was made, and the work on top of it."""

    value: bytes
    """1 to 255 bytes, such as the hash of an agreed future block."""
    iterations_exponent: int
    """SHA-256 is applied 2^exponent times; 10 to 63."""

    def __post_init__(self) -> None:
        if not 1 <= len(self.value) <= 255:
            raise CeremonyMisuse(f"a beacon has 1 to 255 bytes, this one has {len(self.value)}")
        if not MIN_ITERATIONS_EXPONENT <= self.iterations_exponent <= MAX_ITERATIONS_EXPONENT:
            raise CeremonyMisuse(
                f"the iterations exponent is {self.iterations_exponent}, not between "
                f"{MIN_ITERATIONS_EXPONENT} and {MAX_ITERATIONS_EXPONENT}"
            )

    def seed(self, progress: Callable[[int, int], bool] | None = None) -> bytes:
        """32 bytes: the iterated hash.

        Raises:
            Cancelled.
        """
        value, count = self.value, 1 << self.iterations_exponent
        for done in range(0, count, _HASHES_PER_STEP):
            if progress is not None and progress(done, count):
                raise Cancelled("stopped by the caller")
            for _ in range(min(_HASHES_PER_STEP, count - done)):
                value = hashlib.sha256(value).digest()
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """The parsed list."""

    name: str = ""
    beacon: Beacon | None = None

    @classmethod
    def named(cls, name: str, beacon: Beacon | None = None) -> Self:
        """For a contribution that is made here.

        Raises:
            CeremonyMisuse: the name is too long.
        """
        size = len(name.encode())
        if size > MAX_NAME_BYTES:
            raise CeremonyMisuse(f"a contribution's name has at most {MAX_NAME_BYTES} bytes, this one has {size}")
        return cls(name=name, beacon=beacon)

    def to_bytes(self) -> bytes:
        name = self.name.encode()
        out = bytes((1, len(name))) + name if name else b""
        if self.beacon is not None:
            out += bytes((2, self.beacon.iterations_exponent, 3, len(self.beacon.value))) + self.beacon.value
        return out

    @classmethod
    def from_bytes(cls, data: bytes, is_beacon: bool, error: type[MalformedInput]) -> Self:
        """Raises: error: not exactly such a list, or a beacon without its source, or a source without a beacon."""
        found: dict[int, bytes] = {}
        at = 0
        while at < len(data):
            number = data[at]
            if number not in (1, 2, 3) or (found and number <= max(found)):
                raise error(f"contribution parameter {number} at byte {at}")
            head = 1 if number == 2 else 2
            length = 1 if number == 2 else data[at + 1] if at + 1 < len(data) else 0
            if at + head + length > len(data):
                raise error(f"contribution parameter {number} is cut short")
            found[number] = data[at + head : at + head + length]
            at += head + length
        if is_beacon != (2 in found) or is_beacon != (3 in found):
            raise error("a beacon needs an iterations exponent and a value, and nothing else has them")
        try:
            name = found.get(1, b"").decode()
            beacon = Beacon(value=found[3], iterations_exponent=found[2][0]) if is_beacon else None
        except (UnicodeDecodeError, CeremonyMisuse) as cause:
            raise error(f"contribution parameters: {cause}") from None
        return cls(name=name, beacon=beacon)
