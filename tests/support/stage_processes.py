"""Stages of a pipeline as processes, and the environment that they and commands are started with."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from sluice.local.stage_process import StageProcess
from sluice.settings.stage import StageSettings


def environment_of(settings: StageSettings, **more: str) -> dict[str, str]:
    """The variables with which a stage or command gets `settings`, and `more` variables."""
    return {
        "SLUICE_PIPELINE": str(settings.pipeline),
        "SLUICE_STATE_DIR": str(settings.state_dir),
        "SLUICE_KAFKA__BOOTSTRAP_SERVERS": settings.kafka.bootstrap_servers,
        "SLUICE_REGISTRY__URL": settings.registry.url,
        **more,
    }


def process_environment(settings: StageSettings, **more: str) -> dict[str, str]:
    """`environment_of`, with the variables and the import path of this process."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment_of(settings, **more)}


@contextmanager
def stage_processes(settings: StageSettings, names: Sequence[str]) -> Iterator[dict[str, StageProcess]]:
    """Run the stages while the block runs. Their state is in `stages`, in the folder of the pipeline."""
    folder = settings.pipeline.parent
    environment = process_environment(settings, SLUICE_STATE_DIR=str(folder / "stages"))
    running = {name: StageProcess(name, folder, environment) for name in names}
    for stage in running.values():
        stage.start()
    try:
        yield running
    finally:
        for stage in running.values():
            stage.stop()
