"""The one program that the entries of a table may run, and its hash (SPEC §4.2)."""

from __future__ import annotations

from collections.abc import Sequence

from protocol.constants import INT_BITS, TAG_CODE
from proving.circuit.builder import Builder, Expr, plus
from proving.circuit.list_hash import CHUNK, absorb
from proving.circuit.poseidon import poseidon


def load_program(b: Builder, size: int, program: Sequence[tuple[int, int]]) -> tuple[list[Expr], Expr]:
    """Allocate a program of 1..size instructions.

    Args:
        program: hint, (word0, imm) of each instruction.

    Returns:
        The packed instruction of each place, zeros behind the end; the code hash. That the program is well-formed is
        not constrained: only well-formed programs are in a state.
    """
    padded = [*program, *[(0, 0)] * (size - len(program))]
    packed = b.choices(size, lambda: [word0 << INT_BITS | imm for word0, imm in padded])
    later = b.hints(size - 1, lambda: [int(i < len(program)) for i in range(1, size)])
    used: list[Expr] = [1, *later]
    for i in range(1, size):
        b.enforce(used[i], used[i] - 1, 0)
        b.enforce(used[i], 1 - used[i - 1], 0)
        b.enforce(1 - used[i], packed[i], 0)
    (state,) = b.stamp(poseidon(2, (TAG_CODE, None)), [b.define(plus(used))])
    starts = list(range(0, size, CHUNK))
    # Chunk j is absorbed if its first instruction is used.
    absorbed = [used[start] for start in starts] + [0]
    parts = []
    for j, start in enumerate(starts):
        state = absorb(b, state, packed[start : start + CHUNK])
        parts.append(b.mul(absorbed[j] - absorbed[j + 1], state))
    return packed, plus(parts)
