"""Checks whether a source can be followed: its server, this user's rights, its publication, its tables. Pure.

`sluice cdc check` reads the facts and prints the findings.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from psycopg import sql

from sluice.cdc.eligibility import ineligibilities
from sluice.cdc.publication import publication_fault, publication_statement
from sluice.cdc.server_facts import ServerFacts, TableRights
from sluice.cdc.slots import OLDEST_SERVER
from sluice.cdc.table_facts import PublicationFacts, TableFacts

# A table that is read again while its slot is followed needs a temporary slot.
_TEMPORARY_SLOTS = 1
# Since this version a standby can have a slot.
_STANDBY_DECODES = 160_000
_NO_LIMIT, _NEVER = "-1", "0"
_RESTART = "then restart the server"

RunBy = Literal["administrator", "table owner", "this user", ""]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is missing or unfit, or, as a risk, a setting that may stop the source later.

    `sql`: the statement that repairs it; "" if there is none. `run_by`: who may run it. `next_step`: what to do after
    `sql`, or instead of it.
    """

    where: str
    why: str
    next_step: str = ""
    sql: str = ""
    run_by: RunBy = ""


@dataclass(frozen=True, slots=True)
class CheckedSource:
    """The facts of a source that `findings` judges. `tables`: the names that the pipeline file lists. `facts` and
    `rights`: those of the tables that exist."""

    source: str
    slot: str
    publication: str
    tables: Sequence[str]
    server: ServerFacts
    publication_facts: PublicationFacts | None
    facts: Mapping[str, TableFacts]
    rights: Mapping[str, TableRights]

    @property
    def where(self) -> str:
        return f"source {self.source}"


def findings(checked: CheckedSource) -> list[Finding]:
    """What is missing or unfit in the source; empty if it can be followed. The statements may be run in this order."""
    return [
        *_server(checked.where, checked.server),
        *_slot(checked),
        *_role(checked.where, checked.server),
        *(finding for name in checked.tables for finding in _table(checked, name)),
        *_publication(checked),
    ]


def risks(checked: CheckedSource) -> list[Finding]:
    """Settings of the server that may end or hurt the source later, although it can be followed now."""
    server, where = checked.server, checked.where
    found = []
    if server.slot_wal_keep_size == _NO_LIMIT:
        found.append(
            Finding(
                f"{where}, max_slot_wal_keep_size",
                "it is -1: while ingress-cdc does not run, the slot keeps log on the source's disk without a limit",
                "set a limit that is smaller than the free disk space",
            )
        )
    else:
        found.append(
            Finding(
                f"{where}, max_slot_wal_keep_size",
                f"it is {server.slot_wal_keep_size}: if ingress-cdc is further behind, the server invalidates the slot",
                f"then `sluice cdc resnapshot {checked.source}` reads every table again",
            )
        )
    if server.idle_slot_timeout not in (None, _NEVER):
        found.append(
            Finding(
                f"{where}, idle_replication_slot_timeout",
                f"it is {server.idle_slot_timeout}: if ingress-cdc is stopped for that long, the server invalidates "
                "the slot",
                "allow this, or switch it off",
                "ALTER SYSTEM SET idle_replication_slot_timeout = 0; SELECT pg_reload_conf()",
                "administrator",
            )
        )
    return found


def _server(where: str, server: ServerFacts) -> Iterator[Finding]:
    if server.server_version < OLDEST_SERVER:
        version = server.server_version // 10_000
        yield Finding(where, f"PostgreSQL {version} is too old", "follow a server of version 15 or newer")
    if server.encoding == "SQL_ASCII":
        yield Finding(
            f"{where}, database {server.database}",
            "its encoding SQL_ASCII does not define characters",
            "dump it, and restore it into a database with the encoding UTF8",
        )
    if server.standby and server.server_version < _STANDBY_DECODES:
        yield Finding(where, "a standby has no slots before version 16", "point the dsn at the primary")
    if server.wal_level != "logical":
        yield Finding(
            f"{where}, wal_level",
            f"it is {server.wal_level}: the log lacks what a slot decodes",
            _RESTART,
            "ALTER SYSTEM SET wal_level = logical",
            "administrator",
        )
    own = 0 if server.slot_plugin is not None else 1
    yield from _limit(where, "max_replication_slots", server.slots_max, server.slots_used, own + _TEMPORARY_SLOTS)
    yield from _limit(where, "max_wal_senders", server.senders_max, server.senders_used, 0 if server.slot_active else 1)


