"""Finding a compiler and building once, with small scripts in the place of compilers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from proving import errors
from proving.build import UNITS, build, find_compiler
from tests.support.tools import ROOT

COUNTING = """#!/bin/sh
if [ "$1" = --version ]; then echo "counting compiler 1"; exit 0; fi
echo "$@" >> "$COMPILE_LOG"
while [ "$1" != -o ]; do shift; done
echo built > "$2"
"""
FAILING = """#!/bin/sh
if [ "$1" = --version ]; then echo "failing compiler 1"; exit 0; fi
echo "no such instruction" >&2
exit 1
"""


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty program folder in front of everything, and an empty cache."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setenv("UNVETO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COMPILE_LOG", str(tmp_path / "log"))
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.delenv("UNVETO_CXXFLAGS", raising=False)
    return folder


def install(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text(script)
    (folder / name).chmod(0o755)


def test_the_first_build_compiles_and_gives_notice_and_the_second_does_neither(tools: Path, tmp_path: Path) -> None:
    install(tools, "c++", COUNTING)
    notices: list[str] = []

    first, second = build(notices.append), build(notices.append)

    assert first == second and first.read_text() == "built\n"
    assert len((tmp_path / "log").read_text().splitlines()) == len(UNITS) + 1
    assert len(notices) == 1 and "counting compiler 1" in notices[0]
    assert sorted(path.name for path in first.parent.iterdir()) == ["build.lock", first.name]


def test_a_compilation_removes_old_cores_and_what_killed_ones_left(
    tools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tools, "c++", COUNTING)
    monkeypatch.setattr("proving.build.MAX_CACHED_BYTES", 100)
    folder = tmp_path / "cache" / "core"
    (folder / "build-killed").mkdir(parents=True)
    (folder / "build-killed" / "abi.o").write_bytes(b"object")
    old = folder / "unveto_core-old.so"
    old.write_bytes(bytes(100))
    os.utime(old, (1, 1))

    library = build()

    assert sorted(path.name for path in folder.iterdir()) == ["build.lock", library.name]


def test_another_compiler_or_other_flags_give_another_file(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tools, "c++", COUNTING)
    first = build()
    install(tools, "c++", COUNTING.replace("compiler 1", "compiler 2"))
    second = build()
    monkeypatch.setenv("UNVETO_CXXFLAGS", "-O1 -g")
    third = build()

    assert len({first, second, third}) == 3
    assert "-O1 -g" in (tools.parent / "log").read_text()


def test_processes_that_start_together_compile_once(tools: Path, tmp_path: Path) -> None:
    install(tools, "c++", COUNTING)
    script = "from proving.build import build; print(build())"
    processes = [
        subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(4)
    ]

    assert len({process.communicate()[0] for process in processes}) == 1
    assert [process.returncode for process in processes] == [0] * 4
    assert len((tmp_path / "log").read_text().splitlines()) == len(UNITS) + 1


def test_a_compiler_that_refuses_is_reported_with_its_words_and_leaves_nothing(tools: Path, tmp_path: Path) -> None:
    install(tools, "c++", FAILING)
    with pytest.raises(errors.CoreBuildFailed, match="no such instruction") as failed:
        build()

    assert failed.value.command.startswith("c++ -std=c++20")
    assert [path.name for path in (tmp_path / "cache" / "core").iterdir()] == ["build.lock"]


def test_the_environment_names_the_compiler_first(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tools, "c++", COUNTING)
    install(tools, "mine", COUNTING.replace("counting", "my own"))
    monkeypatch.setenv("CXX", "mine")

    assert find_compiler().command == ("mine",)


def test_without_a_system_compiler_the_ziglang_wheel_is_used(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a portable target, never the instruction set of the building machine."""
    pytest.importorskip("ziglang")
    monkeypatch.setenv("PATH", str(tools))
    compiler = find_compiler()

    assert compiler.command == (sys.executable, "-m", "ziglang", "c++")
    assert "-fno-sanitize=undefined" in compiler.extra_flags
    if os.uname().machine == "x86_64":
        assert "x86_64-linux-gnu.2.17" in compiler.extra_flags


def test_without_any_compiler_the_error_says_what_to_install(tools: Path) -> None:
    """An interpreter without site-packages finds no ziglang, and the program folder is empty."""
    script = "from proving.build import find_compiler\nfind_compiler()"
    done = subprocess.run(
        [sys.executable, "-S", "-c", script],
        env={"PATH": str(tools), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert "PRV-001: no C++ compiler found (tried c++, g++, clang++, ziglang)" in done.stderr
    assert "install g++ or clang++" in done.stderr
