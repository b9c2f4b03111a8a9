"""Poseidon over the BN254 scalar field, with circomlib's parameters (SPEC §2).

API:
    P(k, xs)              the hash P_k of k field elements, 1 <= k <= 16
    use(implementation)   compute P by something faster from now on; reference(k, xs) is P as it is written here
    list_hash(tag, words) the list hash L(tag, ...)
    parameters(k)         round constants and MDS matrix of width t = k + 1, for the circuit
    permute(state)        the plain permutation: slow, the oracle of the fast one

Constants are made here by the Grain LFSR of the Poseidon paper's reference parameters (ePrint 2019/458, appendix F),
lazily for each width. The fast path rests on two facts. The constants of the partial rounds move into one scalar each
(same paper, appendix B). And between the S-boxes the partial rounds are one time-invariant linear system with input
u = sbox(word 0) and output x = the next word 0; by Cayley-Hamilton its output obeys a recurrence of order t - 1 in past
outputs and inputs, so that the other words need not be computed until the partial rounds are over.
All inputs must already be in [0, r); nothing here reduces or checks them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import compress
from operator import mul

from protocol.constants import FIELD_ORDER as R

FULL_ROUNDS = 8
PARTIAL_ROUNDS = (56, 57, 56, 60, 60, 63, 64, 63, 60, 66, 60, 65, 70, 60, 64, 68)
_FIELD_BITS = 254

Vector = tuple[int, ...]
Matrix = tuple[Vector, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PoseidonParameters:
    """Parameters of one width."""

    t: int
    """Width of the state, number of inputs + 1."""
    partial_rounds: int
    constants: Matrix
    """(8 + partial_rounds) rows of t field elements, added before each S-box layer."""
    mds: Matrix
    """t x t; new[i] = sum_j mds[i][j] * old[j]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _FastRounds:
    first: Matrix
    """Constants of the first four full rounds."""
    mds: Matrix
    pre: Matrix
    """Mix of the fourth full round: row 0 gives word 0, the others virtual outputs before the first partial round."""
    scalars: Vector
    """One constant per partial round."""
    taps: Vector
    """2t - 1 coefficients of (u[n-t+1], x[n-t+2], u[n-t+2], .., x[n], u[n]) in output x[n+1]."""
    tail: Matrix
    """t - 1 rows of 2t - 1 coefficients: words 1..t-1 after the last partial round from (x, u, .., u, x)."""
    last: Matrix
    """Constants of the last four full rounds."""


# -- parameters --------------------------------------------------------------------------------------------------------


class _Grain:
    """Grain LFSR in self-shrinking mode; ePrint 2019/458 appendix F.

    The recurrence b[i+80] = b[i+62]+b[i+51]+b[i+38]+b[i+23]+b[i+13]+b[i] squares to the same one with all strides
    doubled, so a long prefix yields long blocks at once as whole-number XORs.
    """

    _TAPS = (62, 51, 38, 23, 13, 0)

    def __init__(self, t: int, partial_rounds: int) -> None:
        seed = f"{1:02b}{0:04b}{_FIELD_BITS:012b}{t:012b}{FULL_ROUNDS:010b}{partial_rounds:010b}" + "1" * 30
        # Bit i of this number is b[i].
        self._raw = int(seed[::-1], 2)
        self._length = 80
        self._kept = ""
        self._used_raw = 80 + 160  # the seed and 160 warm-up bits
        self._used = 0

    def _extend(self, wanted: int) -> None:
        while self._length < wanted:
            stride = 1
            while 160 * stride <= self._length:
                stride *= 2
            base = self._length - 80 * stride
            block = 18 * stride
            fresh = 0
            for tap in self._TAPS:
                fresh ^= self._raw >> (base + tap * stride)
            self._raw |= (fresh & ((1 << block) - 1)) << self._length
            self._length += block

    def take(self, count: int) -> int:
        """The next `count` output bits as a number, first bit most significant."""
        while len(self._kept) - self._used < count:
            self._extend(self._used_raw + 65536)
            end = self._length - (self._length - self._used_raw) % 2
            bits = bin(self._raw >> self._used_raw)[2:][::-1].ljust(self._length - self._used_raw, "0")
            bits = bits[: end - self._used_raw]
            self._kept = self._kept[self._used :] + "".join(compress(bits[1::2], map(int, bits[0::2])))
            self._used = 0
            self._used_raw = end
        value = int(self._kept[self._used : self._used + count], 2)
        self._used += count
        return value

    def field(self) -> int:
        """The next field element by rejection."""
        while True:
            value = self.take(_FIELD_BITS)
            if value < R:
                return value


