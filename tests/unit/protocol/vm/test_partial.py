"""Parts of a state put together: what they hold is as in the whole, the rest is missing, and lies are refused."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest

from protocol.errors import CodedError, StateError
from protocol.vm.partial import PartialState, bucket_bits, prefix_of, read_bucket, read_frontier
from protocol.vm.state import INTEGER_WORD, VmState, storage_key
from protocol.vm.state_tree import StateTree
from protocol.vm.sync import Part, Question, answer_question

KEYS = tuple(storage_key(1, number) for number in range(1100))
ABSENT = storage_key(2, 7)


@cache
def whole() -> VmState:
    """1,101 leaves: prefixes have one bit."""
    tree = StateTree.empty()
    for number, key in enumerate(KEYS):
        tree, _ = tree.insert(key, 1 + number, INTEGER_WORD)
    return VmState(tree=tree, frames=None, programs={})


def _ask(part: Part, which: int = 0, bits: int = 0) -> bytes:
    return answer_question(whole(), Question(part=part, rollup_id=1, root=whole().root, which=which, bits=bits))


def _partial(*prefixes: int) -> PartialState:
    part = PartialState(frontier=read_frontier(whole().root, _ask(Part.FRONTIER)))
    for prefix in prefixes:
        part = part.with_bucket(read_bucket(whole().root, part.bits, prefix, _ask(Part.BUCKET, prefix, part.bits)))
    return part


@pytest.mark.parametrize("prefixes", [(0,), (1,), (0, 1)])
def test_a_part_reads_and_writes_as_the_whole_does(prefixes: tuple[int, ...]) -> None:
    """Present keys, absent keys, updates and insertions, of which each needs the place that the last one filled."""
    state = _partial(*prefixes).state({})
    assert state.root == whole().root
    known = [key for key in (*KEYS[:40], ABSENT) if prefix_of(key, 1) in prefixes]
    assert len(known) > 3
    tree, reference = state.tree, whole().tree
    for key in known:
        assert tree.get(key) == reference.get(key)
    for key in known[:2]:
        tree, reference = tree.update(key, 99, 0)[0], reference.update(key, 99, 0)[0]
    added = [key for key in (storage_key(3, number) for number in range(40)) if prefix_of(key, 1) in prefixes][:5]
    assert len(added) == 5
    for key in added:
        tree, reference = tree.insert(key, 7, 0)[0], reference.insert(key, 7, 0)[0]
    assert tree.root == reference.root


def test_what_is_not_there_is_missing_and_not_zero() -> None:
    part = _partial(0)
    tree = part.state({}).tree
    other = next(key for key in KEYS if prefix_of(key, 1) == 1)
    for key in (other, storage_key(9, 9)):
        if part.has(key):
            continue
        with pytest.raises(StateError, match="NODE_MISSING"):
            tree.get(key)
        with pytest.raises(StateError, match="NODE_MISSING"):
            tree.insert(key, 1, 0)
    assert part.has(next(key for key in KEYS if prefix_of(key, 1) == 0))


def test_a_prefix_is_as_long_as_the_tree_asks_for() -> None:
    """Never so long that a bucket has fewer than some hundred leaves on average."""
    assert [bucket_bits(n) for n in (1, 511, 512, 1023, 1024, 1101, 1 << 20, 1 << 32)] == [0, 0, 0, 0, 1, 1, 11, 23]
    assert prefix_of(5, 0) == 0
    assert prefix_of(1 << 253, 1) == 1


@pytest.mark.parametrize("at", [7, 8, 12, 44])
def test_another_frontier_is_refused(at: int) -> None:
    raw = _ask(Part.FRONTIER)
    with pytest.raises(CodedError):
        read_frontier(whole().root, raw[:at] + bytes((raw[at] ^ 1,)) + raw[at + 1 :])
    for wrong in (b"", raw[:-1], raw[:-37], raw + raw[8:45], raw + bytes(37 * 60), bytes(8) + raw[8:]):
        with pytest.raises(CodedError):
            read_frontier(whole().root, wrong)


def test_another_bucket_is_refused() -> None:
    """Of another prefix or length, cut, with a leaf left out or changed, or of another root."""
    raw = _ask(Part.BUCKET, 0, 1)
    other = _ask(Part.BUCKET, 1, 1)
    for root, bits, prefix, wrong in (
        (whole().root, 1, 1, raw),
        (whole().root, 1, 0, other),
        (whole().root, 2, 0, raw),
        (whole().root, 1, 0, raw[:-1]),
        (whole().root, 1, 0, raw[:200] + bytes((raw[200] ^ 1,)) + raw[201:]),
        (7, 1, 0, raw),
        (whole().root, 1, 0, b""),
    ):
        with pytest.raises(CodedError):
            read_bucket(root, bits, prefix, wrong)


def test_a_bucket_of_another_root_does_not_fit() -> None:
    """The parts of one state are of one root: each was checked against it."""
    part = _partial(0)
    with pytest.raises(CodedError):
        read_bucket(replace(whole(), tree=whole().tree.update(KEYS[0], 5, 0)[0]).root, 1, 0, _ask(Part.BUCKET, 0, 1))
    assert part.prefixes == {0}
