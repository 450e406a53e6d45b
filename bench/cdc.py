"""`make bench WHAT=cdc`: a table in Postgres in, change events on a topic out.

Input: the table `job.source_table` in the database `job.source_dsn` (`bench/source_table.py`, ten columns), with
`--keys` rows. Output: the topic `job.output`, with Debezium's change events as JSON without schemas. Each run starts
with a new database and new topics. The phases of a run, of which `--phases` chooses some:

1. `snapshot`: the contestant publishes the rows that exist.
2. `catch_up`: the contestant is stopped, the harness commits `--n` changes (`bench/cdc_changes.py`), and the contestant
   is started again. The first record is timed from the start of the process; the process of a Java peer runs already.
3. `latency`: the harness commits 500 changes a second, each in a transaction of its own. A latency is the time from the
   commit (`track_commit_timestamp`) until a read_committed consumer has the record.

A phase is timed until its last record can be read at read_committed. Before a figure counts, all records of the phase
are read and checked (`bench/cdc_check.py`).
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

import psycopg
from psycopg import sql

from bench import source_table, usage
from bench.cdc_changes import TRANSACTION_CHANGES, write_changes, write_rows
from bench.cdc_check import Checker, records_of_changes
from bench.cdc_latency import Arrivals
from bench.contestant import Contestant, Running, identifier
from bench.contestants import chosen_contestants
from bench.generated import new_job
from bench.ledger import entry_id
from bench.options import Options
from bench.sampling import (
    BenchError,
    Figures,
    Memory,
    RunProgress,
    Sample,
    await_done,
    figures,
    percentile,
    sample,
    timed_run,
)
from bench.servers import BenchServers
from bench.source_table import steady_changes
from bench.topics import Message

STAGES, SOURCES = ("ingress-cdc",), "books"
DEADLINE_S = 900.0
SETTLED_S = 2.0
"""No record is added for this time when a phase is over."""
TIMED_IN_PART_MIN = 100_000
"""Fewer changes fit into a few Kafka transactions, so they are timed from the start of the process."""
WARM_UP_CHANGES = 50_000
CHANGES_PER_S, WARM_UP_S, COUNTED_S = 500, 5, 30


def contestants(options: Options) -> list[Contestant]:
    """Ours, ours again as control, the commit of `--against`, and the peers."""
    return chosen_contestants(options, STAGES, SOURCES)


class CdcBench:
    """Runs of contestants that follow a table of their own."""

    def __init__(self, options: Options, servers: BenchServers) -> None:
        if options.keys < TRANSACTION_CHANGES:
            raise BenchError(
                f"a transaction updates a row at most once. Next: --keys of at least {TRANSACTION_CHANGES}"
            )
        if "latency" in options.phases and options.keys < latency_updates():
            raise BenchError(f"each row is updated once. Next: --keys of at least {latency_updates()}")
        self._options, self._servers = options, servers
        self._warm: set[str] = set()

    def close(self) -> None:
        """Nothing runs between two runs."""

    def run(self, contestant: Contestant, name: str) -> Figures:
        if contestant.first_run_is_slow and contestant.name not in self._warm:
            self._warm.add(contestant.name)
            few = min(WARM_UP_CHANGES, self._options.n)
            rows = max(TRANSACTION_CHANGES, min(few, self._options.keys))
            _Run(replace(self._options, n=few, keys=rows, phases=()), self._servers, contestant, f"{name}_warm").run()
        return _Run(self._options, self._servers, contestant, name).run()


class _Run:
    """One run of one contestant: its phases share a table and a topic."""

    def __init__(self, options: Options, servers: BenchServers, contestant: Contestant, name: str) -> None:
        self._options, self._servers, self._contestant = options, servers, contestant
        self._n = max(10, int(options.n * contestant.share))
        job = new_job(options, servers, name, f"{name}.raw.{SOURCES}.{source_table.TABLE}")
        source = servers.database(f"source_{name}")
        self._job = replace(job, source_dsn=source, source_table=source_table.TABLE)
        self._checker = Checker(name, options.keys, options.size)
        self._read = dict.fromkeys(range(options.partitions), 0)

    def run(self) -> Figures:
        options, job = self._options, self._job
        write_rows(job.source_dsn, options.keys, options.size)
        self._contestant.prepare(job, self._servers.topics)
        snapshot = self._timed(options.keys, options.keys)
        self._checker.snapshot(self._new_messages())
        catch_up = latency = None
        if options.phases != ("snapshot",):
            write_changes(job.source_dsn, self._n, options.keys, options.size)
            catch_up = self._timed(self._n, records_of_changes(self._n))
            self._checker.changes(self._new_messages(), self._n)
            self._checker.require_table(*table_totals(job.source_dsn))
        if "latency" in options.phases:
            latency = self._latency()
        self._servers.drop_databases([job.source_dsn])
        self._servers.topics.delete(job.prefix)
        shutil.rmtree(job.folder, ignore_errors=True)
        chosen = options.phases
        return (
            combined(snapshot if "snapshot" in chosen else None, catch_up if "catch_up" in chosen else None, latency)
            or snapshot
        )

    def _timed(self, results: int, records: int) -> Figures:
        """Start the contestant and time it until it has published `records` records, which are `results` results."""
        before = sum(self._read.values())

        def progress() -> RunProgress:
            published = self._published() - before
            return RunProgress(min(results, published * results // records), published >= records)

        started_at = time.monotonic()
        running = self._contestant.start(self._job)
        try:
            start_at = None if results >= TIMED_IN_PART_MIN else 0.0
            pids = self._servers.pids()
            found = timed_run(running, pids, progress, results, DEADLINE_S, start_at=start_at, started_at=started_at)
            self._settle(running)
        finally:
            running.stop()
        return found

    def _published(self) -> int:
        """The committed offsets of the topic: its visible records, and the few control records of transactions."""
        return sum(self._servers.topics.ends([self._job.output], self._job.partitions, committed=True).values())

    def _settle(self, running: Running) -> None:
        """Block until no record was added for `SETTLED_S`: control records count as progress, so that a few records
        may be on their way when everything seems published."""
        published, since = self._published(), time.monotonic()

        def is_settled() -> bool:
            nonlocal published, since
            now = self._published()
            if now != published:
                published, since = now, time.monotonic()
            return time.monotonic() - since >= SETTLED_S

        await_done(f"{self._job.name}: the end of a phase", is_settled, running, DEADLINE_S)

    def _new_messages(self) -> Iterator[Message]:
        """The records that no call before returned."""
        ends = self._servers.topics.ends([self._job.output], self._job.partitions)
        until = {partition: end for (_, partition), end in ends.items()}
        begin, self._read = self._read, until
        return self._servers.topics.read(self._job.output, self._job.partitions, begin, until)

    def _latency(self) -> Figures:
        job = self._job
        first_new = self._options.keys + self._n
        count = CHANGES_PER_S * (WARM_UP_S + COUNTED_S)
        changes = [(first_new + number // 2, True) if number % 2 else (number // 2, False) for number in range(count)]
        running = self._contestant.start(replace(job, for_latency=True))
        try:
            self._await_streaming(running)
            with Arrivals(job.bootstrap_servers, job.output, self._read) as arrivals:
                started = sample(0, running, self._servers.pids())
                reached = steady_changes(job.source_dsn, changes, CHANGES_PER_S, self._options.size)
                ended = sample(count, running, self._servers.pids())
                await_done(f"{job.name}: latency", lambda: arrivals.count >= count, running, DEADLINE_S)
                memory = usage.rss_bytes(usage.tree(running.pids()))
                self._settle(running)
                times = arrivals.times_by_id()
        finally:
            running.stop()
        ids = [entry_id(number) for number, _ in changes]
        if sorted(times) != sorted(ids) or any(len(seen) != 1 for seen in times.values()):
            raise BenchError(f"{job.name}: {arrivals.count} records of {len(times)} entries for {count} changes")
        counted = ids[CHANGES_PER_S * WARM_UP_S :]
        committed = source_table.commit_times(job.source_dsn, identifier(source_table.TABLE), "id", counted)
        latencies = [(times[one][0] - committed[one]) * 1_000 for one in counted]
        return latency_figures(latencies, reached, [started, ended], memory)

    def _await_streaming(self, running: Running) -> None:
        """Block until the contestant has published a change that was committed after its start."""
        published = self._published()
        with psycopg.connect(self._job.source_dsn) as connection:
            source_table.copy_rows(connection, [self._options.keys + 2 * self._n + 10**6], self._options.size)
        await_done(f"{self._job.name}: streaming", lambda: self._published() > published, running, DEADLINE_S)
        self._settle(running)
        list(self._new_messages())


def table_totals(dsn: str) -> tuple[int, int]:
    """The number of rows of the source table, and the sum of their quantities."""
    query = sql.SQL("SELECT count(*), sum(quantity) FROM {}").format(identifier(source_table.TABLE))
    with psycopg.connect(dsn) as connection:
        [(rows, quantity)] = connection.execute(query).fetchall()
    return int(rows), int(quantity)


def latency_updates() -> int:
    """How many rows are updated while latencies are measured."""
    return CHANGES_PER_S * (WARM_UP_S + COUNTED_S) // 2


def latency_figures(latencies: Sequence[float], reached: float, samples: Sequence[Sample], memory: int) -> Figures:
    """The figures of the phase `latency`. `latencies`: ms. `reached`: changes per second. `memory`: bytes."""
    found = figures(samples, samples[-1].done, Memory(memory, memory), os.cpu_count() or 1, start_at=0.0)
    return replace(
        found,
        rate=reached,
        latency_p50_ms=percentile(latencies, 0.5),
        latency_p99_ms=percentile(latencies, 0.99),
        changes_per_s=reached,
        latency_cores=(samples[-1].client - samples[0].client) / (samples[-1].at_s - samples[0].at_s),
    )


def combined(snapshot: Figures | None, catch_up: Figures | None, latency: Figures | None) -> Figures | None:
    """The figures of a run from those of its phases: of the catch-up, if it was measured; the memory and the use of
    the machine by others are the largest of all phases. None without a phase."""
    phases = [one for one in (catch_up, snapshot, latency) if one is not None]
    if not phases:
        return None
    found = replace(
        phases[0],
        rss_mib=max(one.rss_mib for one in phases),
        process_mib=max(one.process_mib for one in phases),
        other=max(one.other for one in phases),
    )
    if snapshot is not None:
        found = replace(
            found,
            snapshot_rate=snapshot.rate,
            snapshot_client=snapshot.client,
            snapshot_broker=snapshot.broker,
            snapshot_postgres=snapshot.postgres,
        )
    if latency is not None:
        measured = ("latency_p50_ms", "latency_p99_ms", "changes_per_s", "latency_cores")
        found = replace(found, **{name: getattr(latency, name) for name in measured})
    return found
