"""Laws of the state tree, against a naive recomputation that shares no code with it but the hash."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.constants import FIELD_ORDER
from protocol.errors import StateError
from protocol.vm.poseidon import P
from protocol.vm.state_tree import Insertion, Leaf, StateTree, Update, empty_hash, needed_nodes, partial_tree

# Few distinct digits at both ends of the field, so that neighbours, shared prefixes and repeats are common.
KEYS = st.one_of(
    st.integers(1, 20),
    st.integers(FIELD_ORDER - 10, FIELD_ORDER - 1),
    st.integers(1, FIELD_ORDER - 1),
)
WRITES = st.lists(st.tuples(KEYS, st.integers(0, 3), st.integers(0, 1)), min_size=1, max_size=7)
SLOW = settings(max_examples=12, deadline=None, derandomize=True)


def naive_root(leaves: list[Leaf]) -> int:
    """Level by level, without the tree."""
    row = [P(4, (x.key, x.next_key, x.v0, x.v1)) for x in leaves]
    empty = 0
    for _ in range(8):
        row += [empty] * (-len(row) % 4)
        row = [P(4, row[i : i + 4]) for i in range(0, len(row), 4)]
        empty = P(4, [empty] * 4)
    assert len(row) == 1
    return row[0]


def naive_leaves(writes: list[tuple[int, int, int]]) -> list[Leaf]:
    """Append-only list in order of first appearance, linked by sorting."""
    values: dict[int, tuple[int, int]] = {0: (0, 0)}
    for key, v0, v1 in writes:
        values[key] = (v0, v1)
    order = sorted(values)
    following = dict(zip(order, [*order[1:], 0], strict=True))
    return [Leaf(key, following[key], *pair) for key, pair in values.items()]


def put(tree: StateTree, key: int, v0: int, v1: int) -> tuple[StateTree, Update | Insertion]:
    """Insert or update, whichever is possible."""
    return tree.update(key, v0, v1) if tree.open(key).found else tree.insert(key, v0, v1)


def climb(index: int, leaf: Leaf | None, siblings: tuple[tuple[int, int, int], ...]) -> int:
    """Root that a Merkle path gives."""
    node = 0 if leaf is None else P(4, (leaf.key, leaf.next_key, leaf.v0, leaf.v1))
    for triple in siblings:
        children = list(triple)
        children.insert(index % 4, node)
        node = P(4, children)
        index //= 4
    assert index == 0
    return node


@SLOW
@given(WRITES)
def test_root_and_leaves_equal_a_naive_recomputation(writes: list[tuple[int, int, int]]) -> None:
    """After any sequence of insertions and updates, and no version that was kept changes."""
    tree = StateTree.empty()
    versions = []
    for write in writes:
        versions.append((tree, tree.next_index))
        tree, _ = put(tree, *write)
    expected = naive_leaves(writes)
    assert list(tree.leaves()) == expected
    assert tree.next_index == len(expected)
    assert tree.root == naive_root(expected)
    # Hashes are lazy: an old version hashed only after the new one must still be the old one.
    for done, (version, next_index) in enumerate(versions):
        assert version.next_index == next_index
        assert list(version.leaves()) == naive_leaves(writes[:done])
    assert versions[-1][0].root == naive_root(naive_leaves(writes[:-1]))


@SLOW
@given(WRITES, KEYS)
def test_every_record_proves_its_step(writes: list[tuple[int, int, int]], probe: int) -> None:
    """Merkle paths lead from the old root to the new one, and openings show presence or absence."""
    tree = StateTree.empty()
    for write in writes:
        before, (tree, record) = tree, put(tree, *write)
        updates = (record.low, record.new) if isinstance(record, Insertion) else (record,)
        assert updates[0].root_before == before.root
        assert updates[-1].root_after == tree.root
        for update in updates:
            assert climb(update.index, update.old, update.siblings) == update.root_before
            assert climb(update.index, update.new, update.siblings) == update.root_after
        if isinstance(record, Insertion):
            low, new = record.low, record.new
            assert low.old is not None
            assert low.old.key < write[0] and (low.old.next_key > write[0] or low.old.next_key == 0)
            assert (low.new.next_key, new.new.next_key) == (write[0], low.old.next_key)
            assert new.index == before.next_index == tree.next_index - 1
    opening = tree.open(probe)
    assert climb(opening.index, opening.leaf, opening.siblings) == tree.root
    if opening.found:
        assert probe in {key for key, _, _ in writes}
    else:
        assert opening.leaf.key < probe
        assert opening.leaf.next_key > probe or opening.leaf.next_key == 0
        assert opening.values == (0, 0)


@SLOW
@given(WRITES, st.lists(KEYS, max_size=3), st.lists(st.tuples(KEYS, st.integers(0, 3), st.just(1)), max_size=3))
def test_partial_tree_behaves_as_the_full_one(
    writes: list[tuple[int, int, int]], reads: list[int], more: list[tuple[int, int, int]]
) -> None:
    """Built from the nodes that a run touched, it gives the same answers and roots."""
    full = StateTree.empty()
    for write in writes:
        full, _ = put(full, *write)
    base, touched = full, {index for key in reads for index in full.open(key).indices}
    for write in more:
        touched |= set(full.open(write[0]).indices)
        full, record = put(full, *write)
        touched |= set(record.indices)
    leaves, nodes = needed_nodes(base, touched)
    part = partial_tree(base.next_index, leaves, nodes)
    assert part.root == base.root
    for key in reads:
        assert part.open(key).leaf == base.open(key).leaf
    for write in more:
        part, _ = put(part, *write)
    assert (part.root, part.next_index) == (full.root, full.next_index)


def sample(count: int) -> StateTree:
    """Keys 10, 20, 30, .."""
    tree = StateTree.empty()
    for i in range(1, count + 1):
        tree, _ = tree.insert(10 * i, i, 0)
    return tree


def test_a_missing_node_is_named_and_never_guessed() -> None:
    """Reading, writing and inserting outside the known part."""
    tree = sample(20)
    leaves, nodes = needed_nodes(tree, {2})
    part = partial_tree(tree.next_index, leaves, nodes)
    assert part.get(20) == (2, 0)
    assert part.get(25) == (0, 0)
    for operation in (
        lambda: part.get(30),
        lambda: part.get(5),
        lambda: part.update(40, 1, 1),
        lambda: part.insert(35, 1, 1),
        lambda: part.insert(25, 1, 1),
        lambda: part.siblings(17),
        lambda: part.leaf(17),
        lambda: part.node_hash(0, 17),
    ):
        with pytest.raises(StateError) as caught:
            operation()
        assert caught.value.reason == "NODE_MISSING"


def test_wrong_operations_are_refused() -> None:
    """Update of an absent key, insertion of a present one, a leaf that does not exist."""
    tree = sample(3)
    for operation, reason in (
        (lambda: tree.update(15, 1, 1), "KEY_ABSENT"),
        (lambda: tree.insert(20, 1, 1), "KEY_PRESENT"),
        (lambda: tree.insert(0, 1, 1), "KEY_PRESENT"),
        (lambda: tree.leaf(4), "NODE_MISSING"),
    ):
        with pytest.raises(StateError) as caught:
            operation()
        assert caught.value.reason == reason


def test_a_partial_tree_is_minimal_or_refused() -> None:
    """What follows from the rest, lies in empty places, occurs twice or leaves a hole."""
    tree = sample(20)
    leaves, nodes = needed_nodes(tree, {2, tree.next_index})
    assert partial_tree(tree.next_index, leaves, nodes).root == tree.root
    some_node = min(nodes)
    cases = [
        ("NODE_MISSING", leaves, {k: v for k, v in nodes.items() if k != some_node}),
        ("NODE_MISSING", {}, nodes),
        ("NODE_REDUNDANT", leaves, nodes | {(0, 2): 5}),
        ("NODE_REDUNDANT", leaves, nodes | {(1, 0): 5}),
        ("NODE_REDUNDANT", leaves, nodes | {(0, 4): 5}),
        ("NODE_REDUNDANT", leaves, nodes | {(7, 3): empty_hash(7)}),
        ("NODE_REDUNDANT", {}, {(9, 0): 5}),
        ("NODE_REDUNDANT", {}, {(16, 0): 5}),
        ("NODE_REDUNDANT", leaves | {30: Leaf(1, 2, 3, 4)}, nodes),
        ("NODE_REDUNDANT", {}, {(0, i): 1 for i in range(21)}),
    ]
    for reason, some_leaves, some_nodes in cases:
        with pytest.raises(StateError) as caught:
            partial_tree(tree.next_index, some_leaves, some_nodes)
        assert caught.value.reason == reason
    for next_index in (0, 4**16 + 1):
        with pytest.raises(StateError) as caught:
            partial_tree(next_index, leaves, nodes)
        assert caught.value.reason == "NEXT_INDEX"
    twice = {0: Leaf(0, 7, 0, 0), 1: Leaf(7, 0, 1, 0), 2: Leaf(7, 0, 2, 0)}
    with pytest.raises(StateError) as caught:
        partial_tree(3, twice, {})
    assert caught.value.reason == "KEY_PRESENT"


@pytest.mark.parametrize("levels", [8, 12])
def test_a_tree_that_grows_past_its_depth_becomes_four_levels_deeper(levels: int) -> None:
    """The old root is the first node of the new tree, and both records of the insertion prove it."""
    full = 4**levels
    nodes = {(level, digit): 9 + 4 * level + digit for level in range(levels) for digit in (1, 2, 3)}
    tree = partial_tree(full, {0: Leaf(0, 0, 0, 0)}, nodes)
    assert tree.depth == levels == len(tree.siblings(0))
    grown, record = tree.insert(5, 6, 0)

    assert (grown.next_index, grown.depth) == (full + 1, levels + 4)
    assert record.low.root_before == tree.root != record.new.root_before
    for update in (record.low, record.new):
        assert climb(update.index, update.old, update.siblings) == update.root_before
        assert climb(update.index, update.new, update.siblings) == update.root_after
    assert record.new.root_after == grown.root
    assert climb(0, record.low.new, grown.siblings(0)) == grown.root
