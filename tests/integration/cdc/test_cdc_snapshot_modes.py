"""Debezium's `snapshot.mode` decides whether tables are read."""

from __future__ import annotations

from dataclasses import replace

from sluice.cdc.watermarks import FOLLOWED
from sluice.debezium_settings import DebeziumSettings
from support.cdc import SOURCE, Source, create_topics
from support.cdc_commands import resnapshot
from support.raw_rows import await_equal


def in_mode(source: Source, mode: str) -> Source:
    """The same source with this `snapshot.mode`."""
    update = {"debezium": DebeziumSettings({"snapshot.mode": mode})}
    changed = source.pipeline.cdc_sources()[SOURCE].model_copy(update=update)
    pipeline = source.pipeline.model_copy(update={"sources": {SOURCE: changed}})
    create_topics(pipeline, source.kafka)
    return replace(source, pipeline=pipeline)


def test_without_data_only_changes_are_published_until_an_operator_requests_the_rows(tables: Source) -> None:
    with in_mode(tables, "no_data").followed() as running:
        running.await_no_fault()
        tables.sql("INSERT INTO a VALUES (2, 2)")
        tables.published_up_to(tables.wal_lsn())
        assert [record.body["op"] for record in tables.raw("a") if record.value] == ["c"]
        assert not [record for record in tables.raw("a") if record.is_sweep], "what was published stays"
        resnapshot(tables, "--table", "public.a")
        await_equal(tables, "a")
    assert tables.raw("b") == []


def test_when_needed_a_lost_slot_is_replaced_and_all_tables_are_read(tables: Source) -> None:
    ours = in_mode(tables, "when_needed")
    with ours.followed() as running:
        running.await_no_fault()
    tables.sql("SELECT pg_drop_replication_slot(%s)", [tables.slot.slot])
    tables.sql("DELETE FROM a; INSERT INTO a VALUES (7, 7)")
    with ours.followed() as running:
        running.await_no_fault()
        await_equal(tables, "a", "b")
    watermark = tables.watermark()
    assert watermark is not None
    assert (watermark.epoch, tables.mark("a").state) == (2, FOLLOWED)
