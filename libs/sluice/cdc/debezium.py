"""Writes change events that a Debezium consumer can read: `schemas.enable=false`, keys and values as compact JSON.

One `TableEvents` writes the events of one shape of a table; after a Relation message with another shape, a new one
does. It writes the bytes straight from Postgres' text values. `pgoutput` decodes its input, and
`sluice_ingress_cdc.assembler` makes raw records of its output.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from types import MappingProxyType

import orjson

from sluice.cdc.change_event import CannotFollow, ChangeEvent, NextBlock, NoRow, Place, no_block
from sluice.cdc.column_json import PgType
from sluice.cdc.copied_rows import fields_of
from sluice.cdc.envelope import (
    Envelope,
    EnvelopeParts,
    EventSource,
    TransactionInfo,
    read_rest,
    value_template,
)
from sluice.cdc.event_columns import event_columns
from sluice.cdc.event_form import DEFAULT_FORM, ColumnRules, EventForm
from sluice.cdc.event_schema import ColumnCatalog
from sluice.cdc.pgoutput import UNCHANGED, Delete, Insert, Relation, Row, Update, Value
from sluice.cdc.row_code import Encode, RowCode
from sluice.cdc.row_writer import RowWriter
from sluice.errors import Bug
from sluice.headers import NEW_KEY_HEADER, OLD_KEY_HEADER, ROW_GONE_HEADER, UNCHANGED_HEADER, UNKNOWN_HEADER

UNAVAILABLE = DEFAULT_FORM.unavailable
_INSERT, _UPDATE, _DELETE = b"IUD"
_WHOLE, _IDENTITY, _NEW = b"OKN"


RereadRow = Callable[["TableEvents", Sequence[bytes]], "Row | NoRow"]
"""Effect: read the current row of a table with a primary key (text values, in key order) from the source."""

__all__ = [
    "UNAVAILABLE",
    "CannotFollow",
    "ChangeEvent",
    "EventSource",
    "NextBlock",
    "NoRow",
    "RereadRow",
    "TableEvents",
    "TransactionInfo",
    "no_block",
]


class TableEvents:
    """Writes the events of one table in one shape.

    `key_columns`: the primary key in its declared order. `reread`: the columns whose last published value may be wrong.
    If an update leaves out such a column, its value is read again from the source. `form`: the form of the source's
    events. `rules`: which columns are published, and how. `catalog`: what the catalogs say about the columns, for the
    exact form. Raises CannotFollow if the shape lacks a key column.
    """

    def __init__(
        self,
        source: EventSource,
        relation: Relation,
        key_columns: Sequence[str],
        types: Mapping[int, PgType],
        reread: Set[str] = frozenset(),
        form: EventForm = DEFAULT_FORM,
        rules: ColumnRules = ColumnRules(),  # noqa: B008 (it is frozen)
        catalog: Mapping[str, ColumnCatalog] = MappingProxyType({}),
    ) -> None:
        names = [c.name for c in relation.columns]
        self.relation = relation
        self.key_columns = tuple(key_columns)
        self.form = form
        self._row_key_at = _indexes(names, key_columns)
        self._key_at = _indexes(names, rules.key) if rules.key else self._row_key_at
        self._identity_at = [i for i, c in enumerate(relation.columns) if c.in_identity]
        self._reread_at = {i for i, name in enumerate(names) if name in reread}
        self.columns = event_columns(relation, types, form, rules, catalog)
        self._shown = [i for i, column in enumerate(self.columns) if column.shown]
        kind = "key" if rules.key else "primary key"
        self._rows = RowWriter(relation, self.columns, self._key_at, kind)
        self._code = RowCode(relation, self.columns, self._key_at)
        self._copied_rows, self._copied_code = self._rows, self._code
        if form.exact:
            # Debezium reads the values of snapshots in another way than those of changes.
            copied = event_columns(relation, types, form, rules, catalog, snapshot=True)
            self._copied_rows = RowWriter(relation, copied, self._key_at, kind)
            self._copied_code = RowCode(relation, copied, self._key_at)
        self._envelope = Envelope(source, relation.schema, relation.table, form)
        self._transaction: TransactionInfo | None = None
        self._parts = EnvelopeParts(b"", b"", b"", b"")

    def encode(
        self, message: bytes, transaction: TransactionInfo, lsn: int, block: bytes = b"null"
    ) -> tuple[bytes, bytes] | None:
        """The key and the value of the event for an insert, an update or a delete, straight from the plugin's message.
        `block`: JSON of the event's `transaction`. A delete's tombstone is left to the caller.

        The result equals that of `inserted`, `updated` or `deleted`, in a third of the time. None if the change needs
        these methods: it leaves columns out, changes the key, or contains a value that its writer cannot read.
        """
        encode = self._encode_of(message)
        if encode is None:
            return None
        if self._transaction is not transaction:
            self._start(transaction)
        head, middle, close, tail = self._parts
        place = b"%d" % lsn
        try:
            return encode(message, head, place, middle, place, close, block, tail)
        except Bug:
            raise
        except Exception:
            # A writer may raise any error for a value that it cannot read. The slow methods publish such a value as
            # text. They raise Bug if the message itself is misread.
            return None

    def _encode_of(self, message: bytes) -> Encode | None:
        kind, row = message[0], message[5]
        if row == _NEW:
            return self._code.inserted if kind == _INSERT else self._code.updated
        if kind == _DELETE:
            return self._code.deleted if row == _WHOLE else self._code.deleted_by_identity
        return self._code.replaced if row == _WHOLE else None

    def copied_rows(
        self, lines: Sequence[bytes], transaction: TransactionInfo, lsn: int, block: bytes = b"null"
    ) -> list[tuple[bytes, bytes]]:
        """The keys and the values of snapshot rows. `lines`: rows in COPY's text format, without the line feed.

        The rows of one call share the transaction's snapshot mark and the time of the event. Raises CannotFollow if a
        key column is null.
        """
        place = b"%d" % lsn
        parts = self._envelope.parts(transaction)
        rest = read_rest(parts, place, b"null" if transaction.snapshot == "incremental" else place, block)
        try:
            if b"\\" in b"".join(lines):
                return self._copied_code.copied_fields([fields_of(line) for line in lines], rest)
            return self._copied_code.copied(lines, rest)
        except Exception:  # as in `encode`
            return [self._copied_row([*fields_of(line)], rest) for line in lines]

    def _copied_row(self, row: Row, rest: bytes) -> tuple[bytes, bytes]:
        return self.key(row), b'{"before":null,"after":%b,%b' % (self._copied_rows.row(row), rest)

    def inserted(
        self, event: Insert, transaction: TransactionInfo, lsn: int, next_block: NextBlock = no_block
    ) -> list[ChangeEvent]:
        """The create event. `next_block`: gives JSON of the `transaction` of the next event, here and below. It is
        called once for each event, in their order."""
        return [self._change(event.new, b"null", b"c", Place(transaction, lsn, next_block))]

    def snapshot_row(self, row: Row, transaction: TransactionInfo, lsn: int) -> ChangeEvent:
        after = self._copied_rows.row(row)
        return ChangeEvent(self.key(row), self._value(b"null", after, b"r", Place(transaction, lsn)))

    def updated(
        self,
        event: Update,
        transaction: TransactionInfo,
        lsn: int,
        reread_row: RereadRow,
        next_block: NextBlock = no_block,
    ) -> list[ChangeEvent]:
        """One event; or three if the key changed: delete and tombstone of the old key, then a create.

        The mapper keeps unchanged values per key and has none for a new key. Therefore the row is read again from the
        source if the key changed and a column is left out, or if a column of `reread` is left out. The row that is read
        may be newer than this event; then the event of the newer change follows later.
        """
        place = Place(transaction, lsn, next_block)
        new = self._fill(event)
        moved = bool(event.old_kind) and self._key_values(event.old) != self._key_values(new)
        left_out = [i for i in self._shown if new[i] is UNCHANGED]
        wanted = left_out if moved else [i for i in left_out if i in self._reread_at]
        headers: list[tuple[str, bytes]] = []
        if wanted:
            new, headers = self._reread(new, wanted, reread_row)
        kept = [i for i in left_out if i not in wanted]
        if kept:
            headers.append((UNCHANGED_HEADER, self._names(kept)))
        if not moved:
            return [self._change(new, self._before(event), b"u", place)._replace(headers=tuple(headers))]
        old_key, new_key = self.key(event.old), self.key(new)
        deleted = self._delete(old_key, event.old_kind, event.old, place)
        created = self._change(new, b"null", b"c", place)
        moved_to = ((NEW_KEY_HEADER, new_key),)
        return [
            deleted._replace(headers=moved_to),
            *self._tombstone(old_key, moved_to if self.form.debezium else ()),
            created._replace(headers=((OLD_KEY_HEADER, old_key), *headers)),
        ]

    def deleted(
        self, event: Delete, transaction: TransactionInfo, lsn: int, next_block: NextBlock = no_block
    ) -> list[ChangeEvent]:
        """The delete event and its tombstone. `before` of the event contains the columns of the replica identity."""
        key = self.key(event.old)
        place = Place(transaction, lsn, next_block)
        return [self._delete(key, event.old_kind, event.old, place), *self._tombstone(key)]

    def truncated(self, transaction: TransactionInfo, lsn: int, next_block: NextBlock = no_block) -> bytes:
        """The value of the event of a TRUNCATE. Its record has no key."""
        return self._value(b"null", b"null", b"t", Place(transaction, lsn, next_block))

    def key(self, row: Row) -> bytes:
        """The record's key for `row`. Raises CannotFollow if a key column has no value, because the replica identity
        lacks it."""
        return self._rows.key(row)

    def _reread(self, new: Row, wanted: list[int], reread_row: RereadRow) -> tuple[Row, list[tuple[str, bytes]]]:
        """The row `new`, completed with the current values of the `wanted` columns in the source. If these cannot be
        read, `new` itself and headers that name the columns as unknown."""
        key = [v for v in (new[i] for i in self._row_key_at) if isinstance(v, bytes)]
        if len(key) < len(self._row_key_at):
            raise CannotFollow("an update came without its whole primary key")
        current = reread_row(self, key)
        if not isinstance(current, NoRow):
            return [current[i] if i in wanted else v for i, v in enumerate(new)], []
        deleted = [(ROW_GONE_HEADER, b"1")] if current is NoRow.DELETED else []
        return new, [(UNKNOWN_HEADER, self._names(wanted)), *deleted]

    def _before(self, event: Update) -> bytes:
        if event.old_kind == "O":
            return self._rows.row(event.old)
        return self._rows.identity(event.old) if event.old_kind and self.form.debezium else b"null"

    def _delete(self, key: bytes, old_kind: str, old: Row, place: Place) -> ChangeEvent:
        before = self._rows.row(old) if old_kind == "O" else self._rows.identity(old)
        return ChangeEvent(key, self._value(before, b"null", b"d", place))

    def _tombstone(self, key: bytes, headers: tuple[tuple[str, bytes], ...] = ()) -> list[ChangeEvent]:
        return [ChangeEvent(key, None, headers)] if self.form.tombstones else []

    def _change(self, row: Row, before: bytes, op: bytes, place: Place) -> ChangeEvent:
        return ChangeEvent(self.key(row), self._value(before, self._rows.row(row), op, place))

    def _fill(self, event: Update) -> Row:
        """The new row of an update. An unchanged value is taken from the old row if the old row contains it."""
        if UNCHANGED not in event.new or not event.old_kind:
            return event.new
        new = list(event.new)
        for i in range(len(new)) if event.old_kind == "O" else self._identity_at:
            if new[i] is UNCHANGED:
                new[i] = event.old[i]
        return new

    def _names(self, at: Sequence[int]) -> bytes:
        return orjson.dumps([self.relation.columns[i].name for i in at])

    def _key_values(self, row: Row) -> list[Value]:
        return [row[i] for i in self._key_at]

    def _value(self, before: bytes, after: bytes, op: bytes, place: Place) -> bytes:
        if self._transaction is not place.transaction:
            self._start(place.transaction)
        head, middle, close, tail = self._parts
        lsn = b"%d" % place.lsn
        template = value_template(b"%b", b"%b", op)
        return template % (before, after, head, lsn, middle, lsn, close, place.next_block(), tail)

    def _start(self, transaction: TransactionInfo) -> None:
        """Make the parts of the envelope that the events of one transaction share."""
        self._transaction = transaction
        self._parts = self._envelope.parts(transaction)


def _indexes(names: list[str], key_columns: Sequence[str]) -> list[int]:
    missing = [k for k in key_columns if k not in names]
    if missing:
        raise CannotFollow(f"its primary key column {missing[0]} is not among the columns that are replicated")
    return [names.index(k) for k in key_columns]
