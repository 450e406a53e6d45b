"""`make bench WHAT=end_to_end`: rows of a source table in Postgres in, rows of a target table in Postgres out.

Input: the table `job.source_table` in the database `job.source_dsn` (`bench/source_table.py`), with `--keys` rows.
Output: the table `job.table` in the database `job.dsn`, as in `bench/sink.py`; its schema exists.
Both databases are in the same Postgres. Each run starts with new databases and topics.

1. The contestant copies the rows that exist. This is not timed.
2. Throughput: the harness inserts `--n` rows, as fast as the contestant follows: at most 20,000 rows are under way, so
   that all parts of the pipeline work at the same time.
3. Latency: the harness commits 500 changes a second, each in a transaction of its own: an insert, an update, and so on.
   It counts those after the first five seconds, for 30 seconds. A latency is the commit time of the target row less
   that of the source row; Postgres keeps both (`track_commit_timestamp`).
"""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from decimal import Decimal

import psycopg
from psycopg import sql

from bench import ledger, source_table
from bench.contestant import Contestant, Job, Running, identifier
from bench.contestants import chosen_contestants
from bench.generated import ENTITY, new_job
from bench.options import Options
from bench.sampling import BenchError, Figures, RunProgress, await_done, percentile, timed_run
from bench.servers import BenchServers
from bench.sink import Mark, RowWatch
from bench.source_table import Feeder, steady_changes

STAGES, SOURCES = ("ingress-cdc", "mapper", "merger", "sink-postgres"), "books"
AHEAD_ROWS = 20_000
MARK_ROWS = 250
DEADLINE_S = 900.0
CHANGES_PER_S, WARM_UP_S, COUNTED_S = 500, 5, 30


def contestants(options: Options) -> list[Contestant]:
    """Ours, ours again as control, the commit of `--against`, and the peers."""
    return chosen_contestants(options, STAGES, SOURCES)


