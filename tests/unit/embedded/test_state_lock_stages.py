"""One `up` at a time runs a stage of a state directory."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sluice.embedded.layout import MARK
from sluice.embedded.state_lock import stages_locked
from sluice.errors import EnvironmentFault


def test_a_second_run_of_a_stage_is_refused_until_the_first_has_ended(tmp_path: Path) -> None:
    with stages_locked(tmp_path, ["mapper", "merger"]):
        with (
            pytest.raises(EnvironmentFault, match=f"process {os.getpid()} runs merger on it already"),
            stages_locked(tmp_path, ["sink-postgres", "merger"]),
        ):
            pass
        with stages_locked(tmp_path, ["sink-postgres"]):
            pass
    with stages_locked(tmp_path, ["merger"]):
        pass


def test_a_directory_that_is_made_for_it_is_known_as_ours(tmp_path: Path) -> None:
    """What `dev reset` may delete whole."""
    with stages_locked(tmp_path / "state", ["mapper"]):
        assert (tmp_path / "state" / MARK).exists()


def test_a_directory_whose_files_cannot_be_locked_is_refused(tmp_path: Path) -> None:
    (tmp_path / "stages" / "run" / "mapper.lock").mkdir(parents=True)
    with (
        pytest.raises(EnvironmentFault, match=r"stages/run/mapper\.lock cannot be locked \(Is a directory\)"),
        stages_locked(tmp_path, ["mapper"]),
    ):
        pass
