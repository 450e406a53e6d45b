"""What runs in a benchmark, and how a peer is added.

A peer is a subclass of `Contestant`. To add one, write a module in `bench/peers/` and put the class into `PEERS` of
`bench/peers/__init__.py`.

* `build` creates the peer's environment once, in `bench.cache.cache_dir()` (in the user's cache, outside the
  repository). It returns the versions of what it installed. It may download with pip or Maven. It is not timed.
* `prepare` creates the topics that the peer reads and writes, or the table. `PythonPeer.prepare` does what most need.
* `start` starts the peer as child processes. `Job` says what to read and what to write: the input is already on the
  topic. Return the processes as `Running`. The processes' CPU (with their threads and children) is the client's CPU.
* A peer never sees the work of another one: each run has its own input topic, output topic, table and group.
* A peer commits the offsets of its input in `job.group` (a sink: after its commit to Postgres). The harness ends a run
  when everything is committed. A peer that commits nothing sets `commits = False`: its run ends when all output exists.
* `Running.pause` and `resume` are used where data must exist before the timed part (sink, merger). By default they end
  the processes and start them again. A JVM peer overrides them, so that the timed part finds it warm: pause the
  connector over its REST API, and resume it.
* Start-up is not timed: a run is timed from the first sample with 10 % of the results to the last result committed.

The formats of inputs and outputs are in the docstrings of `bench/cdc.py`, `bench/mapper.py`, `bench/sink.py` and
`bench/end_to_end.py`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from psycopg import sql

from bench.cache import python_environment
from bench.topics import Message, Topics
from sluice.embedded.fetching import Progress

STOP_WITHIN_S = 30.0


@dataclass(frozen=True)
class Job:
    """What one contestant reads and writes in one run.

    `folder`: a new, empty directory for files of the contestant. `dsn`: the database of the target table. `prefix`: all
    topics of the contestant start with it. `group`: the consumer group in which the contestant commits its offsets.
    `inputs`, `output`: topics; all of them have `partitions` partitions. `records`: how many input records will be on
    the topics. `processes`: how many processes share the work. `schema`, `table`: the schema of the target table, and
    the table as `schema.table`; empty if the contestant writes no table. `source_dsn`, `source_table`: the database and
    the table that a CDC peer follows. `for_latency`: the harness measures latency in this start, so that a peer which
    has settings for it uses them.
    """

    name: str
    folder: Path
    bootstrap_servers: str
    registry_url: str
    dsn: str
    prefix: str
    group: str
    inputs: tuple[str, ...]
    output: str
    partitions: int
    records: int
    processes: int = 1
    schema: str = ""
    table: str = ""
    source_dsn: str = ""
    source_table: str = ""
    for_latency: bool = False

    def to_json(self) -> dict[str, Any]:
        """The job for a peer that runs in another Python: all values are texts, numbers or lists."""
        return {**asdict(self), "folder": str(self.folder), "inputs": list(self.inputs)}


@dataclass
class Running:
    """The processes of a contestant that runs. `spawn`: starts them; it is called again by `resume`. `folder`: where
    their logs are (`*.log`)."""

    spawn: Callable[[], Sequence[subprocess.Popen[bytes]]]
    folder: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def resume(self) -> None:
        """Start or continue the work."""
        self.processes = list(self.spawn())

    def pause(self) -> None:
        """Stop the work. When this returns, nothing is read or written any more."""
        self.stop()

    def stop(self) -> None:
        """End the processes: with SIGTERM, and with SIGKILL if that takes too long."""
        for process in self.processes:
            process.send_signal(signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(STOP_WITHIN_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.processes = []

    def pids(self) -> list[int]:
        return [process.pid for process in self.processes]

    def died(self) -> str:
        """The exit code and the last log lines if a process has ended by itself; empty if all run."""
        ended = [code for one in self.processes if (code := one.poll()) is not None]
        return f"a process ended with exit code {ended[0]}; {self.last_lines()}" if ended else ""

    def last_lines(self) -> str:
        """The last lines of each log."""
        tails = (log.read_text("utf-8", "replace").splitlines()[-12:] for log in sorted(self.folder.glob("*.log")))
        return "its log ends with:\n" + "\n".join("\n".join(tail) for tail in tails)


class Contestant(ABC):
    """One system that does the work of a benchmark.

    `name`: the key of its figures in the result. `share`: how many times `--n` records it gets in a run. A slow
    contestant gets fewer. A fast one gets more, because it fetches 100,000 records before its first result. `commits`:
    whether it commits the offsets of its input. `key_column`: the column of its table that has the entity's id.
    `first_run_is_slow`: one process serves all runs, so `cdc` lets it make a run that does not count.
    """

    name: str
    share: float = 1.0
    commits: bool = True
    key_column: str = "entity_id"
    first_run_is_slow: bool = False

    @abstractmethod
    def build(self, progress: Progress) -> Mapping[str, str]:
        """Create the environment if it does not exist. Returns names and versions of the installed packages."""

    @abstractmethod
    def prepare(self, job: Job, topics: Topics) -> None:
        """Create the topics (a sink: the table) of a job, before the input is written. It is not timed."""

    @abstractmethod
    def start(self, job: Job) -> Running:
        """Start the processes. Raises an exception if that fails."""

    def encoded(self, job: Job, messages: Iterable[Message]) -> Iterable[Message]:
        """`messages`, which are canonical records, in the format that the contestant reads. Only sinks are asked."""
        return messages


def identifier(table: str) -> sql.Identifier:
    """The SQL identifier of a table. `table`: `schema.table`."""
    return sql.Identifier(*table.split("."))


def spawn(argv: Sequence[str], job: Job, name: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
    """Start a child process in the job's folder. Its output goes to `<folder>/<name>.log`. It ends with the harness."""
    job.folder.mkdir(parents=True, exist_ok=True)
    with (job.folder / f"{name}.log").open("ab") as log:
        return subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", "--", *argv] if _HAS_SETPRIV else list(argv),
            cwd=job.folder,
            env={**_plain_environment(), **(env or {})},
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
        )


