"""Poseidon as constraints: three for each S-box, with only short linear combinations on the A and B sides.

Wires are the S-box inputs, not their outputs. An S-box y = x^5 takes x*x = x2, x2*x2 = x4 and x4*x = y, where y is
written as a combination of later S-box inputs. Long combinations thus occur on the C side only, once for each S-box;
the C side costs a Groth16 prover nothing. In the partial rounds the t-1 words that skip the S-box are eliminated: they
are linear in the S-box inputs and in the state after the partial rounds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from operator import mul

from protocol.constants import FIELD_ORDER as R
from protocol.vm.poseidon import FULL_ROUNDS, PoseidonParameters, parameters
from proving.circuit.builder import LC, ONE_WIRE, Builder, Expr, Template, total
from proving.poseidon_wires import PermutationWires

_HALF = FULL_ROUNDS // 2


@cache
def poseidon(k: int, fixed: tuple[int | None, ...] | None = None) -> Template[None]:
    """Template of P_k (SPEC §2).

    Args:
        k: arity, 1..16.
        fixed: for each input its constant value, or None for a wire; all wires if omitted. Constants save S-boxes.

    Returns:
        A template whose inputs are the wires among the inputs and whose output is one wire.
    """
    pattern = (None,) * k if fixed is None else fixed
    if len(pattern) != k or all(x is not None for x in pattern):
        raise ValueError("one entry for each input, at least one of them a wire")
    name = f"P{k}" if fixed is None else f"P{k}{list(pattern)}"

    def body(b: Builder, inputs: Sequence[Expr], _: None) -> Sequence[Expr]:
        wires = iter(inputs)
        state: list[Expr] = [0, *(next(wires) if x is None else x for x in pattern)]
        return [_permute(b, k, state, [True, *(x is not None for x in pattern)])]

    return Template(name=name, inputs=sum(x is None for x in pattern), body=body)


def _permute(b: Builder, k: int, state: list[Expr], constant: list[bool]) -> Expr:
    params = parameters(k)
    t, partial = params.t, params.partial_rounds
    live = [i for i in range(t) if not constant[i]]
    count = 3 * len(live) + 3 * t * (FULL_ROUNDS - 1) + 3 * partial
    if b.recording:
        return _record(b, params, state, live, b.hints(count, lambda: ()))
    return b.block(count, lambda: _maker(k)([x % R for x in state if isinstance(x, int)], live))


def _record(b: Builder, params: PoseidonParameters, state: list[Expr], live: list[int], wires: list[Expr]) -> Expr:
    t, partial, mds = params.t, params.partial_rounds, params.mds
    inverse = _inverse(mds)
    pool = iter(wires)

    def powers(xs: Sequence[Expr]) -> list[Expr]:
        out = []
        for x in xs:
            x2, x4 = next(pool), next(pool)
            b.enforce(x, x, x2)
            b.enforce(x2, x2, x4)
            out.append(x4)
        return out

    # Round 0 names its S-box outputs: some of them are constants, so the next state has fewer degrees of freedom.
    xs = [x + c for x, c in zip(state, params.constants[0], strict=True)]
    fourth = powers([xs[i] for i in live])
    fifth: list[Expr] = [pow(x, 5, R) if isinstance(x, int) else 0 for x in xs]
    for i, x4 in zip(live, fourth, strict=True):
        fifth[i] = next(pool)
        b.enforce(x4, xs[i], fifth[i])
    xs = [total([*zip(row, fifth, strict=True), (1, c)]) for row, c in zip(mds, params.constants[1], strict=True)]
    for r in range(1, _HALF - 1):
        xs = _full_round(b, xs, powers(xs), [next(pool) for _ in range(t)], inverse, params.constants[r + 1])

    fourth = powers(xs)
    chain = [next(pool) for _ in range(3 * partial)]
    inputs, squares, quads = chain[0::3], chain[1::3], chain[2::3]
    end = [next(pool) for _ in range(t)]
    rest, outputs = ([_shifted(x, inputs[0]) for x in part] for part in _partial_rounds(t - 1))
    entry = [inputs[0], *rest]
    for i, x4 in enumerate(fourth):
        b.enforce(x4, xs[i], _unmix(inverse[i], entry, params.constants[_HALF]))
    for x, x2, x4, y in zip(inputs, squares, quads, outputs, strict=True):
        b.enforce(x, x, x2)
        b.enforce(x2, x2, x4)
        b.enforce(x4, x, y)

    xs = end
    for r in range(_HALF + partial, FULL_ROUNDS + partial - 1):
        xs = _full_round(b, xs, powers(xs), [next(pool) for _ in range(t)], inverse, params.constants[r + 1])
    fourth = powers(xs)
    last = [next(pool) for _ in range(t - 1)]
    out = next(pool)
    for x4, x, y in zip(fourth[1:], xs[1:], last, strict=True):
        b.enforce(x4, x, y)
    scale = pow(mds[0][0], -1, R)
    first = total([(scale, out), *((-scale * m, y) for m, y in zip(mds[0][1:], last, strict=True))])
    b.enforce(fourth[0], xs[0], first)
    return out


def _unmix(row: Sequence[int], mixed: Sequence[Expr], constants: Sequence[int]) -> Expr:
    """One S-box output from the next round's inputs: row of the inverse matrix times (inputs - constants)."""
    return total((m, x - c) for m, x, c in zip(row, mixed, constants, strict=True))


