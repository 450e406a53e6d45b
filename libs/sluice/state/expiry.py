"""Finds old records of deleted keys in a state topic, so that the stage can delete them.

The state of a deleted key must be kept while an older record of the key can still arrive: a raw record that compaction
has not deleted, a record whose tombstone was not read in time, or a dead letter that is processed again. After that
time, the state of the deleted key only uses disk space.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import islice

import structlog
from confluent_kafka import Message

from sluice.errors import EnvironmentFault, Transient
from sluice.kafka.log import LogReader, Partition
from sluice.state.view import View

# The sum of min.compaction.lag.ms of raw topics, delete.retention.ms, and retention.ms of dead letters. After this
# time, no older record of a deleted key can reach the stage.
DELETED_KEYS_KEPT_S = (7 + 30 + 30) * 86_400.0
PASS_INTERVAL_S = 86_400.0
FIRST_PASS_AFTER_S = 3_600.0
SLICE_RECORDS = 500

log = structlog.get_logger()


class Expiry:
    """Reads the old records of each state topic partition once a day: one partition at a time, and at most 500 records
    in each call.

    `reader`: a LogReader that no other code uses. A pass that fails is given up; the next pass reads the partition from
    its first offset again.
    """

    def __init__(self, reader: LogReader, first_pass_after_s: float = FIRST_PASS_AFTER_S) -> None:
        self._reader = reader
        self._first_pass_after_s = first_pass_after_s
        self._due: dict[Partition, float] = {}
        self._reading: tuple[Partition, Iterator[Message]] | None = None

    def old_records(self, view: View) -> list[Message]:
        """The next old records of the partition of `view`, at most 500; empty while no pass over this partition runs.
        The caller must check that a record is still the newest of its key."""
        at = (view.topic, view.partition)
        if self._reading is None and self._is_due(at):
            self._reading = at, self._read(at)
            self._due[at] = time.monotonic() + PASS_INTERVAL_S
        if self._reading is None or self._reading[0] != at:
            return []
        try:
            found = list(islice(self._reading[1], SLICE_RECORDS))
        except (Transient, EnvironmentFault) as error:
            log.info("old records not read", topic=at[0], partition=at[1], why=str(error))
            found = []
        if len(found) < SLICE_RECORDS:
            self._reading = None
        return found

    def forget(self, view: View) -> None:
        """End the pass over the partition of `view`. Called when the partition is revoked from this process."""
        at = (view.topic, view.partition)
        self._due.pop(at, None)
        if self._reading is not None and self._reading[0] == at:
            self._reading = None

    def _is_due(self, at: Partition) -> bool:
        now = time.monotonic()
        return self._due.setdefault(at, now + self._first_pass_after_s) <= now

    def _read(self, at: Partition) -> Iterator[Message]:
        cut_ms = int((time.time() - DELETED_KEYS_KEPT_S) * 1_000)
        end = self._reader.at_time([at], cut_ms)[at]
        if end < 0:  # no offset is returned if every record of the partition is older than the time
            end = self._reader.ends([at], committed=True)[at]
        begin = self._reader.beginnings([at])[at]
        yield from self._reader.read({at: (begin, end)})
