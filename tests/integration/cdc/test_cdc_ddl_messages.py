"""With the event trigger, a change of a table's definition is noticed at once."""

from __future__ import annotations

from importlib import resources

from support.cdc import Source

NEVER_S = 3_600.0


def test_a_dropped_column_is_noticed_by_the_message_of_the_event_trigger(source: Source) -> None:
    source.sql(resources.files("sluice.cdc").joinpath("sql", "ddl_trigger.sql").read_text())
    with source.followed(watch_interval_s=NEVER_S) as running:
        running.await_streaming()
        source.sql("INSERT INTO employee VALUES (1, 'n')")
        source.published_up_to(source.wal_lsn())
        source.sql("ALTER TABLE employee DROP COLUMN notes")
        running.await_fault("column notes was dropped")
    assert source.rows("employee").keys() == {b'{"id":1}'}
