"""Every stage is killed with SIGKILL at random moments under load: nothing is lost, and nothing is doubled.

This test does one round; `make chaos WHAT=all` does ten. `SLUICE_SEED` repeats the moments as well as a machine can.
"""

from __future__ import annotations

import os
import secrets

import pytest

from sluice.names import STAGES
from support.scenario import MAY_SHRINK, Scenario
from support.scenario_kills import campaign

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
WORKFORCE = {"workers": 400, "ledger_entries": 800, "settings": MAY_SHRINK}
ROUNDS = 1


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
