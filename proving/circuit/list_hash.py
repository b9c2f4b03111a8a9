"""The list hash L(tag, ...) (SPEC §2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from protocol.vm.poseidon import P
from proving.circuit.builder import Builder, Expr
from proving.circuit.poseidon import poseidon

CHUNK: Final = 15
"""Words that one P_16 absorbs."""


def absorb(b: Builder, state: Expr, chunk: Sequence[Expr]) -> Expr:
    """One P_16: `state` and up to 15 words, zero-padded. An integer state or word is a constant."""
    return b.stamp(poseidon(16, (None, *[None] * len(chunk), *[0] * (CHUNK - len(chunk)))), [state, *chunk])[0]


def absorb_first(b: Builder, start: int, chunk: Sequence[Expr]) -> Expr:
    """The first P_16 of a list whose start P_2(tag, n) is known when the circuit is recorded."""
    return b.stamp(poseidon(16, (start, *[None] * len(chunk), *[0] * (CHUNK - len(chunk)))), list(chunk))[0]


def list_hash(b: Builder, tag: int, words: Sequence[Expr]) -> Expr:
    """L(tag, words) of a fixed number of words, at least one, each a single wire."""
    state = absorb_first(b, P(2, (tag, len(words))), words[:CHUNK])
    for at in range(CHUNK, len(words), CHUNK):
        state = absorb(b, state, words[at : at + CHUNK])
    return state
