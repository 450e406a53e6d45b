"""Fixtures that several tests share (servers, a pipeline): a failure is reported once, then the fixture is created
again.

If a fixture of a module or session fails to start, the next test tries it once more. If a running pipeline does not
work after a test has failed, the pipeline is ended, and the next test of the module starts another.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from support import scenario

TRIES_MAX = 2
_failures: dict[pytest.FixtureDef[Any], int] = {}
_broken = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[Any], request: Any) -> Generator[None, object, object]:
    if fixturedef.scope == "function":
        return (yield)
    if _failures.get(fixturedef, 0) >= TRIES_MAX:
        pytest.fail(f"{fixturedef.argname} failed to start {TRIES_MAX} times, see the tests before", pytrace=False)
    try:
        value = yield
    except (pytest.skip.Exception, KeyboardInterrupt, SystemExit):
        raise
    except BaseException:
        _failures[fixturedef] = _failures.get(fixturedef, 0) + 1
        fixturedef.finish(request)  # forgets the failure, which pytest would hand to every test behind
        raise
    _failures.pop(fixturedef, None)
    return value


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.when == "call" and report.failed:
        for pipeline in scenario.running():
            if why := pipeline.broken():
                item.session.stash[_broken] = True
                text = f"broken after {item.nodeid}; the tests behind it start a new one:\n{why}"
                report.sections.append((f"the pipeline in {pipeline.run.state_dir}", text))
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    if not item.session.stash.get(_broken, False):
        return
    item.session.stash[_broken] = False
    function: Any = item  # pytest has no public name for the fixtures of a test
    for fixturedefs in function._fixtureinfo.name2fixturedefs.values():
        for fixturedef in fixturedefs:
            if fixturedef.scope == "module":
                fixturedef.finish(function._request)
