"""A satisfied constraint system of any size, for measuring provers: it computes nothing that anybody wants.

Its density is that of a circuit in use: chains of x^5 as in Poseidon with full-size coefficients, and words cut into
bits. Of the wires 18 % hold 0, 3 % hold 1, and the rest full-size values; a constraint has four A and B terms on
average; a quarter of the wires do not occur in any B.

One step has 309 constraints and 309 wires of its own:

    word       1 wire, used by the first power
    bits      64 wires, b (b - 1) = 0, and one constraint that adds them up to the word
    powers    80 times x^2, x^4, x^5 of x = m0 s[-3] + m1 s[-2] + c, where s are the fifth powers before
    products   4 wires, products of the last fifth powers

All steps have the same rows but for the numbers of their wires, so the rows of a step are made once and shifted.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from proving.bn254 import R
from proving.r1cs import R1cs, Row, encode_rows
from proving.wtns import Witness

WORD_BITS: Final = 64
POWERS: Final = 80
PRODUCTS: Final = 4
STEP: Final = 1 + WORD_BITS + 3 * POWERS + PRODUCTS
"""Constraints of one step, and its wires."""
N_PUBLIC: Final = 2
"""Output wire 1 and input wire 2."""
_OUTPUT, _INPUT = 1, 2
_FIRST: Final = 5
"""First wire after the constant, the output, the input and two private start values."""
_BIAS: Final = 1 << 20
"""Stands for the first wire of a step while its rows are made; wires below it belong to the step before."""
MAX_ROWS: Final = (1 << 26) - N_PUBLIC - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchCircuit:
    """A system and a witness that satisfies it."""

    r1cs: R1cs
    witness: Witness


def rows_filling(log2_domain: int) -> int:
    """The number of constraints that fills a domain of 2^log2_domain; the public values take the rest of it."""
    return (1 << log2_domain) - N_PUBLIC - 1


def bench_circuit(n_rows: int, seed: int = 0) -> BenchCircuit:
    """Makes a system of exactly `n_rows` constraints and a witness of it.

    Args:
        n_rows: 1 to MAX_ROWS; whole steps, then a chain of squares, then the constraint of the output.
        seed: 0 to 2^64-1; the same rows, another witness.

    Raises:
        ValueError: out of these ranges.
    """
    if not 1 <= n_rows <= MAX_ROWS or not 0 <= seed < 1 << 64:
        raise ValueError(f"{n_rows} rows, seed {seed}")
    steps, squares = divmod(n_rows - 1, STEP)
    tail: list[Row] = []
    first_square = _FIRST + steps * STEP
    for i in range(squares):
        root = first_square + i - 1 if i else _INPUT
        tail.append(({root: 1}, {root: 1}, {first_square + i: 1}))
    last_power = _FIRST + (steps - 1) * STEP + _power(POWERS - 1) if steps else _INPUT
    tail.append(({last_power: 1}, {0: 1}, {_OUTPUT: 1}))
    rows = _step_rows(steps) + encode_rows(tail)
    n_wires = first_square + squares
    system = R1cs(
        n_wires=n_wires,
        n_public_outputs=1,
        n_public_inputs=1,
        n_private_inputs=2,
        n_labels=n_wires,
        n_constraints=n_rows,
        rows=rows,
        labels=np.arange(n_wires, dtype="<u8").tobytes(),
    )
    return BenchCircuit(r1cs=system, witness=_witness(steps, squares, seed))


def _drawn(*labels: object) -> int:
    """A number in [0, r) that looks random: SHA-512 of its labels, reduced."""
    text = "/".join(("unveto/bench", *map(str, labels)))
    return int.from_bytes(hashlib.sha512(text.encode()).digest(), "big") % R


_M0, _M1 = _drawn("matrix", 0), _drawn("matrix", 1)
_CONSTANTS: Final = tuple(_drawn("constant", i) for i in range(POWERS))


def _power(index: int) -> int:
    """The fifth power `index` of a step, counted from the step's first wire."""
    return 1 + WORD_BITS + 3 * index + 2


def _step_rows(steps: int) -> bytes:
    """The rows of all steps: one step's rows, repeated, with each wire but the constant moved to its step."""
    step = np.frombuffer(encode_rows(_one_step()), dtype="<u4")
    rows = np.tile(step, (steps, 1))
    places = _wire_places(step)
    first = np.arange(steps, dtype=np.int64) * STEP + (_FIRST - _BIAS)
    rows[:, places] = (step[places].astype(np.int64) + first[:, None]).astype("<u4")
    if steps:
        # Before the first step there are no fifth powers: the three start values stand in for the last three.
        for age in range(3):
            missing = places[step[places] == _BIAS + _power(POWERS - 1 - age) - STEP]
            rows[0, missing] = _INPUT + age
    return rows.tobytes()


def _wire_places(step: np.ndarray[tuple[int], np.dtype[np.uint32]]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Where the numbers of wires other than the constant stand, in 32-bit units."""
    places, at = [], 0
    while at < len(step):
        terms = int(step[at])
        places += [at + 1 + 9 * i for i in range(terms)]
        at += 1 + 9 * terms
    return np.array([place for place in places if step[place]], dtype=np.int64)


def _one_step() -> Sequence[Row]:
    word, bits = _BIAS, range(_BIAS + 1, _BIAS + 1 + WORD_BITS)
    rows: list[Row] = [({bit: 1}, {bit: 1, 0: R - 1}, {}) for bit in bits]
    rows.append(({bit: 1 << i for i, bit in enumerate(bits)}, {0: 1}, {word: 1}))
    powers = [_BIAS + _power(i) for i in range(POWERS)]
    before = [powers[POWERS - 1 - age] - STEP for age in (2, 1, 0)]
    chain = before + powers
    for i, fifth in enumerate(powers):
        base = {chain[i]: _M0, chain[i + 1]: _M1, 0: _CONSTANTS[i]} | ({word: 1} if i == 0 else {})
        rows += [(base, base, {fifth - 2: 1}), ({fifth - 2: 1}, {fifth - 2: 1}, {fifth - 1: 1})]
        rows.append(({fifth - 1: 1}, base, {fifth: 1}))
    x, y, z = powers[-3:]
    out = powers[-1] + 1
    for left, right in ((x, y), (y, z), (out, z), (out, out + 1)):
        rows.append(({left: 1}, {right: 1}, {out + len(rows) - (STEP - PRODUCTS): 1}))
    return rows


def _witness(steps: int, squares: int, seed: int) -> Witness:
    start = [_drawn("start", seed, i) for i in range(3)]
    parts = []
    x, y, z = reversed(start)
    for step in range(steps):
        # Three words and-ed: one bit of eight is set, as in small numbers and addresses.
        words = hashlib.sha256(struct.pack("<QQ", seed, step)).digest()
        first, second, third, _ = struct.unpack("<4Q", words)
        word = first & second & third
        values = [word, *(word >> i & 1 for i in range(WORD_BITS))]
        for i, constant in enumerate(_CONSTANTS):
            base = (_M0 * x + _M1 * y + constant + (word if i == 0 else 0)) % R
            square = base * base % R
            fourth = square * square % R
            x, y, z = y, z, fourth * base % R
            values += (square, fourth, z)
        product = x * y % R
        last = y * z % R
        values += (product, last, product * z % R, product * last % R)
        parts.append(b"".join(value.to_bytes(32, "little") for value in values))
    root = start[0]
    for _ in range(squares):
        root = root * root % R
        parts.append(root.to_bytes(32, "little"))
    head = (1, z, *start)
    return Witness(values=bytearray(b"".join([*(value.to_bytes(32, "little") for value in head), *parts])))
