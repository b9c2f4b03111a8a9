"""What binds a proof to its statement (SPEC §7.1).

API:
    challenge(...) -> z,  evaluate(words, z) -> y
"""

from __future__ import annotations

from collections.abc import Sequence

from protocol.constants import FIELD_ORDER
from protocol.hashing import abi_words, domain, keccak256
from protocol.types import Hash32


def challenge(*, family: Hash32, tier: int, public_input: Hash32, words: Sequence[int], h: int) -> int:
    """z: fixed only after both the contract's words and the circuit's own are."""
    joined = keccak256(b"".join(word.to_bytes(32, "big") for word in words))
    digest = keccak256(abi_words(domain("z"), family, tier, public_input, joined, h))
    return int.from_bytes(digest, "big") % FIELD_ORDER


def evaluate(words: Sequence[int], z: int) -> int:
    """y = sum of S_i z^i for i from 1."""
    folded = 0
    for word in reversed(words):
        folded = (folded + word) * z % FIELD_ORDER
    return folded
