"""Writes proving/circuit/constraints.json, from tiers: `python -m tests.support.write_constraints [S M L XL]`.

The hash changes with every change of a circuit, so that whoever reviews one sees its price beside it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from proving.circuit.builder import CompiledCircuit
from proving.circuit.table_vm import circuit_for
from proving.circuit.tiers import SHAPES
from tests.support import tools

CONSTRAINTS_FILE = tools.ROOT / "proving" / "circuit" / "constraints.json"


def counted(made: CompiledCircuit) -> dict[str, int | str]:
    """A circuit's line of the file."""
    return {
        "constraints": made.n_constraints,
        "wires": made.n_wires,
        "public": made.n_public,
        "domain_log2": (made.n_constraints + made.n_public).bit_length(),
        "hash": made.hash,
    }


def main(names: Sequence[str]) -> None:
    """Write the lines of these tiers; the others stay. XL takes minutes, so it is made when it is asked for."""
    known = json.loads(CONSTRAINTS_FILE.read_text())
    for number, shape in SHAPES.items():
        if shape.tier.name in (names or ("S", "M", "L")):
            known[shape.tier.name] = counted(circuit_for(number))
    CONSTRAINTS_FILE.write_text(json.dumps(known, indent=2) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