def _full_round(
    b: Builder,
    xs: Sequence[Expr],
    fourth: Sequence[Expr],
    after: list[Expr],
    inverse: Sequence[Sequence[int]],
    constants: Sequence[int],
) -> list[Expr]:
    for i, x4 in enumerate(fourth):
        b.enforce(x4, xs[i], _unmix(inverse[i], after, constants))
    return after


@cache
def _partial_rounds(k: int) -> tuple[list[Expr], list[Expr]]:
    """Eliminate the words that skip the S-box.

    Returns:
        Words 1..t-1 before the first partial round, and all S-box outputs, as combinations of the S-box inputs and of
        the state after the partial rounds (the latter with the next round's constants added). Wire 1 + i stands for
        the i-th wire of the block that holds, for each partial round, its S-box input and two powers, then that state.
    """
    params = parameters(k)
    t, mds, partial = params.t, params.mds, params.partial_rounds
    inputs = [LC({1 + 3 * p: 1}) for p in range(partial)]
    end = [LC({1 + 3 * partial + j: 1}) for j in range(t)]
    scale = pow(mds[0][0], -1, R)
    # Negative wire numbers stand for the unknown words 1..t-1 at the start.
    rest: list[Expr] = [LC({-1 - j: 1}) for j in range(t - 1)]
    outputs: list[Expr] = []
    following = [*inputs[1:], end[0]]
    for p, x in enumerate(following):
        constants = params.constants[_HALF + p + 1]
        y = total([(scale, x - constants[0]), *((-scale * m, w) for m, w in zip(mds[0][1:], rest, strict=True))])
        outputs.append(y)
        rest = [
            total([(row[0], y), (1, c), *zip(row[1:], rest, strict=True)])
            for row, c in zip(mds[1:], constants[1:], strict=True)
        ]
    unknown = [[_terms(w).get(-1 - j, 0) for j in range(t - 1)] for w in rest]
    known = [LC({wire: c for wire, c in _terms(w).items() if wire >= 0}) for w in rest]
    solve = _inverse(unknown)
    start = [total((m, e - g) for m, e, g in zip(row, end[1:], known, strict=True)) for row in solve]
    return start, [
        total((c, start[-1 - wire]) if wire < 0 else (c, LC({wire: 1})) for wire, c in _terms(y).items())
        for y in outputs
    ]


