"""What the winning prover gets: the whole table and enough state to execute it (SPEC §11).

API:
    StateWitness; encode_witness / decode_witness
    make_witness(base, runs) -> StateWitness        smallest part of `base` that re-executes the runs
    state_from_witness(witness) -> VmState          partial state; its root is checked
    Payload; encode_payload(payload, size_log2) / decode_payload;  smallest_size_log2(payload), payload_commit(padded)
    payload_core_id(padded)                         of a payload that was decoded before
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from protocol.constants import (
    MAX_CORE_BYTES,
    MAX_LOCKSET,
    MAX_PAYLOAD_LOG2,
    MAX_WITNESS_LEAVES,
    MAX_WITNESS_NODES,
    MAX_WITNESS_PROGRAMS,
    MIN_PAYLOAD_LOG2,
    TREE_DEPTH,
)
from protocol.errors import DecodeError
from protocol.hashing import abi_words, domain, keccak256
from protocol.reader import Reader
from protocol.table import Core, core_id, decode_core, encode_core
from protocol.types import Hash32, RollupId
from protocol.vm.isa import Program, encode_instructions, read_instructions
from protocol.vm.machine import EntryRun
from protocol.vm.state import VmState
from protocol.vm.state_tree import Leaf, needed_nodes, partial_tree

PAYLOAD_VERSION = 1
PAYLOAD_SALT = slice(1, 33)  # where the salt is in a padded payload


@dataclass(frozen=True, slots=True, kw_only=True)
class StateWitness:
    """Part of one rollup's state at its live root, which has no suspended frames."""

    tree_root: int
    """Field element; must follow from the rest."""
    next_index: int
    leaves: tuple[tuple[int, Leaf], ...]
    """(index, leaf), ascending by index."""
    nodes: tuple[tuple[int, int, int], ...]
    """(level, index, hash), ascending by (level, index); level 0 are leaf hashes."""
    programs: tuple[Program, ...]
    """Strictly ascending by code hash."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """Opening of a request's commitments."""

    salt: Hash32
    """Opens statementCommit and hides the payload."""
    core: Core
    witnesses: tuple[tuple[RollupId, StateWitness], ...]
    """One for each lockset member, in order."""


# -- state witness -----------------------------------------------------------------------------------------------------


def make_witness(base: VmState, runs: Iterable[EntryRun]) -> StateWitness:
    """Collect what `runs` touched of `base`.

    Args:
        base: the rollup at the header's preRoot; needs its tree only where the runs touched it.
        runs: of the rollup's own entries, all descending from `base`; none for a rollup that is only pinned.
    """
    touched: set[int] = set()
    programs: dict[int, Program] = {}
    for run in runs:
        for operation in run.operations:
            touched.update(operation.indices)
        programs.update(run.programs)
    leaves, nodes = needed_nodes(base.tree, touched)
    return StateWitness(
        tree_root=base.tree.root,
        next_index=base.tree.next_index,
        leaves=tuple(leaves.items()),
        nodes=tuple((level, index, value) for (level, index), value in sorted(nodes.items())),
        programs=tuple(programs[code_hash] for code_hash in sorted(programs)),
    )


def state_from_witness(witness: StateWitness) -> VmState:
    """Build the partial state.

    Raises:
        DecodeError: WITNESS_ROOT: nodes and leaves do not give `tree_root`.
        StateError: the parts do not fit together (`partial_tree`).
    """
    nodes = {(level, index): value for level, index, value in witness.nodes}
    tree = partial_tree(witness.next_index, dict(witness.leaves), nodes)
    if tree.root != witness.tree_root:
        raise DecodeError("WITNESS_ROOT", expected=witness.tree_root, actual=tree.root)
    return VmState(tree=tree, frames=None, programs={p.code_hash: p for p in witness.programs})


def encode_witness(witness: StateWitness) -> bytes:
    """Canonical bytes of a witness."""
    parts = [witness.tree_root.to_bytes(32, "big"), witness.next_index.to_bytes(8, "big"), bytes(32)]
    parts.append(len(witness.leaves).to_bytes(2, "big"))
    for index, leaf in witness.leaves:
        parts.append(index.to_bytes(4, "big"))
        parts += [x.to_bytes(32, "big") for x in (leaf.key, leaf.next_key, leaf.v0, leaf.v1)]
    parts.append(len(witness.nodes).to_bytes(4, "big"))
    parts += [bytes((level,)) + index.to_bytes(4, "big") + x.to_bytes(32, "big") for level, index, x in witness.nodes]
    parts.append(len(witness.programs).to_bytes(2, "big"))
    parts += [encode_instructions(program) for program in witness.programs]
    return b"".join(parts)


