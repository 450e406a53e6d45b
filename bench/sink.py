"""`make bench WHAT=sink`: canonical records in, rows of a Postgres table out.

Input: `job.inputs[0]`, canonical records of ledger entries as the merger writes them: Avro in Confluent's wire format,
whose schema is in the registry at `job.registry_url`. The key is the entity's id. No key occurs twice in a run.
A contestant that reads another format returns its records from `Contestant.encoded`.
Output: the table `job.table` in the database `job.dsn`; its schema exists. It has a row for each entity, with at least
the columns `entity_id` (text, the key; or what `Contestant.key_column` names), `quantity` (an integer type) and
`amount_amount` (numeric).

Before the timed runs, each sink writes `--keys` rows. In each timed run, it gets `--n` records: half of them are new
states of existing rows, half are new rows. A record is done when its row is committed in Postgres: the harness watches
the rows of a few hundred records, which are spread over the partitions, and reads no committed offsets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cache

import psycopg
from psycopg import sql

from bench import ledger
from bench.contestant import Contestant, Job, Running, identifier
from bench.contestants import chosen_contestants
from bench.generated import ENTITY, Generated, new_job
from bench.ledger import EntryRange, Totals
from bench.options import Options
from bench.sampling import BenchError, Figures, RunProgress, await_done, timed_run
from bench.servers import BenchServers
from bench.topics import Message

STAGES = ("sink-postgres",)
DEADLINE_S = 600.0
PRELOAD_DEADLINE_S = 3_600.0
MARKS = 25
"""The number of watched records in each partition."""


def contestants(options: Options) -> list[Contestant]:
    """Ours, ours again as control, the commit of `--against`, and the peers."""
    return chosen_contestants(options, STAGES)


@dataclass(frozen=True)
class Mark:
    """A watched record: it is done when the row of `key` has `quantity`. `records`: the number of records from the mark
    before it to this one, in its partition."""

    key: str
    quantity: int
    records: int


def marks_of(keys: Iterable[Sequence[str]], quantity_of: Callable[[str], int], count: int) -> list[list[Mark]]:
    """The marks of each partition, in the order of the records; the last record of a partition is always one.

    `keys`: the keys of each partition's records. `count`: how many marks a partition gets.
    """
    found = []
    for of_partition in keys:
        ends = sorted({(number + 1) * len(of_partition) // count for number in range(count)} - {0})
        pairs = zip([0, *ends[:-1]], ends, strict=True)
        found.append(
            [Mark(of_partition[end - 1], quantity_of(of_partition[end - 1]), end - start) for start, end in pairs]
        )
    return found


def quantity_in(ranges: Sequence[EntryRange], key: str) -> int:
    """The quantity of an entry in the state that `ranges` has."""
    number = int(key.removeprefix(ledger.ID_PREFIX))
    return next(ledger.entry(number, one.version, 0).quantity for one in ranges if number in one.numbers())


class RowWatch:
    """Counts the records whose rows are committed, by the rows of their marks."""

    def __init__(self, dsn: str, job: Job, key_column: str, marks: list[list[Mark]]) -> None:
        self._connection = psycopg.connect(dsn, autocommit=True)
        self._query = sql.SQL("SELECT {key}::text, quantity FROM {table} WHERE {key} = ANY(%s)").format(
            key=sql.Identifier(key_column), table=identifier(job.table)
        )
        self._waiting = marks
        self._done = 0

    def done(self, asked_max: int | None = None) -> RunProgress:
        """How far the run is. `asked_max`: only so many lists of marks are watched, the first that are not done. A
        table that does not exist yet has no row."""
        asked = [mark.key for marks in self._waiting[:asked_max] for mark in marks]
        try:
            found: dict[str, int] = dict(self._connection.execute(self._query, [asked]).fetchall())
        except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn):
            return RunProgress(0, False)
        for marks in self._waiting:
            while marks and found.get(marks[0].key) == marks[0].quantity:
                self._done += marks.pop(0).records
        self._waiting = [marks for marks in self._waiting if marks]
        return RunProgress(self._done, not self._waiting)

    def close(self) -> None:
        self._connection.close()


class SinkBench:
    """Timed runs of sinks. The topic and the table of a contestant stay between its runs."""

    def __init__(self, options: Options, servers: BenchServers) -> None:
        if options.n > 2 * options.keys:
            raise BenchError("half of the records change existing rows, so --keys must be at least half of --n")
        self._options, self._servers = options, servers
        self._generated = Generated(options, servers, ("mapper", "merger"), "erp")
        self._dsn = servers.database("bench")
        self._jobs: dict[str, Job] = {}
        self._running: dict[str, Running] = {}
        self._last: dict[str, int] = {}
        self._totals: dict[str, Totals] = {}

    def run(self, contestant: Contestant, _name: str) -> Figures:
        name, keys = contestant.name, self._options.keys
        if name not in self._jobs:
            self._preload(contestant)
        job, running = self._jobs[name], self._running[name]
        records = max(2, int(self._options.n * contestant.share))
        # Contestants with fewer records have odd versions, the others even ones. So runs of equal size share a part of
        # the generated topic, and no state of an entity is generated twice.
        last = self._last[name]
        version = last + 2 if last else 2 + (contestant.share < 1)
        changes, new = timed_entries(records, keys, version, self._options.n)
        watch = self._filled(contestant, job, [changes, new])
        try:
            running.resume()
            figures = timed_run(running, self._servers.pids(), watch.done, records, DEADLINE_S)
        finally:
            watch.close()
            running.pause()
        self._last[name] = version
        size = self._options.size
        self._totals[name] = added(
            self._totals[name], totals(changes, size), totals(new, size), minus=totals(replaced(changes, last), size)
        )
        self._check(contestant, job)
        return figures

    def _preload(self, contestant: Contestant) -> None:
        """Start a contestant, and let it write the rows that exist before the timed runs."""
        name, options = contestant.name, self._options
        topic = f"{name}.canonical.{ENTITY}"
        job = new_job(options, self._servers, name, "", [topic])
        schema = f"bench_{name}"
        with psycopg.connect(self._dsn, autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)))
        job = replace(
            job,
            dsn=self._dsn,
            group=f"{name}.sink-postgres",
            schema=schema,
            table=f"{schema}.{ENTITY}",
            processes=options.processes,
        )
        contestant.prepare(job, self._servers.topics)
        entries = EntryRange("erp", 0, options.keys, 0)
        watch = self._filled(contestant, job, [entries])
        running = contestant.start(job)
        try:
            await_done(f"{name}: writing the first rows", lambda: watch.done().finished, running, PRELOAD_DEADLINE_S)
            running.pause()
        except BaseException:
            running.stop()
            raise
        finally:
            watch.close()
        self._jobs[name], self._running[name], self._last[name] = job, running, 0
        self._totals[name] = totals(entries, options.size)

    def close(self) -> None:
        """End what still runs."""
        for running in self._running.values():
            running.stop()

    def _filled(self, contestant: Contestant, job: Job, ranges: Sequence[EntryRange]) -> RowWatch:
        """Write the canonical records of `ranges` to the contestant's topic. Returns the watch over their rows."""
        keys: dict[int, list[str]] = {}

        def noted() -> Iterator[Message]:
            for message in self._generated.messages(self._generated.add(ranges)):
                keys.setdefault(message.partition, []).append(message.key.decode())
                yield message

        self._servers.topics.fill(job.inputs[0], contestant.encoded(job, noted()))
        marks = marks_of(keys.values(), lambda key: quantity_in(ranges, key), MARKS)
        return RowWatch(self._dsn, job, contestant.key_column, marks)

    def _check(self, contestant: Contestant, job: Job) -> None:
        """Raises BenchError if the rows are not those of all canonical records."""
        query = sql.SQL("SELECT count(*), sum(quantity), sum(amount_amount) FROM {}").format(identifier(job.table))
        with psycopg.connect(self._dsn) as connection:
            rows = connection.execute(query).fetchall()
        records, quantity, amount = rows[0]
        found = (int(records), int(quantity), int(Decimal(amount) * 100))
        if found != self._totals[contestant.name][:3]:
            raise BenchError(f"{contestant.name}: wrong rows: {found}, expected {self._totals[contestant.name][:3]}")


def timed_entries(records: int, keys: int, version: int, records_max: int) -> tuple[EntryRange, EntryRange]:
    """New states of existing entities, spread over all `keys`; and as many new entities, which no other version has."""
    half = records // 2
    changes = EntryRange("erp", 0, half, version, max(1, keys // half))
    return changes, EntryRange("erp", keys + version * records_max, records - half, 0)


def replaced(changes: EntryRange, version: int) -> EntryRange:
    """The records that `changes` replaces, which have `version`."""
    return changes._replace(version=version)


@cache
def totals(entries: EntryRange, size: int) -> Totals:
    """`ledger.expected`, computed once for all contestants."""
    return ledger.expected(entries, size)


def added(first: Totals, *more: Totals, minus: Totals) -> Totals:
    """The sum of totals, without those of `minus`."""
    summed = map(sum, zip(first, *more, strict=True))
    return Totals(*(total - less for total, less in zip(summed, minus, strict=True)))
