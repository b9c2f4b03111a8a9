"""Wires of Poseidon permutations by the native core: what takes most of a witness's time in Python."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from proving.bn254 import R
from proving.native import Bytes, load, view, writable

_PARTS: Final = ("constants", "mds", "scalars", "rows", "columns", "last", "after")


class _PoseidonArg(ctypes.Structure):
    _fields_ = (
        ("width", ctypes.c_uint32),
        ("partial_rounds", ctypes.c_uint32),
        *((name, Bytes) for name in _PARTS),
    )


class PermutationWires:
    """Makes wires for one width; meant to be kept.

    Args:
        partial_rounds: p.
        constants: rows of t = width words: of rounds 0 to 4, then of the last three full rounds.
        mds: t rows of t.
        scalars, rows, columns, last, after: the partial rounds in sparse form (`proving/circuit/poseidon.py`): p words;
            p rows of t - 1; the same; t - 1 rows of t - 1; t words.
    """

    def __init__(
        self,
        *,
        partial_rounds: int,
        constants: Sequence[Sequence[int]],
        mds: Sequence[Sequence[int]],
        scalars: Sequence[int],
        rows: Sequence[Sequence[int]],
        columns: Sequence[Sequence[int]],
        last: Sequence[Sequence[int]],
        after: Sequence[int],
    ) -> None:
        self._width = len(mds)
        self._partial_rounds = partial_rounds
        matrices = {"constants": constants, "mds": mds, "rows": rows, "columns": columns, "last": last}
        parts = {name: _montgomery(x for row in matrix for x in row) for name, matrix in matrices.items()}
        parts |= {"scalars": _montgomery(scalars), "after": _montgomery(after)}
        self._views = [view(parts[name]) for name in _PARTS]
        self._argument = _PoseidonArg(self._width, partial_rounds, *self._views)
        self._short: Callable[..., None] | None = None

    def __call__(self, state: Sequence[int], live: Iterable[int]) -> bytes:
        """Inner wires of one permutation, 32 bytes little-endian each; the last one is word 0 of the result.

        Args:
            state: words in [0, r).
            live: words whose S-box in round 0 has wires.
        """
        mask = sum(1 << i for i in live)
        made = bytearray(96 * (mask.bit_count() + 7 * self._width + self._partial_rounds))
        states = b"".join(x.to_bytes(32, "little") for x in state)
        self._run(mask, states, made)
        return bytes(made)

    def result(self, inputs: Sequence[int]) -> int:
        """Word 0 of the permutation of (0, inputs): the hash."""
        made = bytearray(96 * (1 + 7 * self._width + self._partial_rounds))
        self._run(2, bytes(32) + b"".join([x.to_bytes(32, "little") for x in inputs]), made)
        return int.from_bytes(made[-32:], "little")

    def _run(self, mask: int, states: bytes, made: bytearray) -> None:
        if self._short is None:
            self._short = load().short_call("poseidon_wires")
        self._short(ctypes.byref(self._argument), mask, view(states), writable(made))


def _montgomery(xs: Iterable[int]) -> bytes:
    return b"".join(((x << 256) % R).to_bytes(32, "little") for x in xs)
