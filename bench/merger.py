"""`make bench WHAT=merger`: contributions in, canonical records out.

Before the timed runs, each merger gets two contributions to each of `--keys` entities: one of the ERP, which wins every
field, and one of the bank. In each timed run, it gets new contributions to `--n` of them: those of the ERP change
their entity, those of the bank do not. So half of the contributions lead to a canonical record. The rate counts
contributions.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from bench import ledger
from bench.canonical import decoded
from bench.contestant import Contestant, Job
from bench.contestants import chosen_contestants
from bench.contributions import contributions
from bench.generated import ENTITY, new_job
from bench.ledger import EntryRange
from bench.options import Options
from bench.sampling import BenchError, Figures, RunProgress, await_done, timed_run
from bench.servers import BenchServers

STAGES, SOURCES = ("merger",), "erp,bank"
DEADLINE_S = 600.0
PRELOAD_DEADLINE_S = 3_600.0


def contestants(options: Options) -> list[Contestant]:
    """Ours, ours again as control, and the commit of `--against`. There is no peer that merges."""
    return chosen_contestants(options, STAGES, SOURCES)


def timed_entries(records: int, keys: int, version: int) -> list[EntryRange]:
    """New states of `records` entities, spread over all `keys`: half of them are the ERP's."""
    half, step = records // 2, keys // records
    return [EntryRange("erp", 0, half, version, step), EntryRange("bank", half * step, records - half, version, step)]


class MergerBench:
    """Timed runs of mergers. The topics and the state of a contestant stay between its runs, so that each run starts
    with a state of `--keys` entities on disk."""

    def __init__(self, options: Options, servers: BenchServers) -> None:
        if options.n > options.keys:
            raise BenchError("--n is more than --keys; each entity gets one contribution in a run. Next: --keys as --n")
        self._options, self._servers = options, servers
        self._jobs: dict[str, Job] = {}
        self._runs: dict[str, int] = {}

    def run(self, contestant: Contestant, _name: str) -> Figures:
        if contestant.name not in self._jobs:
            self._jobs[contestant.name] = self._preloaded(contestant)
        job = self._jobs[contestant.name]
        version = self._runs[contestant.name] = self._runs.get(contestant.name, 0) + 1
        records = max(2, int(self._options.n * contestant.share))
        ranges = timed_entries(records, self._options.keys, version)
        self._write(job, ranges)
        before, start = self._ends(job.output), self._committed(job)
        running = contestant.start(replace(job, processes=self._options.processes))
        try:
            figures = timed_run(
                running, self._servers.pids(), lambda: self._done(job, start, records), records, DEADLINE_S
            )
        finally:
            running.stop()
        self._check(job, before, ranges[0])
        return figures

    def close(self) -> None:
        """Nothing runs between two runs."""

    def _preloaded(self, contestant: Contestant) -> Job:
        """The job of a contestant, whose state has all entities when this returns."""
        prefix, keys = f"{contestant.name}.", self._options.keys
        topic = f"{prefix}contributions.{ENTITY}"
        job = new_job(self._options, self._servers, contestant.name, f"{prefix}canonical.{ENTITY}", [topic])
        job = replace(job, group=f"{prefix}merger")
        contestant.prepare(job, self._servers.topics)
        self._write(job, [EntryRange("erp", 0, keys, 0), EntryRange("bank", 0, keys, 0)])
        running = contestant.start(job)
        try:
            await_done(
                f"{contestant.name}: merging the first entities",
                lambda: self._servers.topics.is_committed(job.group, self._ends(topic)),
                running,
                PRELOAD_DEADLINE_S,
            )
        finally:
            running.stop()
        return job

    def _ends(self, topic: str) -> dict[tuple[str, int], int]:
        return self._servers.topics.ends([topic], self._options.partitions)

    def _write(self, job: Job, ranges: list[EntryRange]) -> None:
        """Write the contributions of `ranges` to the input of a job. Their positions rise with their version."""
        for one in ranges:
            sequence = one.version * self._options.keys
            messages = contributions(one, self._options.size, job.prefix, job.partitions, sequence)
            self._servers.topics.fill(job.inputs[0], messages)

    def _committed(self, job: Job) -> int:
        return sum(self._servers.topics.committed(job.group, self._ends(job.inputs[0])).values())

    def _done(self, job: Job, start: int, records: int) -> RunProgress:
        done = self._committed(job) - start
        return RunProgress(min(done, records), done >= records)

    def _check(self, job: Job, before: dict[tuple[str, int], int], entries: EntryRange) -> None:
        """Raises BenchError if the new canonical records are not those of the ERP's new contributions."""
        found = ledger.NOTHING
        begin = {partition: end for (_, partition), end in before.items()}
        for message in self._servers.topics.read(job.output, job.partitions, begin):
            value = decoded(job.registry_url, message.value or b"")
            found = ledger.plus(found, value["quantity"], Decimal(value["amount"]["amount"]), value["text"])
        expected = ledger.expected(entries, self._options.size)
        if found != expected:
            raise BenchError(f"{job.name}: wrong result: {found}, expected {expected}")
