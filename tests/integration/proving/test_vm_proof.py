"""`unveto vm run --prove`: a trial of a program becomes a table, and that a proof which verifies."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from node.cli import main

SQUARE = """
        ARGLO  r1, 0
        MUL    r2, r1, r1
        LDF    f1, 1
        SSTORE f1, r2
        OUT    r11, r2, 0
        RETURN 1
"""


@pytest.mark.timeout(300)
def test_a_program_of_ones_own_is_proven(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Written, run and proven by one command."""
    source = tmp_path / "square.uvm"
    source.write_text(SQUARE)
    assert main(["vm", "run", "--json", "--prove", str(source), "--call", "square(uint128) 12"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["tier"], said["entries"], said["verified"], int(said["data"], 16)) == ("S", 1, True, 144)


def test_what_no_circuit_proves_is_refused_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """After the trial, before any key is made."""
    many = tmp_path / "many.uvm"
    many.write_text("MOV r1, r1\n" * 1_400 + "RETURN 0")  # tier XL has 1,152 rows
    assert main(["vm", "run", "--json", "--prove", str(many), "--data", ""]) == 1
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "PRV-101"
