"""Writers that change the tables of a followed source at random, so that every lost or repeated change shows.

Each write of a row raises its `version` by one; a row that is inserted has version 1.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence

import psycopg
from psycopg import sql

ROWS = 150
LARGE_TRANSACTION_ROWS = 120
CREATE = "CREATE TABLE {} (id int PRIMARY KEY, version int NOT NULL, note text NOT NULL DEFAULT repeat('n', 300))"
FILL = "INSERT INTO {} SELECT g, 1 FROM generate_series(0, {} - 1) g"
WRITE = "INSERT INTO {table} VALUES (%s, 1) ON CONFLICT (id) DO UPDATE SET version = {table}.version + 1"


def create_tables(dsn: str, tables: Sequence[str]) -> None:
    """Create the tables with their first rows."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        for table in map(sql.Identifier, tables):
            connection.execute(sql.SQL(CREATE).format(table))
            connection.execute(sql.SQL(FILL).format(table, sql.Literal(ROWS)))


class Writers:
    """Two connections that write until `end`: single rows, deletes, large transactions, and transactions that are
    rolled back. `changes`: how many were committed."""

    def __init__(self, dsn: str, tables: Sequence[str], seed: int, pause_s: float = 0.01) -> None:
        self._dsn, self._tables, self._pause_s = dsn, [sql.Identifier(table) for table in tables], pause_s
        self._end = threading.Event()
        self._failed: list[Exception] = []
        self._changes = [0, 0]
        self._threads = [threading.Thread(target=self._run, args=(random.Random(seed + n), n)) for n in (0, 1)]
        for thread in self._threads:
            thread.start()

    @property
    def changes(self) -> int:
        return sum(self._changes)

    def end(self) -> None:
        """End the writers. Raises the error of one that failed."""
        self._end.set()
        for thread in self._threads:
            thread.join(60)
        if self._failed:
            raise self._failed[0]

    def _run(self, dice: random.Random, number: int) -> None:
        try:
            with psycopg.connect(self._dsn) as connection:
                while not self._end.wait(self._pause_s):
                    self._changes[number] += self._transaction(connection, dice, number)
        except Exception as error:
            self._failed.append(error)

    def _transaction(self, connection: psycopg.Connection, dice: random.Random, number: int) -> int:
        """One transaction. Returns the number of committed changes."""
        table = dice.choice(self._tables)
        # Each writer has its own rows, so that none waits for the lock of the other.
        rows = LARGE_TRANSACTION_ROWS if dice.random() < 0.02 else dice.randint(1, 3)
        for _ in range(rows):
            row = dice.randrange(ROWS) * 2 + number
            if dice.random() < 0.1:
                connection.execute(sql.SQL("DELETE FROM {} WHERE id = %s").format(table), [row])
            else:
                connection.execute(sql.SQL(WRITE).format(table=table), [row])
        if dice.random() < 0.05:
            connection.rollback()
            return 0
        connection.commit()
        return rows
