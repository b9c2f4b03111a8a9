"""Calls with value, calls that try, and what a program sees of its balance and of answers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from protocol.actions import ActionKind
from protocol.types import Address
from protocol.vm.assembler import assemble
from protocol.vm.execution import Outcome, Trap
from protocol.vm.state import account_key, unpack_account
from proving.circuit.plan import plan
from tests.property.circuit.test_forgeries import FAILED, NEXT, claim, refusals, told, waits
from tests.support.circuits import broken, circuit, witness_of
from tests.support.forger import SHAPE, constraints, forge
from tests.support.stories import ACCOUNT, Story, state_of, words

SENDS = """
        BALANCE r1
        RETOK   r7
        OUT     r1, r7, 0
        ARGLO   r2, 0
        LDF     f0, 12
        {call}
        RETOK   r3
        BALANCE r4
        RETLO   r5, 0
        OUT     r3, r4, 0
        OUT     r1, r5, 1
        RETURN  2
"""
NONCE = 3 << 128
ENTRY = 3 + 2 * SHAPE.tier.record_words


def sends(call: str, amount: int, *, value: int = 7, **fields: object) -> Story:
    """A program with 10 wei and nonce 3 gets `value` and sends `amount` on."""
    story = Story(state_of(assemble(SENDS.format(call=call)), balance=NONCE + 10))
    story.call(b"abcd" + words(amount), value=value, **fields)
    return story


def balance(story: Story) -> tuple[int, int]:
    """nonce and wei of the account now."""
    return unpack_account(story.state.tree.get(account_key(int.from_bytes(ACCOUNT, "big")))[0])


@pytest.mark.parametrize("amount", [0, 1, 16, 17])
def test_value_goes_out_with_a_call(amount: int) -> None:
    """All of it or less; the program then sees what is left."""
    story = sends("XCALLV f0, r2, 0xaabbccdd, 1, 9", amount)
    assert (story.runs[0].outcome, story.runs[0].next_action.value) == (Outcome.XCALL, amount)
    story.answer(words(5))

    assert story.runs[1].next_action.data == words((1 << 128) + 17 - amount, (17 << 128) + 5)
    assert balance(story) == (3, 17 - amount)
    assert broken(witness_of(story)) is None


@pytest.mark.parametrize("amount", [18, (1 << 128) - 1])
def test_nobody_sends_more_than_there_is(amount: int) -> None:
    """A trap, and the value that came is gone again."""
    story = sends("XCALLV f0, r2, 1, 0, 9", amount)

    assert (story.runs[0].trap, balance(story)) == (Trap.BALANCE, (3, 10))
    assert broken(witness_of(story)) is None


def test_a_failed_answer_undoes_what_was_sent() -> None:
    """The frame ends as a failure."""
    story = sends("XCALLV f0, r2, 1, 0, 9", 9)
    story.answer(failed=True)

    assert (story.runs[1].outcome, balance(story)) == (Outcome.FAILED_RESULT, (3, 10))
    assert broken(witness_of(story)) is None


@pytest.mark.parametrize("failed", [False, True])
@pytest.mark.parametrize(
    ("call", "amount"), [("XTRY f0, 1, 1, 9", 0), ("XTRYV f0, r2, 1, 0, 9", 6), ("XTRYV f0, r2, 1, 0, 9", 0)]
)
def test_a_try_sees_both_answers(call: str, amount: int, failed: bool) -> None:
    """RETOK, the data, and the value that comes back."""
    story = sends(call, amount)
    assert story.runs[0].next_action.kind is ActionKind.TRY_CALL
    story.answer(words(5), failed=failed)

    left = 17 if failed else 17 - amount
    assert story.runs[1].next_action.data == words(((not failed) << 128) + left, (17 << 128) + 5)
    assert balance(story) == (3, left)
    assert broken(witness_of(story)) is None


@pytest.mark.parametrize("opaque", [False, True])
def test_tries_come_in_and_go_out(opaque: bool) -> None:
    """As trigger and as next action, opaque or not."""
    call = "XTRY f0, 1, 0, 9" + ", opaque" * opaque
    story = sends(call, 0, kind=ActionKind.TRY_CALL, gas=5, opaque=opaque)
    assert story.runs[0].next_action.opaque == opaque
    story.answer(b"", failed=True)

    assert broken(witness_of(story)) is None


@pytest.mark.parametrize("amount", [0, 3])
def test_a_failed_try_cannot_pass_for_a_good_one_nor_end_the_frame(amount: int) -> None:
    """RETOK, whether the run goes on, and the value that comes back are what the RESULT says."""
    story = sends("XTRYV f0, r2, 1, 0, 9", amount)
    story.answer(failed=True)
    hints, honest = told(story)
    second = 4 + ENTRY + 3 + SHAPE.tier.record_words
    retok = claim(hints, **{f"w{second + 7}": 1})
    first, stretch, _ = hints.stretches
    assert stretch is not None
    ended = claim(hints, **{f"w{second}": FAILED, f"w{second + 6}": 0, f"w{4 + ENTRY + 2}": story.first.root})
    ended = replace(ended, stretches=[first, replace(stretch, tried=False), None])
    gone = replace(hints, stretches=[first, replace(stretch, account=False), None])

    assert refusals(retok, honest) == ["glue"]
    assert refusals(ended, honest)
    assert refusals(gone, honest)


@pytest.mark.parametrize("value", [4, 5])
def test_a_balance_cannot_grow_into_the_nonce(value: int) -> None:
    """Five wei below 2^128: a call that brings five fails, and cannot be told as one that succeeds."""
    story = Story(state_of(assemble("RETURN 0")))
    nobody = Address(bytes.fromhex("dd" * 20))
    key = account_key(int.from_bytes(nobody, "big"))
    tree, _ = story.state.tree.insert(key, (1 << 128) - 5, 0)
    story = Story(replace(story.state, tree=tree))
    run = story.call(to=nobody, value=value)
    assert run.next_action.failed == (value == 5)
    told_well = replace(
        run,
        next_action=replace(run.next_action, failed=False),
        stretches=(replace(run.stretches[0], outcome=Outcome.NO_CODE),),
    )
    hints = plan(SHAPE, story.core(), story.rollup_id, [told_well])
    tree, _ = tree.update(key, (1 << 128) - 5 + value, 0)
    lie = forge(claim(hints, head=2, root=replace(run.post, tree=tree).root))

    assert any(not constraints().holds(n, lie) for n in range(circuit().n_constraints)) == (value == 5)


def test_what_was_not_there_cannot_be_sent() -> None:
    """17 wei in all, 18 go out: the account would owe the rest."""
    story = sends("XCALLV f0, r2, 1, 0, 9", 17)
    run = story.runs[0]
    story.answer(words(5))
    hints, honest = told(story)
    assert run.suspended is not None
    registers = tuple(18 if x == 17 and i == 2 else x for i, x in enumerate(run.suspended.registers))
    frame = replace(run.suspended, args=((0, 18),), registers=registers)
    tree, _ = run.post.tree.update(account_key(int.from_bytes(ACCOUNT, "big")), NONCE - 1, run.frame.code_hash)
    owing = replace(run.post, frames=frame, tree=tree)
    out = {f"w{NEXT + 3}": 18, f"w{4 + 3 + 8}": 18, f"w{4 + ENTRY + 1}": owing.root}
    first, second = hints.entries[:2]
    assert first is not None and second is not None
    entries = [first, replace(second, tree_root=tree.root, frames=frame.hash), None]
    lie = waits(replace(claim(hints, root=owing.root, **out), entries=entries), 0, frame.hash)
    bits = [stamp for stamp in circuit().stamps if stamp.name == "canonical bits"][0]
    # in_range, its inverse, own, its inverse, two products, then `yes`.
    found = [refusals(lie, honest, {bits.first_wire + bits.wires + k: 1}) for k in range(12)]

    assert all(found)
    # Two constraints: the rest is not below 2^128, and the second entry's balance is not.
    assert min(len(gadgets) for gadgets in found) <= 4, found
