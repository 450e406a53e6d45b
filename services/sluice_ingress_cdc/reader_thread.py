"""The thread that reads tables in chunks while the stream's thread follows the slot. It sends messages to that thread.

The stream's thread decides when a message takes effect (`table_readings`). Messages that are not taken yet are limited
in bytes, so the reader is never far ahead of the publisher.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

from sluice.cdc.change_event import CannotFollow
from sluice.cdc.connection import Connection, connect, query
from sluice.cdc.eligibility import eligibility_fault
from sluice.cdc.publication import ensure_publication
from sluice.cdc.table_facts import TableBinding, TableFacts, binding_of, load_types, publication_facts, table_facts
from sluice.cdc.watermarks import TableReading
from sluice.errors import EnvironmentFault, SluiceError, Transient
from sluice_ingress_cdc.catalog_check import RawTopic
from sluice_ingress_cdc.chunks import ChunkReader, HeapMoved, Part, make_barrier
from sluice_ingress_cdc.records import SlotTargets, TableTarget
from sluice_ingress_cdc.session_context import SessionContext
from sluice_ingress_cdc.table_events import catalog_of, table_events

_STATEMENT_TIMEOUT_S = 3_600.0
_NUDGE_AFTER_S = 0.02


class ReadRequest(NamedTuple):
    """The request to read a table from `reading` on; None: from its start. `number`: rises with each request."""

    number: int
    table: str
    reading: TableReading | None


class TableFound(NamedTuple):
    """The table can be read. Its changes are to be published as soon as the stream's mark is at `after_lsn`."""

    facts: TableFacts
    bound: TableBinding
    after_lsn: int


class TableWaits(NamedTuple):
    """The table waits for something that an operator may have to end."""

    fault: EnvironmentFault


class ReadingFailed(NamedTuple):
    """The reading ended. `moved`: the rows are at other places now, so the table must be read from its start."""

    error: EnvironmentFault | Transient
    moved: bool = False


class ReaderCrashed(NamedTuple):
    """The thread met an error that is a fault of Sluice itself. The stream's thread must raise it."""

    error: Exception


Content = TableFound | TableWaits | ReadingFailed | ReaderCrashed | Part


class Message(NamedTuple):
    request: ReadRequest
    content: Content


class ReadingEnded(SluiceError):
    """The stream's thread does not want this reading any more."""


