"""The limits that the README states are the circuit's."""

from __future__ import annotations

from dataclasses import replace

from proving.circuit.builder import Recorder
from proving.circuit.table_vm import table_vm
from proving.circuit.tiers import SHAPE_S, Shape
from tests.support.tools import ROOT


def constraints(shape: Shape) -> int:
    """Size of a circuit."""
    recorder = Recorder()
    table_vm(recorder, shape, None)
    return recorder.constraints


def test_readme_states_what_one_more_costs() -> None:
    """Each size of the shape, one larger."""
    text = (ROOT / "proving/circuit/README.md").read_text()
    s, base = SHAPE_S, constraints(SHAPE_S)
    larger = {
        f"segment of {s.segment_rows} rows": replace(s, segments=s.segments + 1),
        "key that can be inserted": replace(s, inserts=s.inserts + 1),
        "key that can be rewritten": replace(s, updates=s.updates + 1),
        "key that can be absent": replace(s, seeks=s.seeks + 1),
        "key that can be read": replace(s, reads=s.reads + 1),
        "leaf before an inserted key": replace(s, links=s.links + 1),
        "node": replace(s, nodes=s.nodes + 1),
        "entry": replace(s, tier=replace(s.tier, entries=s.tier.entries + 1)),
        "stretch": replace(s, stretches=s.stretches + 1),
        "frame that waits": replace(s, waiting=s.waiting + 1),
        "data word": replace(s, tier=replace(s.tier, data_words=s.tier.data_words + 1)),
        "chunk of 15 instructions": replace(s, chunks=s.chunks + 1),
        "program": replace(s, programs=s.programs + 1),
        "HASH input": replace(s, hashes=s.hashes + 1),
        "product, quotient, ..": replace(s, integers=s.integers + 1),
    }
    costs = {name: constraints(shape) - base for name, shape in larger.items()}
    stated = {name: f"| {name} | {cost} |" in text for name, cost in costs.items()}

    assert stated == dict.fromkeys(costs, True), costs


def test_readme_states_the_limits_of_tier_s() -> None:
    """Row by row."""
    rows = [line for line in (ROOT / "proving/circuit/README.md").read_text().splitlines() if line.startswith("| ")]
    shape = SHAPE_S

    for row in (
        f"| entries, data words | {shape.tier.entries}, {shape.tier.data_words} (SPEC §6) |",
        "| stretches (runs of one frame without a change of frames), frames that wait | "
        f"{shape.stretches}, {shape.waiting} |",
        f"| steps of all stretches | {shape.segments * shape.segment_rows}: {shape.segments} segments of "
        f"{shape.segment_rows}, each of which serves one stretch |",
        f"| programs in one table | {shape.programs}, in {shape.chunks} chunks of 15 instructions |",
        f"| different HASH inputs in one table | {shape.hashes} |",
        "| keys of stretches: inserted, or anything; rewritten or read; read or absent; read; leaves beside | "
        f"{shape.inserts}; {shape.updates}; {shape.seeks}; {shape.reads}; {shape.links} |",
        f"| nodes of the tree, each change of one counted | {shape.nodes} |",
    ):
        assert row in rows
