"""ingress-cdc is killed with SIGKILL at every step of snapshot, hand-over and stream, and damages nothing.

This test kills once at each step; `make chaos WHAT=cdc-steps` kills 200 times. `SLUICE_SEED` repeats the choices.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import pytest

from support.cdc import make_source
from support.cdc_kills import step_campaign
from support.cdc_writers import create_tables
from support.kill_steps import STEPS

TABLES = ["employee", "project"]


@pytest.mark.slow
@pytest.mark.timeout(1_200)
def test_kills_at_every_step_lose_nothing_double_nothing_and_keep_the_order_of_each_key(
    postgres_dsn: str, kafka: str, topic_prefix: str, tmp_path: Path
) -> None:
    seed = int(os.environ.get("SLUICE_SEED") or secrets.randbelow(2**31))
    print(f"SLUICE_SEED={seed}")  # noqa: T201 - a failure must be repeatable
    source = make_source(postgres_dsn, kafka, topic_prefix, tmp_path, TABLES)
    create_tables(source.dsn, TABLES)
    outcome = step_campaign(source, TABLES, STEPS, len(STEPS), seed, print)

    assert outcome.not_reached == [], (tmp_path / "stage.log").read_text()[-2_000:]
    assert outcome.damage.lost == []
    assert outcome.damage.doubled == 0
    assert outcome.damage.unordered == []
    assert outcome.kills == dict.fromkeys((step.name for step in STEPS), 1)
    assert outcome.changes > 0, "nothing was changed: the test proves less than it says"
