"""Whether a table can be followed at all, and whether publishing it would make its own application's writes fail.

Judged before a publication is made, since Postgres refuses updates and deletes of a published table whose replica
identity it cannot use, whoever reads the publication, and also when nobody does. A pure function of the catalog's
facts. Postgres' own rule: `CheckCmdReplicaIdentity` in execReplication.c.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from sluice.cdc.table_facts import Leaf, TableFacts

# From here on a generated column that is not published must not be part of the replica identity.
GENERATED_IDENTITY_REFUSED = 180_000
_NOT_TABLES = {"v": "a view", "m": "a materialised view", "f": "a foreign table"}


class Unfit(NamedTuple):
    """Why a table cannot be followed and what makes it fit. `breaks_writes`: while it is published, its updates and
    deletes fail in the source."""

    why: str
    next_step: str
    breaks_writes: bool = False


def unfit(facts: TableFacts, server_version: int) -> Unfit | None:
    """The first reason that speaks against following the table; None if it can be followed."""
    return next(_reasons(facts, server_version), None)


def _reasons(facts: TableFacts, server_version: int) -> Iterator[Unfit]:
    name = facts.name
    if facts.kind in _NOT_TABLES:
        yield Unfit(f"it is {_NOT_TABLES[facts.kind]}: its changes are not in the log", "name the tables behind it")
        return
    if not facts.primary_key:
        # Two rows without a key cannot be told apart, and a compacted topic needs a key.
        mend = f"ALTER TABLE {name} ADD PRIMARY KEY (…), or leave it out"
        yield Unfit("it has no primary key", mend, breaks_writes=not facts.partitioned and not facts.identity_columns)
        return
    if facts.persistence != "p":
        yield Unfit("it is unlogged or temporary: its changes are not in the log", f"ALTER TABLE {name} SET LOGGED")
    if facts.sent_as is not None:
        yield Unfit(
            f"it is a partition of {facts.sent_as}, which the publication holds as well: its changes are sent as those "
            f"of {facts.sent_as}",
            f"take {facts.sent_as} out of the publication, or follow it instead of {name}",
        )
    yield from _identity_reasons(facts, server_version)
    for leaf in facts.leaves:
        yield from _leaf_reasons(facts, leaf)


def _identity_reasons(facts: TableFacts, server_version: int) -> Iterator[Unfit]:
    name, identity = facts.name, set(facts.identity_columns)
    published = set(facts.published_columns)
    default = f"ALTER TABLE {name} REPLICA IDENTITY DEFAULT"
    if not facts.partitioned and not identity:
        yield _no_identity(name, facts.identity, key_immediate=facts.key_immediate)
    elif not set(facts.primary_key) <= identity:
        # Of a partitioned table too: the log tells its columns with its own identity, whatever its partitions write.
        only = f"ALTER TABLE ONLY {name} REPLICA IDENTITY DEFAULT" if facts.partitioned else default
        yield Unfit("its REPLICA IDENTITY does not hold the primary key", only)
    if not set(facts.primary_key) <= published:
        column = next(c for c in facts.primary_key if c not in published)
        yield Unfit(
            f"its primary key column {column} is not published (it is generated, or a column list lacks it)",
            f"give {name} a primary key of ordinary columns, or publish {column}",
        )
    unpublished = [c for c in facts.identity_columns if c not in published]
    listed = facts.published is not None and any(not c.generated and c.name in unpublished for c in facts.columns)
    if unpublished and (listed or server_version >= GENERATED_IDENTITY_REFUSED):
        yield Unfit(
            f"its REPLICA IDENTITY holds column {unpublished[0]}, which is not published: while {name} is published, "
            "every UPDATE and DELETE of it fails",
            f"{default}, or publish {unpublished[0]}",
            breaks_writes=True,
        )
    filtered = [c for c in facts.filter_columns if c not in identity]
    if filtered:
        yield Unfit(
            f"the publication's row filter uses column {filtered[0]}, which is not in the REPLICA IDENTITY: "
            f"every UPDATE and DELETE of {name} fails",
            f"ALTER TABLE {name} REPLICA IDENTITY FULL, or take the filter out of the publication",
            breaks_writes=True,
        )


def _leaf_reasons(facts: TableFacts, leaf: Leaf) -> Iterator[Unfit]:
    """Changes are written by the partition, under its own identity, whatever the table's is."""
    if leaf.kind == "f":
        yield Unfit(
            f"its partition {leaf.name} is a foreign table: changes of it are not in the log",
            f"ALTER TABLE {facts.name} DETACH PARTITION {leaf.name}",
        )
    elif leaf.persistence != "p":
        yield Unfit(
            f"its partition {leaf.name} is unlogged: changes of it are not in the log",
            f"ALTER TABLE {leaf.name} SET LOGGED",
        )
    elif not leaf.identity_columns:
        yield _no_identity(leaf.name, leaf.identity, key_immediate=facts.key_immediate)
    elif not set(facts.primary_key) <= set(leaf.identity_columns):
        yield Unfit(
            f"the REPLICA IDENTITY of its partition {leaf.name} does not hold the primary key",
            f"ALTER TABLE {leaf.name} REPLICA IDENTITY DEFAULT",
        )


def _no_identity(name: str, identity: str, *, key_immediate: bool) -> Unfit:
    why = {
        "n": "its REPLICA IDENTITY is NOTHING",
        "i": "the index of its REPLICA IDENTITY is gone or not valid",
    }.get(identity, "its primary key is DEFERRABLE and so no REPLICA IDENTITY")
    next_step = f"ALTER TABLE {name} REPLICA IDENTITY DEFAULT"
    if not key_immediate:
        next_step = f"make the primary key of {name} NOT DEFERRABLE, or ALTER TABLE {name} REPLICA IDENTITY FULL"
    return Unfit(f"{why}: while {name} is published, every UPDATE and DELETE of it fails", next_step, True)
