"""Lookups and multisets: honest tables, wrong rows, and what happens if something is chosen after the challenge."""

from __future__ import annotations

import random
from functools import cache

import pytest

from protocol.constants import FIELD_ORDER as R
from protocol.vm.babyjub import _sqrt
from proving.circuit.builder import Builder, Expr, Recorder
from proving.circuit.lookup import count_entries, lookup, lookup_wires, same_multiset
from tests.support.gadgets import Gadget, Made

RNG = random.Random(99)
TABLE = [0, 5, R - 1, 1 << 200, 7, 12345]
ENTRIES = [5, 5, 0, 12345, 5, R - 1, 0]
COUNTS = [2, 3, 1, 0, 0, 1]
Z = RNG.randrange(R)


@cache
def tables() -> Gadget:
    """Inputs: z, entries, table, counts."""

    def body(b: Builder, xs: list[Expr]) -> list[Expr]:
        n, t = len(ENTRIES), len(TABLE)
        lookup(b, xs[0], xs[1 : 1 + n], xs[1 + n : 1 + n + t], xs[1 + n + t :])
        return []

    return Gadget(body, 1 + len(ENTRIES) + 2 * len(TABLE))


def fill(z: int, entries: list[int], counts: list[int], table: list[int] = TABLE) -> Made:
    """Wires as good as they can be."""
    return tables().fill([z, *entries, *table, *counts])


def accepted(z: int, entries: list[int], counts: list[int], table: list[int] = TABLE) -> bool:
    """Whether the constraints hold."""
    return fill(z, entries, counts, table).first_broken() is None


def test_honest_tables_hold_for_any_challenge() -> None:
    """One constraint for each word, and one; words that repeat; words that nobody looks up."""
    assert count_entries(ENTRIES, TABLE) == COUNTS
    assert tables().circuit.n_constraints == len(ENTRIES) + len(TABLE) + 1
    for z in (Z, 1, R - 2, RNG.randrange(R)):
        assert accepted(z, ENTRIES, COUNTS)
    # Twice the same word in the table: the counts may be shared in any way.
    assert accepted(Z, ENTRIES, [2, 1, 1, 2, 0, 1], [0, 5, R - 1, 5, 7, 12345])


def test_wires_are_determined_and_changes_are_noticed() -> None:
    """Given the challenge and what was fixed before it."""
    made = fill(Z, ENTRIES, COUNTS)

    assert tables().loose(made) == []
    assert tables().unnoticed(made, made.inner, lambda x: (RNG.randrange(R), x + 1, 0)) == []


@pytest.mark.parametrize("wrong", [1, 6, R - 2, (1 << 200) + 1, RNG.randrange(R)])
def test_an_entry_that_is_not_in_the_table_is_refused(wrong: int) -> None:
    """Whatever counts were fixed, for any challenge but a few."""
    with pytest.raises(KeyError):
        count_entries([wrong], TABLE)
    for counts in (COUNTS, [2, 2, 1, 0, 0, 1], [2, 2, 1, 1, 0, 1], [RNG.randrange(R) for _ in TABLE]):
        for z in (Z, RNG.randrange(R)):
            assert not accepted(z, [wrong, *ENTRIES[1:]], counts)


@pytest.mark.parametrize("j", range(len(TABLE)))
def test_a_wrong_count_is_refused(j: int) -> None:
    """Too many, too few, moved to a neighbour."""
    for change in (1, -1, RNG.randrange(2, R)):
        counts = list(COUNTS)
        counts[j] += change
        assert not accepted(Z, ENTRIES, [x % R for x in counts])
        counts[j - 1] -= change
        assert not accepted(Z, ENTRIES, [x % R for x in counts])


def test_wires_can_be_filled_when_the_challenge_is_known() -> None:
    """As a prover does whose challenge depends on all else."""
    early = fill(0x55, ENTRIES, COUNTS)
    late = list(early.values)
    late[1] = Z
    late[early.inner.start :] = lookup_wires(Z, ENTRIES, TABLE, COUNTS)

    assert late == fill(Z, ENTRIES, COUNTS).values


# -- why everything must be fixed before the challenge -----------------------------------------------------------------


def test_a_count_that_is_chosen_after_the_challenge_proves_anything() -> None:
    """The precondition matters: the equation is linear in a count. With it fixed, the next challenge refuses."""
    entries = [6, *ENTRIES[1:]]
    left = sum(pow(Z - e, -1, R) for e in entries)
    others = sum(m * pow(Z - t, -1, R) for m, t in zip(COUNTS[1:], TABLE[1:], strict=True))
    counts = [(left - others) * (Z - TABLE[0]) % R, *COUNTS[1:]]

    assert accepted(Z, entries, counts)
    assert not accepted(Z + 1, entries, counts)


def test_an_entry_that_is_chosen_after_the_challenge_proves_anything() -> None:
    """One wrong entry hides another."""
    right = sum(m * pow(Z - t, -1, R) for m, t in zip(COUNTS, TABLE, strict=True))
    entries = [6, *ENTRIES[1:]]
    missing = (right - sum(pow(Z - e, -1, R) for e in entries[:-1])) % R
    entries[-1] = (Z - pow(missing, -1, R)) % R

    assert entries[-1] not in TABLE
    assert accepted(Z, entries, COUNTS)
    assert not accepted(Z + 1, entries, COUNTS)


