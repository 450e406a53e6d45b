"""A pass: a partition read anew from its first offset to an end noted at its start. Only its end deletes rows.

A rewind by some offsets is no pass: what it did not read was merely not looked at. The ids met are kept beside the
tables, so that a pass survives a restart; refused and parked records count as met.
"""

from collections.abc import Iterable

from psycopg import sql

from sluice.golden.catalogue import DELETE, dropped_in_between
from sluice.golden.columns import GoldenTable
from sluice.golden.connection import Connection
from sluice.golden.lease import Lease
from sluice.golden.sql import statement


def begin(connection: Connection, schema: str, lease: Lease, first: int, end: int) -> Lease:
    """Begin a pass over the leased partition, in a transaction of its own."""
    with connection.transaction():
        _set(connection, schema, lease, first, end)
    return lease._replace(pass_from=first, pass_end=end)


def give_up(connection: Connection, schema: str, lease: Lease) -> Lease:
    """Forget a pass that skipped something: it says nothing about what is gone."""
    with connection.transaction():
        _set(connection, schema, lease, None, None)
    return lease._replace(pass_from=None, pass_end=None)


def met(connection: Connection, table: GoldenTable, ids: Iterable[tuple[int, str]]) -> None:
    """Note (partition, entity id) of records in a pass, in the transaction that writes them."""
    pairs = sorted(set(ids))
    if pairs:
        connection.execute(
            statement("seen", seen=sql.Identifier(table.schema, "_seen"), entity=sql.Literal(table.name)),
            {"partitions": [partition for partition, _ in pairs], "ids": [entity_id for _, entity_id in pairs]},
        )


def finish(connection: Connection, table: GoldenTable, lease: Lease) -> int:
    """Delete what the pass over `lease`'s partition did not meet; returns how many rows. Same transaction."""
    # As many rows as an entity has in a partition: no deadline of a single statement fits.
    connection.execute("SET LOCAL statement_timeout = 0")
    seen = sql.Identifier(table.schema, "_seen")
    entity = sql.Literal(table.name)
    name = sql.Identifier(table.schema, table.name)
    bounds = {"partition": lease.partition, "epoch": lease.epoch, "pass_end": lease.pass_end}
    parts: dict[str, sql.Composable] = {"table": name, "seen": seen, "entity": entity}
    gone = connection.execute(statement("sweep", action=sql.SQL("DELETE"), **parts), bounds).rowcount
    left = connection.execute(statement("sweep", action=sql.SQL("SELECT count(*)"), **parts), bounds).fetchone()
    if left is not None and left[0]:
        where = f"table {table.schema}.{table.name}: deleting what is gone from partition {lease.partition}"
        raise dropped_in_between(connection, name, where, DELETE, left[0])
    connection.execute(statement("forget_seen", seen=seen, entity=entity), {"partition": lease.partition})
    _set(connection, table.schema, lease, None, None)
    return gone


def _set(connection: Connection, schema: str, lease: Lease, first: int | None, end: int | None) -> None:
    connection.execute(
        statement("set_pass", owner=sql.Identifier(schema, "_owner")),
        {"first": first, "end": end, "topic": lease.topic, "partition": lease.partition},
    )
