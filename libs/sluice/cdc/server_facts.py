"""Facts of a source that do not belong to one table: the server's settings, this user's rights, the slot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from sluice.cdc.connection import Connection, query
from sluice.errors import EnvironmentFault


class ServerFacts(NamedTuple):
    """The settings of the server, the rights of this user (`role`), and the source's slot.

    `may_replicate`: the role has REPLICATION. `may_emit`: it may write the heartbeat. `owns_publication`: None if the
    publication does not exist. `slot_plugin`: None if the slot does not exist; the other facts of the slot then mean
    nothing. `idle_slot_timeout`, `slot_invalidation`: None on a server without it.
    """

    role: str
    database: str
    server_version: int
    encoding: str
    standby: bool
    wal_level: str
    slots_max: int
    slots_used: int
    senders_max: int
    senders_used: int
    slot_wal_keep_size: str
    idle_slot_timeout: str | None
    may_replicate: bool
    may_create_publication: bool
    may_emit: bool
    owns_publication: bool | None
    slot_plugin: str | None
    slot_database: str | None
    slot_active: bool
    slot_wal_status: str | None
    slot_synced: bool
    slot_invalidation: str | None


class TableRights(NamedTuple):
    """The rights of this user on a table. `owned`: it may do what the owner may. `unreadable`: the columns that it may
    not read. `rows_hidden`: row security filters the rows that it reads."""

    owned: bool
    schema_usable: bool
    unreadable: tuple[str, ...]
    rows_hidden: bool


def server_facts(connection: Connection, slot: str, publication: str, where: str) -> ServerFacts:
    """Read the facts. Raises EnvironmentFault or Transient if the server does not return them."""
    found = query(connection, "server_facts", where, slot=slot, publication=publication)
    if not found:
        raise EnvironmentFault(where, "pg_roles does not show this user", "GRANT SELECT ON pg_catalog.pg_roles to it")
    return msgspec.convert([found[0][name] for name in ServerFacts._fields], ServerFacts)


def table_rights(connection: Connection, names: Sequence[str], where: str) -> dict[str, TableRights]:
    """The rights on each of the tables `names` (`schema.table`) that exists, by name."""
    schemas, tables = zip(*(n.split(".", 1) for n in names), strict=True) if names else ((), ())
    found = query(connection, "table_rights", where, schemas=[*schemas], tables=[*tables])
    return {
        row["name"]: msgspec.convert([row[name] for name in TableRights._fields], TableRights, strict=False)
        for row in found
    }