def _shifted(x: Expr, first: Expr) -> Expr:
    """Move a combination of `_partial_rounds` to the block that starts at the wire `first`."""
    (base,) = _terms(first)
    return LC({wire + base - 1 if wire else wire: c for wire, c in _terms(x).items()})


def _terms(x: Expr) -> dict[int, int]:
    if isinstance(x, LC):
        return x.terms
    return {ONE_WIRE: x % R} if x % R else {}


def _inverse(matrix: Sequence[Sequence[int]]) -> list[list[int]]:
    """Inverse of a regular matrix over Fr."""
    n = len(matrix)
    rows = [[x % R for x in row] + [int(i == j) for j in range(n)] for i, row in enumerate(matrix)]
    for i in range(n):
        pivot = next(p for p in range(i, n) if rows[p][i])
        rows[i], rows[pivot] = rows[pivot], rows[i]
        scale = pow(rows[i][i], -1, R)
        rows[i] = [x * scale % R for x in rows[i]]
        for j in range(n):
            factor = rows[j][i]
            if j != i and factor:
                rows[j] = [(x - factor * y) % R for x, y in zip(rows[j], rows[i], strict=True)]
    return [row[n:] for row in rows]


@dataclass(frozen=True, slots=True, kw_only=True)
class _SparseRounds:
    """The partial rounds with two vectors for each mix instead of a matrix; ePrint 2019/458, appendix B.

    Words 1.. are kept as M'^-p times their value, where M' is the mix without its first row and column.
    """

    scalars: Sequence[int]
    """What each round adds to word 0; all other constants are pushed through to the end."""
    rows: Sequence[Sequence[int]]
    """For each round: what words 1.. give to word 0."""
    columns: Sequence[Sequence[int]]
    """For each round: what the S-box output gives to words 1.."""
    last: Sequence[Sequence[int]]
    """Words 1.. after the last round."""
    constants: Sequence[int]
    """What is added after the last round, the next round's constants among it."""


@cache
def _sparse_rounds(k: int) -> _SparseRounds:
    params = parameters(k)
    mds, partial = params.mds, params.partial_rounds
    block = [row[1:] for row in mds[1:]]
    inverse = _inverse(block)

    def apply(matrix: Sequence[Sequence[int]], vector: Sequence[int]) -> list[int]:
        return [sum(map(mul, row, vector)) % R for row in matrix]

    scalars, carried = [], [0] * params.t
    for constants in params.constants[_HALF : _HALF + partial]:
        head, *others = ((a + b) % R for a, b in zip(constants, carried, strict=True))
        scalars.append(head)
        carried = apply(mds, [0, *others])
    transposed = list(zip(*block, strict=True))
    row, column = list(mds[0][1:]), apply(inverse, [row[0] for row in mds[1:]])
    rows, columns = [], []
    power = [[int(i == j) for j in range(k)] for i in range(k)]
    for _ in range(partial):
        rows.append(row)
        columns.append(column)
        row, column = apply(transposed, row), apply(inverse, column)
        power = [apply(transposed, line) for line in power]
    following = params.constants[_HALF + partial]
    return _SparseRounds(
        scalars=scalars,
        rows=rows,
        columns=columns,
        last=power,
        constants=[(a + b) % R for a, b in zip(carried, following, strict=True)],
    )


@cache
def _maker(k: int) -> PermutationWires:
    """Makes the wires of `_record` for P_k."""
    params, sparse = parameters(k), _sparse_rounds(k)
    return PermutationWires(
        partial_rounds=params.partial_rounds,
        constants=[*params.constants[: _HALF + 1], *params.constants[_HALF + params.partial_rounds + 1 :]],
        mds=params.mds,
        scalars=sparse.scalars,
        rows=sparse.rows,
        columns=sparse.columns,
        last=sparse.last,
        after=sparse.constants,
    )


def native_hash(k: int, xs: Sequence[int]) -> int:
    """P_k by the native core, for `protocol.vm.poseidon.use`; the first call of each width makes its tables."""
    return _maker(k).result(xs)
