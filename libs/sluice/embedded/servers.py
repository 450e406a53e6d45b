"""The embedded servers together: Kafka, Postgres and the registry of one state directory."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from sluice.embedded import artifacts, ports, processes
from sluice.embedded.kafka import Kafka
from sluice.embedded.layout import Layout
from sluice.embedded.postgres import Postgres
from sluice.embedded.registry import Registry
from sluice.embedded.server import Server


def _silent(_line: str) -> None:
    pass


S = TypeVar("S", bound=Server)


def _started(server: S | None) -> S:
    if server is None:
        raise LookupError("this server was not asked for when the servers were started")
    return server


class Servers:
    """Running servers of one state directory; a context manager that ends what it started.

    `download_s` is the time this start spent on fetching artifacts.
    """

    def __init__(
        self, layout: Layout, kafka: Kafka | None, postgres: Postgres | None, registry: Registry | None
    ) -> None:
        self.layout = layout
        self._kafka, self._postgres, self._registry = kafka, postgres, registry
        self._members: list[Server] = [s for s in (kafka, postgres, registry) if s is not None]
        self.download_s = 0.0
        self._detach = False

    @classmethod
    def start(
        cls,
        state_dir: Path,
        *,
        registry: bool = True,
        kafka: bool = True,
        postgres: bool = True,
        progress: Callable[[str], None] = _silent,
        detach: bool = False,
        durable: bool = True,
    ) -> Self:
        layout = Layout.of(state_dir)
        uses = {use for use, wanted in (("broker", kafka), ("registry", registry)) if wanted}
        fetched = artifacts.fetch([a for a in artifacts.listed() if a.use in uses], progress)
        chosen = ports.remembered(layout.ports)
        database = Postgres(layout, chosen, durable=durable) if postgres or registry else None
        application = next(
            (artifacts.unpacked(a, p, progress) for a, p in fetched.paths.items() if a.use == "registry"), None
        )
        servers = cls(
            layout,
            Kafka(layout, chosen, fetched.of("broker")) if kafka else None,
            database,
            Registry(layout, chosen, application, database) if application and database else None,
        )
        servers.download_s = fetched.download_s
        servers._detach = detach
        servers._start_all(progress)
        return servers

    def _start_all(self, progress: Callable[[str], None]) -> None:
        database_ready = threading.Event()

        def start(server: Server) -> None:
            if isinstance(server, Registry) and not database_ready.wait(60.0):
                return
            started = time.monotonic()
            if server.find() is None:
                server.start(detach=self._detach)
            if isinstance(server, Postgres):
                database_ready.set()
            progress(f"{server.name} is ready on port {server.port} ({time.monotonic() - started:.1f} s)")

        with ThreadPoolExecutor(3) as pool:
            for future in [pool.submit(start, server) for server in self._members]:
                future.result()

    @property
    def bootstrap_servers(self) -> str:
        return _started(self._kafka).bootstrap_servers

    @property
    def registry_url(self) -> str:
        return _started(self._registry).url

    def postgres_dsn(self, dbname: str = "postgres") -> str:
        return _started(self._postgres).dsn(dbname)

    def create_database(self, name: str, template: str | None = None) -> None:
        _started(self._postgres).create_database(name, template)

    def drop_database(self, name: str) -> None:
        _started(self._postgres).drop_database(name)

    @property
    def pids(self) -> dict[str, int]:
        return {s.name: p.pid for s in self._members if (p := s.find())}

    def _member(self, name: str) -> Server:
        return next(s for s in self._members if s.name == name)

    def kill(self, name: str) -> None:
        """SIGKILL, as a crash would; returns when the process is gone."""
        if process := self._member(name).find():
            processes.end(process, [9], 10.0)

    def restart(self, name: str) -> None:
        server = self._member(name)
        if process := server.find():
            server.stop(process, 20.0)
        server.start(detach=self._detach)

    def stop(self, deadline_s: float = 20.0) -> None:
        """End all; the registry before its database."""
        for group in (
            [s for s in self._members if not isinstance(s, Postgres)],
            [s for s in self._members if isinstance(s, Postgres)],
        ):
            with ThreadPoolExecutor(3) as pool:
                list(pool.map(lambda s: self._stop_one(s, deadline_s / 2), group))

    def _stop_one(self, server: Server, deadline_s: float) -> None:
        if process := server.find():
            server.stop(process, deadline_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
