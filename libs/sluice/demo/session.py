"""A pipeline in one terminal: servers up, everything started, watched, checked, stopped."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sluice.demo.ending import Ending, ending, sentence
from sluice.demo.example_run import ExampleRun
from sluice.demo.golden import GoldenRows
from sluice.demo.latency import EditLatency
from sluice.demo.memory import PeakMemory
from sluice.demo.pipeline_run import TURN_S, PipelineRun, require_variables, sink_databases, stages_of
from sluice.demo.screen import Screen
from sluice.demo.stages import StageProcess, require_running
from sluice.demo.stopping import Stopped, answered
from sluice.embedded import Servers
from sluice.embedded.stage_locks import stages_locked
from sluice.errors import EnvironmentFault, Transient
from sluice.pipeline import load_pipeline
from sluice.pipeline.authored import load_entities, load_mappings, require_ranked_sources
from sluice.stage.signals import Stop
from sluice.testing.example import Live
from sluice.times import now_us

RESTARTS_MAX = 50
VERIFY_WAIT_S = 120.0
COUNT_EVERY_S = 2.0
# After which a run of `--seconds` is checked although no golden record was shown.
SHOWN_WITHIN_S = 300.0
# For so long a record of several sources is looked for, which reads whole tables, once one of a single source is shown.
BETTER_WITHIN_S = 60.0
SETTLED_AFTER_S = 5.0
EXAMPLE_STEPS = ("servers", "source", "topics and schemas", "stages")
STEPS = ("servers", "topics and schemas", "stages")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to run. `file`: the pipeline's, or its folder. `stages`: all that the pipeline needs if there are none.
    `servers` False: those of the environment.

    `seconds`: from the first golden record to the check; None: until stopped. `edits_per_s`: in an example's source.
    """

    file: Path
    state_dir: Path
    stages: tuple[str, ...] = ()
    servers: bool = True
    seconds: float | None = None
    example: bool = False
    edits_per_s: float = 0.0


@dataclass(slots=True)
class Outcome:
    """What a run came to; `as_json` is what `--json` prints."""

    download_s: float = 0.0
    first_golden_record_s: float | None = None
    verified: bool | None = None
    findings: list[str] = field(default_factory=list)
    not_looked_at: list[str] = field(default_factory=list)
    stages: dict[str, dict[str, int]] = field(default_factory=dict)
    golden_rows: dict[str, int] = field(default_factory=dict)
    rss_mib: dict[str, int] = field(default_factory=dict)
    rss_total_mib: int = 0
    edits: int = 0
    latency_s: dict[str, float | int | None] = field(default_factory=dict)
    ending: Ending = Ending.STOPPED

    def as_json(self) -> dict[str, Any]:
        return {
            "ending": str(self.ending),
            "first_golden_record_s": self.first_golden_record_s,
            "download_s": round(self.download_s, 2),
            "stages": self.stages,
            "golden_rows": self.golden_rows,
            "verified": self.verified,
            "findings": self.findings,
            "not_looked_at": self.not_looked_at,
            "edits": self.edits,
            "latency_s": self.latency_s,
            "rss_mib": {**self.rss_mib, "total": self.rss_total_mib},
        }


