"""Streaming: feeds the slot's frames to the assembler, publishes its batches to Kafka, confirms durable LSNs to
Postgres.

One thread reads and answers the server; another thread publishes. So the server receives feedback during a Kafka
transaction, and the next batch is collected meanwhile. Memory contains at most two batches: the batch that is being
published and the batch that is being collected.
"""

from __future__ import annotations

import contextlib
import select
import socket
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from struct import Struct

from sluice.cdc.replication import LSN_AT, MESSAGE_AT, WAL_DATA, ReplicationStream, keepalive
from sluice.errors import EnvironmentFault, Transient
from sluice.stage.signals import Stop
from sluice_ingress_cdc.assembler import Assembler, NotVisibleYet, SlotBatch
from sluice_ingress_cdc.heartbeats import Heartbeats
from sluice_ingress_cdc.session_context import SessionContext
from sluice_ingress_cdc.tables import FollowedTables, TableChanges

_int64 = Struct(">Q").unpack_from

# A batch waits this many times `linger_s` for the end of a transaction, so that small transactions are rarely split.
_LINGERS_WITHIN_TRANSACTION = 5
# A server requests a reply when it shuts down or is about to end the connection. Then the watermark is published after
# this time, so that a newer LSN can be confirmed. Not at once: every publication is a Kafka transaction.
_REPLY_INTERVAL_S = 0.5
# How often the source is asked whether a transaction is visible; after the first time, a fault is active; after the
# second time, the session ends and the next one tries again.
_VISIBLE_CHECK_INTERVAL_S = 0.02
_INVISIBLE_FAULT_AFTER_S = 5.0
_INVISIBLE_MAX_S = 120.0


