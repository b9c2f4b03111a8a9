"""The limits that the README states are the circuit's."""

from __future__ import annotations

from proving.circuit.tiers import SHAPE_S
from tests.support.tools import ROOT


def test_readme_states_the_limits_of_tier_s() -> None:
    """Row by row."""
    rows = [line for line in (ROOT / "proving/circuit/README.md").read_text().splitlines() if line.startswith("| ")]
    shape = SHAPE_S

    for row in (
        f"| entries, data words | {shape.tier.entries}, {shape.tier.data_words} (SPEC §6) |",
        f"| steps of all entries | {shape.segments * shape.segment_rows}: {shape.segments} segments of "
        f"{shape.segment_rows}, each of which serves one entry |",
        f"| programs in one table | {shape.programs}, in {shape.chunks} chunks of 15 instructions |",
        f"| different HASH inputs in one table | {shape.hashes} |",
        f"| tree updates in one table | {2 * shape.pairs}; an insertion takes a pair, value that comes or goes one |",
        f"| tree reads in one table | {shape.readers}, and one for each update that is left |",
        f"| leaves that one table touches | within one aligned block of {4**shape.block_levels:,} places |",
    ):
        assert row in rows
