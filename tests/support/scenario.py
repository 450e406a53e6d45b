"""A running example that a test damages: the test kills or breaks a part, and compares the result with the truth.

The truth comes from the example's `truth.py`: SQL and HTTP against the sources, without any code of Sluice.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import httpx2
import orjson

from sluice.embedded import Servers
from sluice.http import tls_context
from sluice.local.example_run import ExampleRun
from sluice.local.stage_process import StageProcess
from sluice.settings.stage import default_schemas_dir
from sluice.testing.example import Live
from sluice.verify import verify
from sluice.verify.report import Report
from support.example_copy import example_copy
from support.golden_tables import differences, golden_tables
from support.pace import within
from support.waiting import eventually

EXAMPLE = default_schemas_dir().parent / "examples" / "workforce"
COMMAND_TIMEOUT_S = 120.0
WHOLE_AGAIN_WITHIN_S = 60.0
# Of a hundred workers a fifth is soon deleted by the edits of an outage, which is no fault here.
MAY_SHRINK = {"SLUICE_POLLER__SHRINK_FRACTION_MAX": "1"}
STARTED: list[Scenario] = []
"""The pipelines that run at this moment."""
_HTTP = httpx2.Client(timeout=2, verify=tls_context())


def running() -> list[Scenario]:
    """The pipelines that run at this moment."""
    return list(STARTED)


class Scenario:
    """A running pipeline. Call `differences` and `verified` only while no edits run."""

    def __init__(self, run: ExampleRun, servers: Servers) -> None:
        self.run = run
        self.servers = servers

    # ── stages ────────────────────────────────────────────────────────────────────────────────────────────────

    def kill(self, stage: str) -> None:
        """SIGKILL; returns when the process is gone. `watch` of the run starts it again after a second."""
        pid = self.run.stages[stage].pid
        assert pid is not None, f"{stage} was never started"
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: not self.is_alive(stage), f"{stage} to be gone")

    def is_alive(self, stage: str) -> bool:
        return self.run.stages[stage].is_alive

    def start_with(self, stage: str, env: Mapping[str, str]) -> None:
        """Stop a stage and start it with other settings, which stay until this is called again."""
        self.run.stop(stage)
        self.run.stages[stage] = StageProcess(stage, self.run.state_dir, {**self.run.env, **env})
        self.run.start(stage)

    def faults(self, stage: str) -> dict[str, str]:
        """Why the stage is not ready, from `/readyz`. A stage that does not answer has one fault, "silent"."""
        try:
            at = orjson.loads((self.run.state_dir / "stages" / "run" / f"{stage}.json").read_bytes())
            answer = _HTTP.get(f"http://{at['host']}:{at['port']}/readyz")
        except (OSError, ValueError, httpx2.HTTPError):
            return {"silent": "no answer"}
        found: dict[str, str] = answer.json()["faults"]
        return found

    def await_ready(self, *stages: str, deadline_s: float = 180.0, patient: bool = True) -> None:
        """Wait until the stages (default: all) are ready. A stage that dies meanwhile is started again. `patient`: the
        wait continues as long as records are processed."""
        wanted = stages or tuple(self.run.stages)

        def ready() -> bool:
            self.run.watch()
            return not any(self.faults(stage) for stage in wanted)

        progress = self.progress if patient else lambda: None
        eventually(ready, f"{', '.join(wanted)} to be ready", deadline_s, self.states, progress)

    def progress(self) -> object:
        """A value that changes while the stages process records. A stage that only dies does not change it."""
        return [stage.counts.done for stage in self.run.stages.values()]

    def await_fault(self, stage: str, *words: str, deadline_s: float = 90.0) -> str:
        """Wait for a fault of the stage whose text contains all `words`. Returns the text."""

        def reported() -> str:
            said = self.faults(stage).values()
            return next((why for why in said if all(word in why for word in words)), "")

        return eventually(reported, f"{stage} to report {', '.join(words)}", deadline_s, self.states)

    def log(self, stage: str) -> str:
        return self.run.stages[stage].log.read_text("utf-8", "replace")

    def await_log(self, stage: str, logged: int, *words: str, deadline_s: float = 60.0) -> None:
        """Wait until the stage's log has all `words` after its first `logged` characters."""

        def written() -> bool:
            new = self.log(stage)[logged:]
            return all(word in new for word in words)

        eventually(written, f"{stage} to log {', '.join(words)}", deadline_s, self.states)

    def await_edits(self, live: Live, count: int) -> None:
        """Wait until the source has committed `count` edits of `live`."""
        eventually(lambda: live.log.exists() and len(live.log.read_bytes().splitlines()) >= count, f"{count} edits")

    def states(self) -> str:
        """One line for each stage, for the message of a test that fails."""
        lines = []
        for name, stage in self.run.stages.items():
            tail = stage.failure()[-400:]
            lines.append(f"{name}: restarts {stage.restarts}, {stage.counts}, faults {self.faults(name)}; {tail}")
        return "\n".join(lines)

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `sluice …` on this pipeline."""
        argv = [sys.executable, "-m", "sluice.cli.main", *arguments]
        env = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", **self.run.env}
        return subprocess.run(argv, env=env, capture_output=True, text=True, timeout=within(COMMAND_TIMEOUT_S))

    # ── whether anything is lost ──────────────────────────────────────────────────────────────────────────────

    def differences(self) -> list[str]:
        """The differences between the golden tables and the sources, which are read with SQL and HTTP."""
        expected = self.run.driver.truth(self.run.running)
        return differences(expected, golden_tables(self.run.sink_dsn, expected))

    def await_truth(self, deadline_s: float = 180.0, *, patient: bool = True) -> None:
        """Wait until the golden tables equal the sources. `patient`: the wait continues as long as records are
        processed."""
        found: list[str] = []

        def equal() -> bool:
            self.run.watch()
            found[:] = self.differences()
            return not found

        def state() -> str:
            return "\n".join([*found, self.states()])

        progress = self.progress if patient else lambda: None
        eventually(equal, "the tables to be as the sources", deadline_s, state, progress)

    def verified(self, wait_s: float = 120.0) -> Report:
        return verify(self.run.pipeline, self.run.settings, wait_s=within(wait_s))

    def assert_whole(self, deadline_s: float = 180.0) -> None:
        """Nothing is lost and nothing is doubled: the golden tables equal the sources, and `verify` finds nothing."""
        self.await_truth(deadline_s)
        report = self.verified()
        assert report.verified, "\n".join(report.lines())

    def broken(self) -> str:
        """The reason why no other test can use this pipeline; empty if the pipeline works, or works again within a
        minute. Edits are ended first, because the tables never equal sources that change all the time."""
        try:
            for live in self.run.edits:
                live.stop()
            dead = self.servers.dead()
            assert not dead, f"not running: {', '.join(dead)}"
            self.await_ready(deadline_s=WHOLE_AGAIN_WITHIN_S, patient=False)
            self.await_truth(WHOLE_AGAIN_WITHIN_S, patient=False)
            report = self.verified()
            assert report.verified, "\n".join(report.lines())
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        return ""

    @contextmanager
    def listed(self) -> Iterator[Self]:
        """Keep the pipeline in the list of `running` while the block runs."""
        STARTED.append(self)
        try:
            yield self
        finally:
            STARTED.remove(self)


@contextmanager
def scenario(workers: int, ledger_entries: int, partitions: int) -> Iterator[Scenario]:
    """Run the pipeline on new servers, with sources of that size and every stage. Everything is ended and removed."""

    def change(pipeline: dict[str, Any]) -> None:
        pipeline["partitions"] = partitions
        pipeline["sources"]["hr"]["streams"]["workers"]["freshness"] = "1s"

    os.environ["WORKFORCE_WORKERS"], os.environ["WORKFORCE_LEDGER_ENTRIES"] = str(workers), str(ledger_entries)
    directory = Path(tempfile.mkdtemp(prefix="sluice-scenario-"))
    directory.chmod(0o755)  # as root, Postgres runs as somebody else
    try:
        with (
            Servers.start(directory, durable=False) as servers,
            ExampleRun(example_copy(EXAMPLE, directory / "example", change), directory, servers) as run,
        ):
            run.apply()
            run.env["PYTHONFAULTHANDLER"] = "1"  # a hung stage writes its stack on SIGABRT
            run.env.update(MAY_SHRINK)
            run.start()
            with Scenario(run, servers).listed() as pipeline:
                yield pipeline
    finally:
        if kept := os.environ.get("SLUICE_SCENARIO_LOGS"):
            shutil.copytree(directory / "log", kept, dirs_exist_ok=True)
        shutil.rmtree(directory, ignore_errors=True)
