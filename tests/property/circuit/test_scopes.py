"""Frames that wait inside each other, scopes that are reverted, and a machine that breaks one rule of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from protocol.actions import ActionKind
from protocol.types import endpoint
from protocol.vm import machine
from protocol.vm.execution import Answer, Outcome, Trap
from protocol.vm.frames import Begin, End, Ended, FrameRun, Resume
from proving.circuit.table_vm import Hints
from tests.property.circuit.test_inside import OTHER, THIRD, TO_OTHER, TO_SELF, TO_THIRD, outcomes, state_with
from tests.support.bench import FRAMES, bench
from tests.support.stories import ACCOUNT, Story, words

OUT = "LDF f0, 12\nXCALL f0, 0xaabbccdd, 1, 9\n"
WRITES = "LDI r1, 3\nLDF f1, 5\nSSTORE f1, r1\n"
"""A word that the account had as 7."""
TELLS = "RETOK r1\nRETLO r2, 0\nOUT r1, r2, 0\nRETURN 1"
FAILS = "LDI r1, 5\nOUT r1, r1, 0\nREVERT 1"


def asks(to: int, value: int = 0) -> str:
    """ICALL."""
    return f"LDF f0, {to}\nLDI r7, {value}\nICALL f0, r7, 1, 1\n"


def nested(*, end: str = "RETURN 0", value: int = 0) -> Story:
    """ACCOUNT calls OTHER, which calls out and ends as told."""
    sources = {ACCOUNT: asks(TO_OTHER, value) + TELLS, OTHER: WRITES + OUT + end}
    return Story(state_with(sources, balance=10))


def reverted(value: int = 0) -> Story:
    """The frame inside fails after its outgoing call was answered."""
    story = nested(end=FAILS, value=value)
    story.call()
    story.answer(words(9))
    story.go_on(opener=0)
    return story


def deep(end: str, middle: str = "RETURN 0") -> Story:
    """Three frames wait; the innermost ends as told."""
    sources = {ACCOUNT: asks(TO_OTHER) + TELLS, OTHER: WRITES + asks(TO_THIRD, 4) + middle, THIRD: OUT + end}
    return Story(state_with(sources, balance=10))


def test_a_nested_frame_calls_out_and_its_chain_waits() -> None:
    """The call carries the frame's scope; both frames are in the root; the answer goes on in the inner one."""
    story = nested(end="RETLO r1, 0\nOUT r1, r1, 0\nRETURN 1")
    call = story.call().next_action
    story.answer(words(9))

    assert (call.scope, outcomes(story)) == ((0,), [[Outcome.ICALL, Outcome.XCALL], [Outcome.RETURN] * 2])
    assert story.runs[1].next_action.data == words((1 << 128) + 9)
    assert bench().broken(bench().hints(story)) is None


@pytest.mark.parametrize("value", [0, 6])
def test_a_reverted_scope_is_continued(value: int) -> None:
    """What the frame did is undone, value too; its caller goes on with RETOK 0 and the data."""
    story = reverted(value)

    assert [run.next_action.kind.name for run in story.runs] == ["CALL", "REVERT", "RESULT"]
    assert story.runs[2].next_action.data == words(5)
    assert story.state.root == story.first.root
    assert bench().broken(bench().hints(story)) is None


def test_a_failed_answer_reverts_the_scope_of_a_nested_frame() -> None:
    """No data; the value that went in comes back with the tree."""
    story = nested(value=3)
    story.call()
    story.answer(b"no", failed=True)
    story.go_on(opener=0)

    assert [s.outcome for s in story.runs[2].stretches] == [Outcome.UNDONE, Outcome.RETURN]
    assert story.runs[2].next_action.data == words(0)
    assert bench().broken(bench().hints(story)) is None


@pytest.mark.parametrize(("end", "middle"), [("RETURN 0", FAILS), (FAILS, "RETURN 0"), ("REVERT 0", FAILS)])
def test_scopes_inside_each_other(end: str, middle: str) -> None:
    """The frame that fails may be any of three; two of them may fail, one behind the other."""
    story = deep(end, middle)
    story.call()
    story.answer(words(1))
    while story.runs[-1].next_action.kind is ActionKind.REVERT:
        story.go_on(opener=0)

    scopes = [run.next_action.scope for run in story.runs]
    fails = {"RETURN 0": [(0,)], FAILS: [(0, 0)], "REVERT 0": [(0, 0), (0,)]}[end]
    assert scopes == [(0, 0), *fails, ()]
    assert bench().broken(bench().hints(story)) is None


