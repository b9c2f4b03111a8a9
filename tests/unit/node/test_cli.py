"""Commands as a user types them: results as JSON, refusals with a code and a status."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from node.cli import main

ADD_ONE = """
    ARGLO r0, 0
    LDI r1, 1
    ADD r0, r0, r1
    OUT r2, r0, 0
    RETURN 1
"""


def _json(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    value = json.loads(capsys.readouterr().out)
    assert isinstance(value, dict)
    return value


def test_assembled_program_disassembles_to_the_same_program(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, program, again = tmp_path / "a.uvm", tmp_path / "a.uvm1", tmp_path / "b.uvm1"
    source.write_text(ADD_ONE)

    assert main(["vm", "asm", "--json", str(source), str(program)]) == 0
    assembled = _json(capsys)
    assert main(["vm", "disasm", "--json", str(program)]) == 0
    source.write_text(str(_json(capsys)["source"]))
    assert main(["vm", "asm", "--json", str(source), str(again)]) == 0

    assert _json(capsys) == assembled
    assert again.read_bytes() == program.read_bytes()


@pytest.mark.parametrize(
    ("source", "code"),
    [("ADD r0, r1", "PRO-014"), ("JMP nowhere", "PRO-014"), ("LDI r0, 1", "PRO-014")],
)
def test_refused_source_has_a_code_and_status_one(
    source: str, code: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.uvm"
    path.write_text(source)

    assert main(["vm", "asm", "--json", str(path), str(tmp_path / "out")]) == 1
    error = _json(capsys)["error"]
    assert isinstance(error, dict)
    assert error["code"] == code
    assert not (tmp_path / "out").exists()


def test_missing_file_is_refused_for_people_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["vm", "disasm", str(tmp_path / "absent")]) == 1

    assert "NOD-003" in capsys.readouterr().err


def test_malformed_proof_file_is_refused_with_the_provers_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("vk", "public", "proof"):
        (tmp_path / name).write_text("{}")

    files = [str(tmp_path / name) for name in ("vk", "public", "proof")]
    assert main(["verify", "--json", *files]) == 1
    error = _json(capsys)["error"]
    assert isinstance(error, dict)
    assert str(error["code"]).startswith("PRV-01")
