"""The name of a test that failed stands in the output at once: a run goes on for half an hour after it."""

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