class Session:
    """One run. Times count from `began` (monotonic seconds: the start of the command)."""

    def __init__(self, wanted: Wanted, screen: Screen, *, began: float) -> None:
        self._wanted = wanted
        self._screen = screen
        self._began = began
        self._memory = PeakMemory()
        self._outcome = Outcome()
        self._doing = "nothing"
        self._ready_at: float | None = None
        self._shown_at: float | None = None
        self._best_shown = 0
        self._counted_at = 0.0
        self._busy_at = time.monotonic()
        self._parked = 0
        self._server_restarts = 0
        self._live: Live | None = None
        self._latency: EditLatency | None = None
        self._golden: GoldenRows | None = None
        self._stages: list[str] = []

    def run(self, stop: Stop) -> Outcome:
        """Everything, from nothing to stopped, once `check` has found nothing wrong. Raises EnvironmentFault or
        SettingsError with the way out."""
        with answered(stop, self._screen.stopping, lambda: self._doing), ExitStack() as stack:
            try:
                self._run(stack, stop)
            except Stopped:
                pass
            finally:
                self._doing = "what was started to end"
        self._outcome.rss_mib, self._outcome.rss_total_mib = self._memory.by_name, self._memory.total
        return self._outcome

    # ── beginning ─────────────────────────────────────────────────────────────────────────────────────────────

    def _run(self, stack: ExitStack, stop: Stop) -> None:
        stack.enter_context(stages_locked(self._wanted.state_dir, self._stages))
        servers = self._servers(stack, stop)
        run = stack.enter_context(self._pipeline_run(servers))
        self._begin("source" if isinstance(run, ExampleRun) else "topics and schemas", stop)
        run.apply()
        self._outcome.download_s += run.prepare_s if isinstance(run, ExampleRun) else 0.0
        self._golden = run.golden_rows(run.canonical_ends())
        self._begin("stages", stop)
        run.start()
        if isinstance(run, ExampleRun):
            self._live = run.live(self._wanted.edits_per_s, None, int(time.time()))
            self._latency = run.edit_latency(self._live)
        self._ready_at = time.monotonic()
        self._next(stop, "a look at the stages")
        self._watch(run, stop)
        if self._wanted.seconds is not None and not stop.requested:
            self._check(run, stop)
        self._outcome.latency_s = self._latency.summary() if self._latency is not None else {}
        self._outcome.stages = {name: _summary(stage) for name, stage in run.stages.items()}

    def _servers(self, stack: ExitStack, stop: Stop) -> Servers | None:
        if not self._wanted.servers:
            return None
        self._begin("servers", stop)
        self._screen.tell(
            "starting Kafka, Postgres and the registry: ten to forty seconds, and a download the first time"
        )
        servers = stack.enter_context(Servers.start(self._wanted.state_dir, progress=self._screen.tell))
        if servers.started:
            stack.callback(self._screen.tell, f"ending {', '.join(servers.started)}")
        self._outcome.download_s = servers.download_s
        return servers

    def _pipeline_run(self, servers: Servers | None) -> PipelineRun:
        wanted, tell = self._wanted, self._screen.tell
        if wanted.example and servers is not None:
            return ExampleRun(wanted.file, wanted.state_dir, servers, tell, wanted.stages)
        return PipelineRun(wanted.file, wanted.state_dir, servers, tell, wanted.stages)

    def check(self) -> None:
        """Called once, before `run`. Raises SettingsError for what is wrong in the pipeline's files or variables.
        Runs the author's modules."""
        pipeline = load_pipeline(self._wanted.file)
        require_ranked_sources(pipeline, load_entities(pipeline))
        load_mappings(pipeline)
        self._stages = stages_of(pipeline, self._wanted.stages)
        if not self._wanted.example:
            made = sink_databases(pipeline) if self._wanted.servers else {}
            require_variables(pipeline, {*made, *(name for name, value in os.environ.items() if value)})

    def _begin(self, step: str, stop: Stop) -> None:
        """Go on to the next step of the start."""
        self._next(stop, f"the step of the start that is under way: {step}")
        steps = EXAMPLE_STEPS if self._wanted.example else STEPS if self._wanted.servers else STEPS[1:]
        self._screen.step(steps.index(step), steps)

    def _next(self, stop: Stop, doing: str) -> None:
        """Go on to what takes a while; `doing` is what a stop has to wait for meanwhile."""
        if stop.requested:
            raise Stopped
        self._doing = doing

    # ── while it runs ─────────────────────────────────────────────────────────────────────────────────────────

    def _watch(self, run: PipelineRun, stop: Stop) -> None:
        """Turns, until stopped or until the time is up."""
        edits_ended = False
        while not stop.requested and (left_s := self._left_s()) != 0:
            self._screen.time_left(left_s if self._shown_at is not None else None)
            self._turn(run)
            if self._live is not None and not edits_ended and self._live.done():
                edits_ended = True
                self._screen.tell(
                    f"the live edits have ended by themselves: {self._live.log.with_suffix('.output')} says why"
                )
            stop.wait(TURN_S)
        self._screen.time_left(None)

    def _left_s(self) -> float | None:
        """Until the check begins; None: until stopped. Counts from the first golden record, which a first run on a
        busy machine takes its time for, and at the latest `SHOWN_WITHIN_S` after the start of the stages."""
        seconds, now = self._wanted.seconds, time.monotonic()
        if seconds is None or self._ready_at is None:
            return None
        from_start_s = self._ready_at - now + (seconds if self._golden is None else seconds + SHOWN_WITHIN_S)
        return max(0.0, from_start_s if self._shown_at is None else self._shown_at + seconds - now)

    def _turn(self, run: PipelineRun) -> None:
        self._watch_servers(run)
        run.watch()
        require_running(list(run.stages.values()), RESTARTS_MAX)
        if self._latency is not None:
            self._latency.sample()
        if self._golden is not None:
            settled = self._is_settled(list(run.stages.values()))
            self._look_for_golden(self._golden, min(2, len(run.pipeline.sources)), settled=settled)
        self._look_for_letters(run)
        self._memory.sample(lambda: {**run.pids, **self._own_pids()})
        self._screen.update(list(run.stages.values()))

    def _watch_servers(self, run: PipelineRun) -> None:
        """Start again what was killed. Raises EnvironmentFault where that cannot be done, or does not last."""
        if not self._wanted.state_dir.exists():
            raise EnvironmentFault(
                f"state directory {self._wanted.state_dir}",
                "was deleted while it was in use: the servers' data and the stages' state are gone",
                "start again: the sources are read from their beginning",
            )
        servers = run.servers
        if servers is None:
            return
        for name in servers.dead():
            self._server_restarts += 1
            if self._server_restarts > RESTARTS_MAX:
                raise EnvironmentFault(name, f"ended {RESTARTS_MAX} times", f"read its log in {run.state_dir}/servers")
            self._screen.tell(f"{name} has ended, and is started again")
            servers.restart(name)

    def _own_pids(self) -> dict[str, int | None]:
        live = {} if self._live is None else {"live-edits": self._live.pid}
        return {"sluice": os.getpid(), **live}

    def _count(self, golden: GoldenRows) -> None:
        if (counts := golden.counts()) is not None:
            self._counted_at = time.monotonic()
            self._outcome.golden_rows = counts
            self._screen.golden_rows(counts)

    def _is_settled(self, stages: list[StageProcess]) -> bool:
        """Whether nothing has been left to do for a while."""
        now = time.monotonic()
        if any(stage.counts.lag_records or not stage.counts.ready for stage in stages):
            self._busy_at = now
        return now - self._busy_at > SETTLED_AFTER_S

    def _look_for_golden(self, golden: GoldenRows, sources: int, *, settled: bool) -> None:
        """Show the first golden record of several sources; before it, of one's own pipeline, that of a single one.

        A pipeline of one's own that is `settled` shows what an earlier run made: its sources may not change for hours.
        """
        now = time.monotonic()
        if now - self._counted_at >= COUNT_EVERY_S:
            self._count(golden)
        late = self._shown_at is not None and now - self._shown_at > BETTER_WITHIN_S
        if self._best_shown >= sources or late:
            return
        found = golden.find(sources)
        if found is None and not self._wanted.example and not self._best_shown:
            found = golden.find(1)
            if found is None and settled:
                found = golden.find(sources, earlier=True) or golden.find(1, earlier=True)
        if found is None:
            return
        after_s = now - self._began
        self._best_shown = max(1, len(found.sources))
        if self._shown_at is None:
            self._shown_at = now
            self._outcome.first_golden_record_s = round(after_s, 2)
            if self._latency is not None:
                self._latency.count_from = now_us()
        self._screen.golden(found, after_s)

    def _look_for_letters(self, run: PipelineRun) -> None:
        """Say what dead letters are of, whenever there are more."""
        parked = sum(stage.counts.dead_letters for stage in run.stages.values())
        if parked == self._parked:
            return
        try:
            letters = run.dead_letters()
        except (EnvironmentFault, Transient):
            return  # at the next turn
        self._parked = parked
        self._screen.dead_letters({one.stage: {c.why: c.letters for c in one.causes} for one in letters})

    # ── the check ─────────────────────────────────────────────────────────────────────────────────────────────

    def _check(self, run: PipelineRun, stop: Stop) -> None:
        """Stop the edits, let everything arrive, then check that nothing is lost. `stop` cuts it short."""
        from sluice.verify import verify
        from sluice.verify.report import CHECKS

        self._doing = "the check that nothing is lost"
        if self._live is not None:
            self._live.stop()
            self._outcome.edits = _lines(self._live.log)
            self._screen.tell("edits stopped")
        self._screen.tell("waiting until everything has arrived")

        def tell(line: str) -> None:
            if stop.requested:
                raise Stopped
            self._screen.tell(line)

        if not run.await_quiet(each_turn=lambda: self._turn(run), stopped=lambda: stop.requested):
            self._screen.tell("not everything has arrived; what is missing is told below")
        try:
            tell("checking every link from the sources' tables to the golden rows")
            with meanwhile(lambda: self._turn(run)):
                report = verify(run.pipeline, run.settings, wait_s=VERIFY_WAIT_S, progress=tell)
        except Stopped:
            self._screen.tell("stopped before everything was checked")
            return
        self._outcome.verified = report.verified
        self._outcome.findings = [
            f"{check} ({CHECKS[check]}): {one}" for check, kept in report.first.items() for one in kept
        ]
        self._outcome.not_looked_at = [str(one) for one in report.not_looked_at if one.kind == "unable"]
        for line in report.lines():
            self._screen.tell(line)
        self._end(run)

    def _end(self, run: PipelineRun) -> None:
        if self._golden is not None:
            self._count(self._golden)
        shown = self._golden is None or self._shown_at is not None
        how = ending(self._outcome.verified, len(self._outcome.findings), shown=shown)
        waited_s = time.monotonic() - (self._ready_at or self._began)
        self._outcome.ending = how
        self._screen.tell(sentence(how, waited_s, str(run.state_dir / "log")))


@contextmanager
def meanwhile(turn: Callable[[], None]) -> Iterator[None]:
    """While inside, `turn` is called twice a second by a thread of its own. What it raises is raised at the end."""
    left = threading.Event()
    raised: list[BaseException] = []

    def turns() -> None:
        try:
            while not left.wait(TURN_S):
                turn()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=turns, name="turns", daemon=True)
    thread.start()
    try:
        yield
    finally:
        left.set()
        thread.join()
    if raised:
        raise raised[0]


def _summary(stage: StageProcess) -> dict[str, int]:
    counts = stage.counts
    return {
        "records": counts.done,
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
