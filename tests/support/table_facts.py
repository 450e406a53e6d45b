"""Facts of a table `public.t` with columns id, notes, other and n, and of its variants."""

from __future__ import annotations

from sluice.cdc.table_facts import ColumnFacts, LeafPartition, PublicationFacts, TableFacts, binding_of

V18, V17 = 180_006, 170_010
TEXT, VARCHAR, INT4, INT8 = 25, 1043, 23, 20


def column(number: int, name: str, type_oid: int = TEXT, **more: object) -> ColumnFacts:
    return ColumnFacts(number, name, type_oid, -1, 900, False, False)._replace(**more)  # type: ignore[arg-type]


COLUMNS = ID, NOTES, OTHER, N = column(1, "id", INT4), column(2, "notes"), column(3, "other"), column(4, "n", INT4)
FACTS = TableFacts(
    schema="public",
    table="t",
    oid=7,
    kind="r",
    persistence="p",
    identity="d",
    filenode=7,
    identity_columns=("id",),
    primary_key=("id",),
    key_immediate=True,
    columns=COLUMNS,
    leaves=(),
    membership=("table 12",),
    published=("id", "notes", "other", "n"),
    row_filter=None,
    filter_columns=(),
    xid=1_000,
    server_version=V18,
)
LEAF = LeafPartition(8, "public", "t_1", "r", "p", "d", 8, 960, 950, ("id",))
PARTITIONED = FACTS._replace(kind="p", filenode=0, leaves=(LEAF,))
WITH_GENERATED = (*COLUMNS, column(5, "twice", generated=True))
PUBLICATION = PublicationFacts(11, 900, publishes_all=True, via_root=True)
BOUND = binding_of(FACTS, PUBLICATION, "topic")


def columns(*columns: ColumnFacts, filenode: int = 7) -> TableFacts:
    return FACTS._replace(columns=columns, published=tuple(c.name for c in columns), filenode=filenode)
