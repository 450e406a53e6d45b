"""Generates code for one table that converts the bytes of a new row to the JSON of the row and of its key, in one pass.

Most changes are inserts and updates without an old row. Most of their time is spent in the loop over the columns: read
a kind, a length and a value; choose a writer; call the writer. `compile_row` unrolls this loop for the columns of a
table, once per shape. The generated code returns the same JSON as `pgoutput.read_row` with `debezium.TableEvents` (a
test compares them) in about half the time. It contains no names of columns: these are in the templates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from struct import Struct
from typing import Any

from sluice.cdc.values.writer import ToJson, verbatim
from sluice.errors import Bug
from sluice.generated_code import run_generated

RowToJson = Callable[[bytes, int], tuple[bytes, bytes] | None]
"""A function of a message and the index of its new row's bytes. It returns the JSON of the key and of the row; None if
a column is left out or a key column is null."""

_int32 = Struct(">I").unpack_from
_int16 = Struct(">H").unpack_from

_COLUMN = """
    kind = data[at]
    if kind == 116:
        end = at + 5 + int32(data, at + 1)[0]
        v{i} = {value}
        at = end
    elif kind == 110 and not {in_key}:
        v{i} = b"null"
        at += 1
    elif kind == 117 or kind == 110:  # left out, or a null in the key
        return None
    else:
        raise misread(kind)
"""


def compile_row(
    table: str, writers: Sequence[ToJson], key_at: Sequence[int], key_template: bytes, row_template: bytes
) -> RowToJson:
    """Generate the function for a table. `table`: its name, for tracebacks. `writers`: the writer of each column.
    `key_at`: the indexes of the primary key's columns, in key order.

    The generated function raises Bug if the message has another number of columns or an unknown kind of value, and
    IndexError if the message is too short. An error that a writer raises for a text passes through.
    """
    lines = [
        "def row(data, at):",
        f"    if int16(data, at)[0] != {len(writers)}:",
        "        raise misread(-1)",
        "    at += 2",
    ]
    for i, writer in enumerate(writers):
        value = "data[at + 5 : end]" if writer is verbatim else f"w{i}(data[at + 5 : end])"
        lines.append(_COLUMN.format(i=i, value=value, in_key=i in key_at).strip("\n"))
    values = "".join(f"v{i}, " for i in range(len(writers)))
    key = "".join(f"v{i}, " for i in key_at)
    lines += [
        "    if at > len(data):",
        "        raise IndexError",
        f"    return key_template % ({key}), row_template % ({values})",
    ]
    names: dict[str, Any] = {
        "int16": _int16,
        "int32": _int32,
        "key_template": key_template,
        "row_template": row_template,
        "misread": _misread,
        **{f"w{i}": writer for i, writer in enumerate(writers)},
    }
    source = "\n".join(lines) + "\n"  # it contains no text of the table, only numbers
    row: RowToJson = run_generated(source, f"<rows of table {table}>", names)["row"]
    return row


def _misread(kind: int) -> Bug:
    if kind < 0:
        return Bug("pgoutput: a row with another number of columns than its relation")
    return Bug(f"pgoutput: column kind {kind:#x} is unknown")
