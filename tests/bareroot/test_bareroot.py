"""The README's two commands work on a Debian that has Python and nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

from tests.support.tools import ROOT

RUN: Final = Path(__file__).with_name("run.sh")


def documented_commands(readme: str) -> list[str]:
    """The indented command lines of the section "Two commands"."""
    section = readme.partition("## Two commands")[2].partition("\n## ")[0]
    return [line.strip() for line in section.splitlines() if line.startswith("    ")]


def in_bare_root(command: str, limit_s: int) -> subprocess.CompletedProcess[str]:
    """Run a command line in a fresh copy of the checkout inside a bare root."""
    if os.geteuid() != 0 or shutil.which("debootstrap") is None or shutil.which("unshare") is None:
        pytest.skip("needs root rights, debootstrap and unshare")
    return subprocess.run(["bash", RUN, command], capture_output=True, text=True, timeout=limit_s, check=False)


@pytest.mark.bareroot
@pytest.mark.timeout(1800)
def test_the_first_command_tells_the_story() -> None:
    """It ends with exit code 0 and the closing screen."""
    command, _ = documented_commands((ROOT / "README.md").read_text())

    done = in_bare_root(command, 1700)

    assert 0 == done.returncode, done.stdout[-4000:] + done.stderr[-4000:]
    assert "roots" in done.stdout
    assert "gas" in done.stdout


@pytest.mark.bareroot
@pytest.mark.timeout(3600)
def test_the_second_command_passes() -> None:
    """All checks and tests, with the tools that it installs itself."""
    _, command = documented_commands((ROOT / "README.md").read_text())

    done = in_bare_root(command, 3500)

    assert 0 == done.returncode, done.stdout[-8000:] + done.stderr[-4000:]
    assert " passed" in done.stdout.splitlines()[-1]


@pytest.mark.bareroot
@pytest.mark.timeout(600)
def test_the_root_is_bare() -> None:
    """A compiler in the root would make the other tests prove less than they say."""
    done = in_bare_root("command -v gcc cc c++ clang node npm git; test ! -e /usr/include/stdio.h", 500)

    assert 0 == done.returncode
    assert "" == done.stdout
