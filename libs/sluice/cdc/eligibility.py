"""Decides whether a table can be followed, and whether its application's writes fail while it is published. Pure.

Every table is checked before it is published. Postgres refuses updates and deletes of a published table whose replica
identity it cannot use, even if no process reads the publication. Postgres' own rule is `CheckCmdReplicaIdentity` in
execReplication.c.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from sluice.cdc.table_facts import LeafPartition, TableFacts
from sluice.errors import EnvironmentFault

# Since this version of Postgres an unpublished generated column in the replica identity makes updates and deletes fail.
GENERATED_IDENTITY_REFUSED = 180_000
_DEFAULT = "REPLICA IDENTITY DEFAULT"
_NOT_TABLES = {"v": "a view", "m": "a materialised view", "f": "a foreign table"}


class Ineligibility(NamedTuple):
    """Why a table cannot be followed, and the step that makes it eligible. `breaks_writes`: the source refuses updates
    and deletes of the table while the table is published. `sql`: the statement that makes it eligible; "" if a person
    must choose first."""

    why: str
    next_step: str
    breaks_writes: bool = False
    sql: str = ""


def ineligibility(facts: TableFacts) -> Ineligibility | None:
    """The first reason why the table cannot be followed; None if it can be."""
    return next(ineligibilities(facts), None)


def eligibility_fault(facts: TableFacts | None, where: str) -> EnvironmentFault | None:
    """The fault of a table that cannot be followed or does not exist (`facts` None); None if it can be followed."""
    if facts is None:
        return EnvironmentFault(where, "it does not exist", "create it, or correct the pipeline file")
    wrong = ineligibility(facts)
    return None if wrong is None else EnvironmentFault(where, wrong.why, wrong.next_step)


def ineligibilities(facts: TableFacts) -> Iterator[Ineligibility]:
    """All reasons why the table cannot be followed."""
    name = facts.name
    if facts.kind in _NOT_TABLES:
        yield Ineligibility(
            f"it is {_NOT_TABLES[facts.kind]}: its changes are not in the log", "name the tables behind it"
        )
        return
    if not facts.primary_key:
        # Two rows without a key cannot be distinguished, and a compacted topic needs a key.
        breaks_writes = not facts.partitioned and not facts.identity_columns
        add_key = f"ALTER TABLE {name} ADD PRIMARY KEY (…), or leave it out"
        yield Ineligibility("it has no primary key", add_key, breaks_writes)
        return
    if facts.persistence != "p":
        yield Ineligibility(
            "it is unlogged or temporary: its changes are not in the log",
            f"ALTER TABLE {name} SET LOGGED",
            sql=_alter(facts, "SET LOGGED"),
        )
    if facts.sent_as is not None:
        yield Ineligibility(
            f"it is a partition of {facts.sent_as}, which the publication contains too: its changes are sent as those "
            f"of {facts.sent_as}",
            f"take {facts.sent_as} out of the publication, or follow it instead of {name}",
        )
    yield from _identity_reasons(facts)
    for leaf in facts.leaves:
        yield from _leaf_reasons(facts, leaf)


def _identity_reasons(facts: TableFacts) -> Iterator[Ineligibility]:
    name, identity = facts.name, set(facts.identity_columns)
    published = set(facts.published_columns)
    default = f"ALTER TABLE {name} REPLICA IDENTITY DEFAULT"
    if not facts.partitioned and not identity:
        yield _no_identity(facts, facts.identity, key_immediate=facts.key_immediate)
    elif not set(facts.primary_key) <= identity:
        # Partitioned tables too: the Relation message shows the identity of the partitioned table itself, but changes
        # are written with the identities of its partitions.
        only = f"ALTER TABLE ONLY {name} REPLICA IDENTITY DEFAULT" if facts.partitioned else default
        yield Ineligibility(
            "its REPLICA IDENTITY does not contain the primary key", only, sql=_alter(facts, _DEFAULT, only=True)
        )
    if not set(facts.primary_key) <= published:
        column = next(c for c in facts.primary_key if c not in published)
        yield Ineligibility(
            f"its primary key column {column} is not published (it is generated, or a column list lacks it)",
            f"give {name} a primary key of ordinary columns, or publish {column}",
        )
    unpublished = [c for c in facts.identity_columns if c not in published]
    listed = facts.published is not None and any(not c.generated and c.name in unpublished for c in facts.columns)
    if unpublished and (listed or facts.server_version >= GENERATED_IDENTITY_REFUSED):
        yield Ineligibility(
            f"its REPLICA IDENTITY contains column {unpublished[0]}, which is not published: while {name} is "
            "published, every UPDATE and DELETE of it fails",
            f"{default}, or publish {unpublished[0]}",
            breaks_writes=True,
            sql=_alter(facts, _DEFAULT, only=True),
        )
    filtered = [c for c in facts.filter_columns if c not in identity]
    if filtered:
        yield Ineligibility(
            f"the publication's row filter uses column {filtered[0]}, which is not in the REPLICA IDENTITY: "
            f"every UPDATE and DELETE of {name} fails",
            f"ALTER TABLE {name} REPLICA IDENTITY FULL, or take the filter out of the publication",
            breaks_writes=True,
            sql=_alter(facts, "REPLICA IDENTITY FULL", only=True),
        )


def _leaf_reasons(facts: TableFacts, leaf: LeafPartition) -> Iterator[Ineligibility]:
    """The reasons of one partition: Postgres writes a change with the replica identity of the partition, not of the
    table."""
    if leaf.kind == "f":
        yield Ineligibility(
            f"its partition {leaf.name} is a foreign table: changes of it are not in the log",
            f"ALTER TABLE {facts.name} DETACH PARTITION {leaf.name}",
            sql=_alter(facts, f"DETACH PARTITION {_quoted(leaf)}"),
        )
    elif leaf.persistence != "p":
        yield Ineligibility(
            f"its partition {leaf.name} is unlogged: changes of it are not in the log",
            f"ALTER TABLE {leaf.name} SET LOGGED",
            sql=_alter(leaf, "SET LOGGED"),
        )
    elif not leaf.identity_columns:
        yield _no_identity(leaf, leaf.identity, key_immediate=facts.key_immediate)
    elif not set(facts.primary_key) <= set(leaf.identity_columns):
        yield Ineligibility(
            f"the REPLICA IDENTITY of its partition {leaf.name} does not contain the primary key",
            f"ALTER TABLE {leaf.name} REPLICA IDENTITY DEFAULT",
            sql=_alter(leaf, _DEFAULT),
        )


def _no_identity(table: TableFacts | LeafPartition, identity: str, *, key_immediate: bool) -> Ineligibility:
    name = table.name
    why = {
        "n": "its REPLICA IDENTITY is NOTHING",
        "i": "the index of its REPLICA IDENTITY was dropped or is not valid",
    }.get(identity, "its primary key is DEFERRABLE, so that it is no REPLICA IDENTITY")
    next_step, action = f"ALTER TABLE {name} {_DEFAULT}", _DEFAULT
    if not key_immediate:
        action = "REPLICA IDENTITY FULL"
        next_step = f"make the primary key of {name} NOT DEFERRABLE, or ALTER TABLE {name} REPLICA IDENTITY FULL"
    fails = f"{why}: while {name} is published, every UPDATE and DELETE of it fails"
    return Ineligibility(fails, next_step, True, _alter(table, action, only=True))


def _alter(table: TableFacts | LeafPartition, action: str, *, only: bool = False) -> str:
    return f"ALTER TABLE {'ONLY ' if only else ''}{_quoted(table)} {action}"


def _quoted(table: TableFacts | LeafPartition) -> str:
    return table.identifier.as_string(None)