def test_scopes_of_one_frame_are_counted() -> None:
    """The second frame that calls out has the next number, also after one that was reverted."""
    twice = asks(TO_OTHER) + asks(TO_OTHER) + "RETURN 0"
    ends = "RETLO r1, 0\nJNZ r1, bad\nRETURN 0\nbad: REVERT 0"
    for answer, kinds in ((0, ["CALL", "CALL", "RESULT"]), (1, ["CALL", "REVERT", "CALL", "RESULT"])):
        story = Story(state_with({ACCOUNT: twice, OTHER: OUT + ends}))
        story.call()
        story.answer(words(answer))
        if answer:
            story.go_on(opener=0)
        second = story.runs[-1].next_action
        story.answer(words(0))
        assert [run.next_action.kind.name for run in story.runs] == kinds
        assert second.scope == (1,)
        assert bench().broken(bench().hints(story)) is None


def test_a_call_of_another_account_while_frames_wait() -> None:
    """Its frames stand on those that wait, and its scopes begin anew."""
    story = nested()
    story.call()
    story.call()
    assert story.runs[1].next_action.scope == (0,)
    story.answer(words(2))
    story.answer(words(1), of=0)

    assert [entry.mid for entry in story.entries] == [True, True, True, False]
    assert bench().broken(bench().hints(story)) is None


DEEP = replace(FRAMES, stretches=17, segments=26, waiting=1, reverts=1)
DIVES = f"""
        ARGLO  r1, 0
        JZ     r1, end
        LDI    r2, 1
        SUB    r1, r1, r2
        OUT    r0, r1, 0
        LDF    f0, {TO_SELF}
        ICALL  f0, r0, 1, 1
        RETOK  r3
        RETURN 0
end:    RETURN 0
"""


def dives(count: int) -> Story:
    """A program that calls itself so often."""
    story = Story(state_with({ACCOUNT: DIVES}))
    story.call(b"abcd" + words(count))
    return story


def test_frames_lie_at_most_seven_deep(monkeypatch: pytest.MonkeyPatch) -> None:
    """The eighth ICALL inside each other traps DEPTH: it can neither be made nor can the seventh be refused."""
    traps = [[s.trap for s in dives(count).runs[0].stretches].count(Trap.DEPTH) for count in (7, 8)]
    assert traps == [0, 1]
    for count in (7, 8):
        assert bench(DEEP).broken(bench(DEEP).hints(dives(count))) is None
    flat, steep = (lambda _: ()), (lambda scope: scope if len(scope) < 6 else (0,) * 7)
    for count, change in ((8, flat), (7, steep)):
        # What scopes are makes no other difference here.
        lie = {"begins": lambda _, b, change=change: inside(b, scope=change(b.frame.scope))}
        monkeypatch.setattr(machine, "FrameRun", type("Breaks", (Liar,), lie))
        story = dives(count)
        assert [s.trap for s in story.runs[0].stretches].count(Trap.DEPTH) == (count == 7)
        assert bench(DEEP).broken(bench(DEEP).hints(story)) is not None


def test_what_does_not_fit_is_refused_by_name() -> None:
    """Before an auction."""
    story = reverted()
    limits = {"stretches": 4, "waiting": 1, "reverts": 0}
    reasons = {"stretches": "TIER_STRETCHES", "waiting": "TIER_FRAMES", "reverts": "TIER_REVERTS"}
    for name, size in limits.items():
        found = bench(replace(FRAMES, **{name: size - (name == "stretches")})).fits(story)
        assert found is not None
        assert found.reason == reasons[name]
    assert bench(replace(FRAMES, waiting=2, reverts=1)).fits(story) is None


# -- a machine that breaks a rule --------------------------------------------------------------------------------------


