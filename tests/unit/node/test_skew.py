"""What messages say about this machine's clock, and what `doctor` makes of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from node.commands.doctor import clock_findings
from node.frames import gossip_judge
from node.skew import MAX_SIGNERS, Skew
from protocol.constants import MAX_CLOCK_SKEW_MS
from protocol.errors import Ignore
from protocol.gossip_memory import GossipMemory
from protocol.verdicts import WireCode
from tests.support.wire_samples import MARKET, NOW_MS, AllTickets, framed, request

A, B, C = (bytes([n]) * 20 for n in (1, 2, 3))


def test_nothing_heard_says_nothing() -> None:
    assert None is Skew().ahead_ms()


def test_the_best_message_of_a_signer_counts_since_ways_only_delay() -> None:
    skew = Skew()
    for created_ms in (9_000, 9_990, 9_500):
        skew.heard(A, created_ms, 10_000)

    assert -10 == skew.ahead_ms()


def test_half_of_the_signers_decide() -> None:
    """One peer with a wrong clock, or a liar, says nothing about ours."""
    skew = Skew()
    for signer, created_ms in ((A, 10_000), (B, 10_001), (C, 99_999)):
        skew.heard(signer, created_ms, 10_000)

    assert 1 == skew.ahead_ms()


def test_only_the_signers_heard_last_are_kept() -> None:
    skew = Skew()
    for number in range(MAX_SIGNERS + 5):
        skew.heard(number.to_bytes(20, "big"), 0, 0)

    assert MAX_SIGNERS == skew.shown()["signers"]


@pytest.mark.parametrize(
    ("code", "counted"), [(WireCode.FROM_FUTURE, 1), (WireCode.FROM_PAST, 1), (WireCode.EXPIRED, 0)]
)
def test_refusals_for_the_time_are_counted_and_no_others(code: WireCode, counted: int) -> None:
    skew = Skew()
    skew.refuse(Ignore(code))

    assert counted == skew.refused


class Slow:
    """A clock that is behind."""

    def __init__(self, behind_ms: int) -> None:
        self._behind_ms = behind_ms

    def now_ms(self) -> int:
        return NOW_MS - self._behind_ms

    async def sleep_until(self, unix_ms: int) -> None:
        raise AssertionError("nothing sleeps here")


@pytest.mark.parametrize("behind_ms", [0, 1, MAX_CLOCK_SKEW_MS, MAX_CLOCK_SKEW_MS + 1])
def test_gossip_beyond_the_tolerance_is_refused_with_its_code_and_counted(behind_ms: int) -> None:
    """Within it the frame is taken, and shows by how much its signer is ahead."""
    skew = Skew()
    judge = gossip_judge(market=MARKET, clock=Slow(behind_ms), memory=GossipMemory(), view=AllTickets(), skew=skew)
    if behind_ms > MAX_CLOCK_SKEW_MS:
        with pytest.raises(Ignore) as refused:
            judge("req", framed(request()))
        assert WireCode.FROM_FUTURE == refused.value.reason
        assert (None, 1) == (skew.ahead_ms(), skew.refused)
    else:
        judge("req", framed(request()))
        assert (behind_ms or None, 0) == (skew.ahead_ms(), skew.refused)


@pytest.mark.parametrize(
    ("clock", "level"),
    [
        ({"ahead_ms": None, "signers": 0, "refused": 0}, "note"),
        ({"ahead_ms": None, "signers": 0, "refused": 3}, "bad"),
        ({"ahead_ms": -2_000, "signers": 4, "refused": 1}, "ok"),
        ({"ahead_ms": 2_000, "signers": 4, "refused": 0}, "ok"),
        ({"ahead_ms": 2_001, "signers": 4, "refused": 0}, "bad"),
        ({"ahead_ms": -2_001, "signers": 4, "refused": 0}, "bad"),
    ],
)
def test_doctor_says_whose_clock_is_off(tmp_path: Path, clock: dict[str, int | None], level: str) -> None:
    (tmp_path / "status.json").write_text(json.dumps({"clock": clock}))

    (finding,) = clock_findings(tmp_path)

    assert level == finding.level


def test_doctor_says_nothing_of_a_node_that_never_ran(tmp_path: Path) -> None:
    assert [] == clock_findings(tmp_path)
