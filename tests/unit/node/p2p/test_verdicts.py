"""The intake: one decision per frame, cheapest check first."""

from collections.abc import Callable

import pytest
import trio

from node.p2p.errors import UnknownTopic
from node.p2p.verdicts import Intake, TokenBucket, Topic, Verdict, frame_id
from protocol.errors import Ignore, Reject

TOPIC = "/t/1"


class Bench:
    """An intake with a scripted validator that counts its calls."""

    def __init__(self, *, channel_frames: int = 10, max_frame_bytes: int = 8) -> None:
        self.validated: list[bytes] = []
        self.kept: list[tuple[str, bytes, bytes]] = []
        self.struck: list[str] = []
        self.rule: Callable[[bytes], None] = lambda frame: None
        self.intake = Intake(
            [Topic(name=TOPIC, validate=self.validate, max_frame_bytes=max_frame_bytes)],
            channel_frames=channel_frames,
            keep=lambda *kept: self.kept.append(kept),
            strike=self.struck.append,
        )

    def validate(self, frame: bytes, from_peer: str) -> None:
        self.validated.append(frame)
        self.rule(frame)

    def judge(self, frame: bytes, *, sound: bool | None = None) -> Verdict:
        check = None if sound is None else lambda: sound
        return self.intake.judge(TOPIC, frame, "peer", is_authentic=check)

    def delivered(self) -> list[bytes]:
        receive = self.intake.state(TOPIC).receive
        frames = []
        while receive.statistics().current_buffer_used:
            frames.append(receive.receive_nowait().frame)
        return frames

    def counts(self) -> dict[str, int]:
        return dict(self.intake.state(TOPIC).counts)


def reject(frame: bytes) -> None:
    raise Reject("TEST")


def ignore(frame: bytes) -> None:
    raise Ignore("TEST")


def bug(frame: bytes) -> None:
    raise ZeroDivisionError


async def test_accepted_frame_is_delivered_kept_and_settled() -> None:
    """Once, however often it comes."""
    bench = Bench()

    assert [Verdict.ACCEPT, Verdict.DUPLICATE] == [bench.judge(b"x"), bench.judge(b"x")]

    assert [b"x"] == bench.validated == bench.delivered()
    assert [(TOPIC, frame_id(b"x"), b"x")] == bench.kept
    assert bench.intake.is_settled(frame_id(b"x"))
    assert [] == bench.struck


async def test_rejected_frame_strikes_each_time_but_is_validated_once() -> None:
    """Repeating a frame must not buy signature checks."""
    bench = Bench()
    bench.rule = reject

    assert [Verdict.REJECT] * 3 == [bench.judge(b"x") for _ in range(3)]

    assert [b"x"] == bench.validated
    assert ["peer"] * 3 == bench.struck
    assert [] == bench.delivered() == bench.kept
    assert bench.intake.is_settled(frame_id(b"x"))


async def test_ignored_frame_leaves_no_trace_and_may_be_accepted_later() -> None:
    """It came too early; nobody is to blame."""
    bench = Bench()
    bench.rule = ignore
    assert Verdict.IGNORE is bench.judge(b"x")
    assert [] == bench.struck == bench.kept == bench.delivered()
    assert not bench.intake.is_settled(frame_id(b"x"))

    bench.rule = lambda frame: None

    assert Verdict.ACCEPT is bench.judge(b"x")


async def test_oversize_frame_is_neither_hashed_nor_checked() -> None:
    """The length alone decides."""
    bench = Bench(max_frame_bytes=8)

    def explode() -> bool:
        raise AssertionError("the envelope was checked")

    assert Verdict.REJECT is bench.intake.judge(TOPIC, bytes(9), "peer", is_authentic=explode)
    assert Verdict.ACCEPT is bench.judge(bytes(8))

    assert [bytes(8)] == bench.validated
    assert ["peer"] == bench.struck


async def test_duplicate_costs_no_envelope_check() -> None:
    """Mesh peers send each frame several times."""
    bench = Bench()
    bench.judge(b"x", sound=True)

    def explode() -> bool:
        raise AssertionError("the envelope was checked")

    assert Verdict.DUPLICATE is bench.intake.judge(TOPIC, b"x", "peer", is_authentic=explode)


async def test_forged_envelope_does_not_settle_the_frame_inside() -> None:
    """Else a forger could hide an honest frame by sending it first."""
    bench = Bench()

    assert Verdict.REJECT is bench.judge(b"x", sound=False)
    assert [] == bench.validated
    assert ["peer"] == bench.struck

    assert Verdict.ACCEPT is bench.judge(b"x", sound=True)


