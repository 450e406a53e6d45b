"""The table that a CDC contestant follows, and the changes that the harness makes in it."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import psycopg
from psycopg import sql

from bench import ledger

TABLE = "public.ledger_entry"
CREATE = """
CREATE TABLE public.ledger_entry (
    id         text PRIMARY KEY,
    cost_centre text NOT NULL,
    employee   text,
    booked_on  date NOT NULL,
    changed_at timestamptz NOT NULL,
    amount     numeric(18, 2) NOT NULL,
    currency   text NOT NULL,
    quantity   integer NOT NULL,
    rate       numeric(9, 4) NOT NULL,
    text       text
)
"""
COPY = "COPY public.ledger_entry FROM STDIN"
INSERT = "INSERT INTO public.ledger_entry VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
UPDATE = "UPDATE public.ledger_entry SET quantity = %s, amount = %s, changed_at = %s WHERE id = %s"
TRANSACTION_ROWS = 500
WRITERS = 4


def create(dsn: str) -> None:
    """Create the source table."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(CREATE)


def copy_rows(connection: psycopg.Connection, numbers: Sequence[int], size: int) -> None:
    """Insert entries in one transaction."""
    with connection.cursor() as cursor, cursor.copy(COPY) as copy:
        for number in numbers:
            copy.write_row(ledger.entry(number, 0, size))
    connection.commit()


class Feeder(threading.Thread):
    """Inserts entries in transactions of 500 rows, as fast as the contestant follows: at most `ahead` rows are in the
    source and not yet in the target. Another thread sets `target_rows` to the number of new rows in the target."""

    def __init__(self, dsn: str, numbers: range, size: int, ahead: int) -> None:
        super().__init__(daemon=True)
        self._dsn, self._numbers, self._size, self._ahead = dsn, numbers, size, ahead
        self._stopped = threading.Event()
        self.target_rows = 0

    def run(self) -> None:
        with psycopg.connect(self._dsn) as connection:
            for start in range(0, len(self._numbers), TRANSACTION_ROWS):
                while start - self.target_rows > self._ahead:
                    if self._stopped.wait(0.005):
                        return
                copy_rows(connection, self._numbers[start : start + TRANSACTION_ROWS], self._size)

    def stop(self) -> None:
        self._stopped.set()
        self.join(30)


def steady_changes(dsn: str, changes: Sequence[tuple[int, bool]], rate: int, size: int) -> float:
    """Commit changes one by one at an even rate (changes per second), over four connections in turn: one alone would
    wait for the disk at each commit. Blocks until the last commit. Returns the rate that was reached.

    `changes`: for each change, the number of an entry, and whether the entry is new.
    """
    started_at = time.monotonic()
    with ThreadPoolExecutor(WRITERS) as pool:
        writers = [
            pool.submit(_commit_changes, dsn, changes[at::WRITERS], started_at + at / rate, rate / WRITERS, size)
            for at in range(WRITERS)
        ]
        for writer in writers:
            writer.result()
    return len(changes) / (time.monotonic() - started_at)


def _commit_changes(dsn: str, changes: Sequence[tuple[int, bool]], start_at: float, rate: float, size: int) -> None:
    """Commit changes at an even rate over one connection, the first one at the monotonic time `start_at`."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        for done, (number, is_new) in enumerate(changes):
            wait_s = start_at + done / rate - time.monotonic()
            if wait_s > 0:
                time.sleep(wait_s)
            if is_new:
                connection.execute(INSERT, ledger.entry(number, 0, size))
            else:
                one = ledger.entry(number, 1, size)
                connection.execute(UPDATE, (one.quantity, one.amount, one.changed_at, one.id))


def commit_times(dsn: str, table: sql.Identifier, key: str, ids: list[str]) -> dict[str, float]:
    """When the current version of each row was committed: seconds since 1970, by id."""
    query = sql.SQL(
        "SELECT {key}::text, extract(epoch FROM pg_xact_commit_timestamp(xmin))::float8 FROM {table}"
        " WHERE {key} = ANY(%s)"
    ).format(key=sql.Identifier(key), table=table)
    with psycopg.connect(dsn) as connection:
        return dict(connection.execute(query, [ids]).fetchall())
