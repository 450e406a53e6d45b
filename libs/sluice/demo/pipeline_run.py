"""A whole pipeline running on given servers: topics, schemas, and every stage as a process of its own.

`sluice up`, `sluice demo` and the scenario tests are made of this.
"""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from types import TracebackType
from typing import Self

from sluice.demo.golden import GoldenRows, by_rank
from sluice.demo.stages import StageProcess
from sluice.embedded import Servers
from sluice.embedded.server import Progress, silent
from sluice.errors import SettingsError
from sluice.kafka import KafkaSettings, LogReader, clients
from sluice.kafka.topics import Topics, concrete, load_kinds
from sluice.lag.dead_letter_counts import DeadLetterCounts, StageDeadLetters
from sluice.names import INGRESS_CDC, INGRESS_POLLER, SINK_POSTGRES, STAGES
from sluice.pipeline import Pipeline, load_pipeline
from sluice.pipeline.authored import load_entities, load_mappings
from sluice.pipeline.secret import variables_in
from sluice.schemas import Registry, subjects
from sluice.settings.stage import RegistrySettings, StageSettings, default_schemas_dir, read_settings

TURN_S = 0.5
QUIET_FOR_S = 2.0
# A stage that waits for somebody to act neither becomes ready nor reads what it owes.
STANDING_FOR_S = 30.0
# Of topics just made, on a busy machine.
LEADERS_WITHIN_S = 180.0
# On a busy machine its first answer takes longer than its health check.
REGISTRY_PATIENCE_S = 180.0