class EndToEndBench:
    """Runs of whole pipelines between two databases of one Postgres."""

    def __init__(self, options: Options, servers: BenchServers) -> None:
        self._options, self._servers = options, servers

    def close(self) -> None:
        """Nothing runs between two runs."""

    def run(self, contestant: Contestant, name: str) -> Figures:
        job = self._prepare(contestant, name)
        running = contestant.start(job)
        try:
            self._await_rows(job, self._options.keys, running)
            records = max(1, int(self._options.n * contestant.share))
            figures = self._throughput(job, contestant, running, records)
            new = self._options.keys + records
            figures = self._latency(job, contestant, running, figures, new)
        finally:
            running.stop()
        self._remove(job)
        return figures

    def _prepare(self, contestant: Contestant, name: str) -> Job:
        """The job of a run. Its two databases exist when this returns, the source with `--keys` rows."""
        options, servers = self._options, self._servers
        job = replace(
            new_job(options, servers, name, ""),
            dsn=servers.database(f"target_{name}"),
            schema="golden",
            table=f"golden.{ENTITY}",
            source_dsn=servers.database(f"source_{name}"),
            source_table=source_table.TABLE,
            group=f"{name}.sink-postgres",
        )
        with psycopg.connect(job.dsn, autocommit=True) as connection:
            connection.execute("CREATE SCHEMA golden")
        source_table.create(job.source_dsn)
        with psycopg.connect(job.source_dsn) as connection:
            source_table.copy_rows(connection, range(options.keys), options.size)
        contestant.prepare(job, servers.topics)
        return job

    def _await_rows(self, job: Job, rows: int, running: Running) -> None:
        """Block until the target has `rows` rows. Raises BenchError if the contestant dies or takes too long."""
        query = sql.SQL("SELECT count(*) FROM {}").format(identifier(job.table))

        def have_arrived() -> bool:
            with psycopg.connect(job.dsn) as connection:
                try:
                    return int(connection.execute(query).fetchall()[0][0]) >= rows
                except psycopg.errors.UndefinedTable:
                    return False

        await_done(f"{job.name}: copying {rows} rows", have_arrived, running, DEADLINE_S)

    def _throughput(self, job: Job, contestant: Contestant, running: Running, records: int) -> Figures:
        first = self._options.keys
        ends = [*range(first + MARK_ROWS, first + records, MARK_ROWS), first + records]
        starts = [first, *ends[:-1]]
        entries = [ledger.entry(end - 1, 0, 0) for end in ends]
        # Each mark is a list of its own, because rows of different partitions arrive in any order.
        marks = [
            [Mark(one.id, one.quantity, end - start)] for one, start, end in zip(entries, starts, ends, strict=True)
        ]
        watch = RowWatch(job.dsn, job, contestant.key_column, marks)
        feeder = Feeder(job.source_dsn, range(first, first + records), self._options.size, AHEAD_ROWS)

        def progress() -> RunProgress:
            state = watch.done(asked_max=2 * AHEAD_ROWS // MARK_ROWS)
            feeder.target_rows = state.done
            return state

        feeder.start()
        try:
            return timed_run(running, self._servers.pids(), progress, records, DEADLINE_S)
        finally:
            feeder.stop()
            watch.close()

    def _latency(self, job: Job, contestant: Contestant, running: Running, figures: Figures, first_new: int) -> Figures:
        count = CHANGES_PER_S * (WARM_UP_S + COUNTED_S)
        if self._options.keys < count // 2:
            raise BenchError(f"each row is updated once in {count // 2} updates. Next: --keys of at least {count // 2}")
        changes = [(first_new + number // 2, True) if number % 2 else (number // 2, False) for number in range(count)]
        self._await_rows(job, first_new, running)
        reached = steady_changes(job.source_dsn, changes, CHANGES_PER_S, self._options.size)
        self._await_rows(job, first_new + count // 2, running)
        self._await_equal(job, running)
        ids = [ledger.entry_id(number) for number, _ in changes[CHANGES_PER_S * WARM_UP_S :]]
        latencies = self._latencies(job, contestant.key_column, ids)
        return replace(
            figures,
            latency_p50_ms=percentile(latencies, 0.5),
            latency_p99_ms=percentile(latencies, 0.99),
            changes_per_s=reached,
        )

    def _await_equal(self, job: Job, running: Running) -> None:
        """Wait until the target has the sums of the source. Raises BenchError after a minute."""
        query = sql.SQL("SELECT count(*), sum(quantity), sum({amount}) FROM {table}")
        target = query.format(amount=sql.Identifier("amount_amount"), table=identifier(job.table))
        source = query.format(amount=sql.Identifier("amount"), table=identifier(source_table.TABLE))
        deadline = time.monotonic() + 60
        while (found := _sums(job.dsn, target)) != (expected := _sums(job.source_dsn, source)):
            if time.monotonic() > deadline:
                raise BenchError(f"{job.name}: wrong rows: {found}, expected {expected}; {running.last_lines()}")
            time.sleep(0.5)

    def _latencies(self, job: Job, key: str, ids: list[str]) -> list[float]:
        """Milliseconds from the commit of a source row to the commit of its target row, of each id."""
        of_target = source_table.commit_times(job.dsn, identifier(job.table), key, ids)
        of_source = source_table.commit_times(job.source_dsn, identifier(source_table.TABLE), "id", ids)
        return [(of_target[one] - of_source[one]) * 1_000 for one in ids]

    def _remove(self, job: Job) -> None:
        """Drop the slot, the databases and the topics of a run."""
        self._servers.drop_databases([job.source_dsn, job.dsn])
        self._servers.topics.delete(job.prefix)
        shutil.rmtree(job.folder, ignore_errors=True)


def _sums(dsn: str, query: sql.Composed) -> tuple[int, int, Decimal]:
    with psycopg.connect(dsn) as connection:
        records, quantity, amount = connection.execute(query).fetchall()[0]
    return int(records), int(quantity), Decimal(amount)
