"""Replication slots: their names, their state on the server, how they are created and dropped; and LSNs as text."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from sluice.cdc.connection import APPLICATION_NAME, Connection, query, run_command
from sluice.cdc.source_errors import source_errors
from sluice.errors import Bug, EnvironmentFault, Transient
from sluice.pipeline import Pipeline

CREATE_DEADLINE_S = 60.0
RELEASE_DEADLINE_S = 15.0
FAILOVER_SERVER = 170_000
OLDEST_SERVER = 150_000  # since 15 the catalogs show a publication's column lists and row filters

_SLOT_NAME = re.compile(r"[a-z0-9_]{1,63}")


class SourceIdentity(NamedTuple):
    """The server and the database of a source. Positions of two records can only be compared if they are of the same
    server, timeline and slot. `ancestors`: the LSN at which each earlier timeline of this server ended. Each promotion
    of a standby, and each recovery to a point in time, ends a timeline."""

    system_id: str
    timeline: int
    database: str
    ancestors: Mapping[int, int] = {}


class SlotState(NamedTuple):
    """The state of a slot on the server. `active_pid`: the server process that reads the slot, None if none. `lost`:
    the server no longer keeps what the slot needs, so that it can never be read again.

    `invalidation_reason`: why the slot is lost, as the server spells it; empty if it is not lost or the server is older
    than 17. `at_risk`: the next checkpoint may remove log that the slot needs. `safe_wal_bytes`: how many bytes the
    server may write before the slot is at risk, None without such a limit. `failover`: standbys keep a copy of the
    slot. `synced`: this is such a copy. `temporary`: the server drops the slot with the connection that created it.
    """

    confirmed_flush_lsn: int
    restart_lsn: int
    active_pid: int | None
    lost: bool
    invalidation_reason: str = ""
    at_risk: bool = False
    safe_wal_bytes: int | None = None
    failover: bool = False
    synced: bool = False
    temporary: bool = False


class CreatedSlot(NamedTuple):
    """A new slot. `snapshot`: the id of a snapshot that contains exactly the commits below `consistent_point` (an LSN).
    The slot's stream sends the commits from that LSN on."""

    consistent_point: int
    snapshot: str


def parse_lsn(text: str) -> int:
    """The integer for an LSN in Postgres' text form, such as `16/B374D848`. Raises ValueError for another text."""
    high, slash, low = text.partition("/")
    if not slash:
        raise ValueError("an LSN reads high/low in hexadecimal digits")
    return int(high, 16) << 32 | int(low, 16)


def format_lsn(lsn: int) -> str:
    """The text form of an LSN as Postgres prints it, such as `16/B374D848`."""
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


def _default_name(pipeline: Pipeline, source: str) -> str:
    """The default name of a slot: `sluice_<prefix><pipeline>_<source>`, with only the characters that a slot name may
    have, at most 63."""
    name = re.sub(r"[^a-z0-9_]", "_", f"sluice_{pipeline.kafka.prefix}{pipeline.pipeline}_{source}".lower())
    if len(name) <= 63:
        return name
    return f"{name[:52]}_{hashlib.sha256(name.encode()).hexdigest()[:10]}"


def slot_of(pipeline: Pipeline, source: str) -> str:
    """The name of the slot of a followed source: from the pipeline file, or the default name."""
    return pipeline.cdc_sources()[source].slot or _default_name(pipeline, source)


def publication_of(pipeline: Pipeline, source: str) -> str:
    """The name of the publication of a followed source: from the pipeline file, or the default name."""
    return pipeline.cdc_sources()[source].publication or _default_name(pipeline, source)


def drop_statements(pipeline: Pipeline, source: str) -> str:
    """The SQL that drops the slot and the publication in the source database, if they exist. It does not drop a
    publication that the pipeline file names, or a slot that is read."""
    dropped = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots"
    slot = f"{dropped} WHERE slot_name = '{slot_of(pipeline, source)}' AND NOT active;"
    if not pipeline.cdc_sources()[source].creates_publication:
        return slot
    return f"{slot} DROP PUBLICATION IF EXISTS {publication_of(pipeline, source)};"


def identify(replication: Connection, where: str) -> SourceIdentity:
    """The identity of the server that `replication` is connected to. Raises EnvironmentFault if the server is too old
    or the encoding of the database is SQL_ASCII."""
    version = replication.info.server_version
    if version < OLDEST_SERVER:
        raise EnvironmentFault(
            where, f"PostgreSQL {version // 10_000} is too old", "follow a source of version 15 or newer"
        )
    if replication.info.parameter_status("server_encoding") == "SQL_ASCII":
        raise EnvironmentFault(
            where,
            "the encoding SQL_ASCII of the database does not define characters",
            "migrate it to UTF8",
        )
    result = run_command(replication, "IDENTIFY_SYSTEM", where, 10.0)
    system_id, timeline, _, database = (_cell(result, i) for i in range(4))
    ancestors: Mapping[int, int] = {}
    if int(timeline) > 1:
        history = run_command(replication, f"TIMELINE_HISTORY {timeline}", where, 10.0)
        ancestors = parse_timeline_history(_cell(history, 1))
    return SourceIdentity(system_id, int(timeline), database, ancestors)


