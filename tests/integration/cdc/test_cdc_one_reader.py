"""A source has one reader: another process is a stand-by, and a process that was suspended publishes nothing twice."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from sluice.ingress.producer import IngressProducer
from sluice.raw.writing import RawRecord
from support.cdc import Source
from support.raw_rows import await_equal


def test_a_second_process_of_another_name_is_a_stand_by_and_takes_over(tables: Source) -> None:
    with tables.followed(instance="one") as first:
        first.await_no_fault()
        with tables.followed(instance="two") as second:
            second.await_fault("another process follows this source")
            tables.sql("INSERT INTO a VALUES (2, 2)")
            await_equal(tables, "a")
            first.stop()
            second.await_no_fault()
            tables.sql("INSERT INTO a VALUES (3, 3)")
            await_equal(tables, "a")
    created = [r.key for r in tables.raw("a") if r.value and not r.is_sweep]
    assert len(created) == len(set(created)) == 3


def test_a_suspended_process_publishes_nothing_twice_when_it_resumes(tables: Source) -> None:
    """Another instance has published its batch meanwhile."""
    suspended = _Suspended()
    with tables.followed(suspended.producer, instance="one") as first:
        first.await_no_fault()
        suspended.suspend()
        tables.sql("INSERT INTO a SELECT g, g FROM generate_series(2, 100) g")
        suspended.waiting.wait(30)
        tables.sql(
            "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = %s", [tables.slot.slot]
        )
        with tables.followed(instance="two") as second:
            second.await_no_fault()
            await_equal(tables, "a")
            suspended.resume()
            first.await_fault("another process follows this source")
            tables.sql("INSERT INTO a VALUES (101, 101)")
            await_equal(tables, "a")
    created = [r.key for r in tables.raw("a") if r.value and not r.is_sweep]
    assert len(created) == len(set(created)) == 101


class _Suspended:
    """A producer whose next transaction with records waits before its commit until `resume`."""

    def __init__(self) -> None:
        self.waiting, self._go, self._next_waits = threading.Event(), threading.Event(), False
        outer = self

        class Waits(IngressProducer):
            def publish(self, records: Sequence[RawRecord], watermarks: Any) -> None:
                if outer._next_waits and records:
                    outer._next_waits = False
                    outer.waiting.set()
                    outer._go.wait(60)
                super().publish(records, watermarks)

        self.producer = Waits

    def suspend(self) -> None:
        self._next_waits = True

    def resume(self) -> None:
        self._go.set()
