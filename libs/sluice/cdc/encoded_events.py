"""Events of one table in JSON with schemas, or in Avro: those of `TableEvents`, converted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager

from sluice.cdc.change_event import NextBlock, no_block
from sluice.cdc.column_json import PgType
from sluice.cdc.converter import DoesNotFit, RecordConverter
from sluice.cdc.debezium import CannotFollow, ChangeEvent, EventSource, RereadRow, TableEvents, TransactionInfo
from sluice.cdc.event_form import ColumnRules, EventForm
from sluice.cdc.event_schema import ColumnCatalog
from sluice.cdc.pgoutput import Delete, Insert, Relation, Row, Update


class EncodedEvents(TableEvents):
    """As `TableEvents`, whose methods convert what they return. They raise CannotFollow if a value does not fit the
    schema of its column."""

    def __init__(
        self,
        source: EventSource,
        relation: Relation,
        key_columns: Sequence[str],
        types: Mapping[int, PgType],
        reread: Set[str],
        form: EventForm,
        rules: ColumnRules,
        catalog: Mapping[str, ColumnCatalog],
        converter: RecordConverter,
    ) -> None:
        super().__init__(source, relation, key_columns, types, reread, form, rules, catalog)
        self._converter = converter

    def encode(
        self, message: bytes, transaction: TransactionInfo, lsn: int, block: bytes = b"null"
    ) -> tuple[bytes, bytes] | None:
        encoded = super().encode(message, transaction, lsn, block)
        try:
            return None if encoded is None else (self._converter.key(encoded[0]), self._converter.value(encoded[1]))
        except DoesNotFit:
            return None  # the slow methods raise it again, where a table can be blocked

    def copied_rows(
        self, lines: Sequence[bytes], transaction: TransactionInfo, lsn: int, block: bytes = b"null"
    ) -> list[tuple[bytes, bytes]]:
        key, value = self._converter.key, self._converter.value
        with _fitting():
            return [(key(k), value(v)) for k, v in super().copied_rows(lines, transaction, lsn, block)]

    def inserted(
        self, event: Insert, transaction: TransactionInfo, lsn: int, next_block: NextBlock = no_block
    ) -> list[ChangeEvent]:
        return self._converted(super().inserted(event, transaction, lsn, next_block))

    def snapshot_row(self, row: Row, transaction: TransactionInfo, lsn: int) -> ChangeEvent:
        (converted,) = self._converted([super().snapshot_row(row, transaction, lsn)])
        return converted

    def updated(
        self,
        event: Update,
        transaction: TransactionInfo,
        lsn: int,
        reread_row: RereadRow,
        next_block: NextBlock = no_block,
    ) -> list[ChangeEvent]:
        return self._converted(super().updated(event, transaction, lsn, reread_row, next_block))

    def deleted(
        self, event: Delete, transaction: TransactionInfo, lsn: int, next_block: NextBlock = no_block
    ) -> list[ChangeEvent]:
        return self._converted(super().deleted(event, transaction, lsn, next_block))

    def truncated(self, transaction: TransactionInfo, lsn: int, next_block: NextBlock = no_block) -> bytes:
        return self._converter.value(super().truncated(transaction, lsn, next_block))

    def _converted(self, changes: list[ChangeEvent]) -> list[ChangeEvent]:
        key, value = self._converter.key, self._converter.value
        with _fitting():
            return [
                change._replace(key=key(change.key), value=None if change.value is None else value(change.value))
                for change in changes
            ]


@contextmanager
def _fitting() -> Iterator[None]:
    try:
        yield
    except DoesNotFit as error:
        raise CannotFollow(str(error)) from None
