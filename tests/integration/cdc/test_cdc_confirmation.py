"""An LSN that is confirmed to Postgres is durable in Kafka, at every moment, whichever process is killed."""

from __future__ import annotations

import random
import signal
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

import psycopg
import pytest

from sluice.ingress.producer import IngressProducer
from sluice.raw.writing import RawRecord
from support.cdc import Source
from support.waiting import eventually

FEEDBACKS = 5


class Gate:
    """A producer that blocks each transaction with records until the gate is opened."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.waiting = threading.Event()

    @property
    def producer(self) -> type[IngressProducer]:
        gate = self

        class Gated(IngressProducer):
            def publish(self, records: Sequence[RawRecord], watermarks: Any) -> None:
                if records:
                    gate.waiting.set()
                    assert gate.open.wait(60)
                super().publish(records, watermarks)

        return Gated


def feedbacks_arrive(source: Source, count: int) -> None:
    """Wait until Postgres has received `count` more feedbacks from the stage."""
    reply_times: set[object] = set()

    def heard() -> bool:
        reply_times.update(source.sql("SELECT reply_time FROM pg_stat_replication WHERE reply_time IS NOT NULL"))
        return len(reply_times) > count

    eventually(heard, f"{count} feedbacks")


def test_the_lsn_confirmed_never_exceeds_the_watermark(source: Source) -> None:
    gate = Gate()
    gate.open.set()
    source.sql("INSERT INTO employee VALUES (0, 'snapshot')")
    with source.followed(gate.producer) as running:
        running.await_streaming()
        gate.open.clear()
        gate.waiting.clear()
        source.sql("INSERT INTO employee VALUES (1, 'Ada')")
        committed = source.wal_lsn()
        try:
            assert gate.waiting.wait(30), "the change waits to be published"
            feedbacks_arrive(source, FEEDBACKS)
            watermark = source.watermark()
            assert watermark is not None
            assert watermark.lsn < committed
            assert source.confirmed_lsn() <= watermark.lsn
        finally:
            gate.open.set()
        source.published_up_to(committed)
        eventually(lambda: source.confirmed_lsn() >= committed, "the slot moves once the change is durable")


def test_an_idle_slot_moves_on_and_its_lsn_is_in_the_watermark_first(source: Source) -> None:
    with source.followed() as running:
        running.await_streaming()
        source.sql("CREATE TABLE elsewhere AS SELECT generate_series(1, 1000)")
        end = source.wal_lsn()
        eventually(lambda: source.confirmed_lsn() >= end, "confirmed without a change of ours")
        confirmed = source.confirmed_lsn()
        watermark = source.watermark()
        assert watermark is not None
        assert confirmed <= watermark.lsn
    assert source.raw("employee") == [r for r in source.raw("employee") if r.is_sweep]


def publishes(source: Source) -> None:
    """Wait until the watermark has changed."""
    began = source.watermark()
    eventually(lambda: source.watermark() not in (None, began), "it publishes")


@pytest.mark.parametrize("rounds", [5])
def test_a_stage_killed_at_random_moments_publishes_every_change_once(source: Source, rounds: int) -> None:
    seed = random.randrange(1_000_000)
    sys.stdout.write(f"seed {seed}\n")
    dice = random.Random(seed)
    ended = threading.Event()
    writes = [0]

    def write() -> None:
        with psycopg.connect(source.dsn, autocommit=True) as connection:
            while not ended.wait(0.002):
                writes[0] += 1
                connection.execute(
                    "INSERT INTO employee VALUES (%s, 'n', 1) ON CONFLICT (id)"
                    " DO UPDATE SET version = employee.version + 1",
                    [writes[0] % 50],
                )

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(rounds):
            with source.process() as process:
                publishes(source)
                time.sleep(dice.uniform(0.0, 0.5))  # the random moment that this test is about
                process.send_signal(signal.SIGKILL)
                process.wait(10)
                watermark = source.watermark()
                assert watermark is not None
                if watermark.lsn:
                    assert source.confirmed_lsn() <= watermark.lsn
    finally:
        ended.set()
        writer.join(30)
    with source.process():
        source.published_up_to(source.wal_lsn())
    versions: dict[bytes, int] = {}
    for record in source.raw("employee"):
        if record.value is not None and not record.is_sweep:
            version = record.body["after"]["version"]
            # The first record of a key is a row that was read, or a change that was streamed while it was read.
            before = versions.get(record.key, version - 1)
            assert record.body["op"] == "r" or version == before + 1, (seed, record.key)
            versions[record.key] = version
    assert {row["id"]: row["version"] for row in source.rows("employee").values()} == dict(
        source.sql("SELECT id, version FROM employee")
    )


def test_it_stops_cleanly_at_sigterm(source: Source) -> None:
    with source.process() as process:
        eventually(lambda: source.watermark() is not None, "it publishes")
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