class ReaderThread:
    """Carries out one request at a time. `wake`: called when there is a new message.

    `targets`: where and in which form the events of the source are published. The thread and its
    connection end with `close`.
    """

    def __init__(
        self,
        context: SessionContext,
        topics: Mapping[str, RawTopic],
        targets: SlotTargets,
        wake: Callable[[], None],
    ) -> None:
        self._context = context
        self._slot = context.slot
        self._topics = topics
        self._targets = targets
        self._wake = wake
        self.messages: deque[Message] = deque()
        self._changed = threading.Condition()
        self._queued_bytes = 0
        self._request: ReadRequest | None = None
        self._started: int | None = None
        self._closed = False
        self._connection: Connection | None = None
        self._second: Connection | None = None
        self._thread = threading.Thread(target=self._run, name=f"reader of {self._slot.source}", daemon=True)

    # ── called by the stream's thread ────────────────────────────────────────────────────────────────────────

    def start(self) -> None:
        self._thread.start()

    def request(self, request: ReadRequest | None) -> None:
        """Read this table; drop what is left of the request before. None: read nothing."""
        with self._changed:
            self._request, self._started = request, None
            self.messages.clear()
            self._queued_bytes = 0
            self._changed.notify_all()

    def table_started(self, request: ReadRequest) -> None:
        """The changes of the requested table are published from now on."""
        with self._changed:
            self._started = request.number
            self._changed.notify_all()

    def take(self) -> None:
        """Remove the oldest message."""
        with self._changed:
            content = self.messages.popleft().content
            if isinstance(content, Part):
                self._queued_bytes -= content.size_bytes
            self._changed.notify_all()

    def close(self) -> None:
        """End the thread. Waits at most 1 s: a running call ends by its own deadline."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(timeout=1.0)

    # ── the thread ───────────────────────────────────────────────────────────────────────────────────────────

    def _run(self) -> None:
        done = 0
        while True:
            with self._changed:
                self._changed.wait_for(partial(self._is_new, done))
                request = self._request
                if self._closed or request is None:
                    break
            self._carry_out(request)
            done = request.number
        self._disconnect()

    def _is_new(self, done: int) -> bool:
        return self._closed or (self._request is not None and self._request.number > done)

    def _carry_out(self, request: ReadRequest) -> None:
        where = f"{self._slot.where}, table {request.table}"
        try:
            self._read(request, where)
        except ReadingEnded:
            self._disconnect()
        except HeapMoved:
            error = Transient(f"{where}: its rows were moved or rewritten while it was read; it is read again")
            self._send(request, ReadingFailed(error, moved=True))
        except CannotFollow as error:
            self._disconnect()
            fault = EnvironmentFault(where, error.why, "change the column, or the source's debezium settings")
            self._send(request, ReadingFailed(fault))
        except (EnvironmentFault, Transient) as error:
            self._disconnect()
            self._send(request, ReadingFailed(error))
        except Exception as error:
            # Else only this thread would end, and the table would stay unread without a fault.
            self._disconnect()
            self._send(request, ReaderCrashed(error))

    def _read(self, request: ReadRequest, where: str) -> None:
        facts, bound = self._find(request, where)
        check = self._check_of(request)

        def on_wait(fault: EnvironmentFault) -> None:
            self._send(request, TableWaits(fault))

        reading = request.reading
        after_lsn = make_barrier(self._live(), where, check, on_wait)
        if reading is None:
            # The table may have been added to the publication just now: the stream may lack changes of transactions
            # that were open then. All of these have ended now.
            self._send(request, TableFound(facts, bound, after_lsn))
            self._await_start(request)
            make_barrier(self._live(), where, check, on_wait)
            reading = TableReading()
        reader = self._chunks(facts, where, check)
        if not reading.heaps:
            reading = reading._replace(heaps=reader.sizes())
        for part in reader.parts(reading):
            self._put(request, part)
        self._nudge(where)

    def _chunks(self, facts: TableFacts, where: str, check: Callable[[], None]) -> ChunkReader:
        topic, settings = self._topics[facts.name], self._context.settings
        target = TableTarget(facts.name, topic.name, topic.partitions, facts.primary_key)
        types = load_types(self._live(), where)
        return ChunkReader(
            self._live(),
            facts,
            table_events(self._targets, target, facts.relation, types, catalog_of(facts)),
            target,
            where,
            settings.batch_bytes_max // 2,
            settings.record_bytes_max,
            check,
        )

    def _find(self, request: ReadRequest, where: str) -> tuple[TableFacts, TableBinding]:
        """The table as it is now; it is added to the publication if it is missing there."""
        connection, slot = self._live(), self._slot
        facts = self._facts(connection, request.table, where)
        publication = publication_facts(connection, slot.publication, where)
        if facts.published is None and publication is not None:
            ensure_publication(connection, slot.publication, True, [facts], slot.where)
            facts = self._facts(connection, request.table, where)
            publication = publication_facts(connection, slot.publication, where)
        if facts.published is None or publication is None:
            raise Transient(f"{where}: it is not in publication {slot.publication} yet")
        return facts, binding_of(facts, publication, self._topics[request.table].topic_id)

    def _facts(self, connection: Connection, table: str, where: str) -> TableFacts:
        facts = table_facts(connection, self._slot.publication, [table], where).get(table)
        fault = eligibility_fault(facts, where)
        if fault is not None or facts is None:
            raise fault or Transient(f"{where}: it does not exist")
        return facts

    # ── messages ─────────────────────────────────────────────────────────────────────────────────────────────

    def _check_of(self, request: ReadRequest) -> Callable[[], None]:
        def check() -> None:
            if self._closed or self._request is not request:
                raise ReadingEnded

        return check

    def _send(self, request: ReadRequest, content: Content) -> None:
        with self._changed:
            if self._request is request and not self._closed:
                self.messages.append(Message(request, content))
        self._wake()

    def _put(self, request: ReadRequest, part: Part) -> None:
        """Send a part; wait while the messages that are not taken are too large."""
        limit = self._context.settings.batch_bytes_max

        def has_room() -> bool:
            return self._closed or self._request is not request or self._queued_bytes + part.size_bytes <= limit

        with self._changed:
            waits = bool(self.messages) and not self._changed.wait_for(has_room, _NUDGE_AFTER_S)
        if waits:
            self._nudge(f"{self._slot.where}, table {request.table}")
        with self._changed:
            self._changed.wait_for(lambda: has_room() or not self.messages)
            if self._closed or self._request is not request:
                raise ReadingEnded
            self._queued_bytes += part.size_bytes
            self.messages.append(Message(request, part))
        self._wake()

    def _await_start(self, request: ReadRequest) -> None:
        with self._changed:
            self._changed.wait_for(
                lambda: self._closed or self._request is not request or self._started == request.number
            )
            if self._closed or self._request is not request:
                raise ReadingEnded

    def _nudge(self, where: str) -> None:
        """Make the server flush its log: the stream of an idle server may stay below the newest snapshot's LSN."""
        query(self._nudging(), "heartbeat", where)

    # ── connections ──────────────────────────────────────────────────────────────────────────────────────────

    def _live(self) -> Connection:
        if self._connection is None or self._connection.closed:
            self._connection = connect(
                self._slot.dsn.reveal(), self._slot.where, statement_timeout_s=_STATEMENT_TIMEOUT_S
            )
        return self._connection

    def _nudging(self) -> Connection:
        """A connection without an open transaction."""
        if self._second is None or self._second.closed:
            self._second = connect(self._slot.dsn.reveal(), self._slot.where)
        return self._second

    def _disconnect(self) -> None:
        for connection in (self._connection, self._second):
            if connection is not None:
                connection.close()
        self._connection = self._second = None
