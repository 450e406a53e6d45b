"""The workforce example on the session's servers: one running pipeline for all tests of a module."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sluice.embedded import Servers
from support.replay import Replay
from support.scenario import Scenario
from support.workforce_pipeline import workforce_pipeline


@pytest.fixture(scope="module")
def workforce(
    servers: Servers, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Scenario]:
    """The pipeline, with the sizes and settings that the module gives as WORKFORCE."""
    directory: Path = tmp_path_factory.mktemp("workforce")
    with workforce_pipeline(servers, directory, **request.module.WORKFORCE) as running:
        yield running


@pytest.fixture(scope="module")
def replay(workforce: Scenario) -> Replay:
    """The pipeline, when every stage has processed all records."""
    replay = Replay(workforce)
    replay.settle()
    return replay