def decode_witness(raw: bytes) -> StateWitness:
    """Decode a witness and require that it is canonical, without redundancy, and gives its root.

    Raises:
        DecodeError: truncated, trailing, FIELD_RANGE, WITNESS_FRAMES, WITNESS_LEAVES, WITNESS_NODES, WITNESS_PROGRAMS,
            WITNESS_LEVEL, WITNESS_ORDER, WITNESS_ROOT.
        StateError: the parts do not fit together; ProgramError: an ill-formed program.
    """
    reader = Reader(raw, "WITNESS")
    tree_root, next_index = reader.field(), reader.uint(8)
    if reader.field() != 0:
        # A live root has no suspended frames.
        raise DecodeError("WITNESS_FRAMES")
    leaf_count = reader.uint(2)
    if leaf_count > MAX_WITNESS_LEAVES:
        raise DecodeError("WITNESS_LEAVES", count=leaf_count)
    leaves = tuple(
        (reader.uint(4), Leaf(reader.field(), reader.field(), reader.field(), reader.field()))
        for _ in range(leaf_count)
    )
    node_count = reader.uint(4)
    if node_count > MAX_WITNESS_NODES:
        raise DecodeError("WITNESS_NODES", count=node_count)
    nodes = tuple((reader.uint(1), reader.uint(4), int(reader.field())) for _ in range(node_count))
    if any(level > TREE_DEPTH for level, _, _ in nodes):
        raise DecodeError("WITNESS_LEVEL")
    program_count = reader.uint(2)
    if program_count > MAX_WITNESS_PROGRAMS:
        raise DecodeError("WITNESS_PROGRAMS", count=program_count)
    programs = tuple(read_instructions(reader, reader.uint(2)) for _ in range(program_count))
    reader.end()
    _require_ascending([(index,) for index, _ in leaves])
    _require_ascending([(level, index) for level, index, _ in nodes])
    _require_ascending([(program.code_hash,) for program in programs])
    witness = StateWitness(tree_root=tree_root, next_index=next_index, leaves=leaves, nodes=nodes, programs=programs)
    state_from_witness(witness)
    return witness


def _require_ascending(values: list[tuple[int, ...]]) -> None:
    if any(a >= b for a, b in pairwise(values)):
        raise DecodeError("WITNESS_ORDER")


# -- payload -----------------------------------------------------------------------------------------------------------


def _encode(payload: Payload) -> bytes:
    core = encode_core(payload.core)
    parts = [bytes((PAYLOAD_VERSION,)), payload.salt, len(core).to_bytes(4, "big"), core]
    parts.append(bytes((len(payload.witnesses),)))
    for rollup_id, witness in payload.witnesses:
        raw = encode_witness(witness)
        parts += [rollup_id.to_bytes(8, "big"), len(raw).to_bytes(4, "big"), raw]
    return b"".join(parts)


def smallest_size_log2(payload: Payload) -> int:
    """log2 of the smallest padded size that holds the payload.

    Raises:
        DecodeError: PAYLOAD_SIZE: larger than the largest.
    """
    size = len(_encode(payload))
    size_log2 = max(MIN_PAYLOAD_LOG2, (size - 1).bit_length())
    if size_log2 > MAX_PAYLOAD_LOG2:
        raise DecodeError("PAYLOAD_SIZE", size=size)
    return size_log2


def encode_payload(payload: Payload, size_log2: int) -> bytes:
    """Bytes of a payload, zero-padded to 2^size_log2.

    Raises:
        DecodeError: PAYLOAD_SIZE (it does not fit, or the size is not allowed), PAYLOAD_MEMBERS.
    """
    if [r for r, _ in payload.witnesses] != [m.rollup_id for m in payload.core.lockset]:
        raise DecodeError("PAYLOAD_MEMBERS")
    raw = _encode(payload)
    if not MIN_PAYLOAD_LOG2 <= size_log2 <= MAX_PAYLOAD_LOG2 or len(raw) > 1 << size_log2:
        raise DecodeError("PAYLOAD_SIZE", size=len(raw), size_log2=size_log2)
    return raw.ljust(1 << size_log2, b"\0")


def payload_core_id(padded: bytes) -> Hash32:
    """coreId of the table in a payload. Raises DecodeError if it is truncated; nothing else is checked."""
    reader = Reader(padded, "PAYLOAD")
    reader.uint(1)
    reader.hash32()
    return core_id(reader.take(reader.uint(4)))


def decode_payload(padded: bytes) -> Payload:
    """Decode a padded payload; what it accepts re-encodes to the same bytes at the same size.

    Raises:
        DecodeError: PAYLOAD_SIZE, PAYLOAD_VERSION, PAYLOAD_CORE_SIZE, PAYLOAD_MEMBERS, PAYLOAD_PADDING, truncated, or
            the reasons of core and witness.
        RuleError, StateError, ProgramError: of core and witness.
    """
    size = len(padded)
    if size & (size - 1) or not 1 << MIN_PAYLOAD_LOG2 <= size <= 1 << MAX_PAYLOAD_LOG2:
        raise DecodeError("PAYLOAD_SIZE", size=size)
    reader = Reader(padded, "PAYLOAD")
    version = reader.uint(1)
    if version != PAYLOAD_VERSION:
        raise DecodeError("PAYLOAD_VERSION", version=version)
    salt = reader.hash32()
    core_length = reader.uint(4)
    if core_length > MAX_CORE_BYTES:
        raise DecodeError("PAYLOAD_CORE_SIZE", size=core_length)
    core = decode_core(reader.take(core_length))
    count = reader.uint(1)
    if not 1 <= count <= MAX_LOCKSET or count != len(core.lockset):
        raise DecodeError("PAYLOAD_MEMBERS", count=count)
    witnesses = []
    for member in core.lockset:
        rollup_id = RollupId(reader.uint(8))
        if rollup_id != member.rollup_id:
            raise DecodeError("PAYLOAD_MEMBERS", rollup_id=rollup_id)
        witnesses.append((rollup_id, decode_witness(reader.take(reader.uint(4)))))
    if any(reader.take(reader.remaining)):
        raise DecodeError("PAYLOAD_PADDING")
    return Payload(salt=salt, core=core, witnesses=tuple(witnesses))


def payload_commit(padded: bytes) -> Hash32:
    """Commitment to the padded bytes."""
    return keccak256(abi_words(domain("payload"), keccak256(padded)))