@cache
def parameters(k: int) -> PoseidonParameters:
    """Make the parameters of P_k.

    Args:
        k: number of inputs, 1..16.
    """
    t = k + 1
    partial_rounds = PARTIAL_ROUNDS[k - 1]
    grain = _Grain(t, partial_rounds)
    constants = tuple(tuple(grain.field() for _ in range(t)) for _ in range(FULL_ROUNDS + partial_rounds))
    while True:
        points = [grain.take(_FIELD_BITS) % R for _ in range(2 * t)]
        if len(set(points)) == 2 * t and all((x + y) % R for x in points[:t] for y in points[t:]):
            break
    mds = tuple(tuple(pow(x + y, -1, R) for y in points[t:]) for x in points[:t])
    return PoseidonParameters(t=t, partial_rounds=partial_rounds, constants=constants, mds=mds)


def _multiply(a: Sequence[Sequence[int]], b: Sequence[Sequence[int]]) -> Matrix:
    columns = list(zip(*b, strict=True))
    return tuple(tuple(sum(x * y for x, y in zip(row, col, strict=True)) % R for col in columns) for row in a)


def _inverse(matrix: Sequence[Sequence[int]]) -> Matrix:
    """Gauss-Jordan inverse; every minor of a Cauchy matrix, and of what the factorisation makes of it, is regular."""
    size = len(matrix)
    rows = [[*row, *(int(i == j) for j in range(size))] for i, row in enumerate(matrix)]
    for i in range(size):
        pivot = next(p for p in range(i, size) if rows[p][i])
        rows[i], rows[pivot] = rows[pivot], rows[i]
        scale = pow(rows[i][i], -1, R)
        rows[i] = [x * scale % R for x in rows[i]]
        for j in range(size):
            factor = rows[j][i]
            if j != i and factor:
                rows[j] = [(x - factor * y) % R for x, y in zip(rows[j], rows[i], strict=True)]
    return tuple(tuple(row[size:]) for row in rows)


def _apply(matrix: Matrix, state: Sequence[int]) -> list[int]:
    return [sum(m * x for m, x in zip(row, state, strict=True)) % R for row in matrix]


@cache
def _fast_rounds(k: int) -> _FastRounds:
    params = parameters(k)
    t, half, d = params.t, FULL_ROUNDS // 2, params.t - 1
    # Words 1..t-1 pass the partial S-box unchanged, so their constants may be added after the mix instead.
    carried = [0] * t
    scalars = []
    for row in params.constants[half : half + params.partial_rounds]:
        total = [(a + b) % R for a, b in zip(row, carried, strict=True)]
        scalars.append(total[0])
        carried = _apply(params.mds, [0, *total[1:]])
    last = list(params.constants[half + params.partial_rounds :])
    last[0] = tuple((a + b) % R for a, b in zip(last[0], carried, strict=True))
    # x[n+1] = gain * u[n] + v * tail[n] and tail[n+1] = block * tail[n] + w * u[n].
    gain, v = params.mds[0][0], params.mds[0][1:]
    block = tuple(row[1:] for row in params.mds[1:])
    powers = [v]
    for _ in range(d):
        powers.append(_multiply((powers[-1],), block)[0])
    observe = tuple(powers[:d])
    unobserve = _inverse(observe)
    # v * block^d = sum_i alpha[i] * v * block^i, so every output is the same combination of the d before it.
    (alpha,) = _multiply((powers[d],), unobserve)
    w = [row[0] for row in params.mds[1:]]
    impulse = [gain, *(sum(p * x for p, x in zip(power, w, strict=True)) % R for power in powers[:d])]
    beta = [(impulse[m] - sum(alpha[d - i] * impulse[m - i] for i in range(1, m + 1))) % R for m in range(d + 1)]
    taps = [beta[d]]
    for i in range(d):
        taps += [alpha[i], beta[d - 1 - i]]
    # Outputs 1-d..0 that an undriven system would have shown before reaching the given tail.
    inverse = _inverse(block)
    backward = observe
    for _ in range(d):
        backward = _multiply(backward, inverse)
    pre = (params.mds[0], *_multiply(backward, params.mds[1:]))
    # The tail at the end, seen through the d outputs that would follow without input.
    future: list[list[int]] = []
    for unit in range(2 * t - 1):
        window = [int(i == unit) for i in range(2 * t - 1)]
        outputs = []
        for _ in range(d):
            window = [*window[1:], 0]
            outputs.append(sum(map(mul, taps, window)) % R)
            window = [*window[1:], outputs[-1]]
        future.append(outputs)
    tail = _multiply(unobserve, tuple(zip(*future, strict=True)))
    return _FastRounds(
        first=params.constants[:half],
        mds=params.mds,
        pre=pre,
        scalars=tuple(scalars),
        taps=tuple(taps),
        tail=tail,
        last=tuple(last),
    )


