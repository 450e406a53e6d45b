"""A whole pipeline running on given servers: source, topics, schemas, and every stage as a process of its own.

`sluice demo` and the scenario tests are both made of this.
"""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from sluice.demo.golden import GoldenRows, by_rank
from sluice.demo.latency import EditLatency
from sluice.demo.stages import StageProcess
from sluice.embedded import Servers
from sluice.embedded.fetching import cache_dir
from sluice.embedded.server import Progress, silent
from sluice.errors import SettingsError
from sluice.kafka import KafkaSettings, LogReader, clients
from sluice.kafka.topics import Topics, concrete, load_kinds
from sluice.names import INGRESS_CDC, INGRESS_POLLER, SINK_POSTGRES, STAGES
from sluice.pipeline import Pipeline, load_pipeline
from sluice.pipeline.authored import load_entities, load_mappings
from sluice.pipeline.secret import variables_in
from sluice.schemas import Registry, subjects
from sluice.stage.settings import RegistrySettings, StageSettings, default_schemas_dir
from sluice.testing.example import ExampleContext, ExampleDriver, Live, Running, load_example

TURN_S = 0.5
QUIET_FOR_S = 2.0
# Of topics just made, on a busy machine.
LEADERS_WITHIN_S = 180.0
# On a busy machine its first answer takes longer than its health check.
REGISTRY_PATIENCE_S = 180.0


