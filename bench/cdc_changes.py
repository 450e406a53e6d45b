"""The changes that the benchmark of CDC makes in the source table while no contestant reads it.

Change number `c` is the same in every run. Of ten changes, six update a row that existed before, three insert a row,
and one deletes the first of these three. A transaction has 100 changes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

import psycopg

from bench import ledger, source_table

TRANSACTION_CHANGES = 100
UPDATES, INSERTS = 6, 3  # of ten changes; the tenth deletes
# The staged rows are in a temporary table, which is neither in the log of the server nor in a publication.
STAGE = """
CREATE TEMPORARY TABLE staged (number bigint, op "char", LIKE public.ledger_entry);
"""
WRITE = """
CREATE PROCEDURE write_staged(changes bigint, per_transaction bigint) LANGUAGE plpgsql AS $$
BEGIN
    FOR begins IN 0 .. changes - 1 BY per_transaction LOOP
        UPDATE public.ledger_entry AS t
        SET cost_centre = s.cost_centre, employee = s.employee, booked_on = s.booked_on, changed_at = s.changed_at,
            amount = s.amount, currency = s.currency, quantity = s.quantity, rate = s.rate, text = s.text
        FROM staged AS s
        WHERE s.number >= begins AND s.number < begins + per_transaction AND s.op = 'u' AND t.id = s.id;
        INSERT INTO public.ledger_entry
        SELECT id, cost_centre, employee, booked_on, changed_at, amount, currency, quantity, rate, text FROM staged
        WHERE number >= begins AND number < begins + per_transaction AND op = 'c' ORDER BY number;
        DELETE FROM public.ledger_entry WHERE id IN (
            SELECT id FROM staged WHERE number >= begins AND number < begins + per_transaction AND op = 'd');
        COMMIT;
    END LOOP;
END $$;
"""
Op = Literal["c", "u", "d"]


class Change(NamedTuple):
    """A change of the entry `number` to its state `version`. `op`: as in a change event."""

    op: Op
    number: int
    version: int


def change(number: int, keys: int) -> Change:
    """Change `number`. `keys`: how many rows existed before the first change, with the numbers 0, 1, …"""
    block, place = divmod(number, 10)
    if place < UPDATES:
        update = block * UPDATES + place
        return Change("u", update % keys, 1 + update // keys)
    if place < UPDATES + INSERTS:
        return Change("c", keys + block * INSERTS + place - UPDATES, 0)
    return Change("d", keys + block * INSERTS, 0)


def changes(count: int, keys: int) -> Iterator[Change]:
    """The first `count` changes."""
    return (change(number, keys) for number in range(count))


def write_changes(dsn: str, count: int, keys: int, size: int) -> None:
    """Commit the first `count` changes. `size`: of a raw record, see `ledger.entry`."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(STAGE)
        with connection.cursor() as cursor, cursor.copy("COPY staged FROM STDIN") as copy:
            for number, one in enumerate(changes(count, keys)):
                copy.write_row((number, one.op, *ledger.entry(one.number, one.version, size)))
        connection.execute("CREATE INDEX ON staged (number)")
        connection.execute("ANALYZE staged")
        connection.execute(WRITE)
        connection.execute("CALL write_staged(%s, %s)", [count, TRANSACTION_CHANGES])


def write_rows(dsn: str, keys: int, size: int) -> None:
    """Create the source table with the rows that exist before the first change."""
    source_table.create(dsn)
    with psycopg.connect(dsn) as connection:
        source_table.copy_rows(connection, range(keys), size)
