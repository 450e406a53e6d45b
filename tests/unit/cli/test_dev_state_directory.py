"""Which servers `sluice dev` means."""

from __future__ import annotations

from pathlib import Path

from sluice.cli.dev import state_directory


def test_a_terminal_that_has_read_the_demos_env_means_the_demos_servers(tmp_path: Path) -> None:
    (tmp_path / ".sluice" / "servers").mkdir(parents=True)
    assert state_directory(tmp_path, tmp_path / ".sluice" / "stages") == tmp_path / ".sluice"


def test_any_other_directory_is_taken_as_it_is(tmp_path: Path) -> None:
    assert state_directory(tmp_path, tmp_path / "stages") == tmp_path / "stages"
    assert state_directory(tmp_path, None) == tmp_path / ".sluice"
    assert state_directory(tmp_path / "pipeline.yaml", None) == tmp_path / ".sluice"
