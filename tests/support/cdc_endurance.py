"""Loads that ingress-cdc must endure with bounded memory: a very large transaction, very many tables, a long absence of
Kafka, and an idle database next to a busy one. The size of each is an argument: `make endurance` has the long forms,
the tests the short ones."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import psutil
import psycopg
from psycopg import sql

from sluice.embedded import Servers
from support.cdc import Source
from support.cdc_kills import Damage, add_damage, stage
from support.cdc_writers import Writers
from support.servers import kill
from support.waiting import eventually

ROW_BYTES = 2_000
CREATE = "CREATE TABLE {} (id int PRIMARY KEY, version int NOT NULL, note text)"
# Below the size at which Postgres compresses a value.
LARGE = "INSERT INTO {} SELECT g, 1, repeat(md5(g::text), 60) FROM generate_series(1, {}) g"
PUBLISHED_WITHIN_S = 120.0
MIB = 2**20


@dataclass
class Endured:
    """The result of one load. `findings`: what is wrong; empty if all is well. `grown_mib`: how much the memory of the
    stage grew after its start, at most."""

    load: str
    records: int = 0
    seconds: float = 0.0
    grown_mib: float = 0.0
    damage: Damage = field(default_factory=Damage)
    findings: list[str] = field(default_factory=list)

    def judged(self, grown_mib_max: float) -> Endured:
        """The same result, with findings about damage and memory."""
        if self.damage.lost:
            self.findings.append(f"{len(self.damage.lost)} lost, for example {self.damage.lost[0]}")
        if self.damage.doubled:
            self.findings.append(f"{self.damage.doubled} doubled")
        if self.damage.unordered:
            self.findings.append(f"{len(self.damage.unordered)} unordered, for example {self.damage.unordered[0]}")
        if self.grown_mib > grown_mib_max:
            self.findings.append(f"memory grew by {self.grown_mib:.0f} MiB, allowed are {grown_mib_max:.0f} MiB")
        return self

    def to_json(self) -> dict[str, Any]:
        return {
            "load": self.load,
            "records": self.records,
            "seconds": round(self.seconds, 1),
            "grown_mib": round(self.grown_mib, 1),
            "findings": self.findings,
        }


class Memory:
    """The resident memory of a process while the block runs: how much it grew since the start of the block."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = psutil.Process(process.pid)
        self._first = self._most = self._process.memory_info().rss
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    @property
    def grown_mib(self) -> float:
        return (self._most - self._first) / MIB

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join(10)

    def _sample(self) -> None:
        while not self._ended.wait(0.05):
            try:
                self._most = max(self._most, self._process.memory_info().rss)
            except psutil.NoSuchProcess:
                return


def large_transaction(source: Source, table: str, mib: int, batch_bytes_max: int, grown_mib_max: float) -> Endured:
    """One transaction of `mib` MiB of rows, which is larger than any batch."""
    found, rows = Endured(f"a transaction of {mib} MiB"), mib * MIB // ROW_BYTES
    create_empty(source, [table])
    with stage(source, batch_bytes_max=batch_bytes_max) as process:
        source.published_up_to(source.wal_lsn(), PUBLISHED_WITHIN_S)
        with Memory(process) as memory:
            began = time.monotonic()
            with psycopg.connect(source.dsn) as connection:
                connection.execute(sql.SQL(LARGE).format(sql.Identifier(table), sql.Literal(rows)))
            source.published_up_to(source.wal_lsn(), PUBLISHED_WITHIN_S + mib)
            found.seconds, found.grown_mib = time.monotonic() - began, memory.grown_mib
        _require_alive(process, found)
    return _counted(found, source, [table], grown_mib_max)


def many_tables(source: Source, tables: Sequence[str], grown_mib_max: float) -> Endured:
    """A snapshot of many tables, a change of each in a transaction of its own, and one transaction that changes all."""
    found = Endured(f"{len(tables)} tables")
    create_empty(source, tables)
    with psycopg.connect(source.dsn, autocommit=True) as connection:
        for table in tables:
            connection.execute(sql.SQL("INSERT INTO {} VALUES (1, 1), (2, 1)").format(sql.Identifier(table)))
    began = time.monotonic()
    with stage(source) as process:
        source.published_up_to(source.wal_lsn(), PUBLISHED_WITHIN_S + len(tables))
        with Memory(process) as memory:
            for autocommit in (True, False):
                _update_all(source, tables, autocommit=autocommit)
            source.published_up_to(source.wal_lsn(), PUBLISHED_WITHIN_S + len(tables))
            found.seconds, found.grown_mib = time.monotonic() - began, memory.grown_mib
        _require_alive(process, found)
    return _counted(found, source, tables, grown_mib_max)


