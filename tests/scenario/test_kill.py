"""Every stage killed -9 at random moments under load: nothing is lost, nothing stands twice.

Here in short; `make chaos WHAT=all` does ten rounds. `SLUICE_SEED` repeats the moments, as well as a machine can.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from sluice.embedded import Servers
from sluice.names import STAGES
from support.scenario import MAY_SHRINK, Scenario
from support.scenario_kills import campaign
from support.workforce_pipeline import workforce_pipeline

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
ROUNDS = 1


@pytest.fixture(scope="module")
def workforce(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scenario]:
    directory: Path = tmp_path_factory.mktemp("kills")
    with workforce_pipeline(servers, directory, workers=400, ledger_entries=800, settings=MAY_SHRINK) as running:
        yield running


def test_stages_killed_at_any_moment_lose_nothing_and_double_nothing(workforce: Scenario) -> None:
    seed = int(os.environ.get("SLUICE_SEED") or secrets.randbelow(2**31))
    print(f"SLUICE_SEED={seed}")  # noqa: T201 - a failure must be repeatable
    outcome = campaign(workforce, STAGES, ROUNDS, seed, print)

    assert outcome.lost == []
    assert outcome.doubled == 0
    assert outcome.report.verified, "\n".join(outcome.report.lines())
    assert outcome.kills == dict.fromkeys(STAGES, ROUNDS)
    assert outcome.in_transaction.total() >= 1, "no kill hit an open transaction: the test proves less than it says"
    assert outcome.changes > 0, "nothing was edited: the test proves less than it says"
