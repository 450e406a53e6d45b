"""Logical messages, transactions and heartbeats have topics of their own, as Debezium writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from sluice.kafka import read_to_end
from support.cdc import Source, dies_after, make_source

SETTINGS = {
    "provide.transaction.metadata": "true",
    "message.prefix.exclude.list": "noise.*",
}
ROWS = 3_000


@pytest.fixture
def source(request: pytest.FixtureRequest, postgres_dsn: str, kafka: str, topic_prefix: str, tmp_path: Path) -> Source:
    settings = {**SETTINGS, **getattr(request, "param", {})}
    source = make_source(postgres_dsn, kafka, topic_prefix, tmp_path, ["a", "b"], settings)
    for table in ("a", "b"):
        source.sql(f"CREATE TABLE {table} (id int PRIMARY KEY, n int)")
    return source


def read(source: Source, topic: str, partitions: int) -> list[dict[str, Any]]:
    """The values of a topic's committed records, partition by partition."""
    messages = read_to_end(source.kafka, topic, dict.fromkeys(range(partitions), 0))
    return [orjson.loads(m.value() or b"") for m in messages]


def transactions(source: Source) -> list[dict[str, Any]]:
    return read(source, source.pipeline.names.transactions("erp"), 1)


def test_a_transaction_of_many_parts_is_counted_once_after_a_kill_within_it(source: Source) -> None:
    with source.followed() as running:
        running.await_streaming()
    with source.followed(dies_after(3), batch_bytes_max=100_000) as running:
        running.await_streaming()
        source.sql(
            f"BEGIN; INSERT INTO a SELECT g, 1 FROM generate_series(1, {ROWS}) g; INSERT INTO b VALUES (1, 1);"
            "UPDATE b SET id = 2; COMMIT"
        )
        assert running.killed.wait(60)
    watermark = source.watermark()
    assert watermark is not None
    assert watermark.ordinal == sum(watermark.counts.values()) > 0, "the mark is within the transaction"
    with source.followed(batch_bytes_max=100_000) as running:
        running.await_streaming()
        source.published_up_to(source.wal_lsn())
    begin, end = transactions(source)
    assert (begin["status"], end["status"], end["event_count"]) == ("BEGIN", "END", ROWS + 3)
    assert end["data_collections"] == [
        {"data_collection": "public.a", "event_count": ROWS},
        {"data_collection": "public.b", "event_count": 3},
    ]
    events = [r.body for table in ("a", "b") for r in source.raw(table) if r.value and not r.is_sweep]
    orders = sorted(e["transaction"]["total_order"] for e in events if e["op"] != "r")
    assert orders == list(range(1, ROWS + 4))
    assert {e["transaction"]["id"].partition(":")[0] for e in events} == {end["id"].partition(":")[0]}


def test_logical_messages_are_published_once_but_not_those_of_sluice_itself(source: Source) -> None:
    def emit(transactional: bool, prefix: str, text: str) -> None:
        source.sql("SELECT pg_logical_emit_message(%s, %s, %s)", [transactional, prefix, text])

    with source.followed() as running:
        running.await_streaming()
        emit(True, "app", "inside")
        emit(False, "app", "outside")
        emit(True, "noise.debug", "left out")
        source.sql("INSERT INTO a VALUES (1, 1)")
        source.published_up_to(source.wal_lsn())
    with source.followed() as running:
        running.await_streaming()
        emit(True, "app", "later")
        source.published_up_to(source.wal_lsn())
    found = read(source, source.pipeline.names.messages("erp"), 2)
    assert [(m["op"], m["message"]["prefix"], m["message"]["content"]) for m in found] == [
        ("m", "app", "aW5zaWRl"),
        ("m", "app", "b3V0c2lkZQ=="),
        ("m", "app", "bGF0ZXI="),
    ]
    assert [m["transaction"] is None for m in found] == [False, True, False]


@pytest.mark.parametrize("source", [{"heartbeat.interval.ms": "100"}], indirect=True)
def test_a_heartbeat_is_published_in_each_interval_while_nothing_changes(source: Source) -> None:
    topic = source.pipeline.names.heartbeats("erp", "__debezium-heartbeat")
    with source.followed() as running:
        running.await_streaming()
        end = source.wal_lsn()
        source.published_up_to(end)
        source.published_up_to(source.wal_lsn())
    found = read(source, topic, 1)
    assert len(found) >= 2
    assert all(beat.keys() == {"ts_ms"} for beat in found)


def test_a_missing_topic_of_messages_is_named_with_the_command_that_creates_it(source: Source) -> None:
    source.delete_topic(source.pipeline.names.messages("erp"))
    with source.followed() as running:
        fault = running.await_fault("message")
    assert "sluice topics apply" in fault
