"""The sink's SQL: each file contains one command or script, and `statement` fills in the names of tables and
columns."""

from functools import cache
from importlib.resources import files

from psycopg import sql


@cache
def _text(name: str) -> sql.SQL:
    return sql.SQL((files(__package__) / f"{name}.sql").read_text("utf-8"))


def statement(name: str, **parts: sql.Composable) -> sql.Composed:
    """The SQL of the file `<name>.sql`, with `parts` filled in for its `{placeholders}`."""
    return _text(name).format(**parts)