# -- hashing -----------------------------------------------------------------------------------------------------------


def permute(state: Sequence[int]) -> list[int]:
    """The permutation as the paper defines it, without shortcuts.

    Args:
        state: t field elements, 2 <= t <= 17.
    """
    params = parameters(len(state) - 1)
    half = FULL_ROUNDS // 2
    for i, row in enumerate(params.constants):
        full = i < half or i >= half + params.partial_rounds
        mixed = [(x + c) % R for x, c in zip(state, row, strict=True)]
        state = _apply(params.mds, [pow(x, 5, R) if full or j == 0 else x for j, x in enumerate(mixed)])
    return list(state)


def _full_round(state: Sequence[int], constants: Vector, matrix: Matrix) -> list[int]:
    powered = []
    for x, c in zip(state, constants, strict=True):
        x += c
        square = x * x % R
        powered.append(square * square % R * x % R)
    return [sum(map(mul, row, powered)) % R for row in matrix]


Implementation = Callable[[int, Sequence[int]], int]
"""(k, k field elements) to P_k of them."""


def P(k: int, xs: Sequence[int]) -> int:
    """Hash k field elements.

    Args:
        k: arity, 1..16; must be len(xs).
        xs: field elements in [0, r).

    Raises:
        ValueError: the number of inputs is not k.
    """
    if len(xs) != k:
        raise ValueError(f"P_{k} of {len(xs)} inputs")
    return _implementation(k, xs)


def use(implementation: Implementation) -> None:
    """Have P computed by `implementation`, in the whole process; `reference` undoes it.

    A node that follows rollups hashes all the time, and this package may not load native code.
    """
    global _implementation
    _implementation = implementation


def reference(k: int, xs: Sequence[int]) -> int:
    """P_k without the help of others."""
    rounds = _fast_rounds(k)
    state: list[int] = [0, *xs]
    for constants in rounds.first[:-1]:
        state = _full_round(state, constants, rounds.mds)
    x, *past = _full_round(state, rounds.first[-1], rounds.pre)
    window = deque((0,) * (2 * k + 1), maxlen=2 * k + 1)
    for output in past:
        window += (0, output)
    taps = rounds.taps
    for constant in rounds.scalars:
        y = x + constant
        square = y * y % R
        window.append(square * square % R * y % R)
        x = sum(map(mul, taps, window)) % R
        window.append(x)
    state = [x, *(sum(map(mul, row, window)) % R for row in rounds.tail)]
    for constants in rounds.last:
        state = _full_round(state, constants, rounds.mds)
    return state[0]


_implementation: Implementation = reference


def list_hash(tag: int, words: Iterable[int]) -> int:
    """L(tag, x_1..x_n): chunks of 15 absorbed by P_16, bound to tag and length (SPEC §2)."""
    items = list(words)
    s = P(2, (tag, len(items)))
    for i in range(0, len(items), 15):
        chunk = items[i : i + 15]
        s = P(16, (s, *chunk, *[0] * (15 - len(chunk))))
    return s
