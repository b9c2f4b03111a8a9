"""Slots, schedules, and a beacon node's answers, right and wrong."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from node.duties import BeaconDuties, FixedDuties, SlotTimes, schedule
from node.errors import UsageError
from node.ports import TryAgain

TIMES = SlotTimes(genesis_ms=1_000_000, slot_ms=12_000)
GENESIS = {"genesis_time": "1606824023", "genesis_validators_root": "0x00", "genesis_fork_version": "0x00"}
SPEC = {"SECONDS_PER_SLOT": "12", "SLOTS_PER_EPOCH": "32", "PRESET_BASE": "mainnet"}
DUTIES = [{"pubkey": "0x93", "validator_index": str(7 + slot % 2), "slot": str(64 + slot)} for slot in range(32)]


def beacon(validators: set[int], changed: Mapping[str, Any] | None = None) -> tuple[BeaconDuties, list[str]]:
    """Duties from answers of a beacon node, some of them changed; and the paths that were asked."""
    answers = {
        "/eth/v1/beacon/genesis": {"data": GENESIS},
        "/eth/v1/config/spec": {"data": SPEC},
        "/eth/v1/validator/duties/proposer/2": {
            "dependent_root": "0xcf",
            "execution_optimistic": False,
            "data": DUTIES,
        },
        **(changed or {}),
    }
    asked: list[str] = []

    def fetch(path: str) -> bytes:
        asked.append(path)
        answer = answers[path]
        return answer if isinstance(answer, bytes) else json.dumps(answer).encode()

    return BeaconDuties(fetch, frozenset(validators)), asked


def test_slots_begin_at_genesis_and_last_as_long_as_they_do() -> None:
    """Boundaries, and the time before genesis."""
    assert (0, 0, 1, 5) == tuple(TIMES.slot_at(at) for at in (0, 1_011_999, 1_012_000, 1_060_000))
    assert 1_060_000 == TIMES.start_ms(5)
    assert 1_060 == TIMES.start_s(5)


async def test_a_schedule_says_which_slots_are_ours() -> None:
    """R/P."""
    remainder, period = schedule("2/5")
    fixed = FixedDuties(slot_times=TIMES, remainder=remainder, period=period)

    assert [2, 7, 12] == [slot for slot in range(15) if await fixed.is_ours(slot)]
    assert TIMES == await fixed.times()
    assert (0, 0) == schedule("")
    assert not await FixedDuties(slot_times=TIMES, remainder=0, period=0).is_ours(0)


@pytest.mark.parametrize("text", ["1", "2/2", "3/2", "-1/2", "1/0", "a/b", "1/2/3", " 1/2", "1/2 "])
def test_a_schedule_that_is_none_is_refused(text: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(UsageError):
        schedule(text)


async def test_a_beacon_node_is_asked_for_the_epoch_of_the_slot() -> None:
    """Validator 8 has the odd slots of epoch 2; times are asked once."""
    duties, asked = beacon({8, 99})

    assert [65, 67] == [slot for slot in (64, 65, 66, 67) if await duties.is_ours(slot)]
    assert SlotTimes(genesis_ms=1_606_824_023_000, slot_ms=12_000, slots_per_epoch=32) == await duties.times()
    assert asked[:3] == ["/eth/v1/beacon/genesis", "/eth/v1/config/spec", "/eth/v1/validator/duties/proposer/2"]
    assert 6 == len(asked)


async def test_slots_of_milliseconds_are_understood() -> None:
    """SLOT_DURATION_MS goes before SECONDS_PER_SLOT."""
    duties, _ = beacon({8}, {"/eth/v1/config/spec": {"data": {**SPEC, "SLOT_DURATION_MS": "6000"}}})

    assert 6_000 == (await duties.times()).slot_ms


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/eth/v1/beacon/genesis", b"<html>"),
        ("/eth/v1/beacon/genesis", b"[" * 100_000),
        ("/eth/v1/beacon/genesis", []),
        ("/eth/v1/beacon/genesis", {"data": {"genesis_time": 5}}),
        ("/eth/v1/beacon/genesis", {"data": {"genesis_time": "-5"}}),
        ("/eth/v1/config/spec", {"data": {"SECONDS_PER_SLOT": "12"}}),
        ("/eth/v1/config/spec", {"data": {**SPEC, "SECONDS_PER_SLOT": "0"}}),
        ("/eth/v1/config/spec", {"data": None}),
        ("/eth/v1/validator/duties/proposer/2", {"code": 503, "message": "syncing"}),
        ("/eth/v1/validator/duties/proposer/2", {"data": {"slot": "65"}}),
        ("/eth/v1/validator/duties/proposer/2", {"data": [{"slot": "65"}]}),
        ("/eth/v1/validator/duties/proposer/2", {"data": ["65"]}),
        ("/eth/v1/validator/duties/proposer/2", {"data": [{"slot": "65", "validator_index": "1" * 5_000}]}),
    ],
)
async def test_an_answer_that_is_none_is_not_believed(path: str, answer: object) -> None:
    """It is asked again later; no slot is taken for ours by mistake."""
    duties, _ = beacon({7, 8}, {path: answer})

    with pytest.raises(TryAgain):
        await duties.is_ours(65)
