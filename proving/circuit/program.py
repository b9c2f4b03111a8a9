"""The programs that a table runs: their hashes (SPEC §4.2), and the words that rows look up.

Instructions lie in chunks of 15, as the list hash absorbs them. A program takes as many chunks in a row as it needs;
chunks that no program takes are zeros. An instruction is looked up by one word,

    packed + 2^200 * (its place in the program) + 2^220 * (number of the program)

That a program is well-formed is not constrained: only well-formed programs are in a state.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from protocol.constants import INT_BITS, TAG_CODE
from proving.circuit.bits import flags, from_bits, select, weighted
from proving.circuit.builder import Builder, Expr, plus
from proving.circuit.list_hash import CHUNK, absorb
from proving.circuit.poseidon import poseidon

PC_BIT: Final = 200
"""Above a packed instruction; the field has room for the place of an instruction above that."""
NUMBER_BIT: Final = 20
"""Above a place, for the number of the program."""
PACKED: Final = 250
"""Bits that one word of the statement's hash carries."""
Code = Sequence[tuple[int, int]]
"""(word0, imm) of each instruction."""


@dataclass(slots=True, kw_only=True)
class Programs:
    """What the rest of the circuit needs of programs."""

    hashes: list[Expr]
    """Code hash of each program; 0 for none."""
    table: list[Expr]
    """The word of each instruction's place; 0 for an unused one."""
    structure: list[Expr]
    """Numbers below 2^250 that say which chunk belongs to which program. With the hashes they fix the table."""


def load_programs(b: Builder, *, chunks: int, places: int, programs: Sequence[Code]) -> Programs:
    """Allocate up to `places` programs in `chunks` chunks.

    Args:
        programs: hint; not more than there is room for, none of them empty.
    """
    parts = [(k, code[at : at + CHUNK]) for k, code in enumerate(programs) for at in range(0, len(code), CHUNK)]
    parts += [(places, ())] * (chunks - len(parts))
    owners = [flags(b, places + 1, lambda k=k: k) for k, _ in parts]  # type: ignore[misc]
    packed, used = [], []
    for (_, code), owner in zip(parts, owners, strict=True):
        b.equal(plus(owner), 1)
        words = [word0 << INT_BITS | imm for word0, imm in code] + [0] * (CHUNK - len(code))
        packed.append(b.choices(CHUNK, lambda words=words: words))  # type: ignore[misc]
        later = b.hints(CHUNK - 1, lambda code=code: [int(i < len(code)) for i in range(1, CHUNK)])  # type: ignore[misc]
        here: list[Expr] = [1 - owner[places], *later]
        for i in range(1, CHUNK):
            b.enforce(here[i], here[i] - 1, 0)
            b.enforce(here[i], 1 - here[i - 1], 0)
        for flag, word in zip(here, packed[-1], strict=True):
            b.enforce(1 - flag, word, 0)
        used.append(here)

    joined = [
        [b.mul(x, y) for x, y in zip(before[:places], after[:places], strict=True)]
        for before, after in zip(owners, owners[1:], strict=False)
    ]
    goes_on = [0, *(plus(flags_) for flags_ in joined), 0]
    for c in range(1, chunks):
        # Only the last chunk of a program may have room.
        b.enforce(goes_on[c], 1 - used[c - 1][CHUNK - 1], 0)
    starts = []
    for k in range(places):
        begun = plus(owner[k] for owner in owners) - plus(both[k] for both in joined)
        b.enforce(begun, begun - 1, 0)
        count = plus(b.mul(owner[k], plus(here)) for owner, here in zip(owners, used, strict=True))
        starts += b.stamp(poseidon(2, (TAG_CODE, None)), [b.define(count)])

    hashes: list[list[Expr]] = [[] for _ in range(places)]
    table: list[Expr] = []
    state: Expr = 0
    place: Expr = 0
    for c in range(chunks):
        start = select(b, owners[c][:places], starts)
        state = absorb(b, b.mul_add(goes_on[c], state - start, start), packed[c])
        end = b.mul(1 - goes_on[c + 1], state)
        for k in range(places):
            hashes[k].append(b.mul(owners[c][k], end))
        place = b.mul(goes_on[c], place + CHUNK)
        number = weighted(owners[c]) * (1 << NUMBER_BIT)
        for i, (flag, word) in enumerate(zip(used[c], packed[c], strict=True)):
            table.append(b.mul_add(flag, (place + i + number) * (1 << PC_BIT), word))
    bits = [flag for owner in owners for flag in owner]
    return Programs(
        hashes=[b.define(plus(parts_)) for parts_ in hashes],
        table=table,
        structure=[b.define(from_bits(bits[at : at + PACKED])) for at in range(0, len(bits), PACKED)],
    )
