"""What a light client checks against a rollup's root: one key, or all keys with a prefix; and snapshots (SPEC §3.5).

API:
    prove_key(state, key) -> KeyProof;            check_key(root, key, proof) -> (v0, v1)
    make_bucket(state, bits, prefix) -> Bucket;   check_bucket(root, bucket) -> {key: (v0, v1)}, all keys there are
    encode_* / decode_* of both
    encode_snapshot(state);  decode_snapshot(raw) -> VmState     compare its root before use

Asking for a key tells which one is of interest. Asking for a bucket tells its prefix only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from protocol.constants import DEPLOY_CHUNK, FIELD_ORDER, MAX_BUCKET_LEAVES, TREE_ARITY
from protocol.errors import DecodeError, RuleError, StateError
from protocol.reader import Reader
from protocol.vm.isa import Instruction, encode_instructions, read_instructions, unpack_instruction
from protocol.vm.poseidon import P
from protocol.vm.state import VmState, frames_hash
from protocol.vm.state_tree import MAX_LEAVES, Leaf, StateTree, needed_nodes, partial_tree, tree_depth

KEY_BITS: Final = 254
"""Of a tree key; a bucket's prefix is its first bits."""
SNAPSHOT_VERSION: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyProof:
    """What a key reads as under a root."""

    next_index: int
    frames: int
    """The root's other parts."""
    index: int
    """Of `leaf`."""
    leaf: Leaf
    """Holds the key, or would come just before it."""
    siblings: tuple[int, ...]
    """Three for each level, lowest first, in child order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """All keys with a prefix, and the leaf before them."""

    bits: int
    """Length of the prefix, 0..254."""
    prefix: int
    next_index: int
    frames: int
    leaves: tuple[tuple[int, Leaf], ...]
    """(index, leaf), ascending by index."""
    nodes: tuple[tuple[int, int, int], ...]
    """(level, index, hash), ascending: what the root needs beside the leaves."""


# -- one key -----------------------------------------------------------------------------------------------------------


def prove_key(state: VmState, key: int) -> KeyProof:
    """Open a key of a full state, present or not."""
    opening = state.tree.open(key)
    return KeyProof(
        next_index=state.tree.next_index,
        frames=frames_hash(state.frames),
        index=opening.index,
        leaf=opening.leaf,
        siblings=tuple(x for triple in opening.siblings for x in triple),
    )


def check_key(root: int, key: int, proof: KeyProof) -> tuple[int, int]:
    """(v0, v1) of a key under a root, (0, 0) if it is absent.

    Args:
        root: from L1.
        key: field element, not 0.

    Raises:
        RuleError: OPENING_SHAPE, OPENING_KEY (the leaf says nothing about it), OPENING_ROOT.
    """
    leaf, depth = proof.leaf, tree_depth(proof.next_index)
    shaped = 0 <= proof.index < proof.next_index <= MAX_LEAVES and len(proof.siblings) == 3 * depth
    if not shaped or not 0 < key < FIELD_ORDER:
        raise RuleError("OPENING_SHAPE")
    if leaf.key != key and not (leaf.key < key and (leaf.next_key > key or leaf.next_key == 0)):
        raise RuleError("OPENING_KEY", key=key)
    node = P(4, (leaf.key, leaf.next_key, leaf.v0, leaf.v1))
    for level in range(depth):
        digit = proof.index >> 2 * level & 3
        beside = proof.siblings[3 * level : 3 * level + 3]
        node = P(4, (*beside[:digit], node, *beside[digit:]))
    if P(3, (node, proof.next_index, proof.frames)) != root:
        raise RuleError("OPENING_ROOT")
    return (leaf.v0, leaf.v1) if leaf.key == key else (0, 0)


# -- buckets -----------------------------------------------------------------------------------------------------------


def make_bucket(state: VmState, bits: int, prefix: int) -> Bucket:
    """Collect a bucket of a full state.

    Raises:
        RuleError: BUCKET_PREFIX; BUCKET_LEAVES: more leaves than one bucket may have, so take a longer prefix.
    """
    low, high = _bounds(bits, prefix)
    found: dict[int, Leaf] = {}
    leaf = state.tree.leaf(0)
    if low:
        opening = state.tree.open(low)
        leaf = opening.leaf
        found[opening.index] = leaf
    else:
        found[0] = leaf
    while 0 < leaf.next_key < high:
        if len(found) == MAX_BUCKET_LEAVES:
            raise RuleError("BUCKET_LEAVES", limit=MAX_BUCKET_LEAVES)
        opening = state.tree.open(leaf.next_key)
        leaf = opening.leaf
        found[opening.index] = leaf
    _, nodes = needed_nodes(state.tree, set(found))
    return Bucket(
        bits=bits,
        prefix=prefix,
        next_index=state.tree.next_index,
        frames=frames_hash(state.frames),
        leaves=tuple(sorted(found.items())),
        nodes=tuple((level, place, value) for (level, place), value in sorted(nodes.items())),
    )


def check_bucket(root: int, bucket: Bucket) -> Mapping[int, tuple[int, int]]:
    """All keys with the bucket's prefix that the rollup has, and what they hold.

    Raises:
        RuleError: BUCKET_PREFIX, BUCKET_CHAIN: leaves are missing or too many; OPENING_ROOT.
        StateError: leaves and nodes do not make a tree.
    """
    low, high = _bounds(bucket.bits, bucket.prefix)
    chain = sorted((leaf for _, leaf in bucket.leaves), key=lambda leaf: leaf.key)
    # The first leaf is the last one not above `low`; each names the next; the last names none below `high`.
    if not chain or chain[0].key > low:
        raise RuleError("BUCKET_CHAIN")
    linked = all(a.next_key == b.key for a, b in zip(chain, chain[1:], strict=False))
    ends = chain[-1].next_key == 0 or chain[-1].next_key >= high
    reaches = len(chain) == 1 or chain[1].key > low
    if not linked or not ends or not reaches or any(leaf.key >= high for leaf in chain):
        raise RuleError("BUCKET_CHAIN")
    nodes = {(level, index): value for level, index, value in bucket.nodes}
    if len(nodes) < len(bucket.nodes):
        raise RuleError("BUCKET_CHAIN")
    tree = partial_tree(bucket.next_index, dict(bucket.leaves), nodes)
    if P(3, (tree.root, bucket.next_index, bucket.frames)) != root:
        raise RuleError("OPENING_ROOT")
    return {leaf.key: (leaf.v0, leaf.v1) for leaf in chain if leaf.key >= low and leaf.key}


def _bounds(bits: int, prefix: int) -> tuple[int, int]:
    if not 0 <= bits <= KEY_BITS or not 0 <= prefix < 1 << bits:
        raise RuleError("BUCKET_PREFIX", bits=bits, prefix=prefix)
    width = KEY_BITS - bits
    return prefix << width, (prefix + 1) << width


# -- bytes -------------------------------------------------------------------------------------------------------------


def leaf_bytes(leaf: Leaf) -> bytes:
    """key b32 | nextKey b32 | v0 b32 | v1 b32."""
    return b"".join(x.to_bytes(32, "big") for x in (leaf.key, leaf.next_key, leaf.v0, leaf.v1))


def _read_leaf(reader: Reader) -> Leaf:
    return Leaf(reader.field(), reader.field(), reader.field(), reader.field())


def encode_key_proof(proof: KeyProof) -> bytes:
    """nextIndex u64 | frames b32 | index u32 | leaf | siblings."""
    head = proof.next_index.to_bytes(8, "big") + proof.frames.to_bytes(32, "big") + proof.index.to_bytes(4, "big")
    return head + leaf_bytes(proof.leaf) + b"".join(x.to_bytes(32, "big") for x in proof.siblings)


def decode_key_proof(raw: bytes) -> KeyProof:
    """Undo `encode_key_proof`.

    Raises:
        DecodeError: OPENING_NEXT_INDEX, truncated, trailing, FIELD_RANGE.
    """
    reader = Reader(raw, "OPENING")
    next_index = _read_next_index(reader, "OPENING")
    frames, index, leaf = reader.field(), reader.uint(4), _read_leaf(reader)
    siblings = tuple(int(reader.field()) for _ in range((TREE_ARITY - 1) * tree_depth(next_index)))
    reader.end()
    return KeyProof(next_index=next_index, frames=frames, index=index, leaf=leaf, siblings=siblings)


def _read_next_index(reader: Reader, what: str) -> int:
    next_index = reader.uint(8)
    if not 1 <= next_index <= MAX_LEAVES:
        raise DecodeError(f"{what}_NEXT_INDEX", next_index=next_index)
    return next_index


def encode_bucket(bucket: Bucket) -> bytes:
    """bits u8 | prefix b32 | nextIndex u64 | frames b32 | count u16 | (index u32 | leaf)* | count u32 | node*."""
    parts = [bytes((bucket.bits,)), bucket.prefix.to_bytes(32, "big"), bucket.next_index.to_bytes(8, "big")]
    parts += [bucket.frames.to_bytes(32, "big"), len(bucket.leaves).to_bytes(2, "big")]
    parts += [index.to_bytes(4, "big") + leaf_bytes(leaf) for index, leaf in bucket.leaves]
    parts.append(len(bucket.nodes).to_bytes(4, "big"))
    parts += [bytes((level,)) + index.to_bytes(4, "big") + x.to_bytes(32, "big") for level, index, x in bucket.nodes]
    return b"".join(parts)


def decode_bucket(raw: bytes) -> Bucket:
    """Undo `encode_bucket`.

    Raises:
        DecodeError: BUCKET_NEXT_INDEX, BUCKET_LEAVES, BUCKET_NODES, truncated, trailing, FIELD_RANGE.
    """
    reader = Reader(raw, "BUCKET")
    bits, prefix = reader.uint(1), reader.uint(32)
    next_index = _read_next_index(reader, "BUCKET")
    frames, count = reader.field(), reader.uint(2)
    if count > MAX_BUCKET_LEAVES:
        raise DecodeError("BUCKET_LEAVES", count=count)
    leaves = tuple((reader.uint(4), _read_leaf(reader)) for _ in range(count))
    node_count = reader.uint(4)
    if node_count > count * (TREE_ARITY - 1) * tree_depth(next_index):
        raise DecodeError("BUCKET_NODES", count=node_count)
    nodes = tuple((reader.uint(1), reader.uint(4), int(reader.field())) for _ in range(node_count))
    reader.end()
    return Bucket(bits=bits, prefix=prefix, next_index=next_index, frames=frames, leaves=leaves, nodes=nodes)


# -- snapshots ---------------------------------------------------------------------------------------------------------


def encode_snapshot(state: VmState) -> bytes:
    """A full state without suspended frames, for whoever does not want to replay a rollup from its genesis.

    Raises:
        StateError: NOT_CANONICAL: frames are suspended.
    """
    if state.frames is not None:
        raise StateError("NOT_CANONICAL")
    parts = [bytes((SNAPSHOT_VERSION,)), state.tree.next_index.to_bytes(8, "big")]
    parts += [leaf_bytes(leaf) for leaf in state.tree.leaves()]
    parts.append(len(state.programs).to_bytes(4, "big"))
    parts += [encode_instructions(state.programs[code_hash]) for code_hash in sorted(state.programs)]
    parts.append(len(state.drafts).to_bytes(4, "big"))
    for after, (before, chunk) in sorted(state.drafts.items()):
        parts += [after.to_bytes(32, "big"), before.to_bytes(32, "big"), bytes((len(chunk),))]
        parts += [x.packed.to_bytes(32, "big") for x in chunk]
    return b"".join(parts)


def decode_snapshot(raw: bytes) -> VmState:
    """Undo `encode_snapshot`. The state's root must be compared with L1's; programs are checked by their hashes.

    Raises:
        DecodeError: SNAPSHOT_VERSION, SNAPSHOT_NEXT_INDEX, SNAPSHOT_ORDER, SNAPSHOT_DRAFT, truncated, trailing,
            FIELD_RANGE.
        ProgramError: an ill-formed program.
    """
    reader = Reader(raw, "SNAPSHOT")
    version = reader.uint(1)
    if version != SNAPSHOT_VERSION:
        raise DecodeError("SNAPSHOT_VERSION", version=version)
    next_index = _read_next_index(reader, "SNAPSHOT")
    if next_index > reader.remaining // 128:
        raise DecodeError("SNAPSHOT_TRUNCATED", wanted=next_index)
    tree = _tree_of(reader, next_index)
    programs = [read_instructions(reader, reader.uint(2)) for _ in _counted(reader)]
    hashes = [program.code_hash for program in programs]
    drafts = dict(_read_draft(reader) for _ in _counted(reader))
    reader.end()
    if hashes != sorted(set(hashes)) or list(drafts) != sorted(drafts):
        raise DecodeError("SNAPSHOT_ORDER")
    return VmState(tree=tree, frames=None, programs={p.code_hash: p for p in programs}, drafts=drafts)


def _tree_of(reader: Reader, next_index: int) -> StateTree:
    return partial_tree(next_index, {index: _read_leaf(reader) for index in range(next_index)}, {})


def _counted(reader: Reader) -> Iterator[int]:
    yield from range(reader.uint(4))


def _read_draft(reader: Reader) -> tuple[int, tuple[int, tuple[Instruction, ...]]]:
    after, before = int(reader.field()), int(reader.field())
    chunk = tuple(unpack_instruction(reader.uint(32)) for _ in range(reader.uint(1)))
    if not 1 <= len(chunk) <= DEPLOY_CHUNK:
        raise DecodeError("SNAPSHOT_DRAFT", after=after)
    if P(16, (before, *(x.packed for x in chunk), *[0] * (DEPLOY_CHUNK - len(chunk)))) != after:
        raise DecodeError("SNAPSHOT_DRAFT", after=after)
    return after, (before, chunk)
