"""Indexed Merkle tree of a rollup's state, arity 4, depth 8, 12 or 16 by its size (SPEC §3.1).

Trees are values: an operation returns a new tree that shares all it can with the old one, so a snapshot is a
reference and a rollback is forgetting. Hashes are computed when somebody asks for them, each at most once.

API:
    StateTree.empty();  tree.root, tree.next_index
    tree.get(key) -> (v0, v1)                  absent keys read as (0, 0)
    tree.open(key) -> Opening                  membership, or non-membership by the leaf with the largest smaller key
    tree.update(key, v0, v1) -> (tree, Update)
    tree.insert(key, v0, v1) -> (tree, Insertion)
    tree.depth, tree_depth(next_index)
    tree.siblings(index), tree.leaf(index), tree.leaves(), tree.node_hash(level, index)
    tree_of_leaves(leaves, hashes)             from all its leaves
    partial_tree(next_index, leaves, nodes)    from part of a tree; what is not there raises StateError NODE_MISSING

Records (`Opening`, `Update`, `Insertion`) hold what a circuit proves: index, leaves and, computed on demand, siblings
and roots. Siblings are one triple for each level of the tree, lowest first; a triple holds the three other
children in child order. An Update proves root_before -> root_after with the same siblings. Where an insertion makes the
tree deeper, its second Update has siblings up to the new root; the old one stands below empty siblings. An Insertion is
two Updates in a row: the low leaf, then the new one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from protocol.constants import MIN_TREE_DEPTH, TREE_ARITY, TREE_DEPTH, TREE_DEPTH_STEP
from protocol.errors import StateError
from protocol.vm.key_index import EMPTY_INDEX, KeyIndex, index_floor, index_insert
from protocol.vm.poseidon import P

MAX_LEAVES: Final = TREE_ARITY**TREE_DEPTH

Siblings = tuple[tuple[int, int, int], ...]
"""Triples of node hashes, lowest level first."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """One leaf: two value words under a key, linked to the next larger key present (0: none)."""

    key: int
    next_key: int
    v0: int
    v1: int


class _Node:
    """A place in the tree: a leaf, an inner node, an empty subtree, or only the hash of something unknown."""

    __slots__ = ("_hash", "children", "leaf")

    def __init__(
        self, *, children: tuple[_Node, ...] | None = None, leaf: Leaf | None = None, known_hash: int | None = None
    ) -> None:
        self.children = children
        self.leaf = leaf
        self._hash = known_hash

    @property
    def hash(self) -> int:
        if self._hash is None:
            if self.children is not None:
                self._hash = P(4, [child.hash for child in self.children])
            else:
                assert self.leaf is not None
                self._hash = P(4, (self.leaf.key, self.leaf.next_key, self.leaf.v0, self.leaf.v1))
        return self._hash


def _empty_nodes() -> tuple[_Node, ...]:
    nodes = [_Node(known_hash=0)]
    for _ in range(TREE_DEPTH):
        nodes.append(_Node(children=(nodes[-1],) * TREE_ARITY))
    return tuple(nodes)


_EMPTY: Final = _empty_nodes()
"""Empty subtree of each level; level 0 is an empty place."""


def tree_depth(next_index: int) -> int:
    """Levels of a tree with that many leaves (SPEC §3.1)."""
    depth = MIN_TREE_DEPTH
    while next_index > TREE_ARITY**depth:
        depth += TREE_DEPTH_STEP
    return depth


def empty_hash(level: int) -> int:
    """Hash of an all-empty subtree; level 0 is a leaf's place."""
    return _EMPTY[level].hash


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """What a key reads as. Either `leaf.key == key`, or `leaf.key < key` and (`leaf.next_key > key` or it is 0)."""

    tree: StateTree
    key: int
    index: int
    """Index of `leaf`."""
    leaf: Leaf

    @property
    def found(self) -> bool:
        """Whether the key is present."""
        return self.leaf.key == self.key

    @property
    def values(self) -> tuple[int, int]:
        """(v0, v1) of the key, (0, 0) if absent."""
        return (self.leaf.v0, self.leaf.v1) if self.found else (0, 0)

    @property
    def siblings(self) -> Siblings:
        """Siblings of the leaf."""
        return self.tree.siblings(self.index)

    @property
    def indices(self) -> tuple[int, ...]:
        """Leaf places whose paths this record needs."""
        return (self.index,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """One place rewritten; `old` None means that it was empty."""

    before: StateTree
    after: StateTree
    index: int
    old: Leaf | None
    new: Leaf

    @property
    def siblings(self) -> Siblings:
        """Siblings of the place, the same before and after."""
        return self.before.siblings(self.index, self.after.depth)

    @property
    def root_before(self) -> int:
        """Tree root with the old leaf, below empty siblings if the tree becomes deeper."""
        return self.before.node_hash(self.after.depth, 0)

    @property
    def root_after(self) -> int:
        """Tree root with the new leaf."""
        return self.after.root

    @property
    def indices(self) -> tuple[int, ...]:
        """Leaf places whose paths this record needs."""
        return (self.index,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Insertion:
    """A key that was absent: `low` links to it, `new` puts it at nextIndex."""

    low: Update
    new: Update

    @property
    def indices(self) -> tuple[int, ...]:
        """Leaf places whose paths this record needs."""
        return (self.low.index, self.new.index)


TreeOperation = Opening | Update | Insertion


class StateTree:
    """One version of a rollup's state. Immutable."""

    __slots__ = ("_keys", "_top", "next_index")

    def __init__(self, top: _Node, keys: KeyIndex, next_index: int) -> None:
        self._top = top
        self._keys = keys
        self.next_index = next_index

    @staticmethod
    def empty() -> StateTree:
        """The tree of leaf 0 alone."""
        return StateTree(_EMPTY[TREE_DEPTH], EMPTY_INDEX, 1)._with_leaf(0, Leaf(0, 0, 0, 0), is_new=True)

    @property
    def root(self) -> int:
        """Root of the tree (not yet the rollup's root, SPEC §3.3)."""
        return self.node_hash(self.depth, 0)

    @property
    def depth(self) -> int:
        """Levels between leaves and root."""
        return tree_depth(self.next_index)

    def _place(self, index: int) -> _Node:
        node = self._top
        for level in range(TREE_DEPTH - 1, -1, -1):
            if node.children is None:
                raise StateError("NODE_MISSING", level=level + 1, index=index >> (2 * level + 2))
            node = node.children[(index >> (2 * level)) & 3]
        return node

    def leaf(self, index: int) -> Leaf:
        """The leaf at an index.

        Raises:
            StateError: NODE_MISSING: the place is empty, or outside a partial tree.
        """
        leaf = self._place(index).leaf
        if leaf is None:
            raise StateError("NODE_MISSING", level=0, index=index)
        return leaf

    def leaves(self) -> Iterator[Leaf]:
        """All leaves in index order; needs a full tree."""
        return (self.leaf(index) for index in range(self.next_index))

    def siblings(self, index: int, depth: int | None = None) -> Siblings:
        """Siblings of a place, lowest level first.

        Args:
            depth: up to which level; up to the root if omitted.

        Raises:
            StateError: NODE_MISSING: outside a partial tree.
        """
        out = []
        depth = self.depth if depth is None else depth
        node = self._top
        for level in range(TREE_DEPTH - 1, -1, -1):
            if node.children is None:
                raise StateError("NODE_MISSING", level=level + 1, index=index >> (2 * level + 2))
            digit = (index >> (2 * level)) & 3
            if level < depth:
                a, b, c = (child.hash for i, child in enumerate(node.children) if i != digit)
                out.append((a, b, c))
            node = node.children[digit]
        return tuple(reversed(out))

    def node_hash(self, level: int, index: int) -> int:
        """Hash of the node `index` of a level; level 0 are leaf hashes."""
        node = self._top
        for above in range(TREE_DEPTH - 1, level - 1, -1):
            if node.children is None:
                raise StateError("NODE_MISSING", level=above + 1, index=index >> (2 * (above + 1 - level)))
            node = node.children[(index >> (2 * (above - level))) & 3]
        return node.hash

    def open(self, key: int) -> Opening:
        """Find a key, or show that it is absent.

        Args:
            key: field element, not 0.

        Raises:
            StateError: NODE_MISSING: a partial tree does not say.
        """
        index = index_floor(self._keys, key)
        if index is None:
            raise StateError("NODE_MISSING", key=key)
        leaf = self.leaf(index)
        if leaf.key != key and 0 < leaf.next_key <= key:
            raise StateError("NODE_MISSING", key=key)
        return Opening(tree=self, key=key, index=index, leaf=leaf)

    def get(self, key: int) -> tuple[int, int]:
        """(v0, v1) of a key, (0, 0) if absent."""
        return self.open(key).values

    def update(self, key: int, v0: int, v1: int) -> tuple[StateTree, Update]:
        """Rewrite the values of a key that is present.

        Raises:
            StateError: KEY_ABSENT, NODE_MISSING.
        """
        opening = self.open(key)
        if not opening.found:
            raise StateError("KEY_ABSENT", key=key)
        new = Leaf(key, opening.leaf.next_key, v0, v1)
        after = self._with_leaf(opening.index, new, is_new=False)
        return after, Update(before=self, after=after, index=opening.index, old=opening.leaf, new=new)

    def insert(self, key: int, v0: int, v1: int) -> tuple[StateTree, Insertion]:
        """Add a key that is absent.

        Raises:
            StateError: KEY_PRESENT, TREE_FULL, NODE_MISSING.
        """
        opening = self.open(key)
        if opening.found:
            raise StateError("KEY_PRESENT", key=key)
        if self.next_index >= MAX_LEAVES:
            raise StateError("TREE_FULL")
        low, index = opening.leaf, self.next_index
        linked = Leaf(low.key, key, low.v0, low.v1)
        middle = self._with_leaf(opening.index, linked, is_new=False)
        new = Leaf(key, low.next_key, v0, v1)
        after = middle._with_leaf(index, new, is_new=True)
        first = Update(before=self, after=middle, index=opening.index, old=low, new=linked)
        return after, Insertion(low=first, new=Update(before=middle, after=after, index=index, old=None, new=new))

    def _with_leaf(self, index: int, leaf: Leaf, *, is_new: bool) -> StateTree:
        path: list[tuple[tuple[_Node, ...], int]] = []
        node = self._top
        for level in range(TREE_DEPTH - 1, -1, -1):
            if node.children is None:
                raise StateError("NODE_MISSING", level=level + 1, index=index >> (2 * level + 2))
            digit = (index >> (2 * level)) & 3
            path.append((node.children, digit))
            node = node.children[digit]
        node = _Node(leaf=leaf)
        for children, digit in reversed(path):
            node = _Node(children=(*children[:digit], node, *children[digit + 1 :]))
        if not is_new:
            return StateTree(node, self._keys, self.next_index)
        return StateTree(node, index_insert(self._keys, leaf.key, index), max(self.next_index, index + 1))


def tree_of_leaves(leaves: Sequence[Leaf], hashes: Mapping[tuple[int, int], int]) -> StateTree:
    """Build a whole tree. What `hashes` has by (level, index) is believed and not computed again.

    Args:
        leaves: by index, at least leaf 0.
    """
    row = [_Node(leaf=leaf, known_hash=hashes.get((0, index))) for index, leaf in enumerate(leaves)]
    for level in range(TREE_DEPTH):
        row += [_EMPTY[level]] * (-len(row) % TREE_ARITY)
        row = [
            _Node(children=tuple(row[at : at + TREE_ARITY]), known_hash=hashes.get((level + 1, at // TREE_ARITY)))
            for at in range(0, len(row), TREE_ARITY)
        ]
    keys = EMPTY_INDEX
    for index, leaf in enumerate(leaves):
        keys = index_insert(keys, leaf.key, index)
    return StateTree(row[0], keys, len(leaves))


def partial_tree(next_index: int, leaves: Mapping[int, Leaf], nodes: Mapping[tuple[int, int], int]) -> StateTree:
    """Build the known part of a tree. Its root proves the part only if the caller compares it.

    Args:
        next_index: leaves in use, 1..4^16; places from there on are empty.
        leaves: by index.
        nodes: hash by (level, index); level 0 are leaf hashes.

    Raises:
        StateError: NEXT_INDEX, NODE_MISSING (the root cannot be computed), NODE_REDUNDANT (a node or leaf is empty,
            given twice or follows from others), KEY_PRESENT (two leaves with one key).
    """
    if not 1 <= next_index <= MAX_LEAVES:
        raise StateError("NEXT_INDEX", next_index=next_index)
    # Each item as (first leaf place below it, level), so that a subtree's items are a contiguous run.
    items = sorted([(index << (2 * level), level) for level, index in nodes] + [(index, 0) for index in leaves])
    if (
        len(set(items)) < len(items)
        or any(place >= next_index for place, _ in items)
        or any(level > tree_depth(next_index) for level, _ in nodes)
    ):
        raise StateError("NODE_REDUNDANT")

    def build(level: int, index: int, run: list[tuple[int, int]]) -> _Node:
        place = index << (2 * level)
        if place >= next_index:
            return _EMPTY[level]
        if not run:
            raise StateError("NODE_MISSING", level=level, index=index)
        known = nodes.get((level, index))
        if known is not None:
            if len(run) > 1:
                raise StateError("NODE_REDUNDANT", level=level, index=index)
            return _Node(known_hash=known)
        if level == 0:
            return _Node(leaf=leaves[index])
        width = 1 << (2 * level - 2)
        parts = [[item for item in run if (item[0] - place) // width == digit] for digit in range(4)]
        children = tuple(build(level - 1, 4 * index + digit, part) for digit, part in enumerate(parts))
        in_use = (index + 1) << (
            2 * level
        ) <= next_index  # else an insertion may need what lies beside the empty places
        if in_use and all(child.children is None and child.leaf is None for child in children):
            raise StateError("NODE_REDUNDANT", level=level, index=index)
        return _Node(children=children)

    top = build(TREE_DEPTH, 0, items)
    keys = EMPTY_INDEX
    for index, leaf in leaves.items():
        keys = index_insert(keys, leaf.key, index)
    return StateTree(top, keys, next_index)


def needed_nodes(tree: StateTree, indices: set[int]) -> tuple[dict[int, Leaf], dict[tuple[int, int], int]]:
    """Leaves and nodes from which `partial_tree` rebuilds what paths to these places need.

    Args:
        tree: the version from before anything was touched.
        indices: leaf places; those not in use yet are places of insertions.

    Returns:
        leaves by index, node hashes by (level, index): the smallest set that gives the root.
    """
    leaves = {index: tree.leaf(index) for index in sorted(indices) if index < tree.next_index}
    if not indices:
        return {}, {(tree.depth, 0): tree.root}
    nodes: dict[tuple[int, int], int] = {}
    on_path = indices
    for level in range(TREE_DEPTH):
        parents = {index >> 2 for index in on_path}
        for parent in parents:
            for child in range(4 * parent, 4 * parent + 4):
                if child not in on_path and child << (2 * level) < tree.next_index:
                    nodes[level, child] = tree.node_hash(level, child)
        on_path = parents
    return leaves, nodes
