"""What `sluice up` reports of a stage that it runs."""

from __future__ import annotations

from pathlib import Path

from sluice.local.stage_process import StageCounts, StageProcess, counts_in
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


def test_an_infinite_gauge_is_no_obstacle_to_the_counts_of_a_stage() -> None:
    metrics = "\n".join(
        [
            '# TYPE sluice_records_total counter\nsluice_records_total{outcome="unchanged"} 3.0',
            '# TYPE sluice_cdc_safe_wal_bytes gauge\nsluice_cdc_safe_wal_bytes{source="erp"} +Inf\n',
        ]
    )
    assert counts_in(metrics, StageCounts(), ready=True) == StageCounts(records=3, unchanged=3, ready=True)
