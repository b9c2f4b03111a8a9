"""How a rollup's state is asked for in parts, and how each part is checked by itself against a root of L1 (SPEC §3.5).

API:
    encode_question(Question) / decode_question(raw);  answer_question(state, question) -> bytes    who follows
    read_outline(root, raw) -> Outline                 hashes of all chunks; what gives the root is believed
    read_chunk(outline, index, raw) -> Chunk           256 leaves that give their hash in the outline
    read_program(code_hash, raw), read_draft(after, raw)
    needed_programs(leaves), needed_drafts(leaves)     by what the leaves say
    state_of_chunks(outline, chunks, programs, drafts) -> VmState

A chunk is addressed by its hash: when the root moves, those that did not change are still good.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from protocol.constants import DEPLOY_CHUNK, MAX_PROGRAM, TREE_ARITY
from protocol.errors import DecodeError, RuleError, StateError
from protocol.reader import Reader
from protocol.vm.isa import Instruction, Program, encode_instructions, read_instructions, unpack_instruction
from protocol.vm.openings import encode_bucket, leaf_bytes, make_bucket
from protocol.vm.poseidon import P
from protocol.vm.state import VmState
from protocol.vm.state_tree import Leaf, StateTree, empty_hash, needed_nodes, tree_depth, tree_of_leaves

CHUNK_LEVEL: Final = 4
CHUNK_LEAVES: Final = TREE_ARITY**CHUNK_LEVEL
MAX_SNAPSHOT_LEAVES: Final = 1 << 20
"""Leaves of a state that is given as a whole; larger ones in buckets."""
LEAF_BYTES: Final = 128
NODE_BYTES: Final = 37
QUESTION_BYTES: Final = 1 + 8 + 32 + 1 + 32
MAX_ANSWER_BYTES: Final = 1 << 20


class Part(IntEnum):
    """What is asked for."""

    OUTLINE = 1
    CHUNK = 2
    PROGRAM = 3
    DRAFT = 4
    BUCKET = 5
    FRONTIER = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One part of one state of one rollup."""

    part: Part
    rollup_id: int
    root: int
    which: int = 0
    """Index of a chunk; hash of a program, or up to the end of a draft; prefix of a bucket; else 0."""
    bits: int = 0
    """Of a bucket's prefix; else 0."""


def encode_question(question: Question) -> bytes:
    """part u8 | rollup u64 | root b32 | bits u8 | which b32: as long for every part."""
    head = bytes((question.part,)) + question.rollup_id.to_bytes(8, "big") + question.root.to_bytes(32, "big")
    return head + bytes((question.bits,)) + question.which.to_bytes(32, "big")


def decode_question(raw: bytes) -> Question:
    """Undo `encode_question`.

    Raises:
        DecodeError: QUESTION_PART, QUESTION_BITS, QUESTION_WHICH, truncated, trailing, FIELD_RANGE.
    """
    reader = Reader(raw, "QUESTION")
    part, rollup_id, root = reader.uint(1), reader.uint(8), int(reader.field())
    bits, which = reader.uint(1), reader.uint(32)
    reader.end()
    if part not in {int(each) for each in Part}:
        raise DecodeError("QUESTION_PART", part=part)
    if bits and part != Part.BUCKET:
        raise DecodeError("QUESTION_BITS", bits=bits)
    if which and part in (Part.OUTLINE, Part.FRONTIER):
        raise DecodeError("QUESTION_WHICH", part=part)
    return Question(part=Part(part), rollup_id=rollup_id, root=root, which=which, bits=bits)


# -- who follows -------------------------------------------------------------------------------------------------------


