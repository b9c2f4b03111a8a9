"""One unit for the heavier operations on registers: products, quotients, shifts, bits, minima, halves, inverses.

Every operation is a claim about three numbers X, Y, Z below 2^128, whose bits all operations share. With ra, rb the
operands, D a divisor or factor and K = X * D as an integer:

    AND OR XOR        X = ra, Y = rb; the products of their bits make the result
    DIV MOD           D = rb (1 if rb = 0);      K + Y = ra, Z = D - 1 - Y      quotient X, remainder Y
    SHR               the same with D = 2^rb
    MUL, no overflow  D = ra, X = rb;            K + Y = 2^128 - 1
    MUL, overflow     D = ra, X + Z = rb;        K = 2^128 + Y                  some X <= rb is too much already
    SHL               as MUL with 2^rb in place of rb
    SHL, SHR by 128.. Z = rb - 128               SHR gives 0; SHL gives 0 or, if ra is not 0, overflows
    MIN MAX           Z = ra - rb, or Z = rb - ra - 1 with `less`
    FHI FLO           X * 2^128 + Y = ra with X < hi(r) and Z = hi(r) - 1 - X, or X = hi(r) and Z = lo(r) - 1 - Y
    INVF              ra * inverse = 1

No product wraps around the field: K is put together from X's low 125 bits, times D below 2^253, and from X's high three
bits, whose product with D must be below 16. Whenever a claim is true, K is at most 2^129, so that loses nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from protocol.constants import FIELD_ORDER as R
from protocol.constants import INT_BITS
from proving.circuit.bits import from_bits, is_zero, raw_bits
from proving.circuit.builder import Builder, Expr, Template, plus, value

OPERATIONS: Final = (
    "MUL", "DIV", "MOD", "MIN", "MAX", "AND", "OR", "XOR", "SHL", "SHR", "FHI", "FLO", "INVF",
)  # fmt: skip
_LIMIT: Final = 1 << INT_BITS
_HIGH, _LOW = divmod(R, _LIMIT)
_SPLIT: Final = 125
"""X is cut here: 2^125 * 2^128 is below r."""
_SHIFT_BITS: Final = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class IntegerResult:
    """What the unit gives."""

    result: Expr
    """The new rd; says nothing if `trap` is 1."""
    trap: Expr
    """1 for OVERFLOW (MUL, SHL) and DIVISION (DIV, MOD by 0, INVF of 0)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Claim:
    """The numbers that an operation claims something about; hints only."""

    x: int = 0
    y: int = 0
    z: int = 0
    turn: int = 0
    """MUL, SHL: overflow; MIN, MAX: ra < rb."""
    far: int = 0
    """A shift by 128 or more."""
    shift: int = 0


