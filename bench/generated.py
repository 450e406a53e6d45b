"""Contributions or canonical records, produced by stages of this checkout from raw records. They are the input of other
benchmarks, and the same for all contestants. Producing them is not timed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from bench import ledger
from bench.contestant import Job
from bench.ledger import EntryRange
from bench.options import Options
from bench.sampling import await_done
from bench.servers import BenchServers
from bench.sluice_stage import SluiceStages
from bench.topics import Message

DEADLINE_S = 3_600.0
ENTITY = "ledger_entry"


class Part(NamedTuple):
    """A part of the generated topic: offsets from `begin` up to `end`, by partition."""

    begin: dict[int, int]
    end: dict[int, int]


class Generated:
    """The output topic of `stages`, to which `add` appends. `sources`: those of the pipeline, with commas between them;
    the first one wins each field."""

    def __init__(self, options: Options, servers: BenchServers, stages: Sequence[str], sources: str) -> None:
        self._servers, self._size = servers, options.size
        self._stages = stages
        self._ours = SluiceStages("generator", stages, sources=sources)
        kind = {"mapper": "contributions", "merger": "canonical"}[stages[-1]]
        self.job = new_job(options, servers, "generator", f"generator.{kind}.{ENTITY}")
        self._ours.prepare(self.job, servers.topics)
        self._positions: dict[str, int] = {}
        self._parts: dict[tuple[EntryRange, ...], Part] = {}

    def add(self, ranges: Sequence[EntryRange]) -> Part:
        """The part of the topic with the results for `ranges`. The first call for some `ranges` blocks until the stages
        have processed them."""
        found = self._parts.get(tuple(ranges))
        if found is None:
            found = self._parts[tuple(ranges)] = self._processed(ranges)
        return found

    def _processed(self, ranges: Sequence[EntryRange]) -> Part:
        begin, topics, prefix = self._ends(), self._servers.topics, self.job.prefix
        for one in ranges:
            position = self._positions.get(one.source, 0)
            messages = ledger.raw_messages(one, self._size, position)
            self._positions[one.source] = position + topics.fill(f"{prefix}raw.{one.source}.entries", messages)
        running = self._ours.start(self.job)
        try:
            await_done("generating the input", self._is_done, running, DEADLINE_S)
        finally:
            running.stop()
        return Part(begin, self._ends())

    def _is_done(self) -> bool:
        topics, prefix, partitions = self._servers.topics, self.job.prefix, self.job.partitions
        inputs = {
            "mapper": [f"{prefix}raw.{source}.entries" for source in self._positions],
            "merger": [f"{prefix}contributions.{ENTITY}"],
        }
        return all(
            topics.is_committed(f"{prefix}{stage}", topics.ends(inputs[stage], partitions)) for stage in self._stages
        )

    def _ends(self) -> dict[int, int]:
        ends = self._servers.topics.ends([self.job.output], self.job.partitions)
        return {partition: end for (_, partition), end in ends.items()}

    def messages(self, part: Part) -> Iterable[Message]:
        """The records of a part."""
        return self._servers.topics.read(self.job.output, self.job.partitions, part.begin, part.end)


def new_job(options: Options, servers: BenchServers, name: str, output: str, inputs: Sequence[str] = ()) -> Job:
    """The job of a contestant whose topics start with its name."""
    return Job(
        name=name,
        folder=servers.folder / name,
        bootstrap_servers=servers.bootstrap_servers,
        registry_url=servers.registry_url,
        dsn="",
        prefix=f"{name}.",
        group="",
        inputs=tuple(inputs),
        output=output,
        partitions=options.partitions,
        records=options.n,
        processes=1,
    )