def answer_question(state: VmState, question: Question) -> bytes:
    """The part of a full state that is asked for.

    Raises:
        RuleError: SNAPSHOT_LEAVES: too large to be given as a whole; PART_ABSENT: it has no such part; BUCKET_PREFIX,
            BUCKET_LEAVES.
    """
    tree = state.tree
    match question.part:
        case Part.OUTLINE:
            _require_whole(tree)
            hashes = [tree.node_hash(CHUNK_LEVEL, index) for index in range(chunk_count(tree.next_index))]
            return tree.next_index.to_bytes(8, "big") + b"".join(x.to_bytes(32, "big") for x in hashes)
        case Part.CHUNK:
            _require_whole(tree)
            first = question.which * CHUNK_LEAVES
            if first >= tree.next_index:
                raise RuleError("PART_ABSENT", which=question.which)
            last = min(first + CHUNK_LEAVES, tree.next_index)
            return b"".join(leaf_bytes(tree.leaf(index)) for index in range(first, last))
        case Part.PROGRAM:
            program = state.programs.get(question.which)
            if program is None:
                raise RuleError("PART_ABSENT", which=question.which)
            return encode_instructions(program)
        case Part.DRAFT:
            if question.which not in state.drafts:
                raise RuleError("PART_ABSENT", which=question.which)
            before, chunk = state.drafts[question.which]
            return before.to_bytes(32, "big") + b"".join(x.packed.to_bytes(32, "big") for x in chunk)
        case Part.BUCKET:
            packed = encode_bucket(make_bucket(state, question.bits, question.which))
            if len(packed) > MAX_ANSWER_BYTES:
                raise RuleError("BUCKET_LEAVES", size=len(packed), limit=MAX_ANSWER_BYTES)
            return packed
        case Part.FRONTIER:
            _, nodes = needed_nodes(tree, {tree.next_index})
            beside = [_node_bytes(place, value) for place, value in sorted(nodes.items())]
            return tree.next_index.to_bytes(8, "big") + b"".join(beside)


def _require_whole(tree: StateTree) -> None:
    if tree.next_index > MAX_SNAPSHOT_LEAVES:
        raise RuleError("SNAPSHOT_LEAVES", leaves=tree.next_index, limit=MAX_SNAPSHOT_LEAVES)


def _node_bytes(place: tuple[int, int], value: int) -> bytes:
    level, index = place
    return bytes((level,)) + index.to_bytes(4, "big") + value.to_bytes(32, "big")


