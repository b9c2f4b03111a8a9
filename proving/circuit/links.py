"""Links between places of a circuit that do not know each other: a multiset of triples is given and taken.

API:
    links = Links();  links.give(times, a, b, c);  links.take(times, a, b, c)
    links.close(builder, z)        what is given is what is taken, each triple as often
    links.wires(z) -> list[int]    values of the wires that `close` made, when the challenge is known at last

Each triple is a polynomial f = a + X*b + X^2*c, each link a term times / (Y - f) of a sum over all that is given less
all that is taken. As a function of X and Y the sum is 0 only if every triple has as many of both: different triples are
different poles. The circuit has one challenge z; it puts X = z and Y = z^K with K = 2^16. Cleared of its denominators
the sum is a polynomial of degree at most 2n in X and below n in Y for n links, so for 2n < K no two of its terms meet,
and z is one of its roots with probability below (K + 2) n / r: 2^-221 for 2^15 links.

**What must be fixed before z**: every a, b, c and every `times`, as for `lookup.py`: hashed into z's preimage, or
following from such wires through constraints without z. A hash fixes what it is a hash of, as nobody finds two such
inputs. How often a triple is given or taken must be a number well below r. Triples of links that are given or taken 0
times count too: a triple that can be moved onto the pole makes its share free, and that share balances any sum.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from protocol.constants import FIELD_ORDER as R
from proving.circuit.builder import Builder, Expr, plus, value
from proving.circuit.lookup import inverses

LOG_POWER: Final = 16
MAX_LINKS: Final = (1 << LOG_POWER - 1) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Link:
    times: Expr
    a: Expr
    b: Expr
    c: Expr


@dataclass(slots=True)
class Links:
    """Collects links while a circuit is laid out."""

    given: list[_Link] = field(init=False, default_factory=list)
    taken: list[_Link] = field(init=False, default_factory=list)

    def give(self, times: Expr, a: Expr, b: Expr = 0, c: Expr = 0) -> None:
        """Offer a triple `times` times."""
        self.given.append(_Link(times=times, a=a, b=b, c=c))

    def take(self, times: Expr, a: Expr, b: Expr = 0, c: Expr = 0) -> None:
        """Use a triple up `times` times."""
        self.taken.append(_Link(times=times, a=a, b=b, c=c))

    def close(self, b: Builder, z: Expr) -> None:
        """Constrain both sides to be equal: 3 constraints a link. Nothing else reads the wires."""
        everything = [*self.given, *self.taken]
        if len(everything) > MAX_LINKS:
            raise ValueError(f"{len(everything)} links, at most {MAX_LINKS}")
        wires = b.hints(LOG_POWER + 3 * len(everything), lambda: self.wires(value(z)))
        point = z
        for wire in wires[:LOG_POWER]:
            b.enforce(point, point, wire)
            point = wire
        shares = wires[LOG_POWER + 2 :: 3]
        if b.recording:
            inner, outer = wires[LOG_POWER::3], wires[LOG_POWER + 1 :: 3]
            for link, x, y, share in zip(everything, inner, outer, shares, strict=True):
                b.enforce(z, link.c, x)
                b.enforce(z, link.b + x, y)
                b.enforce(share, point - link.a - y, link.times)
        b.equal(plus(shares[: len(self.given)]), plus(shares[len(self.given) :]))

    def wires(self, z: int) -> list[int]:
        """Powers of z, then for each link z*c, z*b + z^2*c and its share; meaningful once the witness is filled."""
        powers, point = [], z
        for _ in range(LOG_POWER):
            point = point * point % R
            powers.append(point)
        links = [(value(x.times), value(x.a), value(x.b), value(x.c)) for x in (*self.given, *self.taken)]
        inner = [z * c % R for _, _, _, c in links]
        outer = [z * (b + x) % R for (_, _, b, _), x in zip(links, inner, strict=True)]
        turned = inverses([(point - a - y) % R for (_, a, _, _), y in zip(links, outer, strict=True)])
        out = powers
        for (times, *_), x, y, inverse in zip(links, inner, outer, turned, strict=True):
            out += (x, y, times * inverse % R)
        return out
