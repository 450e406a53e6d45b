"""A source has one reader: another process is a stand-by, and one that stood still publishes nothing again."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from sluice.ingress.producer import IngressProducer
from sluice.raw.record import RawRecord
from support.cdc import Source
from support.raw_rows import become_equal


def test_a_second_process_of_another_name_is_a_stand_by_and_takes_over(tables: Source) -> None:
    with tables.followed(instance="one") as first:
        first.whole()
        with tables.followed(instance="two") as second:
            second.faulty("another process follows this source")
            tables.sql("INSERT INTO a VALUES (2, 2)")
            become_equal(tables, "a")
            first.stop()
            second.whole()
            tables.sql("INSERT INTO a VALUES (3, 3)")
            become_equal(tables, "a")
    created = [r.key for r in tables.raw("a") if r.value and not r.is_sweep]
    assert len(created) == len(set(created)) == 3


def test_a_process_that_stood_still_publishes_nothing_again_when_it_wakes(tables: Source) -> None:
    """What it holds was published by another since, under another instance name."""
    wakes = _Held()
    with tables.followed(wakes.producer, instance="one") as first:
        first.whole()
        wakes.hold()
        tables.sql("INSERT INTO a SELECT g, g FROM generate_series(2, 100) g")
        wakes.held.wait(30)
        tables.sql(
            "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = %s", [tables.slot.slot]
        )
        with tables.followed(instance="two") as second:
            second.whole()
            become_equal(tables, "a")
            wakes.release()
            first.faulty("another process follows this source")
            tables.sql("INSERT INTO a VALUES (101, 101)")
            become_equal(tables, "a")
    created = [r.key for r in tables.raw("a") if r.value and not r.is_sweep]
    assert len(created) == len(set(created)) == 101


class _Held:
    """A producer whose next transaction with records waits before it is committed, until it is released."""

    def __init__(self) -> None:
        self.held, self._go, self._holding = threading.Event(), threading.Event(), False
        outer = self

        class Waits(IngressProducer):
            def publish(self, records: Sequence[RawRecord], watermarks: Any) -> None:
                if outer._holding and records:
                    outer._holding = False
                    outer.held.set()
                    outer._go.wait(60)
                super().publish(records, watermarks)

        self.producer = Waits

    def hold(self) -> None:
        self._holding = True

    def release(self) -> None:
        self._go.set()
