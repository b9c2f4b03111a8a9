"""Nodes of the state tree: what stretches do to leaves is what happens to roots, and nothing else has a witness."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial

import pytest

from protocol.constants import FIELD_ORDER as R
from protocol.vm.state_tree import StateTree
from proving.circuit.builder import Assigner, Builder, Unsatisfied, compile_circuit
from proving.circuit.climbing import Batch, climb
from proving.circuit.errors import TierExceeded
from proving.circuit.links import Links
from proving.circuit.node_pool import NodeHint, code_bits, node_pool, root_code
from tests.support.constraints import Constraints

BATCHES, UNITS = 4, 80
Leaf = tuple[int, int, int, int]
"""Batch, index, hash before and after."""


@dataclass(frozen=True)
class Case:
    """What a prover says."""

    roots: tuple[tuple[int, int, int], ...]
    """Batch, root before and after."""
    leaves: tuple[Leaf, ...]
    nodes: tuple[NodeHint | None, ...]
    depth: int = 8


def body(b: Builder, case: Case) -> None:
    """Roots are given, leaves taken, all as wires."""
    (z,) = b.choices(1, lambda: [random.Random(1).randrange(R)])
    links = Links()
    for batch, *root in case.roots:
        links.give(1, root_code(batch, BATCHES), *b.choices(2, lambda root=root: root))  # type: ignore[misc]
    for batch, index, *hashes in case.leaves:
        code = (root_code(batch, BATCHES) << 2 * case.depth) + index
        links.take(1, code, *b.choices(2, lambda hashes=hashes: hashes))  # type: ignore[misc]
    node_pool(b, links, batches=BATCHES, hints=case.nodes)
    links.close(b, z)


def broken(case: Case) -> list[int]:
    """Constraints that a filled witness breaks."""
    circuit = compile_circuit(partial(body, case=case), 0)
    assigner = Assigner()
    body(assigner, case)
    return list(Constraints(circuit.r1cs_bytes).broken(assigner.values))


def refused(case: Case) -> bool:
    """Whether a constraint fails as the prover fills its witness."""
    try:
        body(Assigner(strict=True), case)
    except Unsatisfied:
        return True
    return False


@cache
def story() -> tuple[tuple[Batch, ...], Case]:
    """Reads, a change in two leaves, another one from the same tree, an insertion."""
    rng = random.Random(8)
    keys = [rng.randrange(R) for _ in range(30)]
    tree = StateTree.empty()
    for key in keys:
        tree, _ = tree.insert(key, 1, 0)
    first, _ = tree.update(keys[3], 5, 0)
    first, _ = first.update(keys[28], 6, 0)
    other, _ = tree.update(keys[3], 9, 0)
    last, made = other.insert(7, 1, 1)
    at = [tree.open(key).index for key in keys]
    batches = (
        Batch(before=tree, after=tree, leaves={at[1], at[2], at[28]}),
        Batch(before=tree, after=first, leaves={at[3], at[28], at[7]}),
        Batch(before=tree, after=other, leaves={at[3]}),
        Batch(before=other, after=last, leaves={index for index in made.indices}),
    )
    return batches, told(batches)


def told(batches: Sequence[Batch], depth: int = 8) -> Case:
    """The truth."""
    return Case(
        roots=tuple((n, x.before.root, x.after.root) for n, x in enumerate(batches)),
        leaves=tuple(
            (n, index, x.before.node_hash(0, index), x.after.node_hash(0, index))
            for n, x in enumerate(batches)
            for index in sorted(x.leaves)
        ),
        nodes=tuple(climb(batches, depth, numbers=BATCHES, available=UNITS)),
        depth=depth,
    )


def test_the_truth_holds_and_shares_what_is_common() -> None:
    """Fewer units than paths have nodes; those of other batches that follow each other are linked."""
    batches, case = story()
    used = [node for node in case.nodes if node is not None]

    assert broken(case) == []
    assert not refused(case)
    assert len(used) < 8 * sum(len(batch.leaves) * (1 + (batch.before is not batch.after)) for batch in batches) / 2
    assert {node.takes for node in used} == {node.linked for node in used} == {True, False}


def test_what_does_not_fit_is_refused_by_name() -> None:
    """One unit too few."""
    batches, case = story()
    used = sum(node is not None for node in case.nodes)
    climb(batches, 8, numbers=BATCHES, available=used)
    with pytest.raises(TierExceeded) as caught:
        climb(batches, 8, numbers=BATCHES, available=used - 1)

    assert (caught.value.reason, caught.value.needed) == ("TIER_NODES", used)


def changed(case: Case, number: int, **fields: object) -> Case:
    """Another hint for one unit."""
    nodes = list(case.nodes)
    node = nodes[number]
    assert node is not None
    nodes[number] = replace(node, **fields)  # type: ignore[arg-type]
    return replace(case, nodes=tuple(nodes))


def unit_where(case: Case, wanted: Callable[[NodeHint], bool]) -> int:
    """The first unit of a kind."""
    return next(n for n, node in enumerate(case.nodes) if node is not None and wanted(node))


def a_leaf(case: Case, number: int, **fields: int) -> Case:
    """Another leaf."""
    names = ("batch", "index", "before", "after")
    leaves = [list(leaf) for leaf in case.leaves]
    for name, x in fields.items():
        leaves[number][names.index(name)] = x
    return replace(case, leaves=tuple((b, i, x, y) for b, i, x, y in leaves))


def two_touched(node: NodeHint) -> bool:
    """A node with several children below which something happens."""
    return sum(node.touched) > 1 and node.takes


def without_first(flags: Sequence[bool]) -> tuple[bool, ...]:
    """The first flag that is set is not."""
    at = list(flags).index(True)
    return tuple(flag and i != at for i, flag in enumerate(flags))


@cache
def lies() -> dict[str, Case]:
    """Everything that a prover could say instead, each otherwise consistent."""
    _, case = story()
    write = next(n for n, leaf in enumerate(case.leaves) if leaf[2] != leaf[3])
    read = next(n for n, leaf in enumerate(case.leaves) if leaf[2] == leaf[3])
    takes = unit_where(case, lambda node: node.takes and node.linked)
    base = unit_where(case, lambda node: not node.takes)
    several = unit_where(case, two_touched)
    node = case.nodes[takes]
    reads = case.nodes[unit_where(case, lambda node: node.takes and not node.linked)]
    free = case.nodes.index(None)
    assert node is not None and reads is not None
    doubled = [*case.nodes]
    doubled[free] = reads
    swapped = [*case.nodes]
    swapped[base], swapped[takes] = swapped[takes], swapped[base]
    deep = [*case.nodes]
    deep[free] = NodeHint(
        children=(1, 2, 3, 4), code=1 << code_bits(BATCHES) - 1, takes=True, linked=False, touched=(True,) * 4
    )
    batch, index, before, after = case.leaves[write]
    parent = next(node for node in case.nodes if node is not None and node.takes and after in node.children)
    return {
        "a leaf has another hash before": a_leaf(case, write, before=before + 1),
        "a leaf has another hash after": a_leaf(case, write, after=after + 1),
        "a leaf that is read changes": a_leaf(case, read, after=after),
        "a leaf stands elsewhere": a_leaf(case, read, index=case.leaves[read][1] ^ 1),
        "a leaf is of another batch": a_leaf(case, read, batch=3),
        "a leaf is missing": replace(case, leaves=case.leaves[1:]),
        "a leaf is opened twice": replace(case, leaves=(*case.leaves, case.leaves[read])),
        "a leaf that nobody leads to": replace(case, leaves=(*case.leaves, (batch, 77, 0, 0))),
        "a leaf counts from the end of its level": a_leaf(case, read, index=case.leaves[read][1] - 4**8),
        "the level above the leaves is that of the leaves": replace(case, depth=7),
        "the level below the leaves is that of the leaves": replace(case, depth=9),
        "another root after": replace(case, roots=(*case.roots[:1], (1, case.roots[1][1], 5), *case.roots[2:])),
        "another root before": replace(case, roots=((0, 5, case.roots[0][2]), *case.roots[1:])),
        "a batch that only reads changes its root": replace(
            case, roots=((0, case.roots[0][1], case.roots[1][2]), *case.roots[1:])
        ),
        "a batch is given twice": replace(case, roots=(*case.roots, case.roots[0])),
        "roots of two batches change places": replace(
            case, roots=(case.roots[0], (1, *case.roots[2][1:]), (2, *case.roots[1][1:]), case.roots[3])
        ),
        "a node stands elsewhere": changed(case, takes, code=node.code ^ 1),
        "a node takes nothing": changed(case, takes, takes=False),
        "a child changes and is not touched": changed(case, takes, touched=(False,) * 4),
        "one of several is not touched": changed(
            case,
            several,
            touched=without_first(case.nodes[several].touched),  # type: ignore[union-attr]
        ),
        "a child is touched for nothing": changed(case, takes, touched=(True,) * 4),
        "a node is not linked to what it was": changed(case, takes, linked=False),
        "a base is linked to something else": changed(case, base, linked=True),
        "nodes change places": replace(case, nodes=tuple(swapped)),
        "a node is taken twice": replace(case, nodes=tuple(doubled)),
        "the first unit is linked": changed(case, 0, linked=True),
        "another child": changed(case, takes, children=(*node.children[:3], 5)),
        "a node for a leaf": replace(
            case, leaves=(*case.leaves[:write], (batch, parent.code, before, after), *case.leaves[write + 1 :])
        ),
        "children of nothing": replace(case, nodes=tuple(deep)),
    }


@pytest.mark.parametrize("name", lies())
def test_lies_have_no_witness(name: str) -> None:
    """Some constraint breaks."""
    assert refused(lies()[name])


def test_every_wire_is_bound() -> None:
    """To one value, or a bit to two: what a unit that takes nothing says matters to nobody."""
    _, case = story()
    circuit = compile_circuit(partial(body, case=case), 0)
    assigner = Assigner()
    body(assigner, case)
    rng = random.Random(3)
    changes = [lambda x: x + 2, lambda x: x - 2, lambda _: rng.randrange(R)]

    assert Constraints(circuit.r1cs_bytes).free(assigner.values, changes) == []


def test_a_subtree_below_a_leaf_proves_nothing() -> None:
    """A leaf whose word is a node's hash: that node has children, but no leaf stands there."""
    tree = StateTree.empty()
    inner, _ = tree.insert(5, 1, 0)
    below = inner.node_hash(1, 0)
    planted, _ = tree.insert(9, below, 1)
    index = planted.open(9).index
    honest = told([Batch(before=planted, after=planted, leaves={index})])
    assert broken(honest) == []

    leaf = planted.leaf(index)
    code = root_code(0, BATCHES) << 16 | index
    words = (leaf.key, leaf.next_key, leaf.v0, leaf.v1)
    children = tuple(inner.node_hash(0, i) for i in range(4))
    false = [
        NodeHint(children=words, code=code, takes=True, linked=False, touched=(False, False, True, False)),
        NodeHint(children=children, code=code << 2 | 2, takes=True, linked=False, touched=(True, False, False, False)),
    ]
    free = honest.nodes.index(None)
    nodes = (*honest.nodes[:free], *false, *honest.nodes[free + 2 :])
    reached = (code << 2 | 2) << 2
    deeper = (0, reached - (root_code(0, BATCHES) << 16), children[0], children[0])

    # Only a leaf unit that claimed an index beyond its level could take what is found there.
    assert broken(replace(honest, nodes=nodes, leaves=(deeper,))) == []
    assert deeper[1] >= 4**8
    assert refused(replace(honest, nodes=nodes, leaves=((0, deeper[1] % 4**8, *deeper[2:]),)))
