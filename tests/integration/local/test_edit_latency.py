"""The latency of an edit ends with the commit of the row that shows it, not when the row is read."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psycopg
import pytest

from sluice.local.edit_latency import EditLatency
from sluice.testing.example import GoldenValue


@pytest.fixture
def database(postgres_dsn: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA golden")
        connection.execute("CREATE TABLE golden.worker (entity_id text PRIMARY KEY, full_name text)")
        yield connection


def said(edits: Sequence[Mapping[str, Any]]) -> list[GoldenValue]:
    return [GoldenValue("worker", e["id"], "full_name", e["value"], e["sent_at"]) for e in edits]


def measured(dsn: str, directory: Path) -> tuple[Path, EditLatency]:
    log = directory / "edits.jsonl"
    latency = EditLatency(dsn, "golden", log, said)
    latency.count_from = 1
    return log, latency


def edit(log: Path, key: str, name: str, sent_at: int) -> None:
    with log.open("a") as lines:
        lines.write(json.dumps({"id": key, "value": name, "sent_at": sent_at}) + "\n")


def now_us() -> int:
    return time.time_ns() // 1_000


def test_latency_ends_with_the_commit_however_late_the_row_is_read(
    postgres_dsn: str, database: psycopg.Connection, tmp_path: Path
) -> None:
    log, latency = measured(postgres_dsn, tmp_path)
    sent_at = now_us()
    edit(log, "E1", "Ada", sent_at - 2_000_000)
    latency.sample()
    assert latency.summary() == {"median": None, "p99": None, "edits": 0}
    database.execute("INSERT INTO golden.worker VALUES ('E1', 'Ada')")
    committed_by = now_us()
    time.sleep(0.3)  # the row is read late, which must not count
    latency.sample()
    latency.sample()
    summary = latency.summary()
    assert summary["edits"] == 1
    assert summary["median"] is not None
    assert 2.0 <= summary["median"] <= (committed_by - sent_at) / 1e6 + 2.001


def test_an_edit_that_sets_what_stood_there_is_not_counted(
    postgres_dsn: str, database: psycopg.Connection, tmp_path: Path
) -> None:
    log, latency = measured(postgres_dsn, tmp_path)
    database.execute("INSERT INTO golden.worker VALUES ('E1', 'Ada')")
    edit(log, "E1", "Ada", now_us() + 1)
    latency.sample()
    assert latency.summary()["edits"] == 0


def test_half_a_line_is_read_when_it_is_whole(postgres_dsn: str, database: psycopg.Connection, tmp_path: Path) -> None:
    log, latency = measured(postgres_dsn, tmp_path)
    edit(log, "E1", "Ada", now_us())
    whole = log.read_bytes()
    log.write_bytes(whole[:20])
    latency.sample()
    log.write_bytes(whole)
    database.execute("INSERT INTO golden.worker VALUES ('E1', 'Ada')")
    latency.sample()
    assert latency.summary()["edits"] == 1


def test_without_tables_edits_wait(postgres_dsn: str, tmp_path: Path) -> None:
    log, latency = measured(postgres_dsn, tmp_path)
    edit(log, "E1", "Ada", now_us())
    latency.sample()
    with psycopg.connect(postgres_dsn) as connection:
        connection.execute("CREATE SCHEMA golden")
        connection.execute("CREATE TABLE golden.worker (entity_id text PRIMARY KEY, full_name text)")
        connection.execute("INSERT INTO golden.worker VALUES ('E1', 'Ada')")
    latency.sample()
    assert latency.summary()["edits"] == 1


def test_edits_from_before_the_pipeline_ran_are_not_counted(
    postgres_dsn: str, database: psycopg.Connection, tmp_path: Path
) -> None:
    log, latency = measured(postgres_dsn, tmp_path)
    latency.count_from = None
    edit(log, "E1", "Ada", now_us())
    latency.sample()
    latency.count_from = now_us()
    edit(log, "E2", "Bob", latency.count_from - 1)
    edit(log, "E3", "Cy", latency.count_from)
    database.execute("INSERT INTO golden.worker VALUES ('E1', 'Ada'), ('E2', 'Bob'), ('E3', 'Cy')")
    latency.sample()
    assert latency.summary()["edits"] == 1
