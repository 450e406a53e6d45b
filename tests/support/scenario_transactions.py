"""Finds out whether a stage was killed in a transaction. The broker and Postgres are asked, not the stage."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

import psycopg

from sluice.kafka import LogReader
from sluice.kafka.log import Partition
from sluice.pipeline import Pipeline
from support.pace import within
from support.scenario import Scenario

STILL_AFTER_S = 0.4
AIM_FOR_S = 20.0

_WRITING = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_xid IS NOT NULL
"""


def outputs(pipeline: Pipeline, entities: list[str], stage: str) -> list[Partition]:
    """The partitions to which only this stage writes; none for the sink, which writes no log."""
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
    """Kills a stage of a scenario and records whether a transaction of the stage was open."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._reader = LogReader(scenario.run.settings.kafka)

    def kill(self, stage: str, *, aim: bool) -> bool:
        """Kill the stage with SIGKILL. Returns True if the stage left a transaction open. `aim`: wait for a moment at
        which a transaction is open, for at most 20 s."""
        if stage == "sink-postgres":
            with psycopg.connect(self._scenario.run.sink_dsn, autocommit=True) as connection:
                return self._kill(stage, lambda: _writing(connection), aim=aim)
        partitions = outputs(self._scenario.run.pipeline, list(self._scenario.run.contracts), stage)
        return self._kill(stage, lambda: self._open(partitions), aim=aim)

    def _kill(self, stage: str, is_open: Callable[[], bool], *, aim: bool) -> bool:
        """Stop the stage, check for an open transaction, and kill the stage: what is open then stays open until the
        stage is dead. (Postgres rolls back when its client is gone; Kafka keeps a transaction without an owner open
        until its timeout.)"""
        pid = self._scenario.run.stages[stage].pid
        assert pid is not None, f"{stage} was never started"
        give_up = time.monotonic() + within(AIM_FOR_S)
        while True:
            while aim and not is_open() and time.monotonic() < give_up:
                time.sleep(0.002)  # between two checks
            os.kill(pid, signal.SIGSTOP)
            was_open = is_open()
            if was_open:  # its end may have been asked for, which the server does alone within milliseconds
                time.sleep(STILL_AFTER_S)
                was_open = is_open()
            if was_open or not aim or time.monotonic() >= give_up:
                self._scenario.kill(stage)
                return was_open
            os.kill(pid, signal.SIGCONT)

    def _open(self, partitions: list[Partition]) -> bool:
        stable = self._reader.ends(partitions, committed=True)
        return any(stable[at] < end for at, end in self._reader.ends(partitions).items())


def _writing(connection: psycopg.Connection) -> bool:
    row = connection.execute(_WRITING).fetchone()
    return row is not None and row[0] > 0
