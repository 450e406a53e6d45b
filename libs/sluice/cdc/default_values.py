"""The default of a column as its schema states it: from the expression in the catalogs, as Debezium reads it.

A literal is the default. For an expression that is computed for each row, such as now(), Debezium states a fixed value.
"""

from __future__ import annotations

import re
from typing import Any

import orjson

from sluice.cdc.connect_schema import NO_DEFAULT
from sluice.cdc.values.writer import ToJson

_LITERAL = re.compile(r"'([^']*(?:''[^']*)*)'")
_COMPUTED = re.compile(r"[(]?[A-Za-z0-9_.]+\(.*\)", re.DOTALL)
_CURRENT = {"current_timestamp", "current_time", "current_date", "localtime", "localtimestamp"}

# By the type's oid: the text of the value that stands for a computed default. Other types have no default in schemas,
# except enums.
_PLACEHOLDERS: dict[int, str] = {
    16: "f",
    20: "0",
    21: "0",
    23: "0",
    25: "",
    114: "{}",
    142: "",
    700: "0.0",
    701: "0.0",
    1042: "",
    1043: "",
    1082: "1970-01-01",
    1083: "00:00:00",
    1114: "1970-01-01 00:00:00",
    1184: "1970-01-01 00:00:00+00",
    1186: "00:00:00",
    1560: "00",
    1562: "0",
    1700: "0.0",
    2950: "00000000-0000-0000-0000-000000000000",
    3802: "{}",
}
_BOOLEANS = {"true": "t", "false": "f"}


def default_of(expression: str | None, oid: int, write: ToJson, *, is_enum: bool = False) -> Any:
    """The default in the column's schema, as the payload's JSON writes it; NO_DEFAULT if the schema states none.

    `expression`: of the catalogs, as `pg_get_expr` prints it. `write`: the writer of the column's values.
    """
    if expression is None or not (is_enum or oid in _PLACEHOLDERS):
        return NO_DEFAULT
    text = _text_of(expression.strip(), oid, is_enum=is_enum)
    if text is None:
        return NO_DEFAULT
    try:
        value = orjson.loads(write(_BOOLEANS.get(text, text).encode() if oid == 16 else text.encode()))
    except Exception:  # a writer may raise any error for a text that is not one of its type, such as an expression
        return NO_DEFAULT
    return NO_DEFAULT if value is None or isinstance(value, dict) else value


def _text_of(expression: str, oid: int, *, is_enum: bool) -> str | None:
    if not is_enum and (_COMPUTED.match(expression) or expression.lower() in _CURRENT):
        return _PLACEHOLDERS[oid]
    literal = _LITERAL.search(expression)
    if literal is not None:
        return literal[1].replace("''", "'")
    return None if expression.startswith("NULL::") or is_enum else expression
