"""A publication that goes, or was other for a moment, is noticed by what decides and not by its name."""

from __future__ import annotations

import pytest

from support.cdc import Source
from support.cdc_commands import resnapshot
from support.raw_rows import become_equal


def test_a_publication_that_is_gone_is_told_within_seconds_and_a_resnapshot_makes_it_again(tables: Source) -> None:
    with tables.followed() as running:
        running.whole()
        tables.sql(f"DROP PUBLICATION {tables.slot.publication}")
        assert "sluice cdc resnapshot erp" in running.faulty("does not exist any more")
        tables.sql("UPDATE a SET n = 7")
        resnapshot(tables)
        running.whole()
        become_equal(tables, "a", "b")


@pytest.mark.parametrize(
    "statements",
    [
        "ALTER PUBLICATION {p} SET (publish = 'insert'); UPDATE a SET n = 8; "
        "ALTER PUBLICATION {p} SET (publish = 'insert, update, delete, truncate')",
        "DROP PUBLICATION {p}; UPDATE a SET n = 8; CREATE PUBLICATION {p} FOR TABLE a, b",
        "DROP PUBLICATION {p}; UPDATE a SET n = 8; CREATE PUBLICATION {p} FOR ALL TABLES",
    ],
    ids=["updates left out for a moment", "made again", "made again for all tables"],
)
def test_a_publication_that_was_other_for_a_moment_leaves_a_fault_on_every_table(
    tables: Source, statements: str
) -> None:
    with tables.followed() as running:
        running.whole()
        for statement in statements.split("; "):
            tables.sql(statement.format(p=tables.slot.publication))
        for table in ("a", "b"):
            assert f"sluice cdc resnapshot erp --table public.{table}" in running.faulty(f"public.{table} is followed")
        resnapshot(tables, "--table", "public.a", "--table", "public.b")
        running.whole()
        become_equal(tables, "a", "b")
