"""What is given is what is taken, triple by triple."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from protocol.constants import FIELD_ORDER as R
from proving.circuit.builder import Assigner, Builder, Unsatisfied, compile_circuit
from proving.circuit.links import LOG_POWER, MAX_LINKS, Links
from tests.support.constraints import Constraints

Triple = tuple[int, int, int, int]
"""How often, then a, b, c."""
RNG = random.Random(31)
Z = RNG.randrange(R)
GIVEN: list[Triple] = [(1, 1, 2, 3), (1, 4, 5, 6), (2, 7, 8, 9), (0, 99, 99, 99), (1, R - 1, 0, 0)]
TAKEN: list[Triple] = [(1, 7, 8, 9), (1, R - 1, 0, 0), (1, 4, 5, 6), (1, 7, 8, 9), (1, 1, 2, 3), (0, 5, 5, 5)]


def body(b: Builder, given: Sequence[Triple], taken: Sequence[Triple], z: int) -> Links:
    """All of them as wires."""
    (challenge,) = b.choices(1, lambda: [z])
    links = Links()
    for put, triples in ((links.give, given), (links.take, taken)):
        for triple in triples:
            put(*b.choices(4, lambda triple=triple: triple))  # type: ignore[misc]
    links.close(b, challenge)
    return links


def holds(given: Sequence[Triple], taken: Sequence[Triple], z: int = Z) -> bool:
    """Whether the constraints do."""
    circuit = compile_circuit(lambda b: body(b, given, taken, z), 0)
    assigner = Assigner()
    body(assigner, given, taken, z)
    return list(Constraints(circuit.r1cs_bytes).broken(assigner.values)) == []


def test_the_same_triples_in_any_order() -> None:
    """With how often added up; one that is used 0 times may be anything."""
    assert holds(GIVEN, TAKEN)
    assert holds(GIVEN, TAKEN, z=RNG.randrange(R))
    assert holds([], [(0, 1, 2, 3)])


@pytest.mark.parametrize("at", range(4))
@pytest.mark.parametrize("number", [0, 2, 4])
def test_another_word_is_another_triple(number: int, at: int) -> None:
    """Each word of some given ones, larger by one."""
    given = [list(triple) for triple in GIVEN]
    given[number][at] = (given[number][at] + 1) % R

    assert not holds([(t, a, b, c) for t, a, b, c in given], TAKEN)


WRONG: dict[str, tuple[list[Triple], list[Triple]]] = {
    "one too few": (GIVEN, TAKEN[1:]),
    "one too many": (GIVEN, [*TAKEN, (1, 1, 2, 3)]),
    "words change places among triples": ([(1, 1, 2, 3), (1, 4, 5, 6)], [(1, 1, 5, 6), (1, 4, 2, 3)]),
    "words change places in a triple": ([(1, 1, 2, 3)], [(1, 2, 1, 3)]),
    "same sums": ([(1, 1, 1, 1), (1, 3, 3, 3)], [(2, 2, 2, 2)]),
    "twice is not double": ([(2, 1, 1, 1)], [(1, 2, 2, 2)]),
    "nothing is given": ([], [(1, 0, 0, 0)]),
    "less than nothing": ([(1, 1, 1, 1)], [(2, 1, 1, 1), (1, 1, 1, 2), (R - 1, 1, 1, 1)]),
}


@pytest.mark.parametrize("name", WRONG)
def test_other_multisets_are_refused(name: str) -> None:
    """Whatever they have in common."""
    assert not holds(*WRONG[name])


def test_wires_for_a_later_challenge() -> None:
    """An assignment with one challenge has those of another one in their places."""
    first, second = Assigner(), Assigner()
    links = body(first, GIVEN, TAKEN, 5)
    body(second, GIVEN, TAKEN, Z)
    late = links.wires(Z)
    first.values[1] = Z
    first.values[len(first.values) - len(late) :] = late

    assert first.values == second.values
    assert len(late) == LOG_POWER + 3 * (len(GIVEN) + len(TAKEN))


def test_no_more_links_than_the_argument_is_good_for() -> None:
    """Powers of z would meet."""
    links = Links()
    for _ in range(MAX_LINKS + 1):
        links.give(0, 0)
    with pytest.raises(ValueError, match="at most"):
        links.close(Assigner(), 1)
    assert 2 * MAX_LINKS < 1 << LOG_POWER


def test_an_assigner_that_looks_sees_it_too() -> None:
    """The sum is checked while a witness is made."""
    with pytest.raises(Unsatisfied):
        body(Assigner(strict=True), GIVEN, TAKEN[1:], Z)
