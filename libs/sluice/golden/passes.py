"""A pass reads a partition again from its first offset to an end noted at the start of the pass.

The end of a pass deletes the rows whose record the pass did not read. A reset of the offset deletes no rows, because it
may skip records of current rows. The entity ids that a pass read are stored in the sink's own tables, so that the pass
survives a restart. Rejected and parked records count as read.
"""

from collections.abc import Iterable

from psycopg import sql

from sluice.golden.catalogue import DELETE, dropped_rows_fault
from sluice.golden.columns import GoldenTable
from sluice.golden.connection import Connection
from sluice.golden.faults import sink_errors
from sluice.golden.lease import Lease
from sluice.golden.sql import statement

# The time-out of each statement of the final delete. A partition can have many millions of rows to delete, so it is
# longer than that of other statements. Without it, a trigger that never returns would block the sink forever.
DELETE_TIMEOUT_S = 240


def set_pass(connection: Connection, table: GoldenTable, lease: Lease, first: int | None, end: int | None) -> Lease:
    """Store that a pass from `first` to `end` over the leased partition is in progress; None, None: no pass.

    The ids that an earlier pass read are deleted. They would keep rows in this pass.
    """
    seen, entity = table.own("_seen"), sql.Literal(table.name)
    connection.execute(statement("delete_read_ids", seen=seen, entity=entity), {"partition": lease.partition})
    connection.execute(
        statement("set_pass", owner=table.own("_owner")),
        {"first": first, "end": end, "topic": lease.topic, "partition": lease.partition},
    )
    return lease._replace(pass_from=first, pass_end=end)


def note_read(connection: Connection, table: GoldenTable, ids: Iterable[tuple[int, str]]) -> None:
    """Store the (partition, entity id) pairs of records in a pass, in the transaction that writes these records."""
    pairs = sorted(set(ids))
    if pairs:
        connection.execute(
            statement("add_read_ids", seen=table.own("_seen"), entity=sql.Literal(table.name)),
            {"partitions": [partition for partition, _ in pairs], "ids": [entity_id for _, entity_id in pairs]},
        )


def finish(connection: Connection, table: GoldenTable, lease: Lease) -> None:
    """End a pass: delete the rows whose record the pass did not read, in the transaction of the last batch of the pass.

    Deletes no row if an earlier batch ended the pass: if its commit is not known to be durable, its records are written
    again, and most ids that the pass read are deleted. Raises EnvironmentFault if a foreign trigger or rule keeps rows,
    Transient if the delete takes longer than DELETE_TIMEOUT_S.
    """
    current = statement("read_pass", owner=table.own("_owner"))
    found = connection.execute(current, {"topic": lease.topic, "partition": lease.partition}).fetchone()
    if found == (lease.pass_end,):
        _delete_unread(connection, table, lease)
    set_pass(connection, table, lease, None, None)


def _delete_unread(connection: Connection, table: GoldenTable, lease: Lease) -> None:
    where = f"{table.place}: deleting the rows that partition {lease.partition} lacks"
    connection.execute(sql.SQL("SET LOCAL statement_timeout = {}").format(f"{DELETE_TIMEOUT_S}s"))
    seen = table.own("_seen")
    entity = sql.Literal(table.name)
    name = table.identifier
    bounds = {"partition": lease.partition, "epoch": lease.epoch, "pass_end": lease.pass_end}
    parts: dict[str, sql.Composable] = {"table": name, "seen": seen, "entity": entity}
    with sink_errors(where):
        connection.execute(statement("sweep", action=sql.SQL("DELETE"), **parts), bounds)
        left = connection.execute(statement("sweep", action=sql.SQL("SELECT count(*)"), **parts), bounds).fetchone()
    if left is not None and left[0]:
        raise dropped_rows_fault(connection, name, where, DELETE, left[0])