def parse_timeline_history(text: str) -> dict[int, int]:
    """The LSN at which each ancestor of a timeline ended, by timeline, from the text of the server's history file. Its
    lines are `timeline <tab> LSN <tab> reason`; a line may be a comment or empty."""
    fields = [line.split("\t") for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return {int(timeline): parse_lsn(lsn) for timeline, lsn, *_ in fields}


def slot_state(connection: Connection, slot: str, where: str) -> SlotState | None:
    """The state of the slot; None if it does not exist. Raises EnvironmentFault if the slot belongs to another plugin
    or database."""
    found = query(connection, "slot", where, slot=slot)
    if not found:
        return None
    row = found[0]
    other = "name another slot in the pipeline file, or drop this one"
    if row["slot_type"] != "logical":
        raise EnvironmentFault(where, f"slot {slot} is a {row['slot_type']} slot, not a logical one", other)
    if row["plugin"] != "pgoutput" or row["database"] != connection.info.dbname:
        raise EnvironmentFault(
            where, f"slot {slot} belongs to plugin {row['plugin']}, database {row['database']}", other
        )
    reason = row["invalidation_reason"] or ""
    return SlotState(
        confirmed_flush_lsn=row["confirmed_flush_lsn"] or 0,
        restart_lsn=row["restart_lsn"] or 0,
        active_pid=row["active_pid"],
        lost=row["wal_status"] == "lost" or row["restart_lsn"] is None or row["conflicting"] or bool(reason),
        invalidation_reason=reason,
        at_risk=row["wal_status"] == "unreserved",
        safe_wal_bytes=row["safe_wal_size"],
        failover=row["failover"],
        synced=row["synced"],
        temporary=row["temporary"],
    )


def wal_end(connection: Connection, where: str) -> int:
    """The LSN up to which a slot of the source can be read: its log is flushed, or on a standby replayed."""
    return int(query(connection, "wal_end", where)[0]["wal_end"])


def wal_inserted(connection: Connection, where: str) -> int:
    """The insert LSN of the source's log. Every change that is visible now is below this LSN, flushed or not."""
    return int(query(connection, "wal_inserted", where)[0]["wal_inserted"])


def in_recovery(connection: Connection, where: str) -> bool:
    """Whether the server is a standby."""
    return bool(query(connection, "wal_end", where)[0]["in_recovery"])


def is_followed(connection: Connection, slot: str, where: str) -> bool:
    """Whether a process follows the source: it reads the slot, or is connected to the database as ingress-cdc. During a
    snapshot, which may take hours, no process reads the slot."""
    state = slot_state(connection, slot, where)
    if state is not None and state.active_pid is not None:
        return True
    return int(query(connection, "followers", where, application=APPLICATION_NAME)[0]["connections"]) > 0


def drop_slot(connection: Connection, slot: str, where: str) -> None:
    """Drop the slot if it exists. Waits while a process uses the slot; raises Transient after `RELEASE_DEADLINE_S`."""
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
    replication: Connection,
    slot: str,
    where: str,
    *,
    temporary: bool = False,
    failover: bool = False,
    deadline_s: float = CREATE_DEADLINE_S,
) -> CreatedSlot:
    """Create the slot and export the snapshot of its start. The snapshot is valid until the next command on
    `replication`.

    `failover`: a standby with `sync_replication_slots` keeps a copy of the slot (since 17; not for a slot on a
    standby). The server drops a temporary slot when the connection ends. It creates a slot only after the transactions
    that are open now have ended; Transient is raised after `deadline_s` seconds.
    """
    if not _SLOT_NAME.fullmatch(slot):
        raise EnvironmentFault(
            where, f"slot name {slot!r} is not [a-z0-9_]{{1,63}}", "name the slot in the pipeline file"
        )
    kind = "TEMPORARY LOGICAL" if temporary else "LOGICAL"
    command = f"CREATE_REPLICATION_SLOT {slot} {kind} pgoutput (SNAPSHOT 'export')"
    late = ": an old open transaction of the source blocks the new slot. Next: end it (pg_stat_activity shows it)"
    if in_recovery(replication, where):
        late = ": the primary has logged no snapshot. Next: run there SELECT pg_log_standby_snapshot()"
    elif failover and not temporary and replication.info.server_version >= FAILOVER_SERVER:
        command = command.replace("'export')", "'export', FAILOVER true)")
    result = run_command(replication, command, where, deadline_s, late)
    return CreatedSlot(parse_lsn(_cell(result, 1)), _cell(result, 2))


def _cell(result: Any, column: int) -> str:
    value = result.get_value(0, column)
    if value is None:
        raise Bug("a replication command returned a null")
    return str(bytes(value).decode())