class PipelineRun:
    """`file`: the pipeline's, or its folder; `servers` None: those that SLUICE_KAFKA__… and SLUICE_REGISTRY__… name.

    `stages`: those to run, all that the pipeline needs if there are none. As a context manager it ends what it started.
    `apply` first, then `start`. Stages that die are started again by `watch`, unless they were stopped by `stop`.
    Raises SettingsError for what cannot be run.
    """

    def __init__(
        self,
        file: Path,
        state_dir: Path,
        servers: Servers | None,
        progress: Progress = silent,
        stages: Sequence[str] = (),
    ) -> None:
        self.state_dir = state_dir
        self.servers = servers
        self.progress = progress
        self.pipeline: Pipeline = load_pipeline(file)
        self.folder = self.pipeline.root
        self.stages: dict[str, StageProcess] = {}
        self._wanted = stages_of(self.pipeline, stages)
        self._letters: DeadLetterCounts | None = None
        self._stack = ExitStack()
        self._stopped: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stack.close()

    # ── beginning ─────────────────────────────────────────────────────────────────────────────────────────────

    def apply(self) -> None:
        """Create the sinks' databases, topics and schemas. Raises SettingsError for variables that are not set."""
        self.env = self._environment()
        # An author's connector may read its own settings from the environment.
        self._stack.callback(_restore_environment, {name: os.environ.get(name) for name in self.env})
        os.environ.update(self.env)
        if self.servers is not None:
            self._leave_environment()
        self.settings = self._settings()
        self._apply_topics()
        self._apply_schemas()

    def source_environment(self) -> Mapping[str, str]:
        """The variables of the pipeline's sources: those that are set."""
        return {name: os.environ[name] for name in variables_in(self.pipeline.model_dump()) if os.environ.get(name)}

    def stage_environment(self) -> dict[str, str]:
        """What the processes of the stages find: what this one does (proxies, certificates), and `env`. Each serves its
        metrics on a port of its own, which one variable cannot name."""
        found = {**os.environ, **self.env}
        found.pop("SLUICE_TELEMETRY__PORT", None)
        return found

    def _environment(self) -> dict[str, str]:
        """What the stages are told: the sources' variables, the sinks' databases, the servers."""
        env = dict(self.source_environment())
        servers = self.servers
        if servers is not None:

            def made(database: str) -> str:
                servers.create_database(database)
                return servers.postgres_dsn(database)

            env |= {
                variable: made(name) for variable, name in sink_databases(self.pipeline).items() if variable not in env
            }
            env |= {
                "SLUICE_KAFKA__BOOTSTRAP_SERVERS": servers.bootstrap_servers,
                "SLUICE_REGISTRY__URL": servers.registry_url,
            }
        require_variables(self.pipeline, env)
        return env | stage_variables(self.pipeline, self.state_dir)

    def _settings(self) -> StageSettings:
        if self.servers is None:
            return read_settings(StageSettings)
        return StageSettings(
            pipeline=self.pipeline.file,
            state_dir=self.state_dir / "stages",
            kafka=KafkaSettings(bootstrap_servers=self.servers.bootstrap_servers),
            registry=RegistrySettings(url=self.servers.registry_url),
        )

    def _leave_environment(self) -> None:
        """For a second terminal: `. <state_dir>/env`. Readable by its owner alone, since it holds passwords."""
        file = self.state_dir / "env"
        file.touch(mode=0o600)
        file.write_text("".join(f"export {name}={shlex.quote(value)}\n" for name, value in sorted(self.env.items())))
        self.progress(f"for commands in another terminal: . {shlex.quote(str(file))}")

    def _apply_topics(self) -> None:
        self.contracts = load_entities(self.pipeline)
        topics = concrete(load_kinds(self.settings.schemas_dir / "topics"), self.pipeline, list(self.contracts))
        done = Topics(clients.admin(self.settings.kafka)).apply(topics)
        self.progress(f"{len(topics)} topics stand ({len(done)} made or changed)")

    def _apply_schemas(self) -> None:
        """Register the schemas, all or none. Raises SettingsError for one that would break its readers."""
        registry = Registry(self.settings.registry.url, self.settings.state_dir / "schemas", REGISTRY_PATIENCE_S)
        wanted = subjects.subjects(self.pipeline, self.contracts)
        with closing(registry):
            for subject in wanted:
                if refused := subjects.registry_findings(subject, registry):
                    raise SettingsError(
                        f"{subject.subject}: the entity has changed so that readers of its records would break: "
                        f"{'; '.join(refused)}. Next: take that back, or give the field another name"
                    )
            for subject in wanted:
                subjects.register(subject, registry)

    def start(self, *names: str) -> None:
        """Start the named stages, or all that were wanted."""
        if not self.stages:
            env = self.stage_environment()
            self.stages = {name: StageProcess(name, self.state_dir, env) for name in self._wanted}
            self._stack.callback(self.stop)
        for name in names or tuple(self.stages):
            self._stopped.discard(name)
            self.stages[name].start()

    # ── while it runs ─────────────────────────────────────────────────────────────────────────────────────────

    @property
    def pids(self) -> dict[str, int | None]:
        """Every process: servers, stages."""
        stages = {name: stage.pid for name, stage in self.stages.items()}
        return {**(self.servers.pids if self.servers is not None else {}), **stages}

    @property
    def sink_dsn(self) -> str:
        """The first sink's database."""
        return next(iter(self.pipeline.sinks.values())).postgres.reveal()

    def watch(self) -> None:
        """Read every stage's metrics; start again those that died."""
        for name, stage in self.stages.items():
            if name not in self._stopped:
                stage.watch()

    def stop(self, *names: str) -> None:
        """End the named stages (or all) by SIGTERM, and leave them ended."""
        ending = names or tuple(self.stages)
        self._stopped.update(ending)
        for name in ending:
            self.stages[name].ask_to_stop()
        for name in ending:
            self.progress(f"ending {name}")
            self.stages[name].stop()

    def await_quiet(
        self,
        deadline_s: float = 120.0,
        each_turn: Callable[[], None] = lambda: None,
        stopped: Callable[[], bool] = lambda: False,
    ) -> bool:
        """Wait until no running stage has lag or takes a record for two seconds; False at the deadline, when
        `stopped` says so, and where lag stands and no record was taken for `STANDING_FOR_S`."""
        give_up = time.monotonic() + deadline_s
        quiet_since = taken_at = time.monotonic()
        before = (-1, -1)
        while time.monotonic() < give_up and not stopped():
            self.watch()
            each_turn()
            live = [stage for name, stage in self.stages.items() if name not in self._stopped]
            now = (sum(s.counts.done for s in live), sum(s.restarts for s in live))
            if now != before:
                taken_at = quiet_since = time.monotonic()
                before = now
            elif any(s.counts.lag_records or not s.counts.ready for s in live):
                quiet_since = time.monotonic()
            if time.monotonic() - quiet_since > QUIET_FOR_S:
                return True
            if time.monotonic() - taken_at > STANDING_FOR_S:
                return False
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

    def dead_letters(self) -> list[StageDeadLetters]:
        """Those that are kept, by stage and cause. Raises EnvironmentFault and Transient."""
        if self._letters is None:
            reader = self._stack.enter_context(LogReader(self.settings.kafka))
            self._letters = DeadLetterCounts(reader, self.pipeline.names)
        return self._letters.look()

    def golden_rows(self, starts: dict[str, list[int]]) -> GoldenRows | None:
        """Finds rows written beyond `starts` in the first sink; None where the pipeline has none."""
        sink = next(iter(self.pipeline.sinks.values()), None)
        return None if sink is None else GoldenRows(self.sink_dsn, sink.schema_, starts)


