"""One run of the demo: servers up, everything started, watched, checked, stopped."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sluice.demo.golden import GoldenRows
from sluice.demo.latency import EditLatency
from sluice.demo.memory import PeakMemory
from sluice.demo.pipeline_run import TURN_S, PipelineRun
from sluice.demo.screen import Screen
from sluice.demo.stages import StageProcess, require_running
from sluice.demo.stopping import Stopped, answered
from sluice.embedded import Servers
from sluice.stage.signals import Stop
from sluice.testing.example import Live

RESTARTS_MAX = 50
VERIFY_WAIT_S = 120.0


@dataclass(slots=True)
class Outcome:
    """What a run came to; `as_json` is what `--json` prints."""

    download_s: float = 0.0
    first_golden_record_s: float | None = None
    verified: bool | None = None
    findings: list[str] = field(default_factory=list)
    not_looked_at: list[str] = field(default_factory=list)
    stages: dict[str, dict[str, int]] = field(default_factory=dict)
    rss_mib: dict[str, int] = field(default_factory=dict)
    rss_total_mib: int = 0
    edits: int = 0
    latency_s: dict[str, float | int | None] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return {
            "first_golden_record_s": self.first_golden_record_s,
            "download_s": round(self.download_s, 2),
            "stages": self.stages,
            "verified": self.verified,
            "findings": self.findings,
            "not_looked_at": self.not_looked_at,
            "edits": self.edits,
            "latency_s": self.latency_s,
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
        self._doing = "nothing"

    def run(self, stop: Stop) -> Outcome:
        """Everything, from nothing to stopped. Raises EnvironmentFault or SettingsError with the way out."""
        with answered(stop, self._screen.stopping, lambda: self._doing), ExitStack() as stack:
            try:
                self._run(stack, stop)
            except Stopped:
                pass
            finally:
                self._doing = "what was started to end"
        self._outcome.rss_mib, self._outcome.rss_total_mib = self._memory.by_name, self._memory.total
        return self._outcome

    def _run(self, stack: ExitStack, stop: Stop) -> None:
        self._next(stop, "the servers, which are being started")
        self._screen.tell(
            "starting Kafka, Postgres and the registry: ten to twenty seconds, and a download the first time"
        )
        servers = stack.enter_context(Servers.start(self._state_dir, progress=self._screen.tell))
        stack.callback(self._screen.tell, "ending Kafka, Postgres and the registry")
        run = stack.enter_context(PipelineRun(self._example, self._state_dir, servers, self._screen.tell))
        ready_at = time.monotonic()
        self._next(stop, "the source, which is being prepared")
        run.apply()
        self._outcome.download_s = servers.download_s + run.prepare_s
        self._next(stop, "the stages, which are being started")
        golden = run.golden_rows(run.canonical_ends())
        run.start()
        live = run.live(self._rate_per_s, None, int(time.time()))
        latency = run.edit_latency(live)
        until = None if self._seconds is None else ready_at + run.prepare_s + self._seconds
        self._next(stop, "a look at the stages")
        edits_ended = False
        while not stop.requested and (until is None or time.monotonic() < until):
            self._turn(run, golden, live, latency)
            if not edits_ended and live.done():
                edits_ended = True
                self._screen.tell(
                    f"the live edits have ended by themselves: {live.log.with_suffix('.output')} says why"
                )
            stop.wait(TURN_S)
        if until is not None and not stop.requested:
            self._check(run, golden, live, latency, stop)
        self._outcome.latency_s = latency.summary()
        self._outcome.stages = {name: _summary(stage) for name, stage in run.stages.items()}

    def _next(self, stop: Stop, doing: str) -> None:
        """Go on to what takes a while; `doing` is what a stop has to wait for meanwhile."""
        if stop.requested:
            raise Stopped
        self._doing = doing

    def _turn(self, run: PipelineRun, golden: GoldenRows, live: Live, latency: EditLatency) -> None:
        run.watch()
        latency.sample()
        require_running(list(run.stages.values()), RESTARTS_MAX)
        if self._outcome.first_golden_record_s is None and (record := golden.find()) is not None:
            after_s = time.monotonic() - self._began
            self._outcome.first_golden_record_s = round(after_s, 2)
            self._screen.golden(record, after_s)
            latency.count_from = time.time_ns() // 1_000
        self._memory.sample({**run.pids, "live-edits": live.pid, "demo": os.getpid()})
        self._screen.update(list(run.stages.values()))

    def _check(self, run: PipelineRun, golden: GoldenRows, live: Live, latency: EditLatency, stop: Stop) -> None:
        """Stop the edits, let everything arrive, then check that nothing is lost. `stop` cuts it short."""
        from sluice.verify import verify
        from sluice.verify.report import CHECKS

        self._doing = "the check that nothing is lost"
        live.stop()
        self._outcome.edits = _lines(live.log)
        self._screen.tell("edits stopped; waiting until everything has arrived")

        def turn() -> None:
            latency.sample()
            require_running(list(run.stages.values()), RESTARTS_MAX)
            self._screen.update(list(run.stages.values()))

        def tell(line: str) -> None:
            if stop.requested:
                raise Stopped
            self._screen.tell(line)

        run.await_quiet(each_turn=turn, stopped=lambda: stop.requested)
        self._turn(run, golden, live, latency)
        try:
            tell("checking every link from the sources' tables to the golden rows")
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
