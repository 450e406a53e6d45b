"""The reference page of Postgres types agrees with a server: each value's text, oid and type modifier."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from sluice.cdc.column_json import SESSION_OPTIONS
from support.types_page import ARRIVES, ENUM_ARRAY_OID, ENUM_OID, Arrives

OURS = {ENUM_OID: "mood", ENUM_ARRAY_OID: "mood[]"}


@pytest.fixture
def database(postgres_dsn: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        for name, value in SESSION_OPTIONS.items():
            connection.execute("SELECT set_config(%s, %s, false)", [name, value])
        connection.execute("CREATE TYPE mood AS ENUM ('sad', 'ok')")
        yield connection


@pytest.mark.parametrize("one", ARRIVES, ids=lambda one: one.sql)
def test_a_column_of_the_type_has_that_text_oid_and_modifier(one: Arrives, database: psycopg.Connection) -> None:
    kind = OURS.get(one.oid, one.sql)
    database.execute(sql.SQL("CREATE TABLE t (c {})").format(sql.SQL(kind)))
    database.execute(sql.SQL("INSERT INTO t VALUES ({}::text::{})").format(one.text, sql.SQL(kind)))
    [(text,)] = database.execute("SELECT c::text FROM t").fetchall()
    [(oid, typmod)] = database.execute(
        "SELECT atttypid::int, atttypmod FROM pg_attribute WHERE attrelid = 't'::regclass AND attname = 'c'"
    ).fetchall()
    assert text == ("true" if one.oid == 16 else one.text)
    assert typmod == one.typmod
    if one.oid not in OURS:
        assert oid == one.oid