class Streaming:
    """Streams one slot until a stop or an error. After an error the caller must fence before it streams again.

    `publish` must return only when the batch, its mark and the tables' changed watermarks are committed. Progress is
    reported at least once a second.
    """

    def __init__(
        self,
        context: SessionContext,
        stream: ReplicationStream,
        assembler: Assembler,
        tables: FollowedTables,
        publish: Callable[[SlotBatch, TableChanges], None],
    ) -> None:
        self._stream = stream
        self._assembler = assembler
        self._confirmable_lsn = assembler.complete_lsn
        self._publish = publish
        self._tables = tables
        self._settings = context.settings
        self._report_progress = context.report_progress
        self._under_way: tuple[Future[None], SlotBatch] | None = None
        self._collecting_since: float | None = None
        self._published_at = time.monotonic()
        self._feedback_due_at = 0.0
        self._reply_requested = False
        self._waiting = _WaitingFrame(context)
        self._heartbeats = Heartbeats(context.slot, assembler.other)
        self._wake_read, self._wake_write = socket.socketpair()
        self._wake_read.setblocking(False)
        self._wake_write.setblocking(False)

    def run(self, stop: Stop, must_end: Callable[[], bool]) -> None:
        """Stream until `stop` is requested or `must_end()` is true. The batch being published is finished first.

        `must_end` is called in each turn and may raise. Raises its error, or the error of a publication or of the
        stream.
        """
        with ThreadPoolExecutor(1, thread_name_prefix="publish") as publisher:
            try:
                while not stop.requested and not must_end():
                    self._turn(publisher)
                self._settle()
            finally:
                # The publisher thread must end before the next session fences the transactional id. Shutdown waits for
                # it, at most for the time that a Kafka transaction may take.
                publisher.shutdown(wait=True)
                self._waiting.release()
                self._wake_read.close()
                self._wake_write.close()

    def wake(self) -> None:
        """End the wait of the stream's thread; thread-safe."""
        with contextlib.suppress(OSError):  # the stream ended, or it is woken already
            self._wake_write.send(b".")

    def _turn(self, publisher: ThreadPoolExecutor) -> None:
        self._report_progress()
        self._finish_batch()
        drained = self._read() if self.has_room and self._feed_waiting() else True
        now = time.monotonic()
        if self._under_way is None and self._due(now):
            self._hand_over(publisher, now)
        if now >= self._feedback_due_at:
            self._stream.confirm(self._confirmable_lsn, reading=self._reads)
            self._feedback_due_at = now + self._settings.feedback_interval_s
        if drained:
            self._wait()

    @property
    def has_room(self) -> bool:
        """Whether the batch takes more records. Within a transaction it may be 1/8 larger, so that a small transaction
        is not split."""
        bytes_max = self._settings.batch_bytes_max
        return self._assembler.bytes < (bytes_max + bytes_max // 8 if self._assembler.in_transaction else bytes_max)

    @property
    def _reads(self) -> bool:
        return self.has_room and self._waiting.frame is None

    def _feed_waiting(self) -> bool:
        """Feed the frame that could not be processed before. False if it cannot be processed yet."""
        if self._waiting.frame is None:
            return True
        if not self._waiting.is_due or not self._feed(self._waiting.frame):
            return False
        self._waiting.release()
        return True

    def _feed(self, frame: bytes) -> bool:
        """Feed a frame. If it cannot be processed yet, keep it and return False. The batch can be published meanwhile
        and the server receives feedback, so that a commit which waits for this very stream can end."""
        if frame[0] == WAL_DATA:
            try:
                self._assembler.feed(frame[MESSAGE_AT:], _int64(frame, LSN_AT)[0])
            except NotVisibleYet:
                self._waiting.keep(frame)
                return False
            return True
        wal_end, reply_requested = keepalive(frame)
        self._assembler.idle(wal_end)
        if reply_requested:
            self._reply_requested, self._feedback_due_at = True, 0.0
        return True

    def _read(self) -> bool:
        """Feed the frames that have arrived. False if libpq's buffer may contain more frames, which no socket shows."""
        assembler, bytes_max = self._assembler, self._settings.batch_bytes_max
        for frame in self._stream.frames():
            if not self._feed(frame):
                break
            if assembler.bytes >= bytes_max and not self.has_room:
                return False
        if self._collecting_since is None and self._assembler.has_records:
            self._collecting_since = time.monotonic()
        return True

    def _due(self, now: float) -> bool:
        if self._assembler.has_records:
            lingers = _LINGERS_WITHIN_TRANSACTION if self._assembler.in_transaction else 1
            waited_s = now - (self._collecting_since or now)
            return not self.has_room or waited_s >= self._settings.linger_s * lingers
        if self._tables.changed or self._heartbeats.is_due(now):
            return True
        interval_s = _REPLY_INTERVAL_S if self._reply_requested else self._settings.watermark_interval_s
        return self._assembler.moved and now - self._published_at >= interval_s

    def _hand_over(self, publisher: ThreadPoolExecutor, now: float) -> None:
        batch = self._assembler.take()
        batch.records.extend(self._heartbeats.take(now))
        future = publisher.submit(self._publish, batch, self._tables.take_changes())
        future.add_done_callback(lambda _: self.wake())
        self._under_way = (future, batch)
        self._collecting_since = None
        self._published_at = now
        self._reply_requested = False

    def _finish_batch(self) -> None:
        """If the batch that was being published is committed, make its LSN confirmable. Raises the error of a failed
        publication."""
        if self._under_way is None or not self._under_way[0].done():
            return
        future, batch = self._under_way
        self._under_way = None
        future.result()
        self._confirmable_lsn = batch.complete_lsn
        self._feedback_due_at = 0.0

    def _settle(self) -> None:
        """Wait, with a deadline, for the batch that is being published, and confirm its LSN. The server will resend the
        changes of the batch that is being collected."""
        if self._under_way is not None:
            wait([self._under_way[0]], timeout=2 * self._settings.kafka.transaction_timeout_ms / 1000)
            self._finish_batch()
        self._stream.confirm(self._confirmable_lsn)

    def _wait(self) -> None:
        """Wait until the server sends, a publication ends, or feedback or a batch is due; at most 1 s."""
        now = time.monotonic()
        timeout_s = min(self._feedback_due_at - now, 1.0)
        if self._under_way is None and self._collecting_since is not None:
            timeout_s = min(timeout_s, self._collecting_since + self._settings.linger_s - now)
        if self._waiting.frame is not None:
            timeout_s = min(timeout_s, _VISIBLE_CHECK_INTERVAL_S)
        sockets: list[int | socket.socket] = [self._wake_read]
        if self._reads:
            sockets.append(self._stream.socket)
        ready, _, _ = select.select(sockets, [], [], max(timeout_s, 0.0))
        if self._wake_read in ready:
            self._wake_read.recv(4096)


class _WaitingFrame:
    """The frame that waits until its transaction is visible to other sessions of the source; `frame`: None if none."""

    def __init__(self, context: SessionContext) -> None:
        self._health = context.health
        self._where = f"{context.slot.where}, slot {context.slot.slot}"
        self.frame: bytes | None = None
        self._since = self._asked_at = 0.0

    @property
    def is_due(self) -> bool:
        """Whether the source may be asked again."""
        return time.monotonic() - self._asked_at >= _VISIBLE_CHECK_INTERVAL_S

    def keep(self, frame: bytes) -> None:
        """Keep the frame until it can be processed. Raises Transient after `_INVISIBLE_MAX_S`."""
        self._asked_at = time.monotonic()
        if self.frame is None:
            self.frame, self._since = frame, self._asked_at
        waited_s = self._asked_at - self._since
        if waited_s < _INVISIBLE_FAULT_AFTER_S:
            return
        fault = EnvironmentFault(
            self._where,
            "a transaction is in the log, but the source does not show it to other sessions: its commit waits for a "
            "synchronous standby. The rows that it changed cannot be read before that",
            "make the standby answer, or take it out of synchronous_standby_names; this setting must not name "
            "ingress-cdc, for '*' it does",
        )
        if waited_s >= _INVISIBLE_MAX_S:
            raise Transient(str(fault))
        self._health.fault(self._where, str(fault))

    def release(self) -> None:
        if self.frame is not None:
            self.frame = None
            self._health.resolve(self._where)
