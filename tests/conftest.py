"""Settings of the whole test run: reproducible property tests, and no silent skips in CI."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

from tests.support.tools import is_ci

# The same examples on every run: a red build is red again on the next try. No deadline: the machine is shared.
settings.register_profile(
    "unveto", derandomize=True, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("unveto")


class _SkipsFailInCi:
    """Turns a run red when CI is set and a test was skipped that is not marked `gpu`."""

    def __init__(self) -> None:
        self.unexpected: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped and "gpu" not in report.keywords and not hasattr(report, "wasxfail"):
            self.unexpected.append(report.nodeid)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.skipped:
            self.unexpected.append(report.nodeid)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.unexpected and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.unexpected:
            terminalreporter.section("skipped although CI is set", red=True)
            for nodeid in self.unexpected:
                terminalreporter.line(nodeid)


def pytest_configure(config: pytest.Config) -> None:
    """Install the skip guard where CI is set; xdist workers report to the controller, which has one too."""
    if is_ci():
        config.pluginmanager.register(_SkipsFailInCi(), "skips-fail-in-ci")
