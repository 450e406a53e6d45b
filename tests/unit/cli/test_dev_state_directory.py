"""The state directory of `sluice dev`."""

from __future__ import annotations

from pathlib import Path

from sluice.cli.command import state_directory


def test_after_a_demos_env_was_sourced_the_state_directory_is_the_demos(tmp_path: Path) -> None:
    (tmp_path / ".sluice" / "servers").mkdir(parents=True)
    assert state_directory(tmp_path, tmp_path / ".sluice" / "stages") == tmp_path / ".sluice"


def test_any_other_directory_is_used_as_given(tmp_path: Path) -> None:
    assert state_directory(tmp_path, tmp_path / "stages") == tmp_path / "stages"
    assert state_directory(tmp_path, None) == tmp_path / ".sluice"
    assert state_directory(tmp_path / "pipeline.yaml", None) == tmp_path / ".sluice"
