"""Settings of the whole test run: reproducible property tests, and no silent skips."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

import node  # noqa: F401  (puts the recursion limit back that py_ecc raises, whichever test is first)
from tests.support.tools import is_ci

# The same examples on every run: a red build is red again on the next try. No deadline: the machine is shared.
settings.register_profile(
    "unveto", derandomize=True, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("unveto")


class _Skips:
    """Lists what was skipped, also by earlier stages of the same `.ci/run`, and fails the run where CI must not skip.

    Only tests marked `gpu` may be skipped in CI: the machine has no device, and the list says so.
    """

    def __init__(self) -> None:
        self._all: list[str] = []
        self._unexpected: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped and not hasattr(report, "wasxfail"):
            self._add(report.nodeid, is_expected="gpu" in report.keywords)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.skipped:
            self._add(report.nodeid, is_expected=False)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self._unexpected and is_ci() and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        log = os.environ.get("UNVETO_SKIP_LOG")
        earlier = Path(log).read_text(encoding="utf-8").splitlines() if log and Path(log).exists() else []
        if log:
            Path(log).write_text("".join(f"{line}\n" for line in earlier + self._all), encoding="utf-8")
        if earlier or self._all:
            terminalreporter.section(f"skipped: {len(earlier + self._all)}", red=bool(self._unexpected and is_ci()))
            for line in earlier + self._all:
                terminalreporter.line(line)

    def _add(self, nodeid: str, *, is_expected: bool) -> None:
        self._all.append(nodeid if is_expected else f"{nodeid} (fails in CI)")
        if not is_expected:
            self._unexpected.append(nodeid)


def pytest_configure(config: pytest.Config) -> None:
    """Install the list of skips, except in xdist workers: their reports reach the controller, which has one."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Skips(), "skips")
