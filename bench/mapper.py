"""`make bench WHAT=mapper`: raw records in, contributions out.

Input: `job.inputs[0]`, raw records of ledger entries (`bench/ledger.py`): as `ingress-poller` writes them, or with
`--input cdc`, change events as `ingress-cdc` and Debezium write them.
Output: `job.output`, one record for each raw record. Its key is what the contestant likes. Its value is a JSON object
with a member `fields`, whose values are spelled as in a contribution.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from decimal import Decimal
from functools import cache

import orjson

from bench import ledger, peers, source_table
from bench.contestant import Contestant, Job
from bench.ledger import Claimed, Totals
from bench.options import Options
from bench.own import own_contestants
from bench.sampling import BenchError, Figures, timed_run
from bench.sampling import Progress as Done
from bench.servers import BenchServers
from bench.topics import Topics

DEADLINE_S = 600.0
STAGES = ("mapper",)
SOURCES = {"polled": "erp", "cdc": "books"}


def contestants(options: Options) -> list[Contestant]:
    """Ours, ours again as control, the commit of `--against`, and the peers."""
    others = [make() for name, make in peers.MAPPER.items() if peers.is_chosen(name, options.peers)]
    # A contestant that commits no offsets is in no consumer group, so each of two processes would do all the work.
    return [
        *own_contestants(options, STAGES, SOURCES[options.input]),
        *(one for one in others if one.commits or options.processes == 1),
    ]


class MapperBench:
    """Timed runs of mappers on one broker. Each run has topics of its own, which are deleted after it."""

    def __init__(self, options: Options, servers: BenchServers) -> None:
        self._options, self._servers = options, servers

    def run(self, contestant: Contestant, name: str) -> Figures:
        options, topics = self._options, self._servers.topics
        records = max(1, int(options.n * contestant.share))
        prefix = f"{name}."
        job = Job(
            name=name,
            folder=self._servers.folder / name,
            bootstrap_servers=self._servers.bootstrap_servers,
            registry_url=self._servers.registry_url,
            dsn="",
            prefix=prefix,
            group=f"{prefix}mapper",
            inputs=(f"{prefix}{ledger.TOPICS[SOURCES[options.input]]}",),
            output=f"{prefix}contributions.ledger_entry",
            partitions=options.partitions,
            records=records,
            processes=options.processes,
            source_table=source_table.TABLE,
        )
        contestant.prepare(job, topics)
        sequence = 0
        for claimed in ranges(SOURCES[options.input], records, options.keys):
            sequence += topics.fill(job.inputs[0], ledger.raw_messages(claimed, options.size, sequence))
        running = contestant.start(job)
        try:
            done = progress(topics, job, records, contestant.commits)
            figures = timed_run(running, self._servers.pids(), done, records, DEADLINE_S)
        finally:
            running.stop()
        check(topics, job, expected_totals(records, options.keys, options.size))
        topics.delete(prefix)
        shutil.rmtree(job.folder)
        return figures

    def close(self) -> None:
        """Nothing runs between two runs."""


def ranges(source: str, records: int, keys: int) -> list[Claimed]:
    """The raw records of a run: each key in turn, and again in its next version until there are enough."""
    return [
        Claimed(source, 0, min(keys, records - start), version) for version, start in enumerate(range(0, records, keys))
    ]


@cache
def expected_totals(records: int, keys: int, size: int) -> Totals:
    parts = [ledger.expected(claimed, size) for claimed in ranges("erp", records, keys)]
    return Totals(*map(sum, zip(*parts, strict=True)))


def progress(topics: Topics, job: Job, total: int, commits: bool) -> Callable[[], Done]:
    """How many results are on the output topic, and whether all input is committed.

    Control records of transactions count as results while the run goes on; they are one in a thousand. Whether the run
    is finished follows from the committed offsets alone, if the contestant commits them.
    """
    input_ends = topics.ends(job.inputs, job.partitions)

    def now() -> Done:
        done = min(total, sum(topics.ends([job.output], job.partitions).values()))
        if done < total:
            return Done(done, False)
        if not commits:
            return Done(done, True)
        return Done(done, topics.is_committed(job.group, input_ends))

    return now


def check(topics: Topics, job: Job, expected: Totals) -> None:
    """Raises BenchError if the committed results are not those of all raw records."""
    found = ledger.NOTHING
    for message in topics.read(job.output, job.partitions):
        fields = orjson.loads(message.value or b"{}")["fields"]
        found = ledger.plus(found, fields["quantity"], Decimal(fields["amount"]["amount"]), fields["text"])
    if found != expected:
        raise BenchError(f"{job.name}: wrong result: {found}, expected {expected}")