class Liar(FrameRun):
    """The machine, but for one rule."""

    begins: Callable[[Liar, Begin], Begin] | None = None
    ends: Callable[[Liar, Ended], Ended] | None = None
    resumes: Callable[[Liar, Ended, Resume], Resume] | None = None

    def _begin(self, begin: Begin) -> Begin | Ended | End:
        return super()._begin(type(self).begins(self, begin) if type(self).begins else begin)  # type: ignore[misc]

    def _conclude(self, ended: Ended) -> Resume | End:
        cls = type(self)
        if cls.ends:
            ended = cls.ends(self, ended)  # type: ignore[misc]
        following = super()._conclude(ended)
        if cls.resumes and isinstance(following, Resume):
            following = cls.resumes(self, ended, following)  # type: ignore[misc]
        return following


def inside(begin: Begin, **changes: object) -> Begin:
    """Other fields of a frame that ICALL begins."""
    if begin.payer is None:
        return begin
    return replace(begin, frame=replace(begin.frame, **changes))  # type: ignore[arg-type]


def kept(run: FrameRun, ended: Ended) -> Ended:
    """A failed frame leaves what it did."""
    return replace(ended, frame=replace(ended.frame, start_tree=run.ledger.tree))


def caller_with(resume: Resume, **changes: object) -> Resume:
    """Other fields of the caller that goes on."""
    return replace(resume, frame=replace(resume.frame, **changes))  # type: ignore[arg-type]


def answered(resume: Resume, data: bytes, *, failed: bool) -> Resume:
    """Another answer."""
    return replace(resume, answer=Answer.of(data, failed=failed))


def plain_failure() -> Story:
    """A frame inside fails without having called out."""
    return Story(state_with({ACCOUNT: asks(TO_OTHER, 4) + TELLS, OTHER: WRITES + FAILS}, balance=10))


def good() -> Story:
    """A frame inside does well."""
    tells = "CALLER f1\nVALUE r1\nFLO r2, f1\nOUT r2, r1, 0\nRETURN 1"
    return Story(state_with({ACCOUNT: asks(TO_OTHER, 4) + TELLS, OTHER: tells}, balance=10))


def one_call(make: Callable[[], Story], **fields: int) -> Callable[[], Story]:
    """The story of one entry."""

    def told() -> Story:
        story = make()
        story.call(**fields)
        return story

    return told


def second_scope() -> Story:
    """The second of two frames that call out waits."""
    story = Story(state_with({ACCOUNT: asks(TO_OTHER) + asks(TO_OTHER) + "RETURN 0", OTHER: OUT + "RETURN 0"}))
    story.call()
    story.answer(words(0))
    return story


def without_revert() -> Story:
    """The frame inside fails after its outgoing call, and the machine should go on with a REVERT."""
    story = nested(end=FAILS)
    story.call()
    story.answer(words(9))
    return story


