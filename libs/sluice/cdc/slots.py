"""Replication slots: what a source is, what its slot is, and the slot's life: created with a snapshot, dropped."""

from __future__ import annotations

import hashlib
import re
import time
from importlib import resources
from typing import Any, NamedTuple

from psycopg.rows import dict_row

from sluice.cdc.connection import APPLICATION_NAME, Connection, run_command
from sluice.cdc.faults import source_errors
from sluice.cdc.lsn import parse_lsn
from sluice.errors import Bug, EnvironmentFault, Transient
from sluice.pipeline import Pipeline

CREATE_DEADLINE_S = 60.0
RELEASE_DEADLINE_S = 15.0
OLDEST_SERVER = 150_000  # column lists and row filters of a publication can be asked for since 15

_SLOT_NAME = re.compile(r"[a-z0-9_]{1,63}")


class SourceIdentity(NamedTuple):
    """Which cluster this is. Positions are comparable within one identity and one slot."""

    system_id: str
    timeline: int
    database: str


class SlotState(NamedTuple):
    """A slot as the server shows it; LSNs as integers. `lost`: WAL that it needs is gone."""

    confirmed_flush_lsn: int
    restart_lsn: int
    active_pid: int | None
    lost: bool


class CreatedSlot(NamedTuple):
    """`consistent_point`: the snapshot shows exactly what committed below it, the stream what commits from it on."""

    consistent_point: int
    snapshot: str


def slot_name(prefix: str, pipeline: str, source: str) -> str:
    """The name of a pipeline's slot on one source, spelled with the characters a slot may have, at most 63."""
    name = re.sub(r"[^a-z0-9_]", "_", f"sluice_{prefix}{pipeline}_{source}".lower())
    if len(name) <= 63:
        return name
    return f"{name[:52]}_{hashlib.sha256(name.encode()).hexdigest()[:10]}"


def slot_of(pipeline: Pipeline, source: str) -> str:
    """The slot of a followed source: the one that the pipeline file names, or our own."""
    named = pipeline.cdc_sources()[source].slot
    return named or slot_name(pipeline.kafka.prefix, pipeline.pipeline, source)


def publication_of(pipeline: Pipeline, source: str) -> str:
    """The publication of a followed source: the one that the pipeline file names, or our own."""
    named = pipeline.cdc_sources()[source].publication
    return named or slot_name(pipeline.kafka.prefix, pipeline.pipeline, source)


def drop_statements(pipeline: Pipeline, source: str) -> str:
    """The SQL by which a source database forgets that it was followed, whether it was or not. A publication that is
    somebody's own stays."""
    dropped = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots"
    slot = f"{dropped} WHERE slot_name = '{slot_of(pipeline, source)}' AND NOT active;"
    if pipeline.cdc_sources()[source].publication is not None:
        return slot
    return f"{slot} DROP PUBLICATION IF EXISTS {publication_of(pipeline, source)};"


def sql_text(name: str) -> str:
    """The statement kept in `sql/<name>.sql`."""
    return resources.files("sluice.cdc").joinpath("sql", f"{name}.sql").read_text("utf-8")


def rows(connection: Connection, name: str, where: str, **parameters: Any) -> list[dict[str, Any]]:
    """Rows of the named statement; errors translated, naming `where`."""
    with source_errors(where), connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(sql_text(name).encode(), parameters).fetchall()


def identify(replication: Connection, where: str) -> SourceIdentity:
    """Ask a replication connection who it speaks to. Refuses servers and databases that cannot be followed."""
    version = replication.info.server_version
    if version < OLDEST_SERVER:
        raise EnvironmentFault(
            where, f"PostgreSQL {version // 10_000} is too old", "follow a source of version 15 or newer"
        )
    if replication.info.parameter_status("server_encoding") == "SQL_ASCII":
        raise EnvironmentFault(
            where, "the database's encoding is SQL_ASCII: its texts have no known meaning", "migrate it to UTF8"
        )
    result = run_command(replication, "IDENTIFY_SYSTEM", where, 10.0)
    system_id, timeline, _, database = (_cell(result, i) for i in range(4))
    return SourceIdentity(system_id, int(timeline), database)


def slot_state(connection: Connection, slot: str, where: str) -> SlotState | None:
    """The slot, or None. EnvironmentFault if the name belongs to a slot of another kind or database."""
    found = rows(connection, "slot", where, slot=slot)
    if not found:
        return None
    row = found[0]
    if row["plugin"] != "pgoutput" or row["database"] != connection.info.dbname:
        raise EnvironmentFault(
            where,
            f"slot {slot} belongs to plugin {row['plugin']}, database {row['database']}",
            "name another slot in the pipeline file, or drop that one",
        )
    lost = row["wal_status"] == "lost" or row["restart_lsn"] is None
    return SlotState(row["confirmed_flush_lsn"] or 0, row["restart_lsn"] or 0, row["active_pid"], lost)


def wal_end(connection: Connection, where: str) -> int:
    """How far the source's log is written."""
    return int(rows(connection, "wal_end", where)[0]["wal_end"])


def wal_inserted(connection: Connection, where: str) -> int:
    """The insert LSN of the source's log: every change that is visible now lies below it, flushed or not."""
    return int(rows(connection, "wal_inserted", where)[0]["wal_inserted"])


def is_followed(connection: Connection, slot: str, where: str) -> bool:
    """Whether a process reads the slot, or is at work here before it does: a snapshot may take hours."""
    state = slot_state(connection, slot, where)
    if state is not None and state.active_pid is not None:
        return True
    return int(rows(connection, "followers", where, application=APPLICATION_NAME)[0]["connections"]) > 0


def drop_slot(connection: Connection, slot: str, where: str) -> None:
    """Drop the slot if it exists, once nobody uses it; Transient if somebody still does after a while."""
    give_up = time.monotonic() + RELEASE_DEADLINE_S
    while (state := slot_state(connection, slot, where)) is not None:
        if state.active_pid is None:
            with source_errors(where):
                connection.execute("SELECT pg_catalog.pg_drop_replication_slot(%s)", [slot])
            return
        if time.monotonic() > give_up:
            raise Transient(f"{where}: slot {slot} is in use by server process {state.active_pid}")
        time.sleep(0.1)


def create_slot(
    replication: Connection, slot: str, where: str, *, temporary: bool = False, deadline_s: float = CREATE_DEADLINE_S
) -> CreatedSlot:
    """Create the slot and export the snapshot at its beginning, valid until the connection's next command.

    A temporary slot goes with its connection. The server first waits for transactions that are open now: bounded, then
    Transient.
    """
    if not _SLOT_NAME.fullmatch(slot):
        raise EnvironmentFault(
            where, f"slot name {slot!r} is not [a-z0-9_]{{1,63}}", "name the slot in the pipeline file"
        )
    kind = "TEMPORARY LOGICAL" if temporary else "LOGICAL"
    command = f"CREATE_REPLICATION_SLOT {slot} {kind} pgoutput (SNAPSHOT 'export')"
    result = run_command(replication, command, where, deadline_s)
    return CreatedSlot(parse_lsn(_cell(result, 1)), _cell(result, 2))


def _cell(result: Any, column: int) -> str:
    value = result.get_value(0, column)
    if value is None:
        raise Bug("a replication command answered with a null")
    return str(bytes(value).decode())
