"""The Kafka Connect worker: one standalone process with Debezium's PostgreSQL source, Debezium's JDBC sink, and an Avro
converter.

The versions are the newest that Maven's repository serves complete: Debezium's JDBC sink is 3.6.0 with the rest of
Debezium at 3.6.1 and Hibernate at 7.2.19 (the versions that its POM names are not all served), the PostgreSQL source is
3.7.0. Confluent's Avro converter is not in that repository: Apicurio's converter writes and reads the same bytes.

A standalone worker has no internal topics and no rebalances, so it costs less than a distributed one.
"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from importlib.resources import files
from pathlib import Path
from typing import Any
from zipfile import ZipFile

from sluice.embedded.artifacts import Artifact, parse_list
from sluice.embedded.fetching import Progress, fetch
from sluice.embedded.java import find_java
from sluice.embedded.kafka import properties
from sluice.embedded.layout import Layout
from sluice.embedded.ports import LOOPBACK, choose
from sluice.embedded.processes import Command
from sluice.embedded.server import Server, silent
from sluice.errors import EnvironmentFault

PLUGINS = ("jdbc", "postgres", "avro")
# The size of the heap does not change during a run. The collector is the JRE's default one.
HEAP = "2g"
# The jar of this converter has no manifest of its plugins, so `prepare` writes one.
AVRO_CONVERTER = "io.apicurio.registry.utils.converter.AvroConverter"
STATE_WITHIN_S = 120.0

LOG4J = """\
status = error
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = [%d] %p %m (%c)%n%throwable
rootLogger.level = warn
rootLogger.appenderRef.out.ref = out
"""


class ConnectWorker(Server):
    """A Kafka Connect worker on loopback. It ends with the process that started it.

    `layout`: of the directory for its files, among them the offsets of its source connectors. `heap`: the size of the
    JVM's heap.
    """

    name = "connect"
    stop_signals = (signal.SIGTERM, signal.SIGKILL)

    def __init__(self, layout: Layout, bootstrap_servers: str, progress: Progress = silent, heap: str = HEAP) -> None:
        super().__init__(layout, choose([self.name], seed=time.monotonic_ns()))
        self._bootstrap_servers, self._progress, self._heap = bootstrap_servers, progress, heap

    def prepare(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        jars = fetched(self._progress)
        self._class_path = jars["connect"]
        for plugin in PLUGINS:
            _link(jars[plugin], self.home / "plugins" / plugin)
        with ZipFile(self.home / "plugins" / "avro" / "manifest.jar", "w") as jar:
            jar.writestr("META-INF/services/org.apache.kafka.connect.storage.Converter", AVRO_CONVERTER + "\n")
        (self.home / "worker.properties").write_text(properties(self._settings()))
        (self.home / "log4j2.properties").write_text(LOG4J)

    def _settings(self) -> dict[str, object]:
        return {
            "bootstrap.servers": self._bootstrap_servers,
            "listeners": f"http://{LOOPBACK}:{self.port}",
            "rest.advertised.host.name": LOOPBACK,
            "plugin.path": "plugins",
            # Reading the plugins' manifests takes 2 s, searching their classes 12 s.
            "plugin.discovery": "service_load",
            # Connectors name their own converters.
            "key.converter": "org.apache.kafka.connect.json.JsonConverter",
            "value.converter": "org.apache.kafka.connect.json.JsonConverter",
            "offset.storage.file.filename": "offsets",
        }

    def command(self, definitions: Sequence[str]) -> Command:
        jvm = [f"-Xms{self._heap}", f"-Xmx{self._heap}", "-Dlog4j2.configurationFile=log4j2.properties"]
        flags = [*jvm, *(f"-D{definition}" for definition in definitions)]
        class_path = ":".join(map(str, self._class_path))
        main = "org.apache.kafka.connect.cli.ConnectStandalone"
        argv = [str(find_java().path), *flags, "-cp", class_path, main, "worker.properties"]
        return Command(self.name, argv, cwd=self.home, log=self.log)

    def is_ready(self) -> bool:
        try:
            return self._call("GET", "/connectors")[0] == HTTPStatus.OK
        except (OSError, HTTPException, ValueError):  # while the worker starts, it answers with pages of HTML
            return False

    def run(self, name: str, settings: Mapping[str, object]) -> None:
        """Start a connector, and wait until all its tasks run. Raises EnvironmentFault if one fails."""
        config = {key: str(value) for key, value in settings.items()}
        status, answer = self._call("PUT", f"/connectors/{name}/config", config)
        if status not in (HTTPStatus.OK, HTTPStatus.CREATED):
            raise EnvironmentFault(f"connector {name}", str(answer), f"read {self.log}")
        self._await(name, "RUNNING")

    def _await(self, name: str, state: str) -> None:
        deadline = time.monotonic() + STATE_WITHIN_S
        while (found := self.states(name)) != {state}:
            if time.monotonic() > deadline:
                why = f"it is {found or 'unknown'}, not {state}, after {STATE_WITHIN_S:.0f} s"
                raise EnvironmentFault(f"connector {name}", why, f"read {self.log}")
            time.sleep(0.1)

    def states(self, name: str) -> set[str]:
        """The states of a connector and its tasks; empty while they start. Raises EnvironmentFault if one failed."""
        status, answer = self._call("GET", f"/connectors/{name}/status")
        if status != HTTPStatus.OK or not answer["tasks"]:
            return set()
        parts = [answer["connector"], *answer["tasks"]]
        if failed := [part for part in parts if part["state"] == "FAILED"]:
            raise EnvironmentFault(f"connector {name}", failed[0].get("trace", "no reason given"), f"read {self.log}")
        return {part["state"] for part in parts}

    def remove(self, name: str) -> None:
        """Stop a connector and its tasks, and forget it."""
        self._call("DELETE", f"/connectors/{name}")

    def pause(self, name: str) -> None:
        """Pause a connector, and wait until its tasks read and write nothing more."""
        self._call("PUT", f"/connectors/{name}/pause")
        self._await(name, "PAUSED")

    def resume(self, name: str) -> None:
        """Let a paused connector continue. Returns before its tasks do so."""
        self._call("PUT", f"/connectors/{name}/resume")

    def _call(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        connection = HTTPConnection(LOOPBACK, self.port, timeout=90.0)
        try:
            text = None if body is None else json.dumps(body)
            connection.request(method, path, text, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            content = answer.read()
            return answer.status, json.loads(content) if content else None
        finally:
            connection.close()


def versions() -> dict[str, str]:
    """The versions of the worker and the plugins."""
    names = {"connect-runtime", "debezium-connector-jdbc", "debezium-connector-postgres", "postgresql"}
    names |= {"hibernate-core", "apicurio-registry-utils-converter"}
    return {jar.artifact: jar.version for jar in _listed() if jar.artifact in names}


def fetched(progress: Progress) -> dict[str, list[Path]]:
    """The jars of the worker (`connect`) and of each plugin. Those that are missing are downloaded to the cache."""
    uses = ("connect", *PLUGINS)
    return {use: fetch([jar for jar in _listed() if jar.use == use], progress).of(use) for use in uses}


def _listed() -> tuple[Artifact, ...]:
    return parse_list(files(__package__).joinpath("artifacts.list").read_text())


def _link(jars: Sequence[Path], folder: Path) -> None:
    """Make `folder` contain links to exactly these jars: Kafka Connect loads a plugin from a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    for jar in jars:
        (folder / jar.name).symlink_to(jar)
