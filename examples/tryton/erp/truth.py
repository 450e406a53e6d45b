"""What the golden records must be, asked of Tryton's own tables in SQL: the judge of the pipeline, without its code."""

from pathlib import Path

import psycopg
from psycopg.rows import dict_row

SQL = Path(__file__).parent / "sql"
ENTITIES = ("worker", "party", "ledger_entry")


def expected(dsn: str) -> dict[str, dict[str, dict[str, object]]]:
    """Entity → id → field → value, as contributions encode it; all entities from one snapshot.

    Each file in `sql/` selects `entity_id` and one column per field that is compared.
    """
    with psycopg.connect(dsn, connect_timeout=10, row_factory=dict_row) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        return {entity: _rows(connection, entity) for entity in ENTITIES}


def _rows(connection: psycopg.Connection[dict[str, object]], entity: str) -> dict[str, dict[str, object]]:
    rows = connection.execute((SQL / f"{entity}.sql").read_bytes()).fetchall()
    return {str(row.pop("entity_id")): row for row in rows}
