"""An example's whole pipeline on real servers: topics and schemas applied, every stage a process, tables to look at."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from sluice.demo.stages import StageProcess
from sluice.embedded import Servers
from sluice.names import STAGES
from sluice.testing.example import Truth
from support.golden_tables import differences, golden_tables

COMMAND_TIMEOUT_S = 120.0
LOOK_EVERY_S = 0.5


@dataclass(frozen=True)
class Assembled:
    """A running pipeline: its stages by name, the database of its golden tables, the environment of its commands."""

    stages: Mapping[str, StageProcess]
    sink_dsn: str
    env: Mapping[str, str]

    def await_truth(self, truth: Callable[[], Truth], deadline_s: float) -> None:
        """Wait until the golden tables are what the source calls for; else fail with what differs."""
        give_up = time.monotonic() + deadline_s
        while found := self.lacking(truth()):
            assert time.monotonic() < give_up, "\n".join([f"after {deadline_s} s:", *found, *self.stage_states()])
            time.sleep(LOOK_EVERY_S)

    def lacking(self, truth: Truth) -> list[str]:
        return differences(truth, golden_tables(self.sink_dsn, truth))

    def stage_states(self) -> list[str]:
        """A line per stage for a failed test."""
        for stage in self.stages.values():
            stage.watch()
        return [f"{s.name}: restarts {s.restarts}, {s.counts}, {s.failure()[-300:]}" for s in self.stages.values()]

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `sluice …` on this pipeline."""
        argv = [sys.executable, "-m", "sluice.cli.main", *arguments]
        return subprocess.run(argv, env=dict(self.env), capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S)


@contextmanager
def assembled(
    example: Path, source_env: Mapping[str, str], servers: Servers, prefix: str, directory: Path
) -> Iterator[Assembled]:
    """Start the pipeline of `example` with topics of its own (`prefix`) and a sink database of its own."""
    folder = _copy_with_prefix(example, prefix, directory / "pipeline")
    database = "sink_" + prefix.strip(".")
    servers.create_database(database)
    env = {
        **source_env,
        "SINK_DSN": servers.postgres_dsn(database),
        "SLUICE_PIPELINE": str(folder),
        "SLUICE_STATE_DIR": str(directory / "stages"),
        "SLUICE_KAFKA__BOOTSTRAP_SERVERS": servers.bootstrap_servers,
        "SLUICE_REGISTRY__URL": servers.registry_url,
        "PATH": "/usr/bin:/bin",
        "LANG": "C.UTF-8",
    }
    stages = {name: StageProcess(name, directory, env) for name in STAGES}
    running = Assembled(stages, env["SINK_DSN"], env)
    for what in ("topics", "schemas"):
        done = running.command(what, "apply")
        assert done.returncode == 0, done.stdout + done.stderr
    try:
        for stage in stages.values():
            stage.start()
        yield running
    finally:
        for stage in stages.values():
            stage.stop()
        servers.drop_database(database)


def _copy_with_prefix(example: Path, prefix: str, target: Path) -> Path:
    shutil.copytree(example, target, ignore=shutil.ignore_patterns(".sluice", "__pycache__"))
    file = target / "pipeline.yaml"
    pipeline = yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump({**pipeline, "kafka": {"prefix": prefix}}, sort_keys=False))
    return target
