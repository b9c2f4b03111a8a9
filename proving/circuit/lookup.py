"""Arguments over whole tables that take one challenge: membership and equality of multisets.

API, with constraints:
    lookup          every entry is in the table; one for each entry and each word of the table, and one
    lookup_wires    its wires, when the challenge is known at last
    count_entries   how often each word of a table occurs
    same_multiset   two lists hold the same words; one for each word

**Membership** (logarithmic derivatives, ePrint 2022/1530). With entries e_i, a table of words t_j and counts m_j the
rational functions

    sum_i 1 / (X - e_i)   and   sum_j m_j / (X - t_j)

are equal if m_j says how often t_j occurs. If some e is not in the table, the left one has a pole there with a residue
that is the number of its occurrences, below r and so not 0, and the right one has none. Then the numerator of their
difference is a polynomial that is not 0, of a degree below n + t (n entries, t words), and a challenge z that is drawn
after entries, table and counts are fixed is one of its roots with probability below (n + t) / r, under 2^-230 for a
million of both. Counts need no range: whatever they are, they cannot make the missing pole.

**Equality** compares the products of (X - a_i) and (X - b_i): two polynomials of degree n that are equal only if their
roots are, with multiplicity. A random z is a root of their difference with probability at most n / r.

**What must be fixed before z.** Every entry, every word of a table, every count: each a wire, or a linear combination
of wires, that is hashed into z's preimage, or is determined by such wires through constraints without z. A prover that
may choose a single one of them after it has seen z can prove anything: the equation is linear in each count, and for
each entry it can be solved. Also the selection of rows that look something up must be fixed: an entry that is not used
has to be a word of the table (a row of padding), not a flag that is chosen late. A packed word that is hashed fixes
itself, not its parts: bytes of one packed word cannot be looked up one by one, for a prover may choose two of them
after z so that the packing and the sum both come out.

**Where z meets a word.** z = e_i: no witness, as 0 * w = 1. z = t_j with a count of 0: w is free, so the argument says
nothing. Both happen with probability at most (n + t) / r, as no word depends on z.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from protocol.constants import FIELD_ORDER as R
from proving.circuit.builder import Builder, Expr, plus, value


def lookup(b: Builder, z: Expr, entries: Sequence[Expr], table: Sequence[Expr], counts: Sequence[Expr]) -> None:
    """Constrain every entry to be in the table.

    Its wires lie beside each other, in the order of `lookup_wires`, and nothing else reads them: they can be filled
    when all others are.

    Args:
        z: the challenge; entries, table and counts must be fixed before it (see above).
        entries: fewer than r.
        table: words; if one occurs twice, its counts add up.
        counts: one for each word of the table.
    """

    def values() -> list[int]:
        return lookup_wires(value(z), *([value(x) for x in xs] for xs in (entries, table, counts)))

    wires = b.hints(len(entries) + len(table), values)
    inverses, shares = wires[: len(entries)], wires[len(entries) :]
    for inverse, entry in zip(inverses, entries, strict=True):
        b.enforce(inverse, z - entry, 1)
    for share, word, count in zip(shares, table, counts, strict=True):
        b.enforce(share, z - word, count)
    b.equal(plus(inverses), plus(shares))


def lookup_wires(z: int, entries: Sequence[int], table: Sequence[int], counts: Sequence[int]) -> list[int]:
    """Values of the wires of a `lookup`: 1 / (z - e_i), then m_j / (z - t_j).

    Args:
        z: the challenge.
        entries, table, counts: field elements.
    """
    turned = inverses([(z - x) % R for x in (*entries, *table)])
    shares = (count * x % R for count, x in zip(counts, turned[len(entries) :], strict=True))
    return [*turned[: len(entries)], *shares]


def inverses(xs: Sequence[int]) -> list[int]:
    """Inverses of field elements by one inversion (Montgomery's trick); 0 for 0."""
    products, product = [], 1
    for x in xs:
        products.append(product)
        product = product * (x or 1) % R
    inverse = pow(product, -1, R)
    out = [0] * len(xs)
    for i in reversed(range(len(xs))):
        if xs[i]:
            out[i] = inverse * products[i] % R
            inverse = inverse * xs[i] % R
    return out


def count_entries(entries: Sequence[int], table: Sequence[int]) -> list[int]:
    """How often each word of a table occurs among entries; a word that the table has twice is counted once.

    Raises:
        KeyError: an entry is not in the table.
    """
    seen = Counter(entries)
    out = [seen.pop(word, 0) for word in table]
    if seen:
        raise KeyError(next(iter(seen)))
    return out


def same_multiset(b: Builder, z: Expr, first: Sequence[Expr], second: Sequence[Expr]) -> None:
    """Constrain two lists of equal length to hold the same words, each as often.

    Args:
        z: the challenge; both lists must be fixed before it (see above).
    """
    if len(first) != len(second) or not first:
        raise ValueError(f"lists of {len(first)} and {len(second)} words")
    left, right = (_product(b, [z - x for x in xs[:-1]]) for xs in (first, second))
    # The last factors of both sides: left * (z - x) = right * (z - y).
    b.enforce(left, z - first[-1], b.mul(right, z - second[-1]))


def _product(b: Builder, factors: Sequence[Expr]) -> Expr:
    product: Expr = 1
    for i, factor in enumerate(factors):
        product = b.mul(product, factor) if i else factor
    return product
