"""The environment of the stages of `sluice up`, and the order in which they start."""

from __future__ import annotations

from pathlib import Path

import pytest

from sluice.local.pipeline_run import PipelineRun
from sluice.local.stage_process import StageProcess
from sluice.names import INGRESS_CDC, INGRESS_POLLER, MAPPER, STAGES
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


def test_ingress_is_started_alone_and_the_other_stages_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[str] = []
    monkeypatch.setattr(StageProcess, "start", lambda stage: started.append(stage.name))
    monkeypatch.setattr(StageProcess, "is_alive", property(lambda stage: stage.name in started))
    with PipelineRun(ROOT / "examples" / "workforce", tmp_path, None) as run:
        run.env = {}
        run.start_ingress()
        assert started == [INGRESS_POLLER, INGRESS_CDC]
        run.start()
        assert started == [*STAGES]
        run.start(MAPPER)
        assert started == [*STAGES, MAPPER]
