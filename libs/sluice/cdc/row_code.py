"""Generates code for one table that converts the bytes of a change to the key and the value of its event, in one pass.

Most of the time for a change is spent in the loop over the columns: read a kind, a length and a value; choose a writer;
call the writer. The generated functions have this loop unrolled for the columns of a table, and contain the expressions
of the usual writers, so that nothing is looked up or called. They return the same bytes as `pgoutput.decode` with the
slow methods of `debezium.TableEvents` (a test compares them), in a third of the time. The code contains no names of
columns: these are in the templates.

CPU µs for ten columns, before the code was generated for whole events and now: insert 4.8 and 3.5, with a null 4.6 and
4.2, update with its old row 17 and 5.0, delete 4.2 and 1.3, line of COPY 5.3 and 2.3.

The usual row has no null and no value of 256 bytes or more. Its values are found by one `split`: a text of Postgres
contains no zero byte, so the bytes `t 0 0 0` stand before each value and nowhere else. Ten columns take 0.75 µs so, and
1.4 µs if each length is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from struct import Struct
from typing import Any, NamedTuple

from sluice.cdc.envelope import REST_VALUES, literal, rows_template, template_of, value_template
from sluice.cdc.event_columns import EventColumn
from sluice.cdc.pgoutput import Relation
from sluice.cdc.values.writer import ToJson, inline_of
from sluice.errors import Bug
from sluice.generated_code import run_generated

Encoded = tuple[bytes, bytes]
Encode = Callable[..., Encoded | None]
"""A function of a message and the parts of the envelope (`REST_VALUES`). It returns the key and the value of the event;
None if the change needs the slow methods: a column is left out, a key column is null, or the key changed."""

_SEPARATOR = b"t\0\0\0"
_NEW = b"N"
_int16, _int32 = Struct(">H").unpack_from, Struct(">I").unpack_from


class RowTemplates(NamedTuple):
    """The templates of a table. `identity`: of the old row that contains the columns of the replica identity only; its
    places are those of these columns."""

    key: bytes
    row: bytes
    identity: bytes


def templates_of(columns: Sequence[EventColumn], key_at: Sequence[int], identity_at: Sequence[int]) -> RowTemplates:
    """The templates of a table's rows. `key_at` and `identity_at`: the indexes of the columns of the key, in key order,
    and of the replica identity."""
    identity = [
        (column.name, b"%b" if i in identity_at else literal(column.unknown))
        for i, column in enumerate(columns)
        if column.shown and (i in identity_at or column.unknown)
    ]
    return RowTemplates(
        template_of([(columns[i].name, b"%b") for i in key_at]),
        template_of([(column.name, b"%b") for column in columns if column.shown]),
        template_of(identity),
    )


class RowCode:
    """The generated functions of one table. Each is generated when it is used first.

    They raise Bug if the message has another number of columns or an unknown kind of value, and IndexError if it is too
    short. An error that a writer raises for a text passes through.
    """

    def __init__(self, relation: Relation, columns: Sequence[EventColumn], key_at: Sequence[int]) -> None:
        """`key_at`: the indexes of the key's columns, in key order."""
        identity_at = [i for i, column in enumerate(relation.columns) if column.in_identity]
        self._table = f"{relation.schema}.{relation.table}"  # for tracebacks
        self._columns = columns
        self._key_at = key_at
        self._shown = [i for i, column in enumerate(columns) if column.shown]
        self._identity_at = [i for i in identity_at if columns[i].shown]
        self._split = _SEPARATOR not in relation.oid.to_bytes(4, "big")
        self.templates = templates_of(columns, key_at, identity_at)

    @cached_property
    def inserted(self) -> Encode:
        """For an insert."""
        return self._one_row(value_template(b"null", self.templates.row, b"c"))

    @cached_property
    def updated(self) -> Encode:
        """For an update without an old row."""
        return self._one_row(value_template(b"null", self.templates.row, b"u"))

    @cached_property
    def deleted(self) -> Encode:
        """For a delete with a whole old row."""
        return self._one_row(value_template(self.templates.row, b"null", b"d"))

    @cached_property
    def deleted_by_identity(self) -> Encode:
        """For a delete whose old row contains the columns of the replica identity only."""
        lines = [*self._read_each("t", 6), *self._key_values(), *self._values("v", "t", self._identity_at, nulls=True)]
        template = value_template(self.templates.identity, b"null", b"d")
        return self._message_function([*lines, self._result(_names("v", self._identity_at))], template)

    @cached_property
    def replaced(self) -> Encode:
        """For an update whose old row is whole."""
        count = len(self._columns)
        split = [
            *self._unpack(f"{self._all('o')}{self._all('t')}", 2 * count),
            f"    if o{count - 1}[-3:] != new_row:",
            "        raise misread(-1)",
            f"    o{count - 1} = o{count - 1}[:-3]",
            *_indented(self._texts("o") + self._texts("t")),
        ]
        each = [*self._read_each("o", 6), "if data[at] != 78:", "    raise misread(data[at])"]
        lines = [
            *split,
            "else:",
            *_indented([*each, *self._read_each("t", "at + 1", fill="o")]),
            f"if {' or '.join(f'o{i} != t{i}' for i in self._key_at)}:",
            "    return None",
            *self._key_values(),
            *self._values("v", "t", self._shown, nulls=True),
            # Most columns do not change.
            *[f"w{i} = v{i} if o{i} == t{i} else {self._value(i, 'o', nulls=True)}" for i in self._shown],
            self._result(_names("w", self._shown) + _names("v", self._shown)),
        ]
        return self._message_function(lines, value_template(self.templates.row, self.templates.row, b"u"))

    @cached_property
    def copied(self) -> Callable[[Sequence[bytes], bytes], list[Encoded]]:
        """For lines of COPY's text format that contain no backslash: no null, and nothing to unescape. The second
        argument is the event from `source` on."""
        return self._lines_function("line.split(tab)", [], nulls=False)

    @cached_property
    def copied_fields(self) -> Callable[[Sequence[Sequence[bytes | None]], bytes], list[Encoded]]:
        """For the unescaped fields of such lines, None for a null."""
        missing = " or ".join(f"t{i} is None" for i in self._key_at)
        check = [f"if {missing}:", "    raise ValueError('a null in the key')"]
        return self._lines_function("line", check, nulls=True)

    def _one_row(self, template: bytes) -> Encode:
        result = self._result(_names("v", self._shown))
        split = [
            *self._unpack(self._all("t"), len(self._columns)),
            *_indented(self._texts("t")),
            *_indented([*self._key_values(), *self._values("v", "t", self._shown, nulls=False), result]),
        ]
        each = [*self._read_each("t", 6), *self._key_values(), *self._values("v", "t", self._shown, nulls=True)]
        return self._message_function([*split, *each, result], template)

    def _unpack(self, names: str, count: int) -> list[str]:
        """The start of the branch for a message whose values are all short texts."""
        last = f"t{len(self._columns) - 1}"
        return [
            "p = data.split(separator)",
            f"if {self._split} and len(p) == {count + 1} and data[6:8] == count:",
            f"    _, {names} = p",
            f"    if {last}[0] != len({last}) - 1:",
            "        raise IndexError",
        ]

    def _texts(self, name: str) -> list[str]:
        """Cut the lowest byte of the length off each value."""
        return [f"{name}{i} = {name}{i}[1:]" for i in sorted({*self._shown, *self._key_at})]

    def _read_each(self, name: str, at: int | str, fill: str = "") -> list[str]:
        """Read a row column by column. A column that is left out takes the text of `fill`; without `fill` it ends the
        function, as a null in the key does."""
        lines = [f"at = {at}", f"if int16(data, at)[0] != {len(self._columns)}:", "    raise misread(-1)", "at += 2"]
        for i in range(len(self._columns)):
            lines += [
                "kind = data[at]",
                "if kind == 116:",
                "    end = at + 5 + int32(data, at + 1)[0]",
                f"    {name}{i} = data[at + 5 : end]",
                "    at = end",
                "elif kind == 110:",
                "    return None" if i in self._key_at else f"    {name}{i} = None",
                "    at += 1",
                "elif kind == 117:",
                f"    {name}{i} = {fill}{i}" if fill else "    return None",
                "    at += 1",
                "else:",
                "    raise misread(kind)",
            ]
        return [*lines, "if at > len(data):", "    raise IndexError"]

    def _key_values(self) -> list[str]:
        return [f"k{i} = {_expression(self._columns[i].write_key, f't{i}', f'key_writer{i}')}" for i in self._key_at]

    def _values(self, name: str, text: str, wanted: Sequence[int], *, nulls: bool) -> list[str]:
        return [f"{name}{i} = {self._value(i, text, nulls=nulls)}" for i in wanted]

    def _value(self, at: int, text: str, *, nulls: bool) -> str:
        value = _expression(self._columns[at].write, f"{text}{at}", f"writer{at}")
        return f"null{at} if {text}{at} is None else {value}" if nulls else value

    def _all(self, name: str) -> str:
        return _names(name, range(len(self._columns)))

    def _result(self, row: str) -> str:
        return f"return key_template % ({_names('k', self._key_at)}), template % ({row}{REST_VALUES})"

    def _lines_function(self, fields: str, check: Sequence[str], *, nulls: bool) -> Callable[..., list[Encoded]]:
        values = [*check, *self._key_values(), *self._values("v", "t", self._shown, nulls=nulls)]
        add = f"add((key_template % ({_names('k', self._key_at)}), template % ({_names('v', self._shown)}rest)))"
        lines = [
            "def encode(lines, rest):",
            "    rows = []",
            "    add = rows.append",
            "    for line in lines:",
            f"        {self._all('t')} = {fields}",
            *_indented(_indented([*values, add])),
            "    return rows",
        ]
        return self._generated(lines, rows_template(self.templates.row))  # type: ignore[return-value]

    def _message_function(self, lines: Sequence[str], template: bytes) -> Encode:
        return self._generated([f"def encode(data, {REST_VALUES}):", *_indented(lines)], template)

    def _generated(self, lines: Sequence[str], template: bytes) -> Encode:
        count = len(self._columns).to_bytes(2, "big")
        names: dict[str, Any] = {
            "int16": _int16,
            "int32": _int32,
            "separator": _SEPARATOR,
            "tab": b"\t",
            "count": count,
            "new_row": _NEW + count,
            "key_template": self.templates.key,
            "template": template,
            "misread": _misread,
        }
        for i, column in enumerate(self._columns):
            names |= {f"writer{i}": column.write, f"key_writer{i}": column.write_key, f"null{i}": column.null}
            for writer in (column.write, column.write_key):
                inline = inline_of(writer)
                names |= inline.names if inline else {}
        source = "\n".join(lines) + "\n"  # it contains no text of the table, only numbers
        encode: Encode = run_generated(source, f"<rows of table {self._table}>", names)["encode"]
        return encode


def _expression(writer: ToJson, text: str, name: str) -> str:
    inline = inline_of(writer)
    return f"({inline.code.replace('$', text)})" if inline else f"{name}({text})"


def _names(name: str, wanted: Iterable[int]) -> str:
    return "".join(f"{name}{i}, " for i in wanted)


def _indented(lines: Iterable[str]) -> list[str]:
    return [f"    {line}" for line in lines]


def _misread(kind: int) -> Bug:
    if kind < 0:
        return Bug("pgoutput: a row with another number of columns than its relation")
    return Bug(f"pgoutput: column kind {kind:#x} is unknown")
