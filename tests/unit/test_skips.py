"""A skipped test is not a passed test: CI turns red, a developer's machine lists it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.tools import ROOT

SKIPS = "import pytest\n\n@pytest.mark.{mark}\ndef test_it():\n    pytest.skip('no such program')\n"


@pytest.mark.parametrize(("mark", "ci", "expected"), [("interop", "true", 1), ("gpu", "true", 0), ("interop", "", 0)])
def test_only_gpu_tests_may_be_skipped_in_ci(tmp_path: Path, mark: str, ci: str, expected: int) -> None:
    """The exit code is what CI sees; the list is what people see, in both cases."""
    sample = tmp_path / "test_sample.py"
    sample.write_text(SKIPS.format(mark=mark))
    settings = tmp_path / "pytest.ini"
    settings.write_text("[pytest]\nmarkers =\n    gpu\n    interop\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.conftest", "-c", str(settings), str(sample)]
    earlier = tmp_path / "log"
    earlier.write_text("tests/x.py::test_earlier\n")

    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "CI": ci, "UNVETO_SKIP_LOG": str(earlier), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert expected == done.returncode, done.stdout + done.stderr
    assert "skipped: 2" in done.stdout
    assert "tests/x.py::test_earlier" in done.stdout
    assert "test_sample.py::test_it" in done.stdout