def three_parts(b: Builder, xs: list[Expr]) -> list[Expr]:
    """Inputs: z, three entries, two words, two counts."""
    lookup(b, xs[0], xs[1:4], xs[4:6], xs[6:])
    return []


def test_parts_of_a_word_that_is_fixed_are_not_fixed() -> None:
    """Three parts with a given packing p + 2^8 q + 2^16 s, none of them in the table."""
    packed, first = 5 + (5 << 8) + (7 << 16), 6
    # 1 / (z - q) + 1 / (z - s) = want and q + 2^8 s = rest: a quadratic equation for s.
    for z in range(1000, 1100):
        want = (2 * pow(z - 5, -1, R) + pow(z - 7, -1, R) - pow(z - first, -1, R)) % R
        rest = (packed - first) * pow(1 << 8, -1, R) % R
        # With a = z - q and b = z - s: a + b = want a b, and a + 2^8 b = total.
        total = ((1 + 256) * z - rest) % R
        root = _sqrt(((total * want + 255) ** 2 - 4 * 256 * want * total) % R)
        if root is None:
            continue
        b = ((total * want + 255 + root) * pow(2 * 256 * want, -1, R)) % R
        a = (total - 256 * b) % R
        parts = [first, (z - a) % R, (z - b) % R]
        assert (parts[0] + 256 * parts[1] + 65536 * parts[2] - packed) % R == 0
        assert not set(parts) & set(TABLE)
        small = Gadget(three_parts, 8)
        assert small.fill([z, *parts, 5, 7, 2, 1]).first_broken() is None
        assert small.fill([z + 1, *parts, 5, 7, 2, 1]).first_broken() is not None
        return
    raise AssertionError("no challenge with a root")


def test_a_word_of_the_table_that_is_chosen_after_the_challenge_proves_anything() -> None:
    """The same on the other side."""
    entries = [6, *ENTRIES[1:]]
    left = sum(pow(Z - e, -1, R) for e in entries)
    others = sum(m * pow(Z - t, -1, R) for m, t in zip(COUNTS[1:], TABLE[1:], strict=True))
    word = (Z - COUNTS[0] * pow(left - others, -1, R)) % R

    assert accepted(Z, entries, COUNTS, [word, *TABLE[1:]])
    assert not accepted(Z + 1, entries, COUNTS, [word, *TABLE[1:]])


def test_a_challenge_that_is_an_entry_has_no_witness() -> None:
    """0 * w = 1."""
    assert not accepted(5, ENTRIES, COUNTS)


def test_a_challenge_that_is_an_unused_word_of_the_table_proves_anything() -> None:
    """So no word may depend on the challenge, and the challenge on nothing that can be searched."""
    entries = [6, *ENTRIES[1:]]
    z = TABLE[3]
    made = fill(z, entries, COUNTS)
    share = made.inner.start + len(ENTRIES) + TABLE.index(z)
    gap = sum(pow(z - e, -1, R) for e in entries)
    gap -= sum(m * pow(z - t, -1, R) for m, t in zip(COUNTS, TABLE, strict=True) if t != z)
    lied = tables().fill([z, *entries, *TABLE, *COUNTS], {share: gap % R})

    assert made.first_broken() is not None
    assert lied.first_broken() is None


# -- multisets ---------------------------------------------------------------------------------------------------------


@cache
def multisets(n: int) -> Gadget:
    """Inputs: z, both lists."""

    def body(b: Builder, xs: list[Expr]) -> list[Expr]:
        same_multiset(b, xs[0], xs[1 : 1 + n], xs[1 + n :])
        return []

    return Gadget(body, 1 + 2 * n)


@pytest.mark.parametrize("n", [1, 2, 3, 7])
def test_the_same_words_in_another_order(n: int) -> None:
    """Also with repetitions, and where the challenge is one of the words."""
    words = ENTRIES[:n]
    shuffled = RNG.sample(words, n)
    for z in (Z, words[0]):
        made = multisets(n).fill([z, *words, *shuffled])
        assert made.first_broken() is None
        if z == Z:
            assert multisets(n).loose(made) == []
            assert multisets(n).unnoticed(made, made.inner, lambda x: (RNG.randrange(R), x + 1)) == []


def test_other_words_or_other_numbers_of_them_are_refused() -> None:
    """One changed; one more often than another."""
    wrong = [[6, *ENTRIES[1:]], [0, *ENTRIES[1:]], [*ENTRIES[:-1], 1]]

    assert [w for w in wrong if multisets(7).fill([Z, *ENTRIES, *w]).first_broken() is None] == []
    with pytest.raises(ValueError, match="lists of 1 and 2"):
        same_multiset(Recorder(), 1, [1], [1, 2])


def test_a_word_that_is_chosen_after_the_challenge_makes_any_lists_the_same() -> None:
    """As for lookups."""
    first, second = [1, 2, 3], [4, 5, 0]
    product = 1
    for x in first:
        product = product * (Z - x) % R
    second[2] = (Z - product * pow((Z - 4) * (Z - 5), -1, R)) % R

    assert multisets(3).fill([Z, *first, *second]).first_broken() is None
    assert multisets(3).fill([Z + 1, *first, *second]).first_broken() is not None
