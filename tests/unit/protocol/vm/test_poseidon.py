"""Poseidon against circomlibjs' vectors, and the fast path against the plain permutation."""

from __future__ import annotations

import json

import pytest

from protocol.constants import FIELD_ORDER
from protocol.vm.poseidon import P, list_hash, parameters, permute
from tests.support.tools import ROOT

CASES = json.loads((ROOT / "tests/vectors/poseidon.json").read_text())["cases"]


@pytest.mark.parametrize("k", range(1, 17))
def test_hash_equals_circomlib(k: int) -> None:
    """Zeros, small numbers and numbers near the field order, for each arity."""
    cases = [case for case in CASES if case["k"] == k]
    assert len(cases) == 3
    for case in cases:
        inputs = [int(x) for x in case["inputs"]]
        assert P(k, inputs) == int(case["hash"])
        assert permute([0, *inputs])[0] == int(case["hash"])


def test_first_constant_is_the_published_one() -> None:
    """The LFSR output of width 3, as circomlib prints it."""
    constants = parameters(2).constants
    assert constants[0][0] == 0x0EE9A592BA9A9518D05986D656F40C2114C4993C11BB29938D21D47304CD8E6E
    assert all(0 <= x < FIELD_ORDER for row in constants for x in row)


def test_wrong_number_of_inputs_is_refused() -> None:
    """The arity is part of the hash."""
    with pytest.raises(ValueError, match="P_4 of 3"):
        P(4, (1, 2, 3))


def test_list_hash_follows_its_definition() -> None:
    """Empty list, one full chunk, one word more, and zero padding that the length tells apart."""
    assert list_hash(3, ()) == P(2, (3, 0))
    full = tuple(range(1, 16))
    after_one = P(16, (P(2, (3, 15)), *full))
    assert list_hash(3, full) == after_one
    assert list_hash(3, (*full, 9)) == P(16, (P(16, (P(2, (3, 16)), *full)), 9, *[0] * 14))
    assert len({list_hash(3, (5,)), list_hash(3, (5, 0)), list_hash(4, (5,)), list_hash(3, (5, 0, 0))}) == 4
