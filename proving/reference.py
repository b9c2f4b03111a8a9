"""A slow plain-Python BN254 and Groth16, written for reading: the oracle that tests compare the C++ core with.

Nothing outside tests and the parameter generator imports this module. It shares no algorithm with the core on
purpose: points are affine, the pairing is a textbook Miller loop over the full extension field, and the final
exponentiation is one big power.

Source: BN curves, ePrint 2005/133; Groth16, ePrint 2016/260 §3.2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from proving.bn254 import BN_X, Q, R

ATE_LOOP = 6 * BN_X + 2
TWO_ADICITY = 28
FR_NON_RESIDUE = 5
"""Smallest quadratic non-residue of Fr; 5^((r-1)/2^28) is the root of unity that snarkjs and circom use."""

Fq2: TypeAlias = tuple[int, int]
Fq12: TypeAlias = tuple[Fq2, Fq2, Fq2, Fq2, Fq2, Fq2]
G1: TypeAlias = tuple[int, int] | None
G2: TypeAlias = tuple[Fq2, Fq2] | None

XI: Fq2 = (9, 1)
G1_GENERATOR: G1 = (1, 2)
G2_GENERATOR_POINT: tuple[Fq2, Fq2] = (
    (
        10857046999023057135944570762232829481370756359578518086990519993285655852781,
        11559732032986387107991004021392285783925812861821192530917403151452391805634,
    ),
    (
        8495653923123431417604973247489272438418190587263600148770280649306958101930,
        4082367875863433681332203403145435568316851327593401208105741076214120093531,
    ),
)
G2_GENERATOR: G2 = G2_GENERATOR_POINT
TWIST_B: Fq2 = (
    19485874751759354771024239261021720505790618469301721065564631296452457478373,
    266929791119991161246907387137283842545076965332900288569378510910307636690,
)
"""3 / (9 + u): the curve of G2 is y^2 = x^3 + TWIST_B over Fq2 = Fq[u] / (u^2 + 1)."""


# Fq2 = Fq[u] / (u^2 + 1); Fq12 = Fq2[w] / (w^6 - (9 + u)), an element is its six coefficients from w^0 to w^5.


def fq2_add(a: Fq2, b: Fq2) -> Fq2:
    return (a[0] + b[0]) % Q, (a[1] + b[1]) % Q


def fq2_sub(a: Fq2, b: Fq2) -> Fq2:
    return (a[0] - b[0]) % Q, (a[1] - b[1]) % Q


def fq2_mul(a: Fq2, b: Fq2) -> Fq2:
    return (a[0] * b[0] - a[1] * b[1]) % Q, (a[0] * b[1] + a[1] * b[0]) % Q


def fq2_inv(a: Fq2) -> Fq2:
    scale = pow(a[0] * a[0] + a[1] * a[1], -1, Q)
    return a[0] * scale % Q, -a[1] * scale % Q


def fq2_pow(a: Fq2, exponent: int) -> Fq2:
    result: Fq2 = (1, 0)
    for bit in bin(exponent)[2:]:
        result = fq2_mul(result, result)
        if bit == "1":
            result = fq2_mul(result, a)
    return result


FQ12_ONE: Fq12 = ((1, 0), (0, 0), (0, 0), (0, 0), (0, 0), (0, 0))


def fq12_mul(a: Fq12, b: Fq12) -> Fq12:
    wide: list[Fq2] = [(0, 0)] * 11
    for i, left in enumerate(a):
        if left == (0, 0):
            continue
        for j, right in enumerate(b):
            if right != (0, 0):
                wide[i + j] = fq2_add(wide[i + j], fq2_mul(left, right))
    folded = [fq2_add(wide[i], fq2_mul(XI, wide[i + 6])) for i in range(5)]
    return (folded[0], folded[1], folded[2], folded[3], folded[4], wide[5])


def fq12_pow(a: Fq12, exponent: int) -> Fq12:
    result = FQ12_ONE
    for bit in bin(exponent)[2:]:
        result = fq12_mul(result, result)
        if bit == "1":
            result = fq12_mul(result, a)
    return result


# Curve groups: affine points, None is the point at infinity.


def g1_neg(p: G1) -> G1:
    return None if p is None else (p[0], -p[1] % Q)


def g1_add(p: G1, q: G1) -> G1:
    if p is None or q is None:
        return q if p is None else p
    if p[0] == q[0]:
        if (p[1] + q[1]) % Q == 0:
            return None
        slope = 3 * p[0] * p[0] * pow(2 * p[1], -1, Q) % Q
    else:
        slope = (q[1] - p[1]) * pow(q[0] - p[0], -1, Q) % Q
    x = (slope * slope - p[0] - q[0]) % Q
    return x, (slope * (p[0] - x) - p[1]) % Q


def g1_mul(p: G1, scalar: int) -> G1:
    total: G1 = None
    for bit in bin(scalar % R)[2:]:
        total = g1_add(total, total)
        if bit == "1":
            total = g1_add(total, p)
    return total


def g2_is_on_curve(p: G2) -> bool:
    if p is None:
        return True
    cube = fq2_mul(fq2_mul(p[0], p[0]), p[0])
    return fq2_mul(p[1], p[1]) == fq2_add(cube, TWIST_B)


def g2_neg(p: G2) -> G2:
    return None if p is None else (p[0], fq2_sub((0, 0), p[1]))


def _g2_slope(p: tuple[Fq2, Fq2], q: tuple[Fq2, Fq2]) -> Fq2:
    if p == q:
        square = fq2_mul(p[0], p[0])
        return fq2_mul(fq2_mul((3, 0), square), fq2_inv(fq2_add(p[1], p[1])))
    return fq2_mul(fq2_sub(q[1], p[1]), fq2_inv(fq2_sub(q[0], p[0])))


def g2_add(p: G2, q: G2) -> G2:
    if p is None or q is None:
        return q if p is None else p
    if p[0] == q[0] and fq2_add(p[1], q[1]) == (0, 0):
        return None
    slope = _g2_slope(p, q)
    x = fq2_sub(fq2_sub(fq2_mul(slope, slope), p[0]), q[0])
    return x, fq2_sub(fq2_mul(slope, fq2_sub(p[0], x)), p[1])


def g2_mul(p: G2, scalar: int) -> G2:
    """Multiplies by the integer itself, not reduced mod r, so that points outside the subgroup behave correctly."""
    total: G2 = None
    for bit in bin(scalar)[2:]:
        total = g2_add(total, total)
        if bit == "1":
            total = g2_add(total, p)
    return total


def g2_is_in_subgroup(p: G2) -> bool:
    return g2_is_on_curve(p) and g2_mul(p, R) is None


# Pairing. The untwist sends (x, y) on the curve of G2 to (x w^2, y w^3) on y^2 = x^3 + 3 over Fq12.


def _line(t: tuple[Fq2, Fq2], q: tuple[Fq2, Fq2], p: tuple[int, int]) -> Fq12:
    """The line through the untwisted t and q at p; the slope over Fq12 is w times the slope on the twist."""
    slope = _g2_slope(t, q)
    minus_slope_x = fq2_mul(fq2_sub((0, 0), slope), (p[0], 0))
    constant = fq2_sub(fq2_mul(slope, t[0]), t[1])
    return ((p[1], 0), minus_slope_x, (0, 0), constant, (0, 0), (0, 0))


def _frobenius_twist(p: tuple[Fq2, Fq2]) -> tuple[Fq2, Fq2]:
    """The q-power Frobenius of the untwisted point, brought back to the twist."""
    conjugate_x, conjugate_y = (p[0][0], -p[0][1] % Q), (p[1][0], -p[1][1] % Q)
    return fq2_mul(conjugate_x, fq2_pow(XI, (Q - 1) // 3)), fq2_mul(conjugate_y, fq2_pow(XI, (Q - 1) // 2))


def miller_loop(p: G1, q: G2) -> Fq12:
    """The optimal ate Miller loop of ePrint 2008/096 for BN curves, before final exponentiation."""
    if p is None or q is None:
        return FQ12_ONE
    f, t = FQ12_ONE, q
    for bit in bin(ATE_LOOP)[3:]:
        f = fq12_mul(fq12_mul(f, f), _line(t, t, p))
        t = _present(g2_add(t, t))
        if bit == "1":
            f = fq12_mul(f, _line(t, q, p))
            t = _present(g2_add(t, q))
    q1 = _frobenius_twist(q)
    minus_q2 = _present(g2_neg(_frobenius_twist(q1)))
    f = fq12_mul(f, _line(t, q1, p))
    t = _present(g2_add(t, q1))
    return fq12_mul(f, _line(t, minus_q2, p))


def _present(p: G2) -> tuple[Fq2, Fq2]:
    if p is None:
        raise ValueError("the Miller loop met infinity: the point is outside the subgroup of order r")
    return p


def pairing(p: G1, q: G2) -> Fq12:
    return fq12_pow(miller_loop(p, q), (Q**12 - 1) // R)


def pairing_product_is_one(pairs: Sequence[tuple[G1, G2]]) -> bool:
    f = FQ12_ONE
    for p, q in pairs:
        f = fq12_mul(f, miller_loop(p, q))
    return fq12_pow(f, (Q**12 - 1) // R) == FQ12_ONE


# A toy Groth16 with the key layout of snarkjs: gamma = 1, quotient basis at the odd points of the double domain.

Row = tuple[Mapping[int, int], Mapping[int, int], Mapping[int, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToyKey:
    """Everything that a zkey holds, as plain points. Notation of ePrint 2016/260 §3.2."""

    n_public: int
    domain: int
    alpha_g1: G1
    beta_g2: G2
    delta_g1: G1
    delta_g2: G2
    gamma_abc_g1: tuple[G1, ...]
    a_query: tuple[G1, ...]
    b_g1_query: tuple[G1, ...]
    b_g2_query: tuple[G2, ...]
    l_query: tuple[G1, ...]
    h_query: tuple[G1, ...]


def domain_size(n_constraints: int, n_public: int) -> int:
    size = 1
    while size < n_constraints + n_public + 1:
        size *= 2
    return size


def root_of_unity(order: int) -> int:
    return pow(FR_NON_RESIDUE, (R - 1) // order, R)


def _lagrange_at(tau: int, order: int) -> list[int]:
    root, scale = root_of_unity(order), (pow(tau, order, R) - 1) * pow(order, -1, R) % R
    return [scale * w * pow(tau - w, -1, R) % R for w in (pow(root, i, R) for i in range(order))]


def setup(rows: Sequence[Row], n_wires: int, n_public: int, tau: int, alpha: int, beta: int, delta: int) -> ToyKey:
    domain = domain_size(len(rows), n_public)
    lagrange, lagrange_double = _lagrange_at(tau, domain), _lagrange_at(tau, 2 * domain)
    columns = [[0] * n_wires for _ in range(3)]
    for j, row in enumerate(rows):
        for column, terms in zip(columns, row, strict=True):
            for wire, value in terms.items():
                column[wire] = (column[wire] + value * lagrange[j]) % R
    a_at_tau, b_at_tau, c_at_tau = columns
    for s in range(n_public + 1):
        a_at_tau[s] = (a_at_tau[s] + lagrange[len(rows) + s]) % R
    inv_delta = pow(delta, -1, R)
    mixed = [(beta * a + alpha * b + c) % R for a, b, c in zip(a_at_tau, b_at_tau, c_at_tau, strict=True)]
    return ToyKey(
        n_public=n_public,
        domain=domain,
        alpha_g1=g1_mul(G1_GENERATOR, alpha),
        beta_g2=g2_mul(G2_GENERATOR, beta),
        delta_g1=g1_mul(G1_GENERATOR, delta),
        delta_g2=g2_mul(G2_GENERATOR, delta),
        gamma_abc_g1=tuple(g1_mul(G1_GENERATOR, v) for v in mixed[: n_public + 1]),
        a_query=tuple(g1_mul(G1_GENERATOR, v) for v in a_at_tau),
        b_g1_query=tuple(g1_mul(G1_GENERATOR, v) for v in b_at_tau),
        b_g2_query=tuple(g2_mul(G2_GENERATOR, v) for v in b_at_tau),
        l_query=tuple(g1_mul(G1_GENERATOR, v * inv_delta) for v in mixed[n_public + 1 :]),
        h_query=tuple(g1_mul(G1_GENERATOR, lagrange_double[2 * i + 1] * inv_delta) for i in range(domain)),
    )


def _evaluations(rows: Sequence[Row], witness: Sequence[int], n_public: int, domain: int) -> list[list[int]]:
    """A z, B z and their product on the domain, with the rows that bind the public wires."""
    a, b = ([sum(v * witness[w] for w, v in row[k].items()) % R for row in rows] for k in (0, 1))
    a += [witness[s] for s in range(n_public + 1)]
    a += [0] * (domain - len(a))
    b += [0] * (domain - len(b))
    return [a, b, [x * y % R for x, y in zip(a, b, strict=True)]]


def shift_to_odd_points(values: Sequence[int], domain: int) -> list[int]:
    """Evaluations on the domain of order n to evaluations at the odd powers of the root of order 2n, by O(n^2) sums."""
    root, double_root, inv_n = root_of_unity(domain), root_of_unity(2 * domain), pow(domain, -1, R)
    inverse = [pow(root, -i, R) for i in range(domain)]
    coefficients = [inv_n * sum(v * inverse[i * k % domain] for i, v in enumerate(values)) % R for k in range(domain)]
    points = [pow(double_root, 2 * i + 1, R) for i in range(domain)]
    return [sum(c * pow(x, k, R) for k, c in enumerate(coefficients)) % R for x in points]


def prove(key: ToyKey, rows: Sequence[Row], witness: Sequence[int], r1: int, r2: int) -> tuple[G1, G2, G1]:
    """A proof with r = s = 0, re-randomised by (r1, r2): A/r1, r1 B + r1 r2 delta, C + r2 A."""
    a, b, c = (shift_to_odd_points(v, key.domain) for v in _evaluations(rows, witness, key.n_public, key.domain))
    quotient = [(x * y - z) % R for x, y, z in zip(a, b, c, strict=True)]
    a_0, b_0, c_0 = key.alpha_g1, key.beta_g2, None
    for value, base_a, base_b in zip(witness, key.a_query, key.b_g2_query, strict=True):
        a_0 = g1_add(a_0, g1_mul(base_a, value))
        b_0 = g2_add(b_0, g2_mul(base_b, value % R))
    for value, base in zip(witness[key.n_public + 1 :], key.l_query, strict=True):
        c_0 = g1_add(c_0, g1_mul(base, value))
    for value, base in zip(quotient, key.h_query, strict=True):
        c_0 = g1_add(c_0, g1_mul(base, value))
    return (
        g1_mul(a_0, pow(r1, -1, R)),
        g2_add(g2_mul(b_0, r1 % R), g2_mul(key.delta_g2, r1 * r2 % R)),
        g1_add(c_0, g1_mul(a_0, r2)),
    )


def verify(key: ToyKey, public: Sequence[int], proof: tuple[G1, G2, G1]) -> bool:
    total = key.gamma_abc_g1[0]
    for value, base in zip(public, key.gamma_abc_g1[1:], strict=True):
        total = g1_add(total, g1_mul(base, value))
    a, b, c = proof
    return pairing_product_is_one(
        [(g1_neg(a), b), (key.alpha_g1, key.beta_g2), (total, G2_GENERATOR), (c, key.delta_g2)]
    )