LIES: dict[str, tuple[Callable[[], Story], dict[str, object]]] = {
    "a failed frame keeps what it did": (one_call(plain_failure), {"ends": lambda run, e: kept(run, e)}),
    "a failure passes for a success": (
        one_call(plain_failure),
        {"resumes": lambda _, __, r: replace(r, answer=replace(r.answer, failed=False))},
    ),
    "a success passes for a failure": (
        one_call(good),
        {"resumes": lambda _, __, r: replace(r, answer=replace(r.answer, failed=True))},
    ),
    "another answer comes back": (one_call(good), {"resumes": lambda _, __, r: answered(r, words(77), failed=False)}),
    "the caller pays nothing": (one_call(good), {"begins": lambda _, b: replace(b, payer=None)}),
    "another caller is shown": (one_call(good), {"begins": lambda _, b: inside(b, caller=endpoint(0, ACCOUNT))}),
    "other arguments arrive": (
        one_call(
            lambda: Story(state_with({ACCOUNT: asks(TO_OTHER) + TELLS, OTHER: "ARGLO r1, 0\nOUT r1, r1, 0\nRETURN 1"}))
        ),
        {"begins": lambda _, b: inside(b, args=((0, 6),))},
    ),
    "another value is shown": (one_call(good), {"begins": lambda _, b: inside(b, value=5)}),
    "steps begin anew": (one_call(nested), {"begins": lambda _, b: inside(b, steps=0)}),
    "a scope skips a number": (one_call(nested), {"begins": lambda _, b: inside(b, scope=(1,))}),
    "a frame stands on another caller": (
        one_call(nested),
        {
            "begins": lambda _, b: (
                inside(b, parent=replace(b.frame.parent, registers=(9,) * 16)) if b.frame.parent else b
            )
        },
    ),
    "a scope is missing": (one_call(nested), {"begins": lambda _, b: inside(b, scope=())}),
    "the restored tree is that of the caller": (
        one_call(nested, value=3),
        {"begins": lambda _, b: inside(b, start_tree=b.frame.parent.start_tree) if b.frame.parent else b},
    ),
    "children are not counted": (second_scope, {"resumes": lambda _, __, r: caller_with(r, children=0)}),
    "a caller forgets that it called": (second_scope, {"resumes": lambda _, __, r: caller_with(r, called=False)}),
    "a caller has made more steps": (
        second_scope,
        {"resumes": lambda _, __, r: caller_with(r, steps=r.frame.steps + 1)},
    ),
    "a reverted scope keeps what was done in it": (
        reverted,
        {"ends": lambda run, e: kept(run, e) if e.undone else e},
    ),
    "a frame that called out fails without a REVERT": (
        without_revert,
        {"ends": lambda _, e: replace(e, frame=replace(e.frame, called=False)) if not e.undone else e},
    ),
    "a REVERT says other data": (reverted, {"ends": lambda _, e: replace(e, data=words(6)) if not e.undone else e}),
    "a REVERT_CONTINUE says other data": (reverted, {"resumes": lambda _, __, r: answered(r, words(6), failed=True)}),
    "a reverted call passes for a success": (
        reverted,
        {"resumes": lambda _, __, r: replace(r, answer=replace(r.answer, failed=False))},
    ),
}


@pytest.mark.parametrize("make", {make: None for make, _ in LIES.values() if make.__name__ != "told"})
def test_what_the_lies_are_about_is_provable(make: Callable[[], Story]) -> None:
    """The same stories, told by the rules."""
    assert bench().broken(bench().hints(make())) is None


@pytest.mark.parametrize("name", LIES)
def test_a_machine_that_breaks_a_rule_is_not_proven(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The prover runs it, claims what it gives and fills everything else honestly; by the rules it would do."""
    make, rule = LIES[name]
    monkeypatch.setattr(machine, "FrameRun", type("Breaks", (Liar,), rule))

    assert bench().broken(bench().hints(make())) is not None


def changed(hints: Hints, at: int, **fields: object) -> Hints:
    """Other choices for one stretch."""
    stretches = list(hints.stretches)
    stretch = stretches[at]
    assert stretch is not None
    stretches[at] = replace(stretch, **fields)  # type: ignore[arg-type]
    return replace(hints, stretches=stretches)


def test_another_frame_cannot_go_on() -> None:
    """Behind a frame that ended, behind an answer, behind a REVERT: who goes on is who waits for that."""
    story = deep("RETLO r1, 0\nOUT r1, r1, 0\nRETURN 1", FAILS)
    story.call()
    story.answer(words(1))
    story.go_on(opener=0)
    hints = bench().hints(story)
    openings = [stretch.opening.name for stretch in hints.stretches if stretch]
    assert openings == ["TRIGGER", "INNER", "INNER", "ANSWER", "BACK", "UNWIND"]
    for at, goes_on in ((3, 2), (4, 1), (5, 0)):
        stretch = hints.stretches[at]
        assert stretch is not None
        assert stretch.resumes == goes_on
        for other in range(at):
            lie = changed(hints, at, resumes=other)
            assert (bench().broken(lie) is None) == (other == goes_on)
    for opener in (None, 0, 1, 3, 4):
        assert bench().broken(changed(hints, 5, opener=opener)) is not None
    for unit in (None, 1):
        assert bench().broken(changed(hints, 5, reverted=unit)) is not None
    for unhashed in range(3):
        waiting = [None if at == unhashed else at for at in hints.waiting]
        assert bench().broken(replace(hints, waiting=waiting)) is not None