def _plain_environment() -> dict[str, str]:
    """The environment of the harness without what belongs to its own Python and Sluice."""
    dropped = ("PYTHONPATH", "VIRTUAL_ENV", "PYTHONHOME")
    return {k: v for k, v in os.environ.items() if k not in dropped and not k.startswith("SLUICE_")}


_HAS_SETPRIV: bool = any((Path(folder) / "setpriv").exists() for folder in os.get_exec_path())


class PythonPeer(Contestant):
    """A peer that is one Python script in `bench/peers/scripts/`, with pinned packages in an environment of its own.

    The arguments of the script: the path of a JSON file with the `Job`, and the number of the process. It works until
    SIGTERM.
    """

    script: str
    requirements: tuple[str, ...]

    def build(self, progress: Progress) -> Mapping[str, str]:
        self.use_python(python_environment(self.name, self.requirements, progress))
        return dict(one.split("==") for one in self.requirements)

    def use_python(self, python: Path) -> None:
        """Run the script with this Python, which has the packages."""
        self._python = python

    def prepare(self, job: Job, topics: Topics) -> None:
        topics.create([*job.inputs, job.output] if job.output else job.inputs, job.partitions)

    def start(self, job: Job) -> Running:
        script = Path(__file__).parent / "peers" / "scripts" / self.script
        job.folder.mkdir(parents=True, exist_ok=True)
        (job.folder / "job.json").write_text(json.dumps(job.to_json()))

        def all_processes() -> list[subprocess.Popen[bytes]]:
            argv = [str(self._python), str(script), str(job.folder / "job.json")]
            return [spawn([*argv, str(number)], job, f"{self.name}-{number}") for number in range(job.processes)]

        running = Running(all_processes, job.folder)
        running.resume()
        return running
