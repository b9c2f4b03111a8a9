"""A part of a rollup's state, put together from buckets and the frontier where leaves are added (SPEC §3.5).

API:
    read_bucket(root, bits, prefix, raw) -> Bucket      checked
    read_frontier(root, raw) -> Frontier                checked
    PartialState(frontier).with_bucket(bucket).state(programs) -> VmState
    bucket_bits(next_index)                             how many bits a prefix has in a tree of that size
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from protocol.constants import TREE_ARITY, TREE_DEPTH
from protocol.errors import DecodeError, RuleError
from protocol.reader import Reader
from protocol.vm.isa import Program
from protocol.vm.openings import KEY_BITS, Bucket, check_bucket, decode_bucket
from protocol.vm.poseidon import P
from protocol.vm.state import VmState
from protocol.vm.state_tree import MAX_LEAVES, Leaf, partial_tree
from protocol.vm.sync import NODE_BYTES

WIDE: Final = 512
"""Leaves that a bucket has on average, at least: among so many is the one that is meant."""
MAX_FRONTIER_NODES: Final = (TREE_ARITY - 1) * TREE_DEPTH


def bucket_bits(next_index: int) -> int:
    """Length of a prefix that about `WIDE` to twice as many of the keys share. The same for all who ask."""
    return max(0, (next_index // WIDE).bit_length() - 1)


def prefix_of(key: int, bits: int) -> int:
    """The bucket that a key is in."""
    return key >> (KEY_BITS - bits)


@dataclass(frozen=True, slots=True, kw_only=True)
class Frontier:
    """What adding leaves needs: hashes beside the path to the first empty place."""

    next_index: int
    nodes: Mapping[tuple[int, int], int]


def read_frontier(root: int, raw: bytes) -> Frontier:
    """The frontier of the state with a root. It is the same for everybody: asking for it tells nothing.

    Raises:
        DecodeError: FRONTIER_NEXT_INDEX, FRONTIER_NODES, truncated, trailing, FIELD_RANGE.
        StateError: the nodes make no tree.
        RuleError: FRONTIER_ROOT.
    """
    reader = Reader(raw, "FRONTIER")
    next_index = reader.uint(8)
    if not 1 <= next_index <= MAX_LEAVES:
        raise DecodeError("FRONTIER_NEXT_INDEX", next_index=next_index)
    if reader.remaining > NODE_BYTES * MAX_FRONTIER_NODES:
        raise DecodeError("FRONTIER_NODES", size=len(raw))
    nodes: dict[tuple[int, int], int] = {}
    while reader.remaining:
        place = reader.uint(1), reader.uint(4)
        if nodes and place <= next(reversed(nodes)):
            raise DecodeError("FRONTIER_NODES", level=place[0], index=place[1])
        nodes[place] = int(reader.field())
    if P(3, (partial_tree(next_index, {}, nodes).root, next_index, 0)) != root:
        raise RuleError("FRONTIER_ROOT")
    return Frontier(next_index=next_index, nodes=nodes)


def read_bucket(root: int, bits: int, prefix: int, raw: bytes) -> Bucket:
    """The bucket that was asked for.

    Raises:
        DecodeError: as `decode_bucket`.
        RuleError: BUCKET_PREFIX: another bucket, or one of a state between two entries; as `check_bucket`.
        StateError: as `check_bucket`.
    """
    bucket = decode_bucket(raw)
    if (bucket.bits, bucket.prefix, bucket.frames) != (bits, prefix, 0):
        raise RuleError("BUCKET_PREFIX", bits=bucket.bits, prefix=bucket.prefix)
    check_bucket(root, bucket)
    return bucket


@dataclass(frozen=True, slots=True, kw_only=True)
class PartialState:
    """What is known of one state. Immutable."""

    frontier: Frontier
    leaves: Mapping[int, Leaf] = field(default_factory=dict)
    nodes: Mapping[tuple[int, int], int] = field(default_factory=dict)
    prefixes: frozenset[int] = frozenset()
    """Buckets that it holds."""

    @property
    def bits(self) -> int:
        """Of its buckets' prefixes."""
        return bucket_bits(self.frontier.next_index)

    def has(self, key: int) -> bool:
        """Whether it says what a key holds."""
        return prefix_of(key, self.bits) in self.prefixes

    def with_bucket(self, bucket: Bucket) -> PartialState:
        """Also with a checked bucket of the same root."""
        return replace(
            self,
            leaves={**self.leaves, **dict(bucket.leaves)},
            nodes={**self.nodes, **{(level, index): value for level, index, value in bucket.nodes}},
            prefixes=self.prefixes | {bucket.prefix},
        )

    def state(self, programs: Mapping[int, Program]) -> VmState:
        """As a state, in which what is not known raises NODE_MISSING."""
        nodes = {**self.nodes, **self.frontier.nodes}
        above = {
            (level, index >> 2 * (level - below))
            for below, index in [*((0, index) for index in self.leaves), *nodes]
            for level in range(below + 1, TREE_DEPTH + 1)
        }
        # A node above a leaf or a node that is known follows from what is below it.
        kept = {
            at: value for at, value in nodes.items() if at not in above and not (at[0] == 0 and at[1] in self.leaves)
        }
        tree = partial_tree(self.frontier.next_index, dict(self.leaves), kept)
        return VmState(tree=tree, frames=None, programs=dict(programs))
