"""Every test that takes `options` runs on each instruction-set path of this machine."""

from __future__ import annotations

import pytest

from proving.native import CpuPath, Options, load


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says on which paths the core was tested: a path that the machine lacks must not look tested by its absence."""
    present = load().cpu_paths()
    states = (
        f"{path.name.lower()} {'tested' if path in present else 'ABSENT on this machine, not tested'}"
        for path in CpuPath
        if path != CpuPath.BEST
    )
    terminalreporter.write_line("proving core paths: " + ", ".join(states))


@pytest.fixture(params=[CpuPath.PORTABLE, CpuPath.ADX, CpuPath.IFMA], ids=lambda path: path.name.lower())
def options(request: pytest.FixtureRequest) -> Options:
    if request.param not in load().cpu_paths():
        pytest.skip(f"this machine has no {request.param.name.lower()} path")
    return Options(cpu_path=request.param, threads=2)
