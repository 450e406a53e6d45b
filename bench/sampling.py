"""One timed run: samples of progress and processor time, and the figures that follow from them."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from bench import usage
from bench.contestant import Running

EVERY_S = 0.05
RSS_EVERY_S = 0.25
START_AT = 0.1
"""A run is timed from the first sample in which this part of the results exists."""
MEASURED_MIN = 0.4
"""A run is refused if less than this part of its results is between the first timed sample and the end."""


class BenchError(Exception):
    """A run gives no figure. The text says why and what to do."""


class RunProgress(NamedTuple):
    """How far a run is. `done`: results that exist. `finished`: whether everything is durable and committed."""

    done: int
    finished: bool


class Sample(NamedTuple):
    """Processor seconds since the start of the processes, at one moment (`at_s`). `machine`: of all processes of the
    machine. `harness`: of the harness and the registry, which belong to no contestant."""

    at_s: float
    done: int
    client: float
    broker: float
    postgres: float
    harness: float
    machine: float


@dataclass(frozen=True)
class Figures:
    """The result of one run.

    `rate`: results per second. `client`, `broker`, `postgres`: processor seconds per million results. `rss_mib`: the
    highest resident memory of the client's processes together. `process_mib`: that of the largest process, with its
    children. `other`: the part (0 to 1) of the machine's processors that other processes used meanwhile. `first_s`: the
    seconds from the start of the process to its first result. `measured`: the number of results that were timed.
    `latency_p50_ms`, `latency_p99_ms`: latencies at the rate `changes_per_s`; 0 if the run measures no latency.
    `latency_cores`: how many processors the client used at that rate. `snapshot_*`: as `rate`, `client`, `broker` and
    `postgres`, for the rows of a snapshot; 0 if the run measures no snapshot.
    """

    rate: float
    client: float
    broker: float
    postgres: float
    rss_mib: float
    process_mib: float
    other: float
    first_s: float
    measured: int
    latency_p50_ms: float = 0.0
    latency_p99_ms: float = 0.0
    changes_per_s: float = 0.0
    latency_cores: float = 0.0
    snapshot_rate: float = 0.0
    snapshot_client: float = 0.0
    snapshot_broker: float = 0.0
    snapshot_postgres: float = 0.0


class Memory(NamedTuple):
    """The highest resident memory so far, in bytes: of all processes together, and of one with its children."""

    together: int = 0
    largest: int = 0

    def with_sample(self, of_each: Sequence[int]) -> Memory:
        """The highest memory after one more sample. `of_each`: the memory of each process."""
        return Memory(max(self.together, sum(of_each)), max([self.largest, *of_each]))


def figures(
    samples: Sequence[Sample],
    total: int,
    memory: Memory,
    cores: int,
    start_at: float | None = None,
    started_at: float | None = None,
) -> Figures:
    """The figures of a run from its samples; the last sample is the first one in which everything was committed.

    Start-up and the first results, `start_at` (0 to 1; None for `START_AT`) of all, are not timed: the results of the
    first timed sample are subtracted, too. `started_at`: when the process was started; None if the first sample shows
    it. Raises BenchError if too few results remain.
    """
    timed_from = total * (START_AT if start_at is None else start_at)
    start = next((one for one in samples if one.done >= timed_from), samples[-1])
    end = samples[-1]
    measured, seconds = total - start.done, end.at_s - start.at_s
    if measured < total * MEASURED_MIN or seconds <= 0:
        raise BenchError(
            f"{start.done} of {total} results came at once, so the rest is too short to be timed. Next: a larger --n"
        )
    millions = measured / 1e6
    known = sum(getattr(end, one) - getattr(start, one) for one in ("client", "broker", "postgres", "harness"))
    other = end.machine - start.machine - known
    return Figures(
        rate=measured / seconds,
        client=(end.client - start.client) / millions,
        broker=(end.broker - start.broker) / millions,
        postgres=(end.postgres - start.postgres) / millions,
        rss_mib=memory.together / 2**20,
        process_mib=memory.largest / 2**20,
        other=max(0.0, other / (seconds * cores)),
        first_s=next(one for one in samples if one.done).at_s - (samples[0].at_s if started_at is None else started_at),
        measured=measured,
    )


@dataclass(frozen=True)
class ServerPids:
    """The pids of the servers whose processor time is measured."""

    broker: tuple[int, ...]
    postgres: tuple[int, ...]
    registry: tuple[int, ...]


def timed_run(
    running: Running,
    servers: ServerPids,
    progress: Callable[[], RunProgress],
    total: int,
    deadline_s: float,
    start_at: float | None = None,
    started_at: float | None = None,
) -> Figures:
    """Watch a contestant that was just started until everything is committed. `start_at`, `started_at`: as of
    `figures`. Raises BenchError if it dies or takes longer than `deadline_s`."""
    samples: list[Sample] = []
    memory = Memory()
    watched_from = rss_read_at = time.monotonic()
    while True:
        state = progress()
        samples.append(sample(state.done, running, servers))
        now = samples[-1].at_s
        if now - rss_read_at >= RSS_EVERY_S or state.finished:
            memory, rss_read_at = (
                memory.with_sample([usage.rss_bytes(usage.tree([pid])) for pid in running.pids()]),
                now,
            )
        if state.finished:
            return figures(samples, total, memory, os.cpu_count() or 1, start_at, started_at)
        if died := running.died():
            raise BenchError(f"{state.done} of {total} results existed when {died}")
        if now - watched_from > deadline_s:
            raise BenchError(f"only {state.done} of {total} results after {deadline_s:.0f} s; {running.last_lines()}")
        time.sleep(EVERY_S)


def await_done(what: str, is_done: Callable[[], bool], running: Running, deadline_s: float) -> None:
    """Block until `is_done` is true; it is called twice a second. Raises BenchError, which names `what`, if the
    contestant dies or at the deadline."""
    deadline = time.monotonic() + deadline_s
    while not is_done():
        if died := running.died():
            raise BenchError(f"{what}: {died}")
        if time.monotonic() > deadline:
            raise BenchError(f"{what}: not done after {deadline_s:.0f} s; {running.last_lines()}")
        time.sleep(0.5)


def percentile(values: Sequence[float], part: float) -> float:
    """The smallest value that at least `part` (0 to 1) of the values do not exceed. `values` is not empty."""
    return sorted(values)[max(0, math.ceil(part * len(values)) - 1)]


def sample(done: int, running: Running, servers: ServerPids) -> Sample:
    """The processor time of a contestant, the servers and the machine now. `done`: results that exist."""
    return Sample(
        time.monotonic(),
        done,
        usage.cpu_s(usage.tree(running.pids())),
        usage.cpu_s(servers.broker),
        usage.cpu_s(usage.tree(servers.postgres)),
        time.process_time() + usage.cpu_s(servers.registry),
        usage.machine_busy_s(),
    )
