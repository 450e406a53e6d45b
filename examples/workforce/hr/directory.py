"""HR's store: worker records as JSON bytes in SQLite, ordered by (updatedAt, id).

The server alone says when a record changed: `updatedAt` rises strictly from one change to the next, and the workers of
one change share it. With a file as store, edits survive a restart; a source that forgot them would not be a source.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from random import Random
from threading import RLock
from typing import Any, NamedTuple

from .. import company
from . import spellings

_SCHEMA = """
CREATE TABLE IF NOT EXISTS worker (id TEXT PRIMARY KEY, updated_us INTEGER NOT NULL, body BLOB NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS worker_updated ON worker (updated_us, id);
CREATE TABLE IF NOT EXISTS counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS earlier (id TEXT, updated_us INTEGER, body BLOB NOT NULL, PRIMARY KEY (id, updated_us))
WITHOUT ROWID;
"""
_FIRST_IMPORT = datetime(2024, 1, 1, tzinfo=UTC)
_EARLIER_MAX = 20  # records of one worker that are kept after they were replaced
_IMPORT_BATCH = 40  # workers that one nightly import wrote: they share their updatedAt


class Stamp(NamedTuple):
    """Where a page ended: microseconds since 1970, and the tie-break."""

    updated_us: int
    id: str


class Directory:
    """All workers. Every public method is atomic; `changes` counts what was changed in all."""

    def __init__(self, path: str = ":memory:") -> None:
        self._lock = RLock()
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF; PRAGMA cache_size=-4000;" + _SCHEMA)

    def fill(self, workers: int, seed: int) -> None:
        """Generates `workers` records from `seed`, unless the store already has some."""
        with self._lock, self._db:
            if self.counter("number"):
                return
            self._db.execute("BEGIN")
            for number in range(1, workers + 1):
                record = spellings.worker(company.person(seed, number), seed)
                self._put(record, _imported_us(number, seed))
            self._count("number", workers)

    def page(self, updated_from_us: int, after: Stamp | None, limit: int) -> tuple[list[bytes], Stamp | None]:
        """At most `limit` records from `updated_from_us` on, behind `after`; where to go on, None at the end."""
        start = after or Stamp(updated_from_us, "")
        with self._lock:
            rows = self._db.execute(
                "SELECT updated_us, id, body FROM worker WHERE (updated_us, id) > (?, ?)"
                " ORDER BY updated_us, id LIMIT ?",
                (*start, limit + 1),
            ).fetchall()
        more = len(rows) > limit
        return [row[2] for row in rows[:limit]], Stamp(*rows[limit - 1][:2]) if more else None

    def get(self, worker_id: str) -> bytes | None:
        with self._lock:
            row = self._db.execute("SELECT body FROM worker WHERE id = ?", (worker_id,)).fetchone()
        return row[0] if row else None

    def earlier(self, worker_id: str) -> list[bytes]:
        """The records of this worker that later ones replaced, the newest first; none of who was deleted."""
        query = "SELECT body FROM earlier WHERE id = ? ORDER BY updated_us DESC"
        with self._lock:
            return [row[0] for row in self._db.execute(query, (worker_id,))]

    def hire(self, worker_id: str, record: Mapping[str, Any]) -> bytes:
        """The whole record of somebody new, or instead of the one that is there; as it is stored."""
        with self._changing() as now_us:
            return self._put({**record, "id": worker_id}, now_us)

    def edit(self, members: Mapping[str, Mapping[str, Any]]) -> list[bytes]:
        """Sets members of several workers (by id) at one instant; the records after it.

        Who is gone is passed over: setting a member would make a record of that member alone.
        """
        with self._lock:
            known = {worker_id: body for worker_id in members if (body := self.get(worker_id))}
            if not known:
                return []
            with self._changing() as now_us:
                return [self._put(_with(body, members[worker_id]), now_us) for worker_id, body in known.items()]

    def delete(self, worker_id: str) -> bool:
        """A hard delete: the worker is not listed any more, and nothing says so. False if there was none."""
        with self._lock:
            gone = self._db.execute("DELETE FROM worker WHERE id = ?", (worker_id,)).rowcount > 0
            if gone:
                self._db.execute("DELETE FROM earlier WHERE id = ?", (worker_id,))
                self._count("changes", self.counter("changes") + 1)
        return gone

    def next(self, name: str) -> int:
        """Counts `name` up; a value it never had before. `number` is the one that no worker ever had."""
        with self._lock:
            value = self.counter(name) + 1
            self._count(name, value)
        return value

    def pick(self, rng: Random, count: int, without: Sequence[str] = ()) -> list[str]:
        """Ids of up to `count` different workers, chosen by `rng`."""
        with self._lock:
            size = len(self)
            offsets = rng.sample(range(size), min(count, size))
            query = "SELECT id FROM worker ORDER BY id LIMIT 1 OFFSET ?"
            found = [self._db.execute(query, (offset,)).fetchone()[0] for offset in offsets]
        return [worker_id for worker_id in found if worker_id not in without]

    def counter(self, name: str) -> int:
        row = self._db.execute("SELECT value FROM counter WHERE name = ?", (name,)).fetchone()
        return int(row[0]) if row else 0

    def __len__(self) -> int:
        with self._lock:
            return int(self._db.execute("SELECT count(*) FROM worker").fetchone()[0])

    def close(self) -> None:
        with self._lock, closing(self._db):
            pass

    @contextmanager
    def _changing(self) -> Iterator[int]:
        """A transaction that counts as a change; when it is made. Rolled back if the block fails."""
        with self._lock, self._db:
            self._db.execute("BEGIN")
            yield self._tick()
            self._count("changes", self.counter("changes") + 1)

    def _put(self, record: dict[str, Any], updated_us: int) -> bytes:
        record = {**record, "updatedAt": rfc3339(updated_us)}
        body = json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode()
        self._db.execute("INSERT OR IGNORE INTO earlier SELECT * FROM worker WHERE id = ?", (record["id"],))
        self._db.execute(
            "DELETE FROM earlier WHERE id = ? AND updated_us NOT IN"
            " (SELECT updated_us FROM earlier WHERE id = ? ORDER BY updated_us DESC LIMIT ?)",
            (record["id"], record["id"], _EARLIER_MAX),
        )
        self._db.execute("INSERT OR REPLACE INTO worker VALUES (?, ?, ?)", (record["id"], updated_us, body))
        return body

    def _count(self, name: str, value: int) -> None:
        self._db.execute("INSERT OR REPLACE INTO counter VALUES (?, ?)", (name, value))

    def _tick(self) -> int:
        """Now, but later than any change before: a clock that steps back must not hide an edit."""
        now_us = max(time.time_ns() // 1000, self.counter("last_us") + 1)
        self._count("last_us", now_us)
        return now_us


def _with(body: bytes, changed: Mapping[str, Any]) -> dict[str, Any]:
    """The record with members set, and those removed that `$remove` names."""
    before = json.loads(body)
    record = {**before, **changed, "id": before["id"]}
    for member in record.pop("$remove", ()):
        record.pop(member, None)
    return record


def rfc3339(us: int) -> str:
    """UTC with milliseconds where that is exact, else with microseconds, as HR writes it."""
    moment = datetime(1970, 1, 1) + timedelta(microseconds=us)
    return moment.isoformat(timespec="milliseconds" if us % 1000 == 0 else "microseconds") + "Z"


def _imported_us(number: int, seed: int) -> int:
    batch = (number - 1) // _IMPORT_BATCH
    offset_ms = batch * 86_400_000 + Random(f"{seed}/import/{batch}").randrange(3_600_000)
    return int((_FIRST_IMPORT + timedelta(milliseconds=offset_ms)).timestamp() * 1000) * 1000
