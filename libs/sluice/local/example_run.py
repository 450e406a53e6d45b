"""Runs an example: its pipeline, its source system, and live edits in this source system."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sluice.embedded import Servers
from sluice.embedded.fetching import Progress, cache_dir
from sluice.embedded.server import silent
from sluice.local.edit_latency import EditLatency
from sluice.local.pipeline_run import PipelineRun
from sluice.testing.example import ExampleContext, ExampleDriver, Live, Running, load_example


class ExampleRun(PipelineRun):
    """A run of an example pipeline with its source system. `file`: the folder with pipeline.yaml and source.py.
    source.py creates the source on the Postgres of `servers`."""

    def __init__(
        self,
        file: Path,
        state_dir: Path,
        servers: Servers,
        progress: Progress = silent,
        stages: Sequence[str] = (),
    ) -> None:
        super().__init__(file, state_dir, servers, progress, stages)
        self.driver: ExampleDriver = load_example(self.pipeline.root)
        self.context = ExampleContext(servers.postgres.dsn(), cache_dir(), state_dir, progress)
        self.prepare_s = 0.0
        self.edits: list[Live] = []

    def apply_topics(self) -> None:
        """Start the source while the broker creates the topics, because both take a second on new servers."""
        self.settings = self.read_settings()
        with ThreadPoolExecutor(1) as pool:
            topics = pool.submit(self.create_topics)
            self.set_environment()
            topics.result()

    def source_environment(self) -> Mapping[str, str]:
        """Create and start the example's source system. Returns the environment variables of the pipeline's sources.

        Variables of sinks in this process's environment are left out, because they come from another run.
        """
        started_at = time.monotonic()
        self.driver.prepare(self.context)
        self.prepare_s = time.monotonic() - started_at
        self.running: Running = self.driver.start(self.context)
        self._stack.callback(self.running.stop)
        self._stack.callback(self.progress, "ending the source")
        sinks = {sink.postgres.env for sink in self.pipeline.sinks.values()}
        given = {name: value for name, value in super().source_environment().items() if name not in sinks}
        return {**given, **self.running.env}

    def stage_environment(self) -> dict[str, str]:
        """The environment of the stages' processes: only the variables of this run, so that an example does not depend
        on the variables of the terminal."""
        return self.env

    @property
    def pids(self) -> dict[str, int | None]:
        """The pids of all processes of this run by name: servers, sources, stages and live edits."""
        edits = {"live-edits": self.edits[-1].pid} if self.edits else {}
        return {**self.running.processes, **super().pids, **edits}

    def live(self, rate_per_s: float, edits: int | None = None, seed: int = 0) -> Live:
        """Start live edits in the example's source system. They end with this run, or after `edits` edits."""
        live = self.driver.live(self.context, self.running, rate_per_s, edits, seed)
        self.edits.append(live)
        self._stack.callback(live.stop)
        self._stack.callback(self.progress, "ending the live edits")
        return live

    def edit_latency(self, live: Live) -> EditLatency:
        """A new measurement of how long the edits of `live` take to the golden rows."""
        sink = next(iter(self.pipeline.sinks.values()))
        return EditLatency(
            self.sink_dsn, sink.schema_, live.log, lambda edits: self.driver.golden_values(self.running, edits)
        )
