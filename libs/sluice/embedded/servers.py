"""Starts and stops the embedded servers of one state directory together: Kafka, Postgres and the registry."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Self

from sluice.embedded import aot, ports, processes, running
from sluice.embedded.artifacts import Use, listed
from sluice.embedded.fetching import Progress, fetch
from sluice.embedded.kafka import Kafka
from sluice.embedded.layout import Layout
from sluice.embedded.postgres import Postgres
from sluice.embedded.registry import RegistryServer
from sluice.embedded.server import Server, silent
from sluice.embedded.state_lock import StateLock

USES: Mapping[type[Server], Use] = {Kafka: "broker", RegistryServer: "registry"}


class Servers:
    """The embedded servers of one state directory. At the end of its `with` block, the servers that this object started
    are stopped.

    `kafka`, `postgres`, `registry`: the servers; an attribute is missing if the server was not requested. `download_s`:
    how many seconds the start spent on downloads.
    """

    kafka: Kafka
    postgres: Postgres
    registry: RegistryServer

    def __init__(self, layout: Layout, lock: StateLock, *, detach: bool) -> None:
        self._layout, self._lock, self._detach = layout, lock, detach
        self._members: dict[str, Server] = {}
        self._stopped: list[str] = []  # the names of the servers that did not run before this start
        self._starts: dict[str, Future[None]] = {}
        self._pool = ThreadPoolExecutor(len(running.KINDS), thread_name_prefix="start")
        self._cancelled = threading.Event()
        self.download_s = 0.0

    @classmethod
    def start(
        cls,
        state_dir: Path,
        kinds: Collection[type[Server]] = running.KINDS,
        *,
        progress: Progress = silent,
        detach: bool = False,
        durable: bool = True,
        await_registry: bool = True,
    ) -> Self:
        """Start the servers of `kinds` that do not run yet, in parallel, and block until all of them answer. The
        registry needs Postgres, which is then started as well. With `await_registry=False`, the registry may still be
        starting when this call returns: call `await_ready` before the first use of the registry.

        With `detach`, the servers outlive this process; else they end with it, even if it is killed. Any number of
        sessions may use detached servers that already run. `durable=False` is for tests: a crash of the operating
        system may lose data.

        Raises EnvironmentFault if a server cannot be started; the servers that this call started are then stopped.
        """
        layout = Layout.of(state_dir)
        lock = StateLock(layout.lock)
        lock.acquire("command" if detach else "session", progress)
        servers = cls(layout, lock, detach=detach)
        wanted = {*kinds, Postgres} if RegistryServer in kinds else kinds
        try:
            servers._assemble([kind for kind in running.KINDS if kind in wanted], progress, durable)
            servers._start_members(progress)
            servers.await_ready(*(name for name in servers._members if await_registry or name != RegistryServer.name))
            if durable and servers._lacks_aot_cache:
                aot.make_in_background(layout, detach=detach)
        except BaseException:
            servers.stop(10.0)
            raise
        if detach:
            lock.release()
        else:
            lock.keep(share=not servers._stopped)
        return servers

    def _assemble(self, kinds: Sequence[type[Server]], progress: Progress, durable: bool) -> None:
        layout = self._layout
        if not self._lock.is_shared:
            running.end_orphans(layout)
        fetched = fetch(listed(USES[kind] for kind in kinds if kind in USES), progress)
        self.download_s = fetched.download_s
        self._stopped = [kind.name for kind in kinds if processes.find(layout.marker(kind.name)) is None]
        if self._stopped:
            self._lock.refuse_shared()
        # If none of the servers runs and only this process will use them, no other program knows their ports.
        movable = not self._detach and len(self._stopped) == len(kinds)
        chosen = ports.settle(layout.ports, self._stopped, movable=movable)
        if Kafka in kinds:
            jars = fetched.of("broker")
            self.kafka = Kafka(layout, chosen, jars, aot.of_kafka(jars).flags())
        if Postgres in kinds:
            self.postgres = Postgres(layout, chosen, durable=durable)
        if RegistryServer in kinds:
            application = fetched.of("registry")[0]
            self.registry = RegistryServer(
                layout, chosen, application, self.postgres, aot.of_registry(application).flags()
            )
        self._members = {kind.name: getattr(self, kind.name) for kind in kinds}

    def _start_members(self, progress: Progress) -> None:
        def start(server: Server) -> None:
            if isinstance(server, RegistryServer):
                self._starts[Postgres.name].result()  # wait for Postgres, because the registry stores its schemas there
            self._start_one(server, progress)
            if isinstance(server, Kafka) and server.started:
                self._pool.submit(server.create_internal_topics)

        for server in self._members.values():
            self._starts[server.name] = self._pool.submit(start, server)

    def await_ready(self, *names: str) -> None:
        """Block until the servers `names` answer. Raises EnvironmentFault if one of them cannot be started."""
        for done in as_completed([self._starts[name] for name in names]):
            done.result()

    def _start_one(self, server: Server, progress: Progress) -> None:
        started_at = time.monotonic()
        if (process := server.find()) is not None:
            server.await_ready(process, self._cancelled, progress)
            progress(f"{server.name} runs already, on port {server.port}")
            return
        server.start(detach=self._detach, cancelled=self._cancelled, progress=progress)
        progress(f"{server.name} is ready on port {server.port} ({time.monotonic() - started_at:.1f} s)")

    @property
    def _lacks_aot_cache(self) -> bool:
        """Whether this object starts a Java server without its ahead-of-time cache."""
        java = [server for server in self._members.values() if isinstance(server, Kafka | RegistryServer)]
        return any(server.name in self._stopped and not server.aot_flags for server in java)

    @property
    def pids(self) -> dict[str, int]:
        """The pids of the servers that run now, by the server's name."""
        return {name: process.pid for name, server in self._members.items() if (process := server.find())}

    @property
    def started(self) -> list[str]:
        """The names of the embedded servers that this `Servers` object started and will stop."""
        return [server.name for server in self._members.values() if server.started]

    def dead(self) -> list[str]:
        """The names of the embedded servers that this `Servers` object started and that have ended since."""
        return [s.name for s in self._members.values() if s.started and not processes.is_alive(s.started)]

    def restart(self, name: str) -> None:
        """Stop the embedded server `name` if it runs, then start it on the same port with the same data.

        Raises EnvironmentFault if the server does not start, LookupError if this object did not start it before.
        """
        server = self._members[name]
        if server.started is None:
            raise LookupError(f"{name} ran before this session, which therefore may not stop it")
        server.stop(self._layout, 20.0)
        server.start(detach=self._detach, cancelled=threading.Event())

    def stop(self, deadline_s: float = 20.0) -> None:
        """Stop the embedded servers that this `Servers` object started, and unlock the state directory."""
        self._cancelled.set()
        self._pool.shutdown()
        own = [server for server in self._members.values() if server.started]
        running.stop(self._layout, [type(server) for server in own], deadline_s)
        for server in own:
            server.started = None
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
