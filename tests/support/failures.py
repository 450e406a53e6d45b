"""Prints the name of a test directly after it failed, because the run continues for up to half an hour."""

from __future__ import annotations

import pytest

_seen: list[pytest.Config] = []


def pytest_configure(config: pytest.Config) -> None:
    _seen[:] = [] if hasattr(config, "workerinput") else [config]


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    for config in _seen:
        reporter = config.pluginmanager.get_plugin("terminalreporter")
        if report.failed and reporter is not None:
            reporter.write_line(f"\nFAILED {report.nodeid} ({report.when})")