def kafka_away(
    source: Source, tables: Sequence[str], servers: Servers, seconds: float, seed: int, grown_mib_max: float
) -> Endured:
    """Kafka is killed, comes back after `seconds`, and two writers change `tables` all the time. The stage goes on by
    itself."""
    found = Endured(f"Kafka away for {seconds:.0f} s")
    with stage(source) as process:
        source.published_up_to(source.wal_lsn(), PUBLISHED_WITHIN_S)
        writers = Writers(source.dsn, tables, seed, pause_s=0.0)
        try:
            eventually(lambda: writers.changes > 500, "changes are made")
            with Memory(process) as memory:
                began = time.monotonic()
                kill(servers, "kafka")
                threading.Event().wait(seconds)  # the length of the absence is what is tested
                servers.restart("kafka")
                writers.end()
                source.published_up_to(source.wal_lsn(), PUBLISHED_WITHIN_S + seconds)
                found.seconds, found.grown_mib = time.monotonic() - began, memory.grown_mib
        finally:
            writers.end()
        _require_alive(process, found)
    return _counted(found, source, tables, grown_mib_max)


def idle_next_to_busy(source: Source, table: str, busy_dsn: str, busy_mib: int) -> Endured:
    """The database `busy_dsn` of the same server writes `busy_mib` MiB of log. The slot of the idle one must not keep
    the server from deleting it."""
    found = Endured(f"idle next to a database that writes {busy_mib} MiB")
    create_empty(source, [table])
    with stage(source) as process:
        source.published_up_to(source.wal_lsn(), PUBLISHED_WITHIN_S)
        began = time.monotonic()
        with psycopg.connect(busy_dsn, autocommit=True) as connection:
            connection.execute("CREATE TABLE t (note text)")
            until = source.wal_lsn() + busy_mib * MIB
            while source.wal_lsn() < until:
                connection.execute("INSERT INTO t SELECT repeat(md5(g::text), 60) FROM generate_series(1, 1000) g")
            eventually(
                lambda: _checkpoint(connection) and _retained_mib(source) < busy_mib / 4,
                "the slot moves on",
                PUBLISHED_WITHIN_S,
                lambda: f"the slot retains {_retained_mib(source):.0f} MiB",
            )
        source.sql(f"INSERT INTO {table} VALUES (1, 1)")
        source.published_up_to(source.wal_lsn(), PUBLISHED_WITHIN_S)
        found.seconds = time.monotonic() - began
        _require_alive(process, found)
    return _counted(found, source, [table], 0)


def create_empty(source: Source, tables: Sequence[str]) -> None:
    """Create the tables, with no rows."""
    with psycopg.connect(source.dsn, autocommit=True) as connection:
        for table in tables:
            connection.execute(sql.SQL(CREATE).format(sql.Identifier(table)))


def _update_all(source: Source, tables: Sequence[str], *, autocommit: bool) -> None:
    with psycopg.connect(source.dsn, autocommit=autocommit) as connection:
        for table in tables:
            connection.execute(sql.SQL("UPDATE {} SET version = version + 1").format(sql.Identifier(table)))


def _checkpoint(connection: psycopg.Connection) -> bool:
    """Let the server write where its transactions stand: a slot can move on only to such a place."""
    connection.execute("CHECKPOINT")
    return True


def _retained_mib(source: Source) -> float:
    """How much log the slot keeps the server from deleting."""
    query = "SELECT pg_current_wal_insert_lsn() - restart_lsn FROM pg_replication_slots WHERE slot_name = %s"
    return float(source.sql(query, [source.slot.slot])[0][0]) / MIB


def _require_alive(process: subprocess.Popen[bytes], found: Endured) -> None:
    if process.poll() is not None:
        found.findings.append(f"the stage ended with exit code {process.returncode}")


def _counted(found: Endured, source: Source, tables: Sequence[str], grown_mib_max: float) -> Endured:
    for table in tables:
        found.records += add_damage(found.damage, source, table).records
    return found.judged(grown_mib_max)