def stages_of(pipeline: Pipeline, wanted: Sequence[str] = ()) -> list[str]:
    """The stages to run: those `wanted`, else all that the pipeline needs. Raises SettingsError for a stage that it has
    no use for, and for several sinks: each is a process of its own, and one name stands for one process here."""
    needed = {
        INGRESS_POLLER: bool(pipeline.poll_sources()),
        INGRESS_CDC: bool(pipeline.cdc_sources()),
        SINK_POSTGRES: bool(pipeline.sinks),
    }
    chosen = list(dict.fromkeys(wanted)) or [stage for stage in STAGES if needed.get(stage, True)]
    if idle := [stage for stage in chosen if not needed.get(stage, True)]:
        raise SettingsError(f"{pipeline.file}: gives {', '.join(idle)} nothing to do")
    if SINK_POSTGRES in chosen and len(pipeline.sinks) > 1 and os.environ.get("SLUICE_SINK") not in pipeline.sinks:
        raise SettingsError(
            f"{pipeline.file}: has several sinks, and one is run here. Next: export SLUICE_SINK with one of "
            f"{', '.join(pipeline.sinks)}, and run the others with `sluice run {SINK_POSTGRES}`"
        )
    return chosen


def sink_databases(pipeline: Pipeline) -> dict[str, str]:
    """By the variable that a sink names its DSN with: its database on the embedded Postgres."""
    sinks = pipeline.sinks.items()
    return {sink.postgres.env: f"{pipeline.pipeline}_{name}" for name, sink in sinks if sink.postgres.env is not None}


def stage_variables(pipeline: Pipeline, state_dir: Path) -> dict[str, str]:
    """What every stage of the pipeline is told beside its servers."""
    return {
        "SLUICE_PIPELINE": str(pipeline.file),
        "SLUICE_STATE_DIR": str(state_dir / "stages"),
        "SLUICE_SCHEMAS_DIR": str(default_schemas_dir()),
    }


def require_variables(pipeline: Pipeline, env: Collection[str]) -> None:
    """Raises SettingsError that names all variables that the pipeline refers to and that are not in `env`."""
    missing = sorted(variables_in(pipeline.model_dump()) - set(env))
    if missing:
        names = " ".join(f"{name}=…" for name in missing)
        raise SettingsError(f"{pipeline.file} refers to variables that are not set, or are empty. Next: export {names}")


def _restore_environment(before: dict[str, str | None]) -> None:
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
