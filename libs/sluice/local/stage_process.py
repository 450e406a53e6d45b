"""Runs a stage as a process: starts it, watches it, restarts it when it dies, and stops it."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import orjson
import psutil
from prometheus_client.parser import text_string_to_metric_families

from sluice.embedded import processes
from sluice.errors import EnvironmentFault
from sluice.http import HttpClient, Limits, NoAnswer
from sluice.telemetry.health import LOOP, STARTING

RESTART_AFTER_S = 1.0
STOP_DEADLINE_S = 15.0
SCRAPE_TIMEOUT_S = 1.0


@dataclass(slots=True)
class StageCounts:
    """Numbers from the metrics of a stage, summed over the restarts of its process in this run."""

    records: int = 0
    unchanged: int = 0
    dead_letters: int = 0
    lag_records: int = 0
    ready: bool = False

    @property
    def done(self) -> int:
        """The number of records that the stage processed. Records with the outcome `unchanged` do not count, because a
        poller reads them for ever."""
        return self.records - self.unchanged


class StageProcess:
    """The process of one stage. If it dies, `watch` restarts it, as an orchestrator would."""

    def __init__(self, name: str, state_dir: Path, env: Mapping[str, str]) -> None:
        self.name = name
        self.log = state_dir / "log" / f"{name}.log"
        self.restarts = 0
        # PYTHONFAULTHANDLER makes a stage that hangs write its stack to its log when SIGABRT ends it.
        self._env = {"PYTHONFAULTHANDLER": "1", **env}
        self._run_file = state_dir / "stages" / "run" / f"{name}.json"
        self._process: psutil.Process | None = None
        self._died_at = 0.0  # monotonic seconds; 0 while the process runs
        self._before = StageCounts()  # the counts of the earlier processes of this stage in this run
        self.counts = StageCounts()
        self._faults: list[str] = []
        self._log_start = 0
        self._http = HttpClient(Limits(connect_timeout_s=SCRAPE_TIMEOUT_S, read_timeout_s=SCRAPE_TIMEOUT_S))

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    @property
    def is_alive(self) -> bool:
        """Whether the process of the stage runs."""
        processes.reap()
        return self._process is not None and processes.is_alive(self._process)

    @property
    def summary(self) -> dict[str, int]:
        """The numbers of the stage in the result of a run."""
        return {
            "records": self.counts.done,
            "dead_letters": self.counts.dead_letters,
            "lag_records": self.counts.lag_records,
            "restarts": self.restarts,
        }

    def start(self) -> None:
        """Start the process of the stage. Lines that are already in its log file belong to earlier runs and are not
        reported."""
        self._log_start = self.log.stat().st_size if self.log.exists() else 0
        self._spawn()

    def _spawn(self) -> None:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self._run_file.unlink(missing_ok=True)
        argv = [sys.executable, "-m", "sluice.cli.main", "run", self.name]
        command = processes.Command(self.name, argv, Path.cwd(), self.log, env=self._env, death_signal=signal.SIGTERM)
        self._process = processes.spawn(command, detach=False)

    def watch(self) -> None:
        """Read the metrics of the stage, and restart the process if it is dead. Call it about twice a second."""
        if not self.is_alive:
            self.counts, self._faults = replace(self.counts, ready=False), []
            self._revive()
            return
        self.counts = self._scraped() or self.counts

    def stop(self) -> None:
        if self._process is not None:
            processes.end(self._process, [signal.SIGTERM, signal.SIGABRT, signal.SIGKILL], STOP_DEADLINE_S)

    def _revive(self) -> None:
        now = time.monotonic()
        if not self._died_at:
            self._died_at = now
        if now - self._died_at >= RESTART_AFTER_S:
            self._died_at = 0.0
            self.restarts += 1
            self._before = self.counts
            self._spawn()

    def _scraped(self) -> StageCounts | None:
        """The stage's current numbers, from its metrics; None if the stage does not answer."""
        try:
            at = orjson.loads(self._run_file.read_bytes())
            base = f"http://{at['host']}:{at['port']}"
            text = self._http.exchange("GET", f"{base}/metrics", {}).body.decode()
            readiness = self._http.exchange("GET", f"{base}/readyz", {})
            faults = orjson.loads(readiness.body)["faults"]
            # The place where the stage's loop hangs is the most useful line.
            loop_first = sorted(faults, key=lambda about: about != LOOP)
            self._faults = [str(faults[about]) for about in loop_first if faults[about] != STARTING]
        except (OSError, ValueError, NoAnswer):
            return None
        return counts_in(text, self._before, ready=readiness.status == 200)

    def trouble(self) -> str:
        """The active fault of the stage, else the last error in its log. Empty if the stage is ready or has logged no
        error."""
        if self.counts.ready:
            return ""
        if self._faults:
            more = len(self._faults) - 1
            return self._faults[0] + (f" (and {more} more, see `sluice lag`)" if more else "")
        for line in reversed(processes.tail(self.log, self._log_start)):
            try:
                entry = orjson.loads(line)
            except orjson.JSONDecodeError:
                if line.strip().startswith("sluice: "):
                    return line.strip()
                continue
            if entry.get("level") in ("error", "critical"):
                return ": ".join(str(entry[k]) for k in ("event", "why", "next") if k in entry)
        return ""

    def failure(self) -> str:
        """The last log line that the stage has written in this run, for an error message."""
        lines = [line for line in processes.tail(self.log, self._log_start) if line.strip()]
        return lines[-1] if lines else "nothing is logged"


def counts_in(text: str, before: StageCounts, *, ready: bool) -> StageCounts:
    """The counts in `text`, the metrics of a stage, added to those of its earlier processes, `before`."""
    counts = replace(before, lag_records=0, ready=ready)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:  # only counts become integers: a gauge may be infinite
            if sample.name == "sluice_records_total":
                counts.records += int(sample.value)
                counts.unchanged += int(sample.value) if sample.labels["outcome"] == "unchanged" else 0
            elif sample.name == "sluice_dead_letters_total":
                counts.dead_letters += int(sample.value)
            elif sample.name == "sluice_lag_records":
                counts.lag_records += int(sample.value)
    return counts


def require_running(stages: list[StageProcess], restarts_max: int) -> None:
    """Raises EnvironmentFault if a stage's process was restarted more than `restarts_max` times."""
    for stage in stages:
        if stage.restarts > restarts_max:
            raise EnvironmentFault(
                f"stage {stage.name}",
                f"died {stage.restarts} times; its last line: {stage.failure()}",
                f"read {stage.log}",
            )
