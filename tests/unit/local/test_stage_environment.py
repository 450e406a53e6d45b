"""What the stages of `sluice up` find in their environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from sluice.local.pipeline_run import PipelineRun
from support.repository import ROOT


def test_one_port_for_metrics_is_not_given_to_every_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_TELEMETRY__PORT", "9100")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy")
    run = PipelineRun(ROOT / "examples" / "workforce", tmp_path, None)
    run.env = {"HR_URL": "http://hr"}
    found = run.stage_environment()
    assert "SLUICE_TELEMETRY__PORT" not in found
    assert found["HTTPS_PROXY"] == "http://proxy"
    assert found["HR_URL"] == "http://hr"
