"""Runs a whole pipeline on given servers: creates its topics and schemas, and starts each stage as a process.

`sluice up`, `sluice demo` and the scenario tests use it.
"""

from __future__ import annotations

import os
import shlex
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Self

from sluice.embedded import Servers
from sluice.embedded.fetching import Progress
from sluice.embedded.registry import RegistryServer
from sluice.embedded.server import silent
from sluice.errors import SettingsError
from sluice.kafka import KafkaSettings, LogReader, clients
from sluice.kafka.topics import Topics, concrete, load_kinds
from sluice.lag.dead_letter_counts import DeadLetterCounts, StageDeadLetters
from sluice.local.golden_record import GoldenRows
from sluice.local.stage_process import StageProcess
from sluice.local.stage_variables import require_variables, sink_databases, stage_variables
from sluice.names import INGRESS_CDC, INGRESS_POLLER, SINK_POSTGRES, STAGES
from sluice.pipeline import Pipeline, load_pipeline
from sluice.pipeline.authored import load_entities, load_mappings
from sluice.pipeline.secret import variables_in
from sluice.schemas import Registry, subjects
from sluice.settings.stage import RegistrySettings, StageSettings, read_settings

TURN_S = 0.5
QUIET_FOR_S = 2.0
# If no stage processes a record for this long although there is work, a stage waits for an operator.
STUCK_AFTER_S = 30.0
# On a busy machine, it takes up to minutes until the partitions of new topics have leaders.
LEADERS_WITHIN_S = 180.0
# On a busy machine, the first answer of the schema registry takes longer than the time-out of a health check.
REGISTRY_TIMEOUT_S = 180.0


