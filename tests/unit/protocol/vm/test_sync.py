"""Parts of a state that are checked by themselves: right ones make the state again, every other is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from protocol.errors import CodedError, DecodeError, RuleError, StateError
from protocol.vm.assembler import assemble
from protocol.vm.deployment import deploy_calls
from protocol.vm.machine import run_entry
from protocol.vm.sync import (
    CHUNK_LEAVES,
    LEAF_BYTES,
    MAX_SNAPSHOT_LEAVES,
    Chunk,
    Outline,
    Part,
    Question,
    answer_question,
    decode_question,
    encode_question,
    needed_drafts,
    needed_programs,
    read_chunk,
    read_draft,
    read_outline,
    read_program,
    state_of_chunks,
)
from tests.support.bigstates import CHUNKS, DEPLOYER, big_state, moved_state
from tests.support.cores import call


def _ask(part: Part, which: int = 0, bits: int = 0) -> Question:
    return Question(part=part, rollup_id=1, root=big_state().root, which=which, bits=bits)


def _outline() -> Outline:
    return read_outline(big_state().root, answer_question(big_state(), _ask(Part.OUTLINE)))


def _raw_chunk(index: int) -> bytes:
    return answer_question(big_state(), _ask(Part.CHUNK, index))


def _chunks(outline: Outline) -> tuple[Chunk, ...]:
    return tuple(read_chunk(outline, index, _raw_chunk(index)) for index in range(CHUNKS))


def test_all_parts_make_the_state_again_and_it_goes_on() -> None:
    """With its programs, and the deployment that had begun, which the next calls finish."""
    state, outline = big_state(), _outline()
    chunks = _chunks(outline)
    leaves = [leaf for chunk in chunks for leaf in chunk.leaves]
    programs = {
        each: read_program(each, answer_question(state, _ask(Part.PROGRAM, each))) for each in needed_programs(leaves)
    }
    ((running, done),) = needed_drafts(leaves).items()
    assert done == 30
    drafts = {}
    while done:
        drafts[running] = read_draft(running, answer_question(state, _ask(Part.DRAFT, running)))
        done -= len(drafts[running][1])
        running = drafts[running][0]

    made = state_of_chunks(outline, chunks, programs, drafts)

    assert (made.root, made.programs, made.drafts) == (state.root, state.programs, state.drafts)
    last = deploy_calls(assemble("MOV r1, r1\n" * 40 + "RETURN 0"), salt=7)[2]
    runs = [
        run_entry(each, rollup_id=1, l2_time=0, trigger=call(destination=DEPLOYER, value=0, data=last)).post
        for each in (made, state)
    ]
    assert runs[0].root == runs[1].root
    assert runs[0].programs == runs[1].programs
    assert len(runs[0].programs) == 3


def test_a_chunk_that_did_not_change_is_good_under_the_next_root() -> None:
    before, after = (
        _outline(),
        read_outline(
            moved_state().root, answer_question(moved_state(), replace(_ask(Part.OUTLINE), root=moved_state().root))
        ),
    )
    same = [index for index in range(CHUNKS) if before.hashes[index] == after.hashes[index]]
    assert len(same) == CHUNKS - 1
    assert read_chunk(after, same[0], _raw_chunk(same[0])).leaves


def _flipped(raw: bytes, at: int) -> bytes:
    return raw[:at] + bytes((raw[at] ^ 1,)) + raw[at + 1 :]


@pytest.mark.parametrize("at", [7, 8 + 31, 8 + 63])
def test_another_outline_is_refused(at: int) -> None:
    raw = answer_question(big_state(), _ask(Part.OUTLINE))
    with pytest.raises(CodedError):
        read_outline(big_state().root, _flipped(raw, at))
    for wrong in (raw[:-1], raw + b"\0", raw[:8], b"", bytes(8) + raw[8:], (1 << 40).to_bytes(8, "big") + raw[8:]):
        with pytest.raises(DecodeError):
            read_outline(big_state().root, wrong)
    with pytest.raises(RuleError, match="OUTLINE_ROOT"):
        read_outline(moved_state().root, raw)


@pytest.mark.parametrize("word", range(4))
def test_another_chunk_is_refused(word: int) -> None:
    """A changed word of any leaf, another chunk, one that is short or long."""
    outline, raw = _outline(), _raw_chunk(0)
    with pytest.raises(RuleError, match="CHUNK_HASH"):
        read_chunk(outline, 0, _flipped(raw, 17 * LEAF_BYTES + 32 * word + 31))
    with pytest.raises(RuleError, match="CHUNK_HASH"):
        read_chunk(outline, 0, answer_question(moved_state(), _ask(Part.CHUNK, 0)))
    for wrong in (raw[:-LEAF_BYTES], raw + raw[:LEAF_BYTES], raw[:-1], b"", raw + b"\0"):
        with pytest.raises(DecodeError):
            read_chunk(outline, 0, wrong)
    with pytest.raises(DecodeError):
        read_chunk(outline, 0, b"\xff" * len(raw))
    with pytest.raises(DecodeError):
        read_chunk(outline, CHUNKS - 1, _raw_chunk(0))  # the last has fewer


def test_another_program_or_draft_is_refused() -> None:
    leaves = [leaf for chunk in _chunks(_outline()) for leaf in chunk.leaves]
    one, other = sorted(needed_programs(leaves))
    raw = answer_question(big_state(), _ask(Part.PROGRAM, one))
    with pytest.raises(RuleError, match="PROGRAM_HASH"):
        read_program(other, raw)
    for wrong in (raw[:-1], raw + b"\0", b"", b"\xff\xff" + raw[2:], b"\0\0"):
        with pytest.raises(CodedError):
            read_program(one, wrong)
    (running,) = needed_drafts(leaves)
    draft = answer_question(big_state(), _ask(Part.DRAFT, running))
    with pytest.raises(RuleError, match="DRAFT_HASH"):
        read_draft(running + 1, draft)
    for wrong in (draft[:-1], draft + bytes(32), draft[:32], draft + draft, b"", _flipped(draft, 3)):
        with pytest.raises(CodedError):
            read_draft(running, wrong)


@pytest.mark.parametrize(
    "question",
    [
        _ask(Part.OUTLINE),
        _ask(Part.CHUNK, 2),
        _ask(Part.PROGRAM, 5),
        _ask(Part.DRAFT, 6),
        _ask(Part.BUCKET, 3, 4),
        _ask(Part.FRONTIER),
    ],
)
def test_questions_are_of_one_length_and_round_trip(question: Question) -> None:
    raw = encode_question(question)
    assert (len(raw), decode_question(raw)) == (74, question)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        encode_question(_ask(Part.CHUNK))[:-1],
        encode_question(_ask(Part.CHUNK)) + b"\0",
        b"\x07" + encode_question(_ask(Part.CHUNK))[1:],
        b"\x00" + encode_question(_ask(Part.CHUNK))[1:],
        encode_question(_ask(Part.CHUNK, 1, 2)),
        encode_question(_ask(Part.OUTLINE, 1)),
        b"\x01" + bytes(8) + b"\xff" * 32 + bytes(33),
    ],
)
def test_other_questions_are_refused(raw: bytes) -> None:
    with pytest.raises(DecodeError):
        decode_question(raw)


@pytest.mark.parametrize(
    "question", [_ask(Part.CHUNK, CHUNKS), _ask(Part.CHUNK, 1 << 250), _ask(Part.PROGRAM, 1), _ask(Part.DRAFT, 1)]
)
def test_what_a_state_does_not_have_is_said_to_be_absent(question: Question) -> None:
    with pytest.raises(RuleError, match="PART_ABSENT"):
        answer_question(big_state(), question)


def test_a_state_with_a_chunk_missing_is_none() -> None:
    outline = _outline()
    with pytest.raises(StateError):
        state_of_chunks(outline, _chunks(outline)[:-1], {}, {})


def test_a_state_too_large_for_a_whole_is_not_begun() -> None:
    outline = replace(_outline(), next_index=MAX_SNAPSHOT_LEAVES)
    assert outline.size_of(0) == CHUNK_LEAVES
    raw = (MAX_SNAPSHOT_LEAVES + 1).to_bytes(8, "big") + bytes(32) * (MAX_SNAPSHOT_LEAVES // CHUNK_LEAVES + 1)
    with pytest.raises(DecodeError, match="OUTLINE_NEXT_INDEX"):
        read_outline(1, raw)
