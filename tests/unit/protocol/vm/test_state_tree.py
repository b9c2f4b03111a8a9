"""The state tree against committed roots; its laws are in tests/property/test_vm_tree.py."""

from __future__ import annotations

import json

from protocol.vm.state_tree import StateTree, empty_hash
from tests.support.tools import ROOT

VECTORS = json.loads((ROOT / "tests/vectors/tree.json").read_text())


def test_empty_subtrees() -> None:
    """Hash of each level, and the root of the tree that holds leaf 0 alone."""
    assert [str(empty_hash(level)) for level in range(17)] == VECTORS["emptySubtrees"]
    assert str(StateTree.empty().root) == VECTORS["emptyRoot"]


def test_roots_and_siblings() -> None:
    """After each write, and the opening of an absent key at the end."""
    tree = StateTree.empty()
    for write in VECTORS["writes"]:
        key, v0, v1 = (int(write[name]) for name in ("key", "v0", "v1"))
        tree, _ = tree.update(key, v0, v1) if tree.open(key).found else tree.insert(key, v0, v1)
        assert (str(tree.root), tree.next_index) == (write["root"], write["next"])
    absent = VECTORS["absent"]
    opening = tree.open(int(absent["key"]))
    leaf = opening.leaf
    assert not opening.found
    assert [str(x) for x in (leaf.key, leaf.next_key, leaf.v0, leaf.v1)] == absent["leaf"]
    assert [[str(x) for x in triple] for triple in opening.siblings] == absent["siblings"]
    assert opening.index == absent["index"]