class PipelineRun:
    """A run of a pipeline. Call `apply`, then `start`, then `watch` about twice a second. For a shorter start, call
    `apply_topics`, `start_ingress` and `apply_schemas` instead of `apply`. At the end of its `with` block, everything
    that it started is stopped.

    `file`: the pipeline file or its folder. `servers`: the embedded servers; None means the servers that
    SLUICE_KAFKA__… and SLUICE_REGISTRY__… name. `stages`: the stages to run; empty means all that the pipeline needs.
    `watch` restarts stages that die, except those that `stop` stopped. Raises SettingsError for a pipeline that cannot
    run.
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
        self.stages: dict[str, StageProcess] = {}
        self._wanted = stages_of(self.pipeline, stages)
        self._dead_letters: DeadLetterCounts | None = None
        self._stack = ExitStack()
        self._stopped: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    # ── start ─────────────────────────────────────────────────────────────────────────────────────────────────

    def apply(self) -> None:
        """Create the databases of the sinks, the topics and the schemas. Raises SettingsError if the pipeline file
        refers to a variable that is not set."""
        self.apply_topics()
        self.apply_schemas()

    def apply_topics(self) -> None:
        """Create the databases of the sinks and the topics. Raises SettingsError if the pipeline file refers to a
        variable that is not set."""
        self.set_environment()
        self.create_topics()

    def set_environment(self) -> None:
        """Create the databases of the sinks. Set the variables and the settings of this run."""
        self.env = self._environment()
        # Set the variables in this process too: an author's connector may read its settings from the environment.
        self._stack.callback(os.environ.update, {name: os.environ[name] for name in self.env if name in os.environ})
        for name in self.env:
            self._stack.callback(os.environ.pop, name, None)
        os.environ.update(self.env)
        if self.servers is not None:
            self._write_environment()
        self.settings = self.read_settings()

    def source_environment(self) -> Mapping[str, str]:
        """The environment variables that the pipeline file refers to and that are set, by name."""
        return {name: os.environ[name] for name in variables_in(self.pipeline.model_dump()) if os.environ.get(name)}

    def stage_environment(self) -> dict[str, str]:
        """The environment of the stages' processes: that of this process (for proxies and certificates) and the
        variables of this run.

        SLUICE_TELEMETRY__PORT is left out, so that each stage serves its metrics on a port of its own.
        """
        variables = {**os.environ, **self.env}
        variables.pop("SLUICE_TELEMETRY__PORT", None)
        return variables

    def _environment(self) -> dict[str, str]:
        """The variables that this run sets: those of the sources, the DSNs of the sinks' databases, and the addresses
        of the servers."""
        env = dict(self.source_environment())
        if self.servers is not None:
            for variable, database in sink_databases(self.pipeline).items():
                if variable not in env:
                    env[variable] = self.servers.postgres.create_database(database)
            env["SLUICE_KAFKA__BOOTSTRAP_SERVERS"] = self.servers.kafka.bootstrap_servers
            env["SLUICE_REGISTRY__URL"] = self.servers.registry.url
        require_variables(self.pipeline, env)
        return env | stage_variables(self.pipeline, self.state_dir)

    def read_settings(self) -> StageSettings:
        """The settings of this run. Without embedded servers, they are read from the environment."""
        if self.servers is None:
            return read_settings(StageSettings)
        return StageSettings(
            pipeline=self.pipeline.file,
            state_dir=self.state_dir / "stages",
            kafka=KafkaSettings(bootstrap_servers=self.servers.kafka.bootstrap_servers),
            registry=RegistrySettings(url=self.servers.registry.url),
        )

    def _write_environment(self) -> None:
        """Write the variables of this run to `<state_dir>/env`, which a shell in a second terminal can read with `.`.
        Only the owner may read the file, because it contains passwords."""
        file = self.state_dir / "env"
        file.touch(mode=0o600)
        file.write_text("".join(f"export {name}={shlex.quote(value)}\n" for name, value in sorted(self.env.items())))
        self.progress(f"for commands in another terminal: . {shlex.quote(str(file))}")

    def create_topics(self) -> None:
        """Create the topics that do not exist, and configure the others."""
        self.contracts = load_entities(self.pipeline)
        topics = concrete(load_kinds(self.settings.schemas_dir / "topics"), self.pipeline, list(self.contracts))
        done = Topics(clients.admin(self.settings.kafka)).apply(topics)
        self.progress(f"{len(topics)} topics exist ({len(done)} created or changed)")

    def apply_schemas(self) -> None:
        """Register all schemas of the pipeline, or none. Blocks until the embedded registry answers. Raises
        SettingsError for a schema with which readers of existing records would fail."""
        if self.servers is not None:
            self.servers.await_ready(RegistryServer.name)
        registry = Registry(self.settings.registry.url, self.settings.state_dir / "schemas", REGISTRY_TIMEOUT_S)
        wanted = subjects.subjects(self.pipeline, self.contracts)
        with closing(registry):
            for subject in wanted:
                if refused := subjects.registry_findings(subject, registry):
                    raise SettingsError(
                        f"{subject.subject}: the entity changed in a way that breaks readers of its records: "
                        f"{'; '.join(refused)}. Next: undo the change, or give the field another name"
                    )
            for subject in wanted:
                subjects.register(subject, registry)

    def start(self, *names: str) -> None:
        """Start the stages `names`, or all stages of this run that do not run yet if no name is given."""
        alive = [name for name, stage in self.stages.items() if stage.is_alive]
        self._start(names or [name for name in self._wanted if name not in alive])

    def start_ingress(self) -> None:
        """Start the ingress stages. They read no contract, so they may run before the schemas are registered."""
        self._start([name for name in self._wanted if name in (INGRESS_CDC, INGRESS_POLLER)])

    def _start(self, names: Sequence[str]) -> None:
        if not self.stages:
            env = self.stage_environment()
            self.stages = {name: StageProcess(name, self.state_dir, env) for name in self._wanted}
            self._stack.callback(self.stop)
        for name in names:
            self._stopped.discard(name)
            self.stages[name].start()

    # ── while it runs ─────────────────────────────────────────────────────────────────────────────────────────

    @property
    def pids(self) -> dict[str, int | None]:
        """The pids of all processes of this run by name: servers and stages."""
        stages = {name: stage.pid for name, stage in self.stages.items()}
        return {**(self.servers.pids if self.servers is not None else {}), **stages}

    @property
    def sink_dsn(self) -> str:
        """The DSN of the database of the pipeline's first sink."""
        return next(iter(self.pipeline.sinks.values())).postgres.reveal()

    def watch(self) -> None:
        """Read the metrics of every stage, and restart the stages that died."""
        for name, stage in self.stages.items():
            if name not in self._stopped:
                stage.watch()

    def stop(self, *names: str) -> None:
        """Stop the stages `names`, or all stages if no name is given, by SIGTERM. `watch` does not restart them."""
        stopping = names or tuple(self.stages)
        self._stopped.update(stopping)
        for name in stopping:
            self.progress(f"stopping {name}")
        with ThreadPoolExecutor(len(STAGES)) as pool:
            list(pool.map(lambda name: self.stages[name].stop(), stopping))

    def await_quiet(
        self,
        deadline_s: float = 120.0,
        each_turn: Callable[[], None] = lambda: None,
        stopped: Callable[[], bool] = lambda: False,
    ) -> bool:
        """Wait until every running stage has been ready for `QUIET_FOR_S`, without lag and without processing a record;
        then return True.

        Returns False at the deadline, if `stopped` returns true, or if the stages are not quiet although none has
        processed a record for `STUCK_AFTER_S`. `each_turn` is called twice a second.
        """
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
            if time.monotonic() - taken_at > STUCK_AFTER_S:
                return False
            time.sleep(TURN_S)
        return False

    def canonical_ends(self) -> dict[str, list[int]]:
        """For each entity, the end offset of each partition of its canonical topic. Entities with the most sources come
        first."""
        mapped = {(mapping.entity.name, mapping.source) for mapping in load_mappings(self.pipeline)}
        sources = Counter(entity for entity, _ in mapped)
        # A golden record of an entity with many sources shows best how Sluice merges.
        ranked = sorted(self.contracts, key=lambda entity: -sources[entity])
        names, numbers = self.pipeline.names, range(self.pipeline.partitions)
        with LogReader(self.settings.kafka, LEADERS_WITHIN_S) as reader:
            ends = reader.ends([(names.canonical(e), p) for e in ranked for p in numbers])
        return {e: [ends[names.canonical(e), p] for p in numbers] for e in ranked}

    def dead_letters(self) -> list[StageDeadLetters]:
        """The stored dead letters by stage and cause. Raises EnvironmentFault or Transient if they cannot be read."""
        if self._dead_letters is None:
            reader = self._stack.enter_context(LogReader(self.settings.kafka))
            self._dead_letters = DeadLetterCounts(reader, self.pipeline.names)
        return self._dead_letters.read()

    def golden_rows(self, starts: dict[str, list[int]]) -> GoldenRows | None:
        """A reader of the golden rows of the first sink; None if the pipeline has no sink. `starts`: the end offsets of
        the canonical partitions when this run started."""
        sink = next(iter(self.pipeline.sinks.values()), None)
        return None if sink is None else GoldenRows(self.sink_dsn, sink.schema_, starts)


def stages_of(pipeline: Pipeline, wanted: Sequence[str] = ()) -> list[str]:
    """The names of the stages to run: `wanted`, or all stages that the pipeline needs.

    Raises SettingsError for a stage that has no work in this pipeline. Also for several sinks, unless SLUICE_SINK
    chooses one: here one stage name stands for one process.
    """
    needed = {
        INGRESS_POLLER: bool(pipeline.poll_sources()),
        INGRESS_CDC: bool(pipeline.cdc_sources()),
        SINK_POSTGRES: bool(pipeline.sinks),
    }
    chosen = list(dict.fromkeys(wanted)) or [stage for stage in STAGES if needed.get(stage, True)]
    if idle := [stage for stage in chosen if not needed.get(stage, True)]:
        raise SettingsError(f"{pipeline.file}: has no work for {', '.join(idle)}")
    if SINK_POSTGRES in chosen and len(pipeline.sinks) > 1 and os.environ.get("SLUICE_SINK") not in pipeline.sinks:
        raise SettingsError(
            f"{pipeline.file}: has several sinks, and this command runs one. Next: export SLUICE_SINK with one of "
            f"{', '.join(pipeline.sinks)}, and run the others with `sluice run {SINK_POSTGRES}`"
        )
    return chosen
