"""One run of the demo: servers up, topics and schemas applied, source and stages started, watched, checked, stopped."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sluice.demo.golden import GoldenRows, by_rank
from sluice.demo.memory import PeakMemory
from sluice.demo.screen import Screen
from sluice.demo.stages import StageProcess, require_running
from sluice.embedded import Servers
from sluice.embedded.fetching import cache_dir
from sluice.errors import SettingsError
from sluice.kafka import KafkaSettings, LogReader, clients
from sluice.kafka.topics import Topics, concrete, load_kinds
from sluice.names import STAGES
from sluice.pipeline import Pipeline, load_pipeline
from sluice.pipeline.authored import load_entities, load_mappings
from sluice.schemas import Registry, subjects
from sluice.stage.settings import RegistrySettings, StageSettings, default_schemas_dir
from sluice.stage.signals import Stop
from sluice.testing.example import ExampleContext, ExampleDriver, Live, Running, load_example

RESTARTS_MAX = 50
QUIET_FOR_S = 2.0
QUIET_DEADLINE_S = 120.0
TURN_S = 0.5


@dataclass(slots=True)
class Outcome:
    """What a run came to; `as_json` is what `--json` prints."""

    download_s: float = 0.0
    first_golden_record_s: float | None = None
    verified: bool | None = None
    findings: list[str] = field(default_factory=list)
    stages: dict[str, dict[str, int]] = field(default_factory=dict)
    rss_mib: dict[str, int] = field(default_factory=dict)
    rss_total_mib: int = 0
    edits: int = 0

    def as_json(self) -> dict[str, Any]:
        return {
            "first_golden_record_s": self.first_golden_record_s,
            "download_s": round(self.download_s, 2),
            "stages": self.stages,
            "verified": self.verified,
            "findings": self.findings,
            "edits": self.edits,
            "rss_mib": {**self.rss_mib, "total": self.rss_total_mib},
        }


class Demo:
    """`seconds` None: until stopped. Times count from `began` (monotonic seconds: the start of the command)."""

    def __init__(
        self, example: Path, state_dir: Path, screen: Screen, *, seconds: float | None, rate_per_s: float, began: float
    ) -> None:
        self._example = example
        self._state_dir = state_dir
        self._screen = screen
        self._seconds = seconds
        self._rate_per_s = rate_per_s
        self._began = began
        self._memory = PeakMemory()
        self._outcome = Outcome()

    def run(self, stop: Stop) -> Outcome:
        """Everything, from nothing to stopped. Raises EnvironmentFault or SettingsError with the way out."""
        with ExitStack() as stack:
            driver = load_example(self._example)
            self._screen.tell("starting Kafka, Postgres and the registry (the first time they are downloaded)")
            servers = stack.enter_context(Servers.start(self._state_dir, progress=self._screen.tell))
            context = self._context(servers)
            prepared_at = time.monotonic()
            driver.prepare(context)
            self._outcome.download_s = servers.download_s + time.monotonic() - prepared_at
            ready_at = time.monotonic()
            running = driver.start(context)
            stack.callback(running.stop)
            env, settings, pipeline = self._configured(servers, running)
            starts = self._apply(pipeline, settings)
            stages = [StageProcess(name, self._state_dir, env) for name in STAGES if _is_needed(name, pipeline)]
            stack.callback(_stop_all, stages)
            for stage in stages:
                stage.start()
            live = driver.live(context, running, self._rate_per_s, None, int(time.time()))
            stack.callback(live.stop)
            golden = self._golden_rows(pipeline, env, starts)
            pids = {**servers.pids, **running.processes}
            self._watch(stages, golden, {**pids, "live-edits": live.pid}, stop, ready_at)
            if self._seconds is not None and not stop.requested:
                self._check(driver, live, stages, golden, pids, settings, pipeline, stop)
            self._outcome.stages = {s.name: _summary(s) for s in stages}
        self._outcome.rss_mib, self._outcome.rss_total_mib = self._memory.by_name, self._memory.total
        return self._outcome

    # ── the parts ─────────────────────────────────────────────────────────────────────────────────────────────

    def _context(self, servers: Servers) -> ExampleContext:
        return ExampleContext(servers.postgres_dsn(), cache_dir(), self._state_dir, self._screen.tell)

    def _configured(self, servers: Servers, running: Running) -> tuple[dict[str, str], StageSettings, Pipeline]:
        """Environment of the stages, and the same as settings and pipeline for ourselves."""
        pipeline = load_pipeline(self._example)
        env = dict(running.env)
        for name, sink in pipeline.sinks.items():
            if sink.postgres.env is None:
                raise SettingsError(f"sink {name}: an example's sink names its DSN as {{env: …}}")
            servers.create_database(f"sink_{name}")
            env[sink.postgres.env] = servers.postgres_dsn(f"sink_{name}")
        env |= {
            "SLUICE_PIPELINE": str(self._example),
            "SLUICE_STATE_DIR": str(self._state_dir / "stages"),
            "SLUICE_SCHEMAS_DIR": str(default_schemas_dir()),
            "SLUICE_KAFKA__BOOTSTRAP_SERVERS": servers.bootstrap_servers,
            "SLUICE_REGISTRY__URL": servers.registry_url,
        }
        settings = StageSettings(
            pipeline=self._example,
            state_dir=self._state_dir / "stages",
            kafka=KafkaSettings(bootstrap_servers=servers.bootstrap_servers),
            registry=RegistrySettings(url=servers.registry_url),
        )
        return env, settings, pipeline

    def _apply(self, pipeline: Pipeline, settings: StageSettings) -> dict[str, list[int]]:
        """Topics and schemas; returns where each canonical partition ends before this run."""
        contracts = load_entities(pipeline)
        kinds = load_kinds(settings.schemas_dir / "topics")
        topics = concrete(kinds, pipeline, list(contracts))
        done = Topics(clients.admin(settings.kafka)).apply(topics)
        self._screen.tell(f"{len(topics)} topics stand ({len(done)} made or changed)")
        registry = Registry(settings.registry.url, settings.state_dir / "schemas")
        for subject in subjects.subjects(pipeline, contracts):
            registry.register(subject.subject, subject.schema)
        registry.close()
        mapped_by: dict[str, set[str]] = {}
        for mapping in load_mappings(pipeline):
            mapped_by.setdefault(mapping.entity.name, set()).add(mapping.source)
        ranked = by_rank(contracts, {entity: len(sources) for entity, sources in mapped_by.items()})
        names = pipeline.names
        with LogReader(settings.kafka) as reader:
            parts = [(names.canonical(e), p) for e in ranked for p in range(pipeline.partitions)]
            ends = reader.ends(parts)
        return {e: [ends[names.canonical(e), p] for p in range(pipeline.partitions)] for e in ranked}

    def _golden_rows(self, pipeline: Pipeline, env: dict[str, str], starts: dict[str, list[int]]) -> GoldenRows:
        sink = next(iter(pipeline.sinks.values()))
        sources_min = min(2, len(pipeline.sources))
        return GoldenRows(env[sink.postgres.env or ""], sink.schema_, starts, sources_min)

    def _watch(
        self, stages: list[StageProcess], golden: GoldenRows, pids: dict[str, int | None], stop: Stop, ready_at: float
    ) -> None:
        until = None if self._seconds is None else ready_at + self._seconds
        while not stop.requested and (until is None or time.monotonic() < until):
            self._turn(stages, golden, pids)
            stop.wait(TURN_S)

    def _turn(self, stages: list[StageProcess], golden: GoldenRows, pids: dict[str, int | None]) -> None:
        for stage in stages:
            stage.watch()
        require_running(stages, RESTARTS_MAX)
        if self._outcome.first_golden_record_s is None and (record := golden.find()) is not None:
            after_s = time.monotonic() - self._began
            self._outcome.first_golden_record_s = round(after_s, 2)
            self._screen.golden(record, after_s)
        self._memory.sample({**pids, **{s.name: s.pid for s in stages}, "demo": os.getpid()})
        self._screen.update(stages)

    def _check(
        self,
        driver: ExampleDriver,
        live: Live,
        stages: list[StageProcess],
        golden: GoldenRows,
        pids: dict[str, int],
        settings: StageSettings,
        pipeline: Pipeline,
        stop: Stop,
    ) -> None:
        """Stop the edits, let everything arrive, then check that nothing is lost."""
        live.stop()
        self._outcome.edits = _lines(live.log)
        self._screen.tell("edits stopped; waiting until everything has arrived")
        self._await_quiet(stages, golden, dict(pids), stop)
        from sluice.verify import verify

        report = verify(pipeline, settings)
        self._outcome.verified = report.verified
        self._outcome.findings = [str(f) for f in report.findings][:20]
        self._screen.tell("verified: nothing lost" if report.verified else f"NOT verified: {self._outcome.findings}")

    def _await_quiet(
        self, stages: list[StageProcess], golden: GoldenRows, pids: dict[str, int | None], stop: Stop
    ) -> None:
        """Until no stage has lag or takes a record for two seconds, or the deadline: verify tells the rest."""
        give_up = time.monotonic() + QUIET_DEADLINE_S
        quiet_since, before = time.monotonic(), -1
        while time.monotonic() < give_up and not stop.requested:
            self._turn(stages, golden, pids)
            taken = sum(s.counts.records for s in stages)
            if taken != before or any(s.counts.lag_records for s in stages):
                quiet_since, before = time.monotonic(), taken
            if time.monotonic() - quiet_since > QUIET_FOR_S:
                return
            stop.wait(TURN_S)


def _is_needed(stage: str, pipeline: Pipeline) -> bool:
    if stage == "ingress-poller":
        return bool(pipeline.poll_sources())
    if stage == "ingress-cdc":
        return bool(pipeline.cdc_sources())
    return stage != "sink-postgres" or bool(pipeline.sinks)


def _stop_all(stages: list[StageProcess]) -> None:
    for stage in stages:
        stage.stop()


def _summary(stage: StageProcess) -> dict[str, int]:
    counts = stage.counts
    return {
        "records": counts.records,
        "dead_letters": counts.dead_letters,
        "lag_records": counts.lag_records,
        "restarts": stage.restarts,
    }


def _lines(log: Path) -> int:
    try:
        with log.open("rb") as lines:
            return sum(1 for _ in lines)
    except OSError:
        return 0
