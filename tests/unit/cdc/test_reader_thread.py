"""The thread that reads tables: its own errors, and how long a chunk's transaction is open."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import psycopg
import pytest

from sluice.cdc.table_facts import TableFacts
from sluice.cdc.watermarks import Heap, TableReading
from sluice_ingress_cdc.chunks import ChunkReader, Part
from sluice_ingress_cdc.reader_thread import Message, ReaderCrashed, ReaderThread, ReadRequest
from sluice_ingress_cdc.table_readings import TableReadings
from sluice_ingress_cdc.windows import SourceSnapshot, StreamedKeys
from support.waiting import eventually

REQUEST = ReadRequest(1, "public.a", None)


def test_an_unexpected_error_of_the_reader_ends_the_stream_and_not_the_thread_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    context: Any = SimpleNamespace(slot=SimpleNamespace(source="erp", where="source erp"))
    woken: list[None] = []
    thread = ReaderThread(context, {}, cast(Any, None), lambda: woken.append(None))

    def fail(request: ReadRequest, where: str) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr(thread, "_read", fail)
    thread.start()
    thread.request(REQUEST)
    eventually(lambda: thread.messages, "the message of the crash")
    thread.close()
    ((request, content),) = thread.messages
    assert request == REQUEST
    assert isinstance(content, ReaderCrashed)
    assert woken

    assembler: Any = SimpleNamespace(in_transaction=False, complete_lsn=1, keys=StreamedKeys())
    tables: Any = SimpleNamespace(in_state=lambda state: [])
    readings = TableReadings(context, thread, assembler, cast(Any, None), {}, tables)
    assert thread.messages[0] == Message(REQUEST, content)
    with pytest.raises(KeyError):
        readings.turn()


def test_the_last_part_of_a_chunk_waits_for_the_stream_without_a_transaction(monkeypatch: pytest.MonkeyPatch) -> None:
    connection = _Connection()
    facts: Any = SimpleNamespace(oid=1, leaves=(), itself=psycopg.sql.Identifier("public", "a"))
    reader = ChunkReader(
        cast(Any, connection),
        cast(TableFacts, facts),
        cast(Any, None),
        cast(Any, None),
        "source erp, table public.a",
        1024,
        1024,
        lambda: None,
    )
    following = TableReading((Heap(1, 5, 1),), 1)
    last = Part(SourceSnapshot(1, 1, frozenset()), 1, [], [], [], 0, following)

    def locked(*_: object) -> Any:
        yield last._replace(reading=None)
        return last

    monkeypatch.setattr(reader, "_locked_chunk", locked)
    open_at = [(part.reading is not None, connection.open) for part in reader.parts(TableReading((Heap(1, 5, 1),)))]
    assert open_at == [(False, True), (True, False)]


class _Connection:
    """A connection that knows whether a transaction is open."""

    def __init__(self) -> None:
        self.open = False

    def execute(self, statement: object) -> None:
        text = statement if isinstance(statement, str) else repr(statement)
        self.open = "BEGIN" in text

    @property
    def info(self) -> SimpleNamespace:
        status = psycopg.pq.TransactionStatus
        return SimpleNamespace(transaction_status=status.INTRANS if self.open else status.IDLE)