def chunk_count(next_index: int) -> int:
    """Chunks of a tree with that many leaves."""
    return -(-next_index // CHUNK_LEAVES)


# -- who asks ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Outline:
    """Hashes of all chunks, which give the root."""

    next_index: int
    hashes: tuple[int, ...]

    def size_of(self, index: int) -> int:
        """Leaves of a chunk."""
        return min(CHUNK_LEAVES, self.next_index - index * CHUNK_LEAVES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Leaves of a chunk, and the hashes that were computed to check them: by level, lowest first."""

    leaves: tuple[Leaf, ...]
    levels: tuple[tuple[int, ...], ...]


def read_outline(root: int, raw: bytes) -> Outline:
    """The outline of the state with a root.

    Raises:
        DecodeError: OUTLINE_NEXT_INDEX, truncated, trailing, FIELD_RANGE.
        RuleError: OUTLINE_ROOT.
    """
    reader = Reader(raw, "OUTLINE")
    next_index = reader.uint(8)
    if not 1 <= next_index <= MAX_SNAPSHOT_LEAVES:
        raise DecodeError("OUTLINE_NEXT_INDEX", next_index=next_index)
    hashes = tuple(int(reader.field()) for _ in range(chunk_count(next_index)))
    reader.end()
    level, row = CHUNK_LEVEL, list(hashes)
    while level < tree_depth(next_index):
        row, level = _row_above(row, level), level + 1
    if P(3, (row[0], next_index, 0)) != root:
        raise RuleError("OUTLINE_ROOT")
    return Outline(next_index=next_index, hashes=hashes)


def _row_above(row: Sequence[int], level: int) -> list[int]:
    full = [*row, *[empty_hash(level)] * (-len(row) % TREE_ARITY)]
    return [P(4, full[at : at + TREE_ARITY]) for at in range(0, len(full), TREE_ARITY)]


def read_chunk(outline: Outline, index: int, raw: bytes) -> Chunk:
    """A chunk of an outline: at most 341 hashes.

    Raises:
        DecodeError: truncated, trailing, FIELD_RANGE.
        RuleError: CHUNK_HASH.
    """
    reader = Reader(raw, "CHUNK")
    if len(raw) != LEAF_BYTES * outline.size_of(index):  # before anything is hashed
        raise DecodeError("CHUNK_LENGTH", size=len(raw), wanted=LEAF_BYTES * outline.size_of(index))
    leaves = tuple(
        Leaf(reader.field(), reader.field(), reader.field(), reader.field()) for _ in range(outline.size_of(index))
    )
    levels = [tuple(P(4, (leaf.key, leaf.next_key, leaf.v0, leaf.v1)) for leaf in leaves)]
    for level in range(CHUNK_LEVEL):
        levels.append(tuple(_row_above(levels[-1], level)))
    if levels[-1][0] != outline.hashes[index]:
        raise RuleError("CHUNK_HASH", chunk=index)
    return Chunk(leaves=leaves, levels=tuple(levels))


def needed_programs(leaves: Iterable[Leaf]) -> frozenset[int]:
    """Code hashes of the accounts among these leaves: no other leaf has a second word beyond 64 bits (SPEC §3.2)."""
    return frozenset(leaf.v1 for leaf in leaves if leaf.v1 >> 64)


def needed_drafts(leaves: Iterable[Leaf]) -> Mapping[int, int]:
    """Running hash of each program that is being deployed, and how many of its instructions are there: of leaves with
    `count * 2^32 + done` that have `done < count` (SPEC §4.7)."""
    counted = ((leaf.v0, leaf.v1 >> 32, leaf.v1 & 0xFFFFFFFF) for leaf in leaves)
    return {running: done for running, count, done in counted if done < count < 1 << 32}


def read_program(code_hash: int, raw: bytes) -> Program:
    """A program by its hash.

    Raises:
        DecodeError, ProgramError: it is none.
        RuleError: PROGRAM_HASH.
    """
    reader = Reader(raw, "PROGRAM")
    count = reader.uint(2)
    if count > MAX_PROGRAM:
        raise DecodeError("PROGRAM_LENGTH", count=count)
    program = read_instructions(reader, count)
    reader.end()
    if program.code_hash != code_hash:
        raise RuleError("PROGRAM_HASH", wanted=code_hash)
    return program


def read_draft(after: int, raw: bytes) -> tuple[int, tuple[Instruction, ...]]:
    """The chunk of a deployment that ends at a running hash: (running hash before it, instructions).

    Raises:
        DecodeError: DRAFT_LENGTH, truncated, FIELD_RANGE.
        RuleError: DRAFT_HASH.
    """
    reader = Reader(raw, "DRAFT")
    before = int(reader.field())
    if not 32 <= reader.remaining <= 32 * DEPLOY_CHUNK or reader.remaining % 32:
        raise DecodeError("DRAFT_LENGTH", size=len(raw))
    chunk = tuple(unpack_instruction(reader.uint(32)) for _ in range(reader.remaining // 32))
    if P(16, (before, *(x.packed for x in chunk), *[0] * (DEPLOY_CHUNK - len(chunk)))) != after:
        raise RuleError("DRAFT_HASH", wanted=after)
    return before, chunk


def state_of_chunks(
    outline: Outline,
    chunks: Sequence[Chunk],
    programs: Mapping[int, Program],
    drafts: Mapping[int, tuple[int, tuple[Instruction, ...]]],
) -> VmState:
    """The whole state; its root is the outline's, and no hash is computed again.

    Raises:
        StateError: NODE_MISSING: there are not as many chunks as the outline says.
    """
    leaves = [leaf for chunk in chunks for leaf in chunk.leaves]
    if len(leaves) != outline.next_index:
        raise StateError("NODE_MISSING", leaves=len(leaves), wanted=outline.next_index)
    hashes = {
        (level, place * TREE_ARITY ** (CHUNK_LEVEL - level) + at): value
        for place, chunk in enumerate(chunks)
        for level, row in enumerate(chunk.levels)
        for at, value in enumerate(row)
    }
    return VmState(tree=tree_of_leaves(leaves, hashes), frames=None, programs=dict(programs), drafts=dict(drafts))
