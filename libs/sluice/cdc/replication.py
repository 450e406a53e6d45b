"""The copy stream of the replication protocol: frames in, feedback out, on a connection of psycopg.

psycopg has no API for replication, but its libpq has (`get_copy_data`, `put_copy_data`). No code here sleeps between
reads: a batch is what libpq's buffer contains. A wait for larger batches makes reading three times slower.
"""

from __future__ import annotations

import select
import time
from collections.abc import Iterator
from struct import Struct
from typing import NamedTuple

from psycopg import pq

from sluice.cdc.connection import Connection, connect, run_command
from sluice.cdc.slots import SourceIdentity, format_lsn, identify
from sluice.cdc.source_errors import source_errors
from sluice.errors import Bug, Transient
from sluice.times import POSTGRES_EPOCH_US, now_us

START_DEADLINE_S = 30.0
SEND_DEADLINE_S = 10.0
END_DEADLINE_S = 30.0
# The server sends nothing while there are no changes. After this silence the feedback requests a reply, which shows
# that the server is alive.
PING_AFTER_S = 10.0
DEAD_AFTER_S = 40.0

WAL_DATA = b"w"[0]
"""The first byte of a frame that has a message of the output plugin."""
LSN_AT = 1
MESSAGE_AT = 25

_keepalive = Struct(">cQqB").unpack_from
_feedback = Struct(">cQQQqB").pack


class Keepalive(NamedTuple):
    """A sign of life from the server. `wal_end`: the server has decoded its log below this LSN, and has sent every
    message for this slot before this frame. `reply_requested`: the server requests feedback at once."""

    wal_end: int
    reply_requested: bool


def stream_options(publication: str) -> str:
    """The options of the output plugin. They decide which transactions and messages the server sends."""
    return f"proto_version '1', publication_names '{_quoted(publication)}', messages 'true'"


class ReplicationStream:
    """The stream of one slot. Only one thread at a time may use it. Every wait has a deadline. `identity`: the server
    that sends the stream. `server_pid`: its process that reads the slot."""

    def __init__(self, connection: Connection, where: str, identity: SourceIdentity) -> None:
        self.identity = identity
        self.server_pid = connection.info.backend_pid
        self._connection = connection
        self._pgconn = connection.pgconn
        self._where = where
        self._heard_at = time.monotonic()

    @classmethod
    def start(cls, dsn: str, where: str, slot: str, publication: str, from_lsn: int) -> ReplicationStream:
        """Connect and start to stream at `from_lsn`, or at the slot's confirmed LSN if that is higher; the caller must
        check that it is not, before it confirms an LSN. While the stream is open, no other session can drop or move the
        slot. Raises Transient or EnvironmentFault if the server does not start the stream."""
        connection = connect(dsn, where, replication=True)
        command = f'START_REPLICATION SLOT "{slot}" LOGICAL {format_lsn(from_lsn)} ({stream_options(publication)})'
        try:
            identity = identify(connection, where)
            result = run_command(connection, command, where, START_DEADLINE_S)
            if result.status != pq.ExecStatus.COPY_BOTH:
                raise Bug(f"{where}: START_REPLICATION answered {result.status}")
        except BaseException:
            connection.close()
            raise
        return cls(connection, where, identity)

    @property
    def socket(self) -> int:
        return self._pgconn.socket

    def frames(self) -> Iterator[bytes]:
        """The frames that have arrived; does not wait for more. Raises Transient if the server ended the stream.

        A frame that begins with `WAL_DATA` has a message of the output plugin from index `MESSAGE_AT` on, and its LSN
        in the log at index `LSN_AT` (0 for relations and types). Any other frame is read by `keepalive`. The frames are
        bytes, because an object for each costs as much as reading it: 1.0 instead of 0.5 µs.
        """
        read = self._pgconn.get_copy_data
        with source_errors(self._where):
            self._pgconn.consume_input()
            size, data = read(1)
            if size > 0:
                self._heard_at = time.monotonic()
            while size > 0:
                yield bytes(data)
                size, data = read(1)
            if size < 0:
                raise self._ended()

    def confirm(self, lsn: int, *, reading: bool = True) -> None:
        """Confirm to the server that it may discard its log below `lsn`. 0 confirms nothing: it only is a sign of life.

        `reading`: whether the caller currently reads the frames. While it does not, silence is no sign of a dead
        server. Raises Transient if the server has been silent for `DEAD_AFTER_S` or does not accept the feedback.
        """
        now = time.monotonic()
        if not reading:
            self._heard_at = now
        at_us = now_us() - POSTGRES_EPOCH_US
        silent_s = now - self._heard_at
        if silent_s > DEAD_AFTER_S:
            raise Transient(f"{self._where}: the server has been silent for {silent_s:.0f} s")
        self._send(_feedback(b"r", lsn, lsn, lsn, at_us, silent_s > PING_AFTER_S))

    def end(self) -> SourceIdentity:
        """End the stream, and return the present identity of the very server that sent it. Frames that were not read
        are dropped. Raises Transient if the server does not end the stream in time."""
        give_up = time.monotonic() + END_DEADLINE_S
        with source_errors(self._where):
            self._pgconn.put_copy_end()
            while self._pgconn.flush() or self._pgconn.get_copy_data(1)[0] >= 0:
                if time.monotonic() > give_up:
                    raise Transient(f"{self._where}: the server does not end the stream")
                select.select([self.socket], [], [], 0.1)
                self._pgconn.consume_input()
            while self._pgconn.get_result() is not None:
                """Read the results until the command ends; else the connection stays busy."""
        return identify(self._connection, self._where)

    def close(self) -> None:
        self._connection.close()

    def _send(self, data: bytes) -> None:
        give_up = time.monotonic() + SEND_DEADLINE_S
        with source_errors(self._where):
            queued = False
            while not queued or self._pgconn.flush():
                queued = queued or self._pgconn.put_copy_data(data) == 1
                if queued and not self._pgconn.flush():
                    return
                if time.monotonic() > give_up:
                    raise Transient(f"{self._where}: the server takes no feedback")
                select.select([], [self.socket], [], 0.5)

    def _ended(self) -> Exception:
        result = self._pgconn.get_result()
        why = "the server ended the stream"
        if result is not None and result.error_message:
            why = " ".join(result.error_message.decode("utf-8", "replace").split("\n")[0].split())
        return Transient(f"{self._where}: {why}")


def keepalive(frame: bytes) -> Keepalive:
    """Read a frame that is not a message of the output plugin."""
    kind = frame[:1]
    if kind == b"k":
        _, wal_end, _, reply = _keepalive(frame)
        return Keepalive(wal_end, bool(reply))
    raise Bug(f"replication: unknown frame {kind!r}")


def _quoted(name: str) -> str:
    """A publication's name in double quotes, as the list of names within a string literal needs it."""
    return '"' + name.replace('"', '""').replace("'", "''") + '"'