def _claim(name: str | None, a: int, b: int) -> _Claim:
    """The honest claim; zeros where operands do not allow one (which then breaks a constraint)."""
    far = int(name in ("SHL", "SHR") and b >= INT_BITS)
    if far:
        return _Claim(z=b - INT_BITS, far=1)
    shift = b if name in ("SHL", "SHR") else 0
    match name:
        case "AND" | "OR" | "XOR":
            return _Claim(x=a, y=b)
        case "DIV" | "MOD" | "SHR":
            divisor = 1 << shift if name == "SHR" else b or 1
            quotient, rest = divmod(a, divisor)
            return _Claim(x=quotient, y=rest, z=divisor - 1 - rest, shift=shift)
        case "MUL" | "SHL":
            factor = 1 << shift if name == "SHL" else b
            if a * factor < _LIMIT:
                return _Claim(x=factor, y=_LIMIT - 1 - a * factor, shift=shift)
            x = -(-_LIMIT // a)
            return _Claim(x=x, y=x * a - _LIMIT, z=factor - x, turn=1, shift=shift)
        case "MIN" | "MAX":
            return _Claim(z=b - a - 1 if a < b else a - b, turn=int(a < b))
        case "FHI" | "FLO":
            high, low = divmod(a, _LIMIT)
            return _Claim(x=high, y=low, z=_LOW - 1 - low if high == _HIGH else _HIGH - 1 - high)
        case _:
            return _Claim()


def integer_unit(b: Builder, op: Mapping[str, Expr], ra: Expr, rb: Expr) -> IntegerResult:
    """Constrain one operation, or none.

    Args:
        op: for each name of OPERATIONS an expression that is 0 or 1; at most one of them is 1.
        ra, rb: operands; below 2^128 wherever an operation takes an integer register.
    """
    names = [] if b.recording else [name for name in OPERATIONS if value(op[name])]
    claim = _Claim() if b.recording else _claim(names[0] if names else None, value(ra), value(rb))

    def any_of(*which: str) -> Expr:
        return plus(op[name] for name in which)

    bitwise, compared, halves = any_of("AND", "OR", "XOR"), any_of("MIN", "MAX"), any_of("FHI", "FLO")
    x_bits = raw_bits(b, lambda: claim.x, INT_BITS)
    y_bits = raw_bits(b, lambda: claim.y, INT_BITS)
    x, y = from_bits(x_bits), from_bits(y_bits)
    z = from_bits(raw_bits(b, lambda: claim.z, INT_BITS))

    # Shifts: by less than 128, with 2^shift as a product, or far.
    shifts = any_of("SHL", "SHR")
    # Without a shift, `far` would need rb = 0 just below and rb >= 128 for Z.
    far = b.boolean(lambda: claim.far)
    far_left = b.mul(far, op["SHL"])
    shift_bits = raw_bits(b, lambda: claim.shift, _SHIFT_BITS)
    shift = from_bits(shift_bits)
    b.enforce(shifts - far, shift - rb, 0)
    b.enforce(1 - shifts + far, shift, 0)
    power: Expr = 1 + shift_bits[0]
    for i in range(1, _SHIFT_BITS):
        power = b.mul(power, 1 + ((1 << (1 << i)) - 1) * shift_bits[i])

    products = any_of("MUL", "SHL") - far_left
    quotients = any_of("DIV", "MOD", "SHR") - far + far_left
    # Where neither products nor comparisons are made, `swapped` below must be 0: so must `turn`, for integers.
    turn = b.boolean(lambda: claim.turn)
    overflow = b.mul(turn, products)
    less = turn - overflow

    # `tested` is what must not be 0; a divisor 0 becomes 1.
    divisor = b.mul(any_of("DIV", "MOD"), rb)
    tested = divisor + b.mul(far_left + op["INVF"], ra)
    zero, inverse = _zero_and_inverse(b, tested)
    no_divisor = b.mul(any_of("DIV", "MOD", "INVF"), zero)
    d = divisor + no_divisor + b.mul(products, ra) + b.mul(op["SHR"] - far + far_left, power)
    factor = b.mul(op["MUL"], rb) + b.mul(op["SHL"] - far_left, power)

    high = from_bits(x_bits[_SPLIT:])
    top = raw_bits(b, lambda: value(high) * value(d), 4)
    b.enforce(high, d, from_bits(top))
    k = b.mul(from_bits(x_bits[:_SPLIT]), d) + from_bits(top) * (1 << _SPLIT)

    # X.
    b.enforce(products, factor - x, b.mul(overflow, z))
    b.enforce(bitwise, x - ra, 0)
    b.enforce(1 - products - quotients - bitwise - halves, x, 0)
    # Y. With overflow K - 2^128, which is -(2^128 - 1 - K) - 1.
    room = _LIMIT - 1 - k
    b.enforce(products, room - y, b.mul(overflow, 2 * room + 1))
    b.enforce(quotients, k + y - ra, 0)
    b.enforce(bitwise, y - rb, 0)
    b.enforce(halves, x * _LIMIT + y - ra, 0)
    b.enforce(1 - products - quotients - bitwise - halves, y, 0)
    # Z.
    b.enforce(quotients, z - (d - 1 - y), 0)
    swapped = b.mul(less, 2 * (ra - rb) + 1)
    b.enforce(compared, ra - rb - z, swapped)
    b.enforce(far, rb - INT_BITS - z, 0)
    at_top = is_zero(b, x - _HIGH)
    b.enforce(halves, z - (_HIGH - 1 - x) - b.mul(at_top, _LOW - y), 0)
    b.enforce(1 - quotients - overflow - compared - far - halves, z, 0)

    both = from_bits([b.mul(i, j) for i, j in zip(x_bits, y_bits, strict=True)])
    smaller = rb + (swapped - less) * _HALF
    result = plus(
        (
            b.mul(any_of("MUL", "SHL"), k),
            b.mul(any_of("DIV", "SHR", "FHI"), x),
            b.mul(any_of("MOD", "FLO"), y),
            b.mul(op["AND"] - op["OR"] - 2 * op["XOR"], both),
            b.mul(op["OR"] + op["XOR"], ra + rb),
            b.mul(op["MIN"], smaller),
            b.mul(op["MAX"], ra + rb - smaller),
            b.mul(op["INVF"], inverse),
        )
    )
    return IntegerResult(result=result, trap=overflow + no_divisor + b.mul(far_left, 1 - zero))


_HALF: Final = pow(2, -1, R)


def _zero_and_inverse(b: Builder, x: Expr) -> tuple[Expr, Expr]:
    """(1 if x = 0 else 0, the inverse of x or 0); both are determined."""
    zero = b.hint(lambda: int(value(x) == 0))
    inverse = b.hint(lambda: pow(value(x), -1, R) if value(x) else 0)
    b.enforce(x, inverse, 1 - zero)
    b.enforce(x, zero, 0)
    b.enforce(inverse, zero, 0)
    return zero, inverse


def _body(b: Builder, inputs: Sequence[Expr], _: None) -> Sequence[Expr]:
    *chosen, ra, rb = inputs
    made = integer_unit(b, dict(zip(OPERATIONS, chosen, strict=True)), ra, rb)
    return [made.result, made.trap]


INTEGER_UNIT: Final = Template(name="integer unit", inputs=len(OPERATIONS) + 2, body=_body)
"""Inputs: the flags of OPERATIONS in order, ra, rb. Outputs: result, trap."""
