"""`unveto vm run` as a user types it: answers, traces, refusals, and programs that do not end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from node.cli import main
from protocol.vm.programs import PRICE_SLOT, STRIKE_SLOT, source

ADD = 'SEL r3\nLDI r4, selector("add(uint256)")\nEQ r3, r3, r4\nJZ r3, no\nARGLO r0, 0\nLDI r1, 1\nADD r0, r0, r1\n'
ADD += "OUT r2, r0, 0\nRETURN 1\nno: REVERT 0\n"
FOREVER = "LDF f1, 1\nLDI r1, 7\nloop:\nADDF f0, f0, f1\nSSTORE f0, r1\nJMP loop\n"
ORACLE = "0x" + "aa" * 20


def word(value: int) -> str:
    return f"{value:064x}"


@pytest.fixture
def add(tmp_path: Path) -> str:
    """A source file: add(uint256) answers one more, anything else fails."""
    path = tmp_path / "add.uvm"
    path.write_text(ADD)
    return str(path)


def run(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> Any:
    """The JSON object that `vm run` prints."""
    assert main(["vm", "run", "--json", *arguments]) == status
    return json.loads(capsys.readouterr().out)


def test_source_and_program_file_run_alike(add: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With call data by signature and by bytes."""
    program = str(tmp_path / "add.uvm1")
    assert main(["vm", "asm", "--json", add, program]) == 0
    capsys.readouterr()

    from_source = run(capsys, add, "--call", "add(uint256) 41")
    data = run(capsys, program, "--call", "add(uint256) 41")

    assert from_source == data
    assert (data["outcome"], data["failed"], data["data"]) == ("RETURN", False, "0x" + word(42))
    assert run(capsys, program, "--data", "0x1003e2d2" + word(41)) == data