async def test_full_channel_refuses_before_the_validator_remembers_anything() -> None:
    """Validators keep state; one that has seen a frame which was then dropped would call it a duplicate later."""
    bench = Bench(channel_frames=2)

    assert [Verdict.ACCEPT, Verdict.ACCEPT, Verdict.OVERLOAD] == [bench.judge(b"%d" % n) for n in range(3)]
    assert [b"0", b"1"] == bench.validated
    assert [b"0", b"1"] == bench.delivered()

    assert Verdict.ACCEPT is bench.judge(b"2")


async def test_bug_in_the_validator_is_an_ignore_with_a_count() -> None:
    """Contained, because a stranger can reach it; counted and logged, because it is ours."""
    bench = Bench()
    bench.rule = bug

    assert Verdict.IGNORE is bench.judge(b"x")

    assert {"fault": 1, "ignore": 1} == bench.counts()
    assert [] == bench.struck


async def test_bug_in_a_tap_does_not_change_the_verdict() -> None:
    """An observer cannot stop the node either."""
    bench = Bench()
    bench.intake.add_tap(lambda topic, frame: bug(frame))

    assert Verdict.ACCEPT is bench.judge(b"x")

    assert {"fault": 1, "accept": 1} == bench.counts()


async def test_closed_receiver_does_not_stop_relaying() -> None:
    """A relay has no application behind a topic."""
    bench = Bench(channel_frames=1)
    bench.intake.state(TOPIC).receive.close()

    assert [Verdict.ACCEPT] * 3 == [bench.judge(b"%d" % n) for n in range(3)]
    assert {"accept": 3, "unread": 3} == bench.counts()


async def test_own_frame_is_kept_and_settled_but_not_delivered() -> None:
    """And its echo from the network is a duplicate."""
    bench = Bench()

    assert (Verdict.ACCEPT, "") == bench.intake.judge_own(TOPIC, b"x", "me")

    assert [] == bench.delivered()
    assert 1 == len(bench.kept)
    assert Verdict.DUPLICATE is bench.judge(b"x")
    assert (Verdict.DUPLICATE, "") == bench.intake.judge_own(TOPIC, b"x", "me")


@pytest.mark.parametrize(
    ("rule", "verdict"), [(reject, (Verdict.REJECT, "PRO-001 TEST")), (ignore, (Verdict.IGNORE, "PRO-002 TEST"))]
)
async def test_own_frame_against_the_rules_is_not_kept(
    rule: Callable[[bytes], None], verdict: tuple[Verdict, str]
) -> None:
    """The caller gets the rule's name."""
    bench = Bench()
    bench.rule = rule

    assert verdict == bench.intake.judge_own(TOPIC, b"x", "me")

    assert [] == bench.kept == bench.struck


async def test_bug_in_the_validator_of_an_own_frame_is_not_contained() -> None:
    """No stranger is involved: it crashes visibly."""
    bench = Bench()
    bench.rule = bug

    with pytest.raises(ZeroDivisionError):
        bench.intake.judge_own(TOPIC, b"x", "me")


async def test_closing_lets_the_application_finish_what_is_queued() -> None:
    """Then its loop ends."""
    bench = Bench()
    bench.judge(b"x")

    bench.intake.close()

    assert Verdict.OVERLOAD is bench.judge(b"late")  # peers go on sending while we shut down
    assert [b"x"] == bench.validated
    receive = bench.intake.state(TOPIC).receive
    assert b"x" == (await receive.receive()).frame
    with pytest.raises(trio.EndOfChannel):
        await receive.receive()


async def test_unknown_topic_and_silly_limits_are_errors() -> None:
    """Both are mistakes of the caller."""
    with pytest.raises(UnknownTopic):
        Bench().intake.judge("/other/1", b"x", "peer")
    for limit in (0, (1 << 19) + 1):
        with pytest.raises(ValueError, match="max_frame_bytes"):
            Topic(name=TOPIC, validate=lambda frame, peer: None, max_frame_bytes=limit)


def test_bucket_allows_twice_the_rate_at_once_and_the_rate_on_average() -> None:
    """At 10 a second: 20 at the start, then one each tenth of a second."""
    bucket = TokenBucket(10.0, now=0.0)

    assert 20 == sum(bucket.take(0.0) for _ in range(100))
    taken = [now / 8 for now in range(1, 9) if bucket.take(now / 8)]  # eighths of a second are exact
    assert [now / 8 for now in range(1, 9)] == taken
    assert [True, True, False] == [bucket.take(1.0) for _ in range(3)]  # 8 of 10 were taken in that second
    assert 20 == sum(bucket.take(1000.0) for _ in range(100))