def _limit(where: str, setting: str, limit: int, used: int, needed: int) -> Iterator[Finding]:
    if limit - used < needed:
        yield Finding(
            f"{where}, {setting}",
            f"it is {limit}, and {used} are used: this source needs {needed} more",
            _RESTART,
            f"ALTER SYSTEM SET {setting} = {max(limit, used) + needed + 2}",
            "administrator",
        )


def _slot(checked: CheckedSource) -> Iterator[Finding]:
    server, where = checked.server, f"{checked.where}, slot {checked.slot}"
    if server.slot_plugin is None:
        return
    if server.slot_plugin != "pgoutput" or server.slot_database != server.database:
        yield Finding(
            where,
            f"it belongs to plugin {server.slot_plugin}, database {server.slot_database}",
            "name another slot in the pipeline file, or drop this one if nothing else needs it",
        )
    elif server.slot_wal_status == "lost":
        cause = f" ({server.slot_invalidation})" if server.slot_invalidation else ""
        yield Finding(
            where,
            f"the server has invalidated it{cause}: changes are lost",
            f"run `sluice cdc resnapshot {checked.source}`: it reads every table again",
        )
    elif server.slot_synced and server.standby:
        yield Finding(where, "it is a copy of the primary's slot, which nothing can read here", "promote this standby")


def _role(where: str, server: ServerFacts) -> Iterator[Finding]:
    role, at = _name(server.role), f"{where}, role {server.role}"
    if not server.may_replicate:
        yield Finding(
            at,
            "it lacks REPLICATION: it may not create or read a slot",
            sql=f"ALTER ROLE {role} REPLICATION",
            run_by="administrator",
        )
    if not server.may_emit:
        yield Finding(
            at,
            "it may not write heartbeats: while its tables are idle, the slot keeps the log of other databases",
            sql=f"GRANT EXECUTE ON FUNCTION pg_catalog.pg_logical_emit_message(boolean, text, text"
            f"{', boolean' if server.server_version >= 170_000 else ''}) TO {role}",
            run_by="administrator",
        )


def _publication(checked: CheckedSource) -> Iterator[Finding]:
    """Findings about the publication. A publication that ingress-cdc may create or change at its start is none."""
    server, facts = checked.server, checked.publication_facts
    where = f"{checked.where}, publication {checked.publication}"
    followed = [checked.facts[name] for name in checked.tables if name in checked.facts]
    missing = [t for t in followed if t.published is None and all(i.sql for i in ineligibilities(t))]
    owned = all(checked.rights[t.name].owned for t in missing)
    if facts is None:
        if missing and not (owned and server.may_create_publication):
            yield Finding(
                where,
                f"it does not exist, and role {server.role} may not create it: this needs CREATE on database "
                f"{server.database}, and the tables' ownership",
                sql=publication_statement(checked.publication, missing, exists=False),
                run_by="administrator",
            )
        return
    wrong = publication_fault(checked.publication, facts, followed, checked.where)
    if wrong is not None:
        yield Finding(
            where, wrong.why, sql=wrong.next_step, run_by="this user" if server.owns_publication else "administrator"
        )
    if missing and not (owned and server.owns_publication):
        yield Finding(
            where,
            f"it lacks {', '.join(t.name for t in missing)}, and role {server.role} may not add that",
            sql=publication_statement(checked.publication, missing, exists=True),
            run_by="administrator",
        )


def _table(checked: CheckedSource, name: str) -> Iterator[Finding]:
    where = f"{checked.where}, table {name}"
    facts, rights = checked.facts.get(name), checked.rights.get(name)
    if facts is None or rights is None:
        yield Finding(where, "it does not exist", "create it, or correct the pipeline file")
        return
    by: RunBy = "this user" if rights.owned else "table owner"
    for wrong in ineligibilities(facts):
        yield Finding(where, wrong.why, "" if wrong.sql else wrong.next_step, wrong.sql, by if wrong.sql else "")
    role = _name(checked.server.role)
    if not rights.schema_usable:
        grant = f"GRANT USAGE ON SCHEMA {_name(facts.schema)} TO {role}"
        yield Finding(where, f"role {checked.server.role} may not use its schema", sql=grant, run_by="table owner")
    hidden = [c for c in rights.unreadable if c in facts.published_columns]
    if hidden:
        yield Finding(
            where,
            f"role {checked.server.role} may not read column {hidden[0]}: its snapshot fails",
            sql=f"GRANT SELECT ON {facts.identifier.as_string(None)} TO {role}",
            run_by="table owner",
        )
    if rights.rows_hidden:
        yield Finding(
            where,
            "row security hides rows from its snapshot, although their changes are in the log",
            sql=f"ALTER ROLE {role} BYPASSRLS",
            run_by="administrator",
        )


def _name(identifier: str) -> str:
    return sql.Identifier(identifier).as_string(None)
