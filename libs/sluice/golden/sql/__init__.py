"""The sink's SQL, a statement a file; names of tables and columns are put in by `statement`, never by formatting."""

from functools import cache
from importlib.resources import files

from psycopg import sql


@cache
def _text(name: str) -> sql.SQL:
    return sql.SQL((files(__package__) / f"{name}.sql").read_text("utf-8"))


def statement(name: str, **parts: sql.Composable) -> sql.Composed:
    """The statement in `<name>.sql`, its `{parts}` filled in."""
    return _text(name).format(**parts)
