"""Gas is committed and compared exactly; a change of cost shows as a change of gas.json."""

from __future__ import annotations

import json

from tests.support.write_gas import GAS_FILE, measure


def test_gas_is_what_is_committed() -> None:
    """After a wanted change: python -m tests.support.write_gas."""
    assert measure() == json.loads(GAS_FILE.read_text(encoding="utf-8"))


def test_the_whole_story_in_one_transaction_is_below_its_target() -> None:
    story = json.loads(GAS_FILE.read_text(encoding="utf-8"))["two_entries_groth16_settled"]
    parts = ("intrinsic", "verify", "settle", "load", "consume")
    assert sum(story[part] for part in parts) == story["total"] < 450_000
    assert story["tx_data_bytes"] < 4096


def test_entries_are_below_their_targets() -> None:
    """A further transient entry, loaded and met, with call data, log and statement words; a persistent one."""
    figures = json.loads(GAS_FILE.read_text(encoding="utf-8"))
    further = figures["each_further_entry"]
    assert further["transient_loaded_and_met"] < 60_000
    assert further["persistent_loaded"] < 200_000
    assert figures["persistent_lane"]["load_16"] // 16 < 200_000
