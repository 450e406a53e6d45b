"""One run of a pipeline in a terminal: starts servers and stages, shows what they do, checks the result, stops all."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sluice.embedded import Servers
from sluice.embedded.state_lock import stages_locked
from sluice.errors import EnvironmentFault, Transient
from sluice.local.edit_latency import EditLatency
from sluice.local.ending import RunResult, ending, sentence
from sluice.local.example_run import ExampleRun
from sluice.local.golden_display import GoldenDisplay
from sluice.local.peak_memory import PeakMemory
from sluice.local.pipeline_run import TURN_S, PipelineRun, stages_of
from sluice.local.screen import Screen
from sluice.local.server_watch import ServerWatch
from sluice.local.stage_process import StageProcess, require_running
from sluice.local.stage_variables import require_variables, sink_databases
from sluice.local.stopping import Stopped, answered, repeated
from sluice.pipeline import load_pipeline
from sluice.pipeline.authored import load_entities, load_mappings, require_ranked_sources
from sluice.stage.signals import Stop
from sluice.testing.example import Live
from sluice.times import now_us

if TYPE_CHECKING:
    from sluice.verify.report import Report

RESTARTS_MAX = 50
VERIFY_WAIT_S = 120.0
# A run with `--seconds` waits for a golden record this much longer, then the check starts without one.
SHOWN_WITHIN_S = 300.0
SETTLED_AFTER_S = 5.0
EXAMPLE_STEPS = ("servers", "source and topics", "schemas and stages")
STEPS = ("servers", "topics", "schemas and stages")


@dataclass(frozen=True, slots=True)
class RunOptions:
    """The options of a run.

    `file`: the pipeline file or its folder. `stages`: the names of the stages to run; empty means all that the pipeline
    needs. `servers`: start embedded servers; False means that the environment names running servers. `seconds`: the
    time from the first golden record to the check; None means that the run ends only when stopped. `edits_per_s`: how
    many live edits a second are made in the source of an example.
    """

    file: Path
    state_dir: Path
    stages: tuple[str, ...] = ()
    servers: bool = True
    seconds: float | None = None
    example: bool = False
    edits_per_s: float = 0.0


class Session:
    """One run of a pipeline in a terminal. `started_at`: when the command started, in monotonic seconds; the times in
    the result count from then."""

    def __init__(self, options: RunOptions, screen: Screen, *, started_at: float) -> None:
        self._options = options
        self._screen = screen
        self._started_at = started_at
        self._memory = PeakMemory()
        self._result = RunResult()
        self._waiting_for = "nothing"
        self._ready_at: float | None = None
        self._busy_at = time.monotonic()
        self._parked = 0
        self._live: Live | None = None
        self._latency: EditLatency | None = None
        self._golden: GoldenDisplay | None = None
        self._stages: list[str] = []

    def run(self, stop: Stop) -> RunResult:
        """Run the pipeline until `stop` is requested or its time is over, then stop everything that was started. Call
        `check` before.

        Raises EnvironmentFault if a server, a stage or the state directory fails, SettingsError for a wrong pipeline.
        """
        with answered(stop, self._screen.stopping, lambda: self._waiting_for), ExitStack() as stack:
            try:
                self._run(stack, stop)
            except Stopped:
                pass
            finally:
                self._waiting_for = "the processes of this run to end"
        self._result.download_s = round(self._result.download_s, 2)
        self._result.memory_mib = {**self._memory.by_name, "total": self._memory.total}
        return self._result

    # ── start ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _run(self, stack: ExitStack, stop: Stop) -> None:
        stack.enter_context(stages_locked(self._options.state_dir, self._stages))
        servers = self._servers(stack, stop)
        self._server_watch = ServerWatch(self._options.state_dir, servers, self._screen.line, RESTARTS_MAX)
        run = stack.enter_context(self._pipeline_run(servers))
        self._start_step("source and topics" if isinstance(run, ExampleRun) else "topics", stop)
        run.apply_topics()
        self._result.download_s += run.prepare_s if isinstance(run, ExampleRun) else 0.0
        if (rows := run.golden_rows(run.canonical_ends())) is not None:
            sources, example = min(2, len(run.pipeline.sources)), self._options.example
            self._golden = GoldenDisplay(
                rows, self._screen, sources=sources, example=example, started_at=self._started_at
            )
        self._start_step("schemas and stages", stop)
        run.start_ingress()  # it needs seconds until its first record: meanwhile the registry starts
        run.apply_schemas()
        run.start()
        if isinstance(run, ExampleRun):
            self._live = run.live(self._options.edits_per_s, None, int(time.time()))
            self._latency = run.edit_latency(self._live)
        self._ready_at = time.monotonic()
        self._next(stop, "one check of the stages")
        self._watch(run, stop)
        if self._options.seconds is not None and not stop.requested:
            self._check(run, stop)
        self._result.latency_s = self._latency.summary() if self._latency is not None else {}
        self._result.stages = {name: stage.summary for name, stage in run.stages.items()}

    def _servers(self, stack: ExitStack, stop: Stop) -> Servers | None:
        if not self._options.servers:
            return None
        self._start_step("servers", stop)
        self._screen.line(
            "starting Kafka, Postgres and the registry: this takes seconds, and a download the first time"
        )
        servers = stack.enter_context(
            Servers.start(self._options.state_dir, progress=self._screen.line, await_registry=False)
        )
        stack.callback(self._report_end, servers)
        self._result.download_s = servers.download_s
        return servers

    def _report_end(self, servers: Servers) -> None:
        if servers.started:
            self._screen.line(f"ending {', '.join(servers.started)}")

    def _pipeline_run(self, servers: Servers | None) -> PipelineRun:
        options, report = self._options, self._screen.line
        if options.example and servers is not None:
            return ExampleRun(options.file, options.state_dir, servers, report, options.stages)
        return PipelineRun(options.file, options.state_dir, servers, report, options.stages)

    def check(self) -> None:
        """Check the pipeline's files and variables. This imports the author's modules. Call it once, before `run`.

        Raises SettingsError if a file is wrong or a variable is missing.
        """
        pipeline = load_pipeline(self._options.file)
        require_ranked_sources(pipeline, load_entities(pipeline))
        load_mappings(pipeline)
        self._stages = stages_of(pipeline, self._options.stages)
        if not self._options.example:
            created = sink_databases(pipeline) if self._options.servers else {}
            require_variables(pipeline, created)

    def _start_step(self, step: str, stop: Stop) -> None:
        """Show that `step` of the start runs now. Raises Stopped if a stop was requested."""
        self._next(stop, f"this step of the start: {step}")
        steps = EXAMPLE_STEPS if self._options.example else STEPS if self._options.servers else STEPS[1:]
        self._screen.step(steps.index(step), steps)

    def _next(self, stop: Stop, waiting_for: str) -> None:
        """Called before work that takes a while. If a stop is requested later, the user reads that the run waits for
        `waiting_for`. Raises Stopped if a stop was requested already."""
        if stop.requested:
            raise Stopped
        self._waiting_for = waiting_for

    # ── while it runs ─────────────────────────────────────────────────────────────────────────────────────────

    def _watch(self, run: PipelineRun, stop: Stop) -> None:
        """Watch the run twice a second until `stop` is requested or the time of the run is over."""
        edits_ended = False
        while not stop.requested and (left_s := self._left_s()) != 0:
            self._screen.left_s = left_s if self._shown_at is not None else None
            self._turn(run)
            if self._live is not None and not edits_ended and self._live.done():
                edits_ended = True
                self._screen.line(f"the live edits have ended; {self._live.log.with_suffix('.output')} says why")
            stop.wait(TURN_S)
        self._screen.left_s = None

    def _left_s(self) -> float | None:
        """Seconds until the check; None if the run ends only when stopped.

        They count from the first golden record, because a first run on a busy machine needs time to create one. They
        count at the latest from `SHOWN_WITHIN_S` after the start of the stages.
        """
        seconds, now = self._options.seconds, time.monotonic()
        if seconds is None or self._ready_at is None:
            return None
        from_start_s = self._ready_at - now + (seconds if self._golden is None else seconds + SHOWN_WITHIN_S)
        return max(0.0, from_start_s if self._shown_at is None else self._shown_at + seconds - now)

    def _turn(self, run: PipelineRun) -> None:
        self._server_watch.check()
        run.watch()
        require_running(list(run.stages.values()), RESTARTS_MAX)
        if self._latency is not None:
            self._latency.sample()
        if self._golden is not None:
            is_first = self._golden.update(settled=self._is_settled(list(run.stages.values())))
            self._result.golden_rows = self._golden.counts
            if is_first and self._shown_at is not None:
                self._result.first_golden_record_s = round(self._shown_at - self._started_at, 2)
                if self._latency is not None:
                    self._latency.count_from = now_us()
        self._show_dead_letters(run)
        self._memory.sample(lambda: {"sluice": os.getpid(), **run.pids})
        self._screen.update(list(run.stages.values()))

    @property
    def _shown_at(self) -> float | None:
        return self._golden.shown_at if self._golden is not None else None

    def _is_settled(self, stages: list[StageProcess]) -> bool:
        """Whether every stage has been ready and without lag for `SETTLED_AFTER_S`."""
        now = time.monotonic()
        if any(stage.counts.lag_records or not stage.counts.ready for stage in stages):
            self._busy_at = now
        return now - self._busy_at > SETTLED_AFTER_S

    def _show_dead_letters(self, run: PipelineRun) -> None:
        """Show the number of dead letters by cause, each time that it has changed."""
        parked = sum(stage.counts.dead_letters for stage in run.stages.values())
        if parked == self._parked:
            return
        try:
            dead_letters = run.dead_letters()
        except (EnvironmentFault, Transient):
            return  # the dead letters cannot be read now: the next turn tries again
        self._parked = parked
        self._screen.causes = {one.stage: {c.why: c.dead_letters for c in one.causes} for one in dead_letters}

    # ── the check ─────────────────────────────────────────────────────────────────────────────────────────────

    def _check(self, run: PipelineRun, stop: Stop) -> None:
        """Stop the live edits, wait until every change has arrived, then check that nothing is lost. Ends early if
        `stop` is requested."""
        from sluice.verify import verify  # slow to import, and only a run with a check needs it

        self._waiting_for = "the check that nothing is lost"
        if self._live is not None:
            self._result.edits = _stopped_edits(self._live)
            self._screen.line("edits stopped")
        self._screen.line("waiting until everything has arrived")

        def report_line(line: str) -> None:
            if stop.requested:
                raise Stopped
            self._screen.line(line)

        if not run.await_quiet(each_turn=lambda: self._turn(run), stopped=lambda: stop.requested):
            self._screen.line("not everything has arrived; the lines below name what is missing")
        try:
            report_line("checking every link from the sources' tables to the golden rows")
            with repeated(lambda: self._turn(run), TURN_S):
                report = verify(run.pipeline, run.settings, wait_s=VERIFY_WAIT_S, progress=report_line)
        except Stopped:
            self._screen.line("stopped before everything was checked")
            return
        self._show_report(report)
        waited_s = time.monotonic() - (self._ready_at or self._started_at)
        shown = self._golden is None or self._shown_at is not None
        self._result.ending = ending(self._result.verified, len(self._result.findings), shown=shown)
        self._screen.line(sentence(self._result.ending, waited_s, str(run.state_dir / "log")))

    def _show_report(self, report: Report) -> None:
        """Show the report of the check, and take its figures into the result of the run."""
        from sluice.verify.report import CHECKS  # see `_check`

        self._result.verified = report.verified
        self._result.findings = [
            f"{check} ({CHECKS[check]}): {one}" for check, kept in report.first.items() for one in kept
        ]
        self._result.not_checked = [str(one) for one in report.not_checked if one.kind == "unable"]
        for line in report.lines():
            self._screen.line(line)
        if self._golden is not None:
            self._golden.count()
            self._result.golden_rows = self._golden.counts


def _stopped_edits(live: Live) -> int:
    """Stop the live edits. Returns the number of edits that they made."""
    live.stop()
    if not live.log.exists():
        return 0
    with live.log.open("rb") as edits:
        return sum(1 for _ in edits)
