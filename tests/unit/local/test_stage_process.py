"""What `sluice up` reports of a stage that it runs."""

from __future__ import annotations

from pathlib import Path

from sluice.local.stage_process import StageProcess
from support.waiting import eventually

OF_BEFORE = '{"event": "fault", "why": "of an earlier run", "level": "error"}\n'


def test_what_an_earlier_run_complained_about_is_no_trouble_of_this_one(tmp_path: Path) -> None:
    stage = StageProcess("mapper", tmp_path, {"SLUICE_PIPELINE": str(tmp_path / "nowhere.yaml")})
    stage.log.parent.mkdir(parents=True)
    stage.log.write_text(OF_BEFORE)
    stage.start()
    try:
        trouble = eventually(stage.trouble, "what this one complains about")
    finally:
        stage.stop()
    assert "nowhere.yaml" in trouble