class PipelineRun:
    """`example`: a folder with pipeline.yaml and source.py. As a context manager it ends what it started.

    `apply` first, then `start`. Stages that die are started again by `watch`, unless they were stopped by `stop`.
    """

    def __init__(self, example: Path, state_dir: Path, servers: Servers, progress: Progress = silent) -> None:
        self.example = example
        self.state_dir = state_dir
        self.servers = servers
        self.progress = progress
        self.driver: ExampleDriver = load_example(example)
        self.context = ExampleContext(servers.postgres_dsn(), cache_dir(), state_dir, progress)
        self.pipeline: Pipeline = load_pipeline(example)
        self.stages: dict[str, StageProcess] = {}
        self.prepare_s = 0.0
        self._stack = ExitStack()
        self._stopped: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stack.close()

    # ── beginning ─────────────────────────────────────────────────────────────────────────────────────────────

    def apply(self) -> None:
        """Start the source; create the sinks' databases, topics and schemas."""
        began = time.monotonic()
        self.driver.prepare(self.context)
        self.prepare_s = time.monotonic() - began
        self.running: Running = self.driver.start(self.context)
        self._stack.callback(self.running.stop)
        self._stack.callback(self.progress, "ending the source")
        self.env = self._environment()
        # An author's connector may read its own settings from the environment.
        self._stack.callback(_restore_environment, {name: os.environ.get(name) for name in self.env})
        os.environ.update(self.env)
        self._leave_environment()
        self.settings = StageSettings(
            pipeline=self.example,
            state_dir=self.state_dir / "stages",
            kafka=KafkaSettings(bootstrap_servers=self.servers.bootstrap_servers),
            registry=RegistrySettings(url=self.servers.registry_url),
        )
        self._apply_topics()
        self._apply_schemas()

    def _environment(self) -> dict[str, str]:
        """What the stages are told: the source's variables, the sinks' databases, the servers."""
        env = {name: os.environ[name] for name in variables_in(self.pipeline.model_dump()) if name in os.environ}
        env |= self.running.env
        for name, sink in self.pipeline.sinks.items():
            if sink.postgres.env is None:
                raise SettingsError(f"sink {name}: an example's sink names its DSN as {{env: …}}")
            database = f"{self.pipeline.pipeline}_{name}"
            self.servers.create_database(database)
            env[sink.postgres.env] = self.servers.postgres_dsn(database)
        return env | {
            "SLUICE_PIPELINE": str(self.example),
            "SLUICE_STATE_DIR": str(self.state_dir / "stages"),
            "SLUICE_SCHEMAS_DIR": str(default_schemas_dir()),
            "SLUICE_KAFKA__BOOTSTRAP_SERVERS": self.servers.bootstrap_servers,
            "SLUICE_REGISTRY__URL": self.servers.registry_url,
        }

    def _leave_environment(self) -> None:
        """For a second terminal: `. <state_dir>/env`. Readable by its owner alone, since it holds passwords."""
        file = self.state_dir / "env"
        file.touch(mode=0o600)
        file.write_text("".join(f"export {name}={shlex.quote(value)}\n" for name, value in sorted(self.env.items())))
        self.progress(f"for commands in another terminal: . {file}")

    def _apply_topics(self) -> None:
        self.contracts = load_entities(self.pipeline)
        topics = concrete(load_kinds(self.settings.schemas_dir / "topics"), self.pipeline, list(self.contracts))
        done = Topics(clients.admin(self.settings.kafka)).apply(topics)
        self.progress(f"{len(topics)} topics stand ({len(done)} made or changed)")

    def _apply_schemas(self) -> None:
        registry = Registry(self.settings.registry.url, self.settings.state_dir / "schemas", REGISTRY_PATIENCE_S)
        for subject in subjects.subjects(self.pipeline, self.contracts):
            registry.register(subject.subject, subject.schema)
        registry.close()

    def start(self, *names: str) -> None:
        """Start the named stages, or all that the pipeline needs."""
        if not self.stages:
            self.stages = {n: StageProcess(n, self.state_dir, self.env) for n in STAGES if self._is_needed(n)}
            self._stack.callback(self.stop)
        for name in names or tuple(self.stages):
            self._stopped.discard(name)
            self.stages[name].start()

    def _is_needed(self, stage: str) -> bool:
        if stage == INGRESS_POLLER:
            return bool(self.pipeline.poll_sources())
        if stage == INGRESS_CDC:
            return bool(self.pipeline.cdc_sources())
        return stage != SINK_POSTGRES or bool(self.pipeline.sinks)

    def live(self, rate_per_s: float, edits: int | None = None, seed: int = 0) -> Live:
        """Begin to edit the source."""
        live = self.driver.live(self.context, self.running, rate_per_s, edits, seed)
        self._stack.callback(live.stop)
        self._stack.callback(self.progress, "ending the live edits")
        return live

    # ── while it runs ─────────────────────────────────────────────────────────────────────────────────────────

    @property
    def pids(self) -> dict[str, int | None]:
        """Every process: servers, sources, stages."""
        stages = {name: stage.pid for name, stage in self.stages.items()}
        return {**self.servers.pids, **self.running.processes, **stages}

    @property
    def sink_dsn(self) -> str:
        """The first sink's database."""
        return self.env[next(iter(self.pipeline.sinks.values())).postgres.env or ""]

    def watch(self) -> None:
        """Read every stage's metrics; start again those that died."""
        for name, stage in self.stages.items():
            if name not in self._stopped:
                stage.watch()

    def stop(self, *names: str) -> None:
        """End the named stages (or all) by SIGTERM, and leave them ended."""
        for name in names or tuple(self.stages):
            self._stopped.add(name)
            self.progress(f"ending {name}")
            self.stages[name].stop()

    def await_quiet(
        self,
        deadline_s: float = 120.0,
        each_turn: Callable[[], None] = lambda: None,
        stopped: Callable[[], bool] = lambda: False,
    ) -> bool:
        """Wait until no running stage has lag or takes a record for two seconds; False at the deadline, or when
        `stopped` says so."""
        give_up = time.monotonic() + deadline_s
        quiet_since, before = time.monotonic(), (-1, -1)
        while time.monotonic() < give_up and not stopped():
            self.watch()
            each_turn()
            live = [stage for name, stage in self.stages.items() if name not in self._stopped]
            now = (sum(s.counts.done for s in live), sum(s.restarts for s in live))
            if now != before or any(s.counts.lag_records or not s.counts.ready for s in live):
                quiet_since, before = time.monotonic(), now
            if time.monotonic() - quiet_since > QUIET_FOR_S:
                return True
            time.sleep(TURN_S)
        return False

    def canonical_ends(self) -> dict[str, list[int]]:
        """By entity, those with the most sources first: where each canonical partition ends now."""
        mapped_by: dict[str, set[str]] = {}
        for mapping in load_mappings(self.pipeline):
            mapped_by.setdefault(mapping.entity.name, set()).add(mapping.source)
        ranked = by_rank(self.contracts, {entity: len(sources) for entity, sources in mapped_by.items()})
        names, numbers = self.pipeline.names, range(self.pipeline.partitions)
        with LogReader(self.settings.kafka, LEADERS_WITHIN_S) as reader:
            ends = reader.ends([(names.canonical(e), p) for e in ranked for p in numbers])
        return {e: [ends[names.canonical(e), p] for p in numbers] for e in ranked}

    def golden_rows(self, starts: dict[str, list[int]]) -> GoldenRows:
        """Finds a row written beyond `starts` that more than one source has a say in."""
        sink = next(iter(self.pipeline.sinks.values()))
        return GoldenRows(self.sink_dsn, sink.schema_, starts, min(2, len(self.pipeline.sources)))

    def edit_latency(self, live: Live) -> EditLatency:
        """Measures how long the live edits take into the golden rows."""
        sink = next(iter(self.pipeline.sinks.values()))
        return EditLatency(
            self.sink_dsn, sink.schema_, live.log, lambda edits: self.driver.golden_values(self.running, edits)
        )


def _restore_environment(before: dict[str, str | None]) -> None:
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
