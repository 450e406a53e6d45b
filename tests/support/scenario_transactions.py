"""Whether a stage was killed in the middle of a transaction, asked of the broker and of Postgres, not of the stage."""

from __future__ import annotations

import os
import signal
import time

import psycopg

from sluice.kafka import LogReader
from sluice.kafka.log import Partition
from sluice.pipeline import Pipeline
from support.scenario import Scenario

STILL_AFTER_S = 0.4
AIM_FOR_S = 4.0

_WRITING = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_xid IS NOT NULL
"""


def outputs(pipeline: Pipeline, entities: list[str], stage: str) -> list[Partition]:
    """The partitions that nobody but this stage writes to; none for the sink, which writes no log."""
    names = pipeline.names
    polled = [names.raw(source, stream) for source, of in pipeline.poll_sources().items() for stream in of.streams]
    followed = [names.raw(source, table) for source, of in pipeline.cdc_sources().items() for table in of.tables]
    contributions = [names.contributions(entity) for entity in entities]
    topics = {
        "ingress-poller": polled,
        "ingress-cdc": followed,
        "mapper": [*contributions, *(names.state("mapper", topic) for topic in [*polled, *followed])],
        "merger": [names.canonical(entity) for entity in entities]
        + [names.state("merger", topic) for topic in contributions],
    }
    return [(topic, number) for topic in topics.get(stage, ()) for number in range(pipeline.partitions)]


class Killer:
    """Kills a stage of a scenario and tells whether a transaction of its was open."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._reader = LogReader(scenario.run.settings.kafka)

    def kill(self, stage: str, *, aim: bool) -> bool:
        """Kill -9; True if the stage left a transaction open. `aim`: wait a while for one to be open first."""
        if stage == "sink-postgres":
            return self._kill_sink(aim=aim)
        partitions = outputs(self._scenario.run.pipeline, list(self._scenario.run.contracts), stage)
        give_up = time.monotonic() + AIM_FOR_S
        while aim and not self._open(partitions) and time.monotonic() < give_up:
            time.sleep(0.005)
        self._scenario.kill(stage)
        # A transaction whose end was asked for is decided by the broker within milliseconds; one without an owner
        # stays, in front of what readers at read_committed see, until it times out.
        if not self._open(partitions):
            return False
        time.sleep(STILL_AFTER_S)
        return self._open(partitions)

    def _open(self, partitions: list[Partition]) -> bool:
        stable = self._reader.ends(partitions, committed=True)
        return any(stable[at] < end for at, end in self._reader.ends(partitions).items())

    def _kill_sink(self, *, aim: bool) -> bool:
        """The server rolls back as soon as its client is gone; so the client is stopped, looked at, and killed."""
        pid = self._scenario.run.stages["sink-postgres"].pid
        assert pid is not None, "the sink was never started"
        with psycopg.connect(self._scenario.run.sink_dsn, autocommit=True) as connection:
            give_up = time.monotonic() + AIM_FOR_S
            while aim and not _writing(connection) and time.monotonic() < give_up:
                time.sleep(0.001)
            os.kill(pid, signal.SIGSTOP)
            was_open = _writing(connection)
            if was_open:  # it may have been at its commit, which the server finishes alone
                time.sleep(STILL_AFTER_S)
                was_open = _writing(connection)
            self._scenario.kill("sink-postgres")
        return was_open


def _writing(connection: psycopg.Connection) -> bool:
    row = connection.execute(_WRITING).fetchone()
    return row is not None and row[0] > 0
