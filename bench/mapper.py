"""`make bench WHAT=mapper`: raw records in, contributions out.

Input: `job.inputs[0]`, raw records of ledger entries (`bench/ledger.py`): as `ingress-poller` writes them, or with
`--input cdc`, change events as `ingress-cdc` and Debezium write them.
Output: `job.output`, one record for each raw record. The contestant chooses its key. Its value is a JSON object
with a member `fields`, whose values are spelled as in a contribution.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from functools import cache

import orjson

from bench import ledger, source_table
from bench.contestant import Contestant, Job
from bench.contestants import chosen_contestants
from bench.generated import ENTITY, new_job
from bench.ledger import EntryRange, Totals
from bench.options import Options
from bench.sampling import BenchError, Figures, RunProgress, timed_run
from bench.servers import BenchServers
from bench.topics import Topics

DEADLINE_S = 600.0
STAGES = ("mapper",)
SOURCES = {"polled": "erp", "cdc": "books"}


def contestants(options: Options) -> list[Contestant]:
    """Ours, ours again as control, the commit of `--against`, and the peers."""
    found = chosen_contestants(options, STAGES, SOURCES[options.input])
    # A contestant that commits no offsets is in no consumer group, so each of two processes would do all the work.
    return [one for one in found if one.commits or options.processes == 1]


class MapperBench:
    """Timed runs of mappers on one broker. Each run has topics of its own, which are deleted after it."""

    def __init__(self, options: Options, servers: BenchServers) -> None:
        self._options, self._servers = options, servers

    def run(self, contestant: Contestant, name: str) -> Figures:
        options, topics = self._options, self._servers.topics
        records = max(1, int(options.n * contestant.share))
        input_topic = f"{name}.{ledger.TOPICS[SOURCES[options.input]]}"
        job = replace(
            new_job(options, self._servers, name, f"{name}.contributions.{ENTITY}", [input_topic]),
            group=f"{name}.mapper",
            records=records,
            processes=options.processes,
            source_table=source_table.TABLE,
        )
        contestant.prepare(job, topics)
        sequence = 0
        for entries in ranges(SOURCES[options.input], records, options.keys):
            sequence += topics.fill(input_topic, ledger.raw_messages(entries, options.size, sequence))
        running = contestant.start(job)
        try:
            done = progress(topics, job, records, contestant.commits)
            figures = timed_run(running, self._servers.pids(), done, records, DEADLINE_S)
        finally:
            running.stop()
        check(topics, job, expected_totals(records, options.keys, options.size))
        topics.delete(job.prefix)
        shutil.rmtree(job.folder)
        return figures

    def close(self) -> None:
        """Nothing runs between two runs."""


def ranges(source: str, records: int, keys: int) -> list[EntryRange]:
    """The raw records of a run: each key in turn, and again in its next version until there are enough."""
    starts = range(0, records, keys)
    return [EntryRange(source, 0, min(keys, records - start), version) for version, start in enumerate(starts)]


@cache
def expected_totals(records: int, keys: int, size: int) -> Totals:
    """The totals of a run after a correct mapping. They are the same for all sources."""
    parts = [ledger.expected(entries, size) for entries in ranges("erp", records, keys)]
    return Totals(*map(sum, zip(*parts, strict=True)))


def progress(topics: Topics, job: Job, total: int, commits: bool) -> Callable[[], RunProgress]:
    """How many results are on the output topic, and whether all input is committed.

    Control records of transactions count as results while the run goes on; they are one in a thousand. Whether the run
    is finished follows from the committed offsets alone, if the contestant commits them.
    """
    input_ends = topics.ends(job.inputs, job.partitions)

    def now() -> RunProgress:
        done = min(total, sum(topics.ends([job.output], job.partitions).values()))
        if done < total:
            return RunProgress(done, False)
        if not commits:
            return RunProgress(done, True)
        return RunProgress(done, topics.is_committed(job.group, input_ends))

    return now


def check(topics: Topics, job: Job, expected: Totals) -> None:
    """Raises BenchError if the committed results are not those of all raw records."""
    found = ledger.NOTHING
    for message in topics.read(job.output, job.partitions):
        fields = orjson.loads(message.value or b"{}")["fields"]
        found = ledger.plus(found, fields["quantity"], Decimal(fields["amount"]["amount"]), fields["text"])
    if found != expected:
        raise BenchError(f"{job.name}: wrong result: {found}, expected {expected}")
