"""Writes tests/vectors/lifecycle.json and the diagram in SPEC.md §10, after a deliberate change of the table:
`python -m tests.support.write_lifecycle_vectors`."""

from __future__ import annotations

import json

from market.lifecycle import INITIAL, TERMINAL, TRANSITIONS, State, diagram
from tests.support.tools import ROOT

SPEC = ROOT.joinpath("protocol", "SPEC.md")
BEGIN, END = "```mermaid\n", "```\n"


def lifecycle_vectors() -> dict[str, object]:
    """The transition table as data."""
    return {
        "initial": {role.value: state.value for role, state in INITIAL.items()},
        "terminal": sorted(state.value for state in State if state in TERMINAL),
        "transitions": [
            {
                "state": state.value,
                "event": event.value,
                "target": step.target.value,
                "effects": [effect.value for effect in step.effects],
            }
            for (state, event), step in TRANSITIONS.items()
        ],
    }


def spec_diagram(text: str) -> str:
    """The diagram that SPEC §10 holds."""
    return text.partition(BEGIN)[2].partition(END)[0]


if __name__ == "__main__":
    path = ROOT.joinpath("tests", "vectors", "lifecycle.json")
    path.write_text(json.dumps(lifecycle_vectors(), indent=1) + "\n", encoding="utf-8")
    text = SPEC.read_text(encoding="utf-8")
    SPEC.write_text(text.replace(BEGIN + spec_diagram(text), BEGIN + diagram()), encoding="utf-8")
