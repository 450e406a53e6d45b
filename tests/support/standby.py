"""A standby of an embedded Postgres: made with pg_basebackup, with a directory of its own; it can be promoted."""

from __future__ import annotations

import os
import shutil
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import psycopg

from sluice.embedded import processes
from sluice.embedded.layout import Layout
from sluice.embedded.postgres import Postgres
from sluice.embedded.processes import Command, run

PHYSICAL_SLOT = "standby"


class Standby(Postgres):
    """`primary`: a running server. `settings`: more settings of the standby."""

    def __init__(self, layout: Layout, primary: Postgres, settings: Mapping[str, str]) -> None:
        super().__init__(layout, {"postgres": _free_port()}, durable=primary.durable)
        self._primary = primary
        self._settings = settings

    @property
    def password(self) -> str:
        return self._primary.password

    def prepare(self) -> None:
        self.home.mkdir(parents=True)
        if self.owner:
            os.chown(self.home, self.owner.pw_uid, self.owner.pw_gid)
        primary = f"host=127.0.0.1 port={self._primary.port} user=postgres password={self.password} dbname=postgres"
        copy = ["-D", str(self.home / "data"), "-R", "-X", "stream", "-c", "fast", "-C", "-S", PHYSICAL_SLOT]
        argv = [str(self._bin / "pg_basebackup"), "-d", primary, *copy]
        run(Command("pg_basebackup", argv, cwd=self.home, log=self.log, owner=self.owner))

    def command(self, definitions: Sequence[str]) -> Command:
        more = {"hot_standby_feedback": "on", "wal_receiver_status_interval": "1s", **self._settings}
        return super().command([*definitions, *(f"{name}={value}" for name, value in more.items())])

    def execute(self, statement: str) -> list[tuple[object, ...]]:
        with psycopg.connect(self.dsn(), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def promote(self) -> None:
        self.execute("SELECT pg_promote(true, 60)")


@contextmanager
def standby_of(primary: Postgres, folder: Path, **settings: str) -> Iterator[Standby]:
    """A running standby of `primary`, in `folder`."""
    standby = Standby(Layout.of(folder), primary, settings)
    standby.start(detach=False, cancelled=threading.Event())
    try:
        yield standby
    finally:
        if standby.started is not None:
            processes.end(standby.started, Postgres.stop_signals, 20.0)
        shutil.rmtree(standby.home, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