def test_programs_call_each_other(add: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The other one at its address, its constants in a file beside it."""
    (tmp_path / "where.inc").write_text(".const ADDER = endpoint(1, 0x77)")
    caller = tmp_path / "caller.uvm"
    caller.write_text(
        '.include where.inc\nLDF f1, ADDER\nLDI r1, 6\nOUT r11, r1, 0\nICALL f1, r11, selector("add(uint256)"), 1\n'
        "RETLO r1, 0\nOUT r11, r1, 0\nRETURN 1"
    )
    other = "0x" + "00" * 19 + "77"
    data = run(capsys, str(caller), "--data", "", "--trace", "--with", f"{other}={add}")
    assert data["data"] == "0x" + word(7)
    assert sum(line.startswith("-- 0x") for line in data["runs"][0]["trace"]) == 3
    assert run(capsys, str(caller), "--data", "", "--with", "0x77", status=1)["error"]["code"] == "NOD-002"


def test_a_program_that_fails_is_a_result(add: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A refusal of the program, and a trap by name."""
    refused = run(capsys, add, "--call", "other()")
    trapped = run(capsys, add, "--call", f"add(uint256) {2**128 - 1}")

    assert (refused["outcome"], refused["failed"]) == ("REVERT", True)
    assert (trapped["outcome"], trapped["runs"][0]["trap"]) == ("TRAP", "OVERFLOW")


def test_outgoing_calls_are_shown_and_answered(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The oracle reader: without an answer it waits, with one it settles, with a failed one it fails."""
    path = tmp_path / "reader.uvm"
    path.write_text(source("oracle_reader"))
    call = (str(path), "--call", "settle()", "--slot", f"0={ORACLE}", "--slot", f"{STRIKE_SLOT}=100")

    waiting = run(capsys, *call)
    settled = run(capsys, *call, "--answer", word(150), "--answer", "00", "--trace")
    failed = run(capsys, *call, "--answer", "fail")

    assert waiting["outcome"] == "XCALL"
    assert waiting["runs"][0]["next"]["target"] == f"0:{ORACLE}"
    assert waiting["runs"][0]["suspended"]
    assert (settled["outcome"], settled["data"]) == ("RETURN", "0x" + word(1) + word(150))
    assert settled["unused_answers"] == 1
    trace = settled["runs"][1]["trace"]
    assert any(f"[{PRICE_SLOT}] = 150" in line for line in trace)
    assert trace[-1] == "RETURN: " + word(1) + word(150)
    assert "trace" not in waiting["runs"][0]
    assert (failed["outcome"], failed["failed"]) == ("FAILED_RESULT", True)


def test_surroundings_reach_the_program(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Value, time and caller; the answer goes back to whoever called."""
    path = tmp_path / "a.uvm"
    path.write_text("VALUE r1\nTIME r2\nOUT r1, r2, 0\nRETURN 1\n")

    made = run(capsys, str(path), "--data", "", "--value", "0.5ether", "--time", "9", "--caller", f"3:{ORACLE}")

    assert made["data"] == "0x" + word((5 * 10**17 << 128) + 9)
    assert made["runs"][0]["next"]["target"] == f"3:{ORACLE}"


def test_people_get_lines(add: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Without --json."""
    assert main(["vm", "run", add, "--call", "add(uint256) 1", "--trace"]) == 0

    said = capsys.readouterr().out
    assert "ADD     r0, r0, r1" in said
    assert f"answered: 0x{word(2)}" in said


def test_people_see_traps_endpoints_and_wei(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Why a call failed, and what a call that goes to another rollup carries, without a trace."""
    path = tmp_path / "pay.uvm"
    path.write_text("SLOADF f1, f0\nLDI r1, 200\nXTRYV f1, r1, 0, 0, 100000, opaque\nRETURN 0\n")
    call = ["vm", "run", str(path), "--data", "", "--slot", f"0=2:{ORACLE}"]

    assert main([*call, "--trace"]) == 0
    poor = capsys.readouterr().out
    assert main([*call, "--value", "300"]) == 0

    assert "call: TRAP BALANCE after 3 steps" in poor
    assert "opaque  trap BALANCE" in poor
    assert f"calls 2:{ORACLE} with 200 wei: 0x00000000" in capsys.readouterr().out


def test_a_program_without_end_is_given_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By the number of steps, over all runs; as an error, because the machine itself would go on to its own limit."""
    path = tmp_path / "a.uvm"
    path.write_text(FOREVER)

    refused = run(capsys, str(path), "--data", "", "--max-steps", "500", status=1)["error"]

    assert refused["code"] == "PRO-012"
    assert "STEP_BUDGET" in refused["message"]
    path.write_text(f"LDF f0, {int(ORACLE, 16)}\nXCALL f0, 0, 0, 0\n" + FOREVER)
    again = run(capsys, str(path), "--data", "", "--answer", "", "--max-steps", "500", status=1)["error"]
    assert again["values"] == {"budget": "497"}


def test_the_machines_own_limit_is_a_trap(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Asked for the whole limit, the trial ends as the chain's replay would."""
    path = tmp_path / "a.uvm"
    path.write_text("loop: JMP loop\n")

    made = run(capsys, str(path), "--data", "", "--max-steps", "65536")

    assert (made["outcome"], made["runs"][0]["trap"], made["steps"]) == ("TRAP", "STEPS", 65536)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ((), "NOD-002"),
        (("--data", "", "--call", "a()"), "NOD-002"),
        (("--data", "xy"), "NOD-002"),
        (("--call", "add"), "NOD-002"),
        (("--call", "add(uint256)"), "NOD-002"),
        (("--call", "add(uint999) 1"), "NOD-002"),
        (("--data", "", "--answer", "0"), "NOD-002"),
        (("--data", "", *(["--answer", ""] * 65)), "NOD-002"),
        (("--data", "", "--caller", "0xaa"), "NOD-002"),
        (("--data", "", f"--caller=-1:{ORACLE}"), "NOD-002"),
        (("--data", "", "--caller", f"{1 << 64}:{ORACLE}"), "NOD-002"),
        (("--data", "", "--value", "-1"), "NOD-002"),
        (("--data", "", "--value", str(1 << 128)), "PRO-010"),
        (("--data", "", "--slot", "1"), "NOD-002"),
        (("--data", "", "--slot=-1=1"), "PRO-010"),
        (("--data", "", "--time", "-1"), "NOD-002"),
        (("--data", "", "--max-steps", "0"), "NOD-002"),
        (("--data", "", "--max-steps", "65537"), "NOD-002"),
        (("--data", "00" * 517), "PRO-012"),
    ],
)
def test_wrong_arguments_are_refused_with_a_code(
    arguments: tuple[str, ...], code: str, add: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is run."""
    assert run(capsys, add, *arguments, status=1)["error"]["code"] == code


@pytest.mark.parametrize(
    ("content", "code"),
    [(b"UVM1", "PRO-010"), (b"UVM1\x00\x01" + bytes(36), "PRO-013"), (b"\xff\xfe", "PRO-014"), (b"", "PRO-014")],
)
def test_what_is_no_program_is_refused(
    content: bytes, code: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither a program file nor source."""
    path = tmp_path / "a"
    path.write_bytes(content)

    assert run(capsys, str(path), "--data", "", status=1)["error"]["code"] == code
