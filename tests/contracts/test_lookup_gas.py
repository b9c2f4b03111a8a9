"""A lookup costs the same however many entries exist: among ten thousand of others', really loaded.

The figures are in the committed gas file, where `test_gas.py` measures them anew.
"""

from __future__ import annotations

import json

from tests.support.write_gas import GAS_FILE, OTHERS


def test_a_lookup_costs_the_same_among_ten_thousand_entries() -> None:
    figures = json.loads(GAS_FILE.read_text(encoding="utf-8"))["lookup_in_storage_on_pyrevm"]
    for way in ("unnamed", "pinned"):
        assert figures[f"{way}_alone"] == figures[f"{way}_among_{OTHERS}"] > 0


def test_the_committed_lookup_does_not_know_how_many_others_there_are() -> None:
    lane = json.loads(GAS_FILE.read_text(encoding="utf-8"))["persistent_lane"]
    assert lane["open_call"] == lane["open_call_beside_16_entries"]
