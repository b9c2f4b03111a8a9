"""Circuits of any size, made in seconds: one block of constraints repeated along the wires, straight in file encoding.

A block is what hash-heavy circuits look like to a prover: 81 S-boxes x^5 of linear combinations with full-size
coefficients, then 64 bit constraints and the sum that binds the bits. About four fifths of the wires hold full-size
values, one fifth zeros and ones; a quarter of the wires does not occur in B.
"""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass
from typing import Final

import numpy as np

from proving.bn254 import R
from proving.r1cs import R1cs
from proving.wtns import Witness

S_BOXES: Final = 81
BITS: Final = 64
BLOCK_CONSTRAINTS: Final = 3 * S_BOXES + BITS + 1
"""308, as many as new wires, so that constraints and wires grow alike."""
_SHARE_OF_BITS_SET: Final = 10

Row = tuple[dict[int, int], dict[int, int], dict[int, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class LargeCircuit:
    """A constraint system with one public input, and a witness that satisfies it."""

    r1cs: R1cs
    witness: Witness


def fills_domain(log_size: int) -> int:
    """The largest number of blocks whose key has a domain of 2^log_size."""
    return ((1 << log_size) - 2) // BLOCK_CONSTRAINTS


def mixed_circuit(blocks: int, seed: int = 1) -> LargeCircuit:
    """A circuit of `blocks` times 308 constraints; same arguments, same bytes.

    Wires: 0 is the constant, 1 the public input, 2 and 3 private inputs; then each block's own, in order. In the rows
    of a block, wires are counted from its first; the three before it come from the block before, or are the inputs.
    """
    rng = random.Random(seed)
    coefficients = [[rng.randrange(2, R) for _ in range(3)] for _ in range(S_BOXES)]
    rows, plan = _block(coefficients)
    n_wires = 4 + blocks * BLOCK_CONSTRAINTS
    return LargeCircuit(
        r1cs=R1cs(
            n_wires=n_wires,
            n_public_outputs=0,
            n_public_inputs=1,
            n_private_inputs=2,
            n_labels=n_wires,
            n_constraints=blocks * BLOCK_CONSTRAINTS,
            rows=_repeated(rows, blocks),
            labels=b"",
        ),
        witness=Witness(values=_values(plan, blocks, rng)),
    )


def _block(coefficients: list[list[int]]) -> tuple[list[Row], list[tuple[tuple[int, int], ...]]]:
    """Rows with wires counted from the block's first, -4 standing for the constant, and each S-box's combination."""
    rows: list[Row] = []
    plan = []
    recent = [-3, -2, -1]
    for s_box in range(S_BOXES):
        x2, x4, x5 = 3 * s_box, 3 * s_box + 1, 3 * s_box + 2
        terms = tuple(zip(recent, coefficients[s_box], strict=True))
        combined = {**dict(terms), -4: s_box + 1}
        rows += [(combined, combined, {x2: 1}), ({x2: 1}, {x2: 1}, {x4: 1}), ({x4: 1}, combined, {x5: 1})]
        plan.append(terms)
        recent = [*recent[1:], x5]
    first_bit = 3 * S_BOXES
    bits = range(first_bit, first_bit + BITS)
    rows += [({bit: 1}, {bit: 1, -4: R - 1}, {}) for bit in bits]
    # The last wire of a block adds the number that the bits spell to the last S-box.
    total = {bit: 1 << i for i, bit in enumerate(bits)} | {recent[-1]: 1}
    rows.append((total, {-4: 1}, {first_bit + BITS: 1}))
    return rows, plan


def _repeated(rows: list[Row], blocks: int) -> bytes:
    encoded, places = bytearray(), []
    for row in rows:
        for terms in row:
            encoded += struct.pack("<I", len(terms))
            for wire in sorted(terms):
                if wire != -4:
                    places.append(len(encoded))
                encoded += struct.pack("<I", 0 if wire == -4 else wire + 4) + terms[wire].to_bytes(32, "little")
    # All places are multiples of four, as counts, wires and values are.
    words = np.frombuffer(bytes(encoded), dtype="<u4")
    out = np.tile(words, (blocks, 1))
    out[:, np.array(places) // 4] += (np.arange(blocks, dtype="<u4") * BLOCK_CONSTRAINTS)[:, None]
    return out.tobytes()


def _values(plan: list[tuple[tuple[int, int], ...]], blocks: int, rng: random.Random) -> bytearray:
    out = bytearray()
    handed = [rng.randrange(R) for _ in range(3)]
    for value in (1, *handed):
        out += value.to_bytes(32, "little")
    for _ in range(blocks):
        own: list[int] = []
        for s_box, terms in enumerate(plan):
            x = s_box + 1
            for wire, factor in terms:
                x += factor * (own[wire] if wire >= 0 else handed[wire])
            x %= R
            x2 = x * x % R
            x4 = x2 * x2 % R
            own += (x2, x4, x4 * x % R)
        bits = [int(rng.randrange(100) < _SHARE_OF_BITS_SET) for _ in range(BITS)]
        spelt = sum(bit << i for i, bit in enumerate(bits))
        own += [*bits, (own[-1] + spelt) % R]
        out += b"".join(value.to_bytes(32, "little") for value in own)
        handed = own[-3:]
    return out
