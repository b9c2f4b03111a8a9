"""What a review of the circuit found: each test says what must not be possible."""

from __future__ import annotations

from dataclasses import replace

from protocol.constants import FIELD_ORDER as R
from protocol.vm.poseidon import P
from proving.circuit.builder import value, wtns_bytes
from proving.circuit.links import LOG_POWER
from proving.circuit.table_vm import PUBLIC, Hints, Late, table_vm
from proving.circuit.tree_unit import _SHOWN, Kind
from proving.r1cs import check
from tests.property.circuit.test_forgeries import NEW_ROOT, claim
from tests.property.circuit.test_tree_forgeries import insertion, of_kind, unit_of
from tests.support.circuits import SHAPE, Z, system
from tests.support.forger import Forger


def filled(hints: Hints, z: int) -> tuple[list[int], Late]:
    """All wires for a challenge, and what the last of them follow from."""
    forger = Forger()
    late = table_vm(forger, SHAPE, replace(hints, public=(0, z, 0)))
    folded = forger.values[PUBLIC + 2 * len(hints.words) - 1]
    forger.values[1], forger.values[3] = value(late.h), folded * z % R
    return forger.values, late


def test_nothing_in_a_link_is_chosen_behind_the_challenge() -> None:
    """A leaf that is inserted has no nextKey before: a link that is given 0 times must not read one of the prover's."""
    _, hints, _ = insertion()
    # A root that nobody has a tree of.
    honest_next = hints.entries[0].next_index + 1  # type: ignore[union-attr]
    lie = claim(hints, root=P(3, (666, honest_next, 0)))
    assert lie.words[NEW_ROOT] != hints.words[NEW_ROOT]
    lie = replace(lie, tree=replace(lie.tree, roots=[666, *lie.tree.roots[1:]]))
    committed = value(filled(lie, 5)[1].h)
    # Behind the challenge.
    number = of_kind(lie, Kind.NEW)
    unit = unit_of(lie, number)
    key = unit.leaf[0]
    _, late = filled(lie, Z)
    links = [*late.links.given, *late.links.taken]
    at = next(i for i, x in enumerate(links) if value(x.a) >= _SHOWN and value(x.b) == key)
    pole = (pow(Z, 1 << LOG_POWER, R) - value(links[at].a) - Z * key) * pow(Z, -2, R) % R
    units = [replace(unit, leaf=(key, pole, 0, 0)) if n == number else u for n, u in enumerate(lie.units)]
    values, late = filled(replace(lie, units=units), Z)
    if value(late.h) != committed:
        return  # the word is under h: whoever chooses it now gets another challenge
    first = len(values) - 3 * len(links) + 2
    shares = values[first::3]
    given = len(late.links.given)
    values[first + 3 * at] = (sum(shares[given:]) - sum(shares[:given])) % R

    refused_by = check(system(), wtns_bytes(values))
    assert refused_by is not None
