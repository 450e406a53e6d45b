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
import threading
import time
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from importlib.resources import files
from pathlib import Path
from typing import Any, Self
from zipfile import ZipFile

from sluice.embedded.artifacts import parse_list
from sluice.embedded.fetching import Progress, fetch
from sluice.embedded.java import find_java
from sluice.embedded.kafka import properties
from sluice.embedded.layout import Layout
from sluice.embedded.ports import LOOPBACK, choose
from sluice.embedded.processes import Command
from sluice.embedded.server import Server, silent
from sluice.errors import EnvironmentFault

PLUGINS = ("jdbc", "postgres", "avro")
# Debezium's documentation asks for no more. The embedded JRE's default collector is used.
HEAP = "2g"
# Its jar has no manifest of its plugins, so `prepare` writes one.
AVRO_CONVERTER = "io.apicurio.registry.utils.converter.AvroConverter"
RUNNING_WITHIN_S = 120.0

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

    `home`: a directory for its files, which must be empty or that of an earlier worker with the same offsets.
    """

    name = "connect"
    stop_signals = (signal.SIGTERM, signal.SIGKILL)

    def __init__(self, layout: Layout, bootstrap_servers: str, progress: Progress = silent) -> None:
        super().__init__(layout, choose([self.name], seed=time.monotonic_ns()))
        self._layout, self._bootstrap_servers, self._progress = layout, bootstrap_servers, progress

    def prepare(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        listed = parse_list(files(__package__).joinpath("artifacts.list").read_text())
        self._class_path = fetch([jar for jar in listed if jar.use == "connect"], self._progress).of("connect")
        for plugin in PLUGINS:
            jars = fetch([jar for jar in listed if jar.use == plugin], self._progress).of(plugin)
            _link(jars, self.home / "plugins" / plugin)
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
        jvm = [f"-Xms{HEAP}", f"-Xmx{HEAP}", "-Dlog4j2.configurationFile=log4j2.properties"]
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

    def __enter__(self) -> Self:
        self.start(detach=False, cancelled=threading.Event())
        return self

    def __exit__(self, *_: object) -> None:
        self.stop(self._layout, 20.0)

    def run(self, name: str, settings: Mapping[str, object]) -> None:
        """Start a connector, and wait until all its tasks run. Raises EnvironmentFault if one fails."""
        config = {key: str(value) for key, value in settings.items()}
        status, answer = self._call("PUT", f"/connectors/{name}/config", config)
        if status not in (HTTPStatus.OK, HTTPStatus.CREATED):
            raise EnvironmentFault(f"connector {name}", str(answer), f"read {self.log}")
        deadline = time.monotonic() + RUNNING_WITHIN_S
        while not self.is_running(name):
            if time.monotonic() > deadline:
                raise EnvironmentFault(
                    f"connector {name}", f"it does not run after {RUNNING_WITHIN_S:.0f} s", f"read {self.log}"
                )
            time.sleep(0.1)

    def is_running(self, name: str) -> bool:
        """Whether a connector and all its tasks run. Raises EnvironmentFault if the connector or a task failed."""
        status, answer = self._call("GET", f"/connectors/{name}/status")
        if status != HTTPStatus.OK:
            return False
        parts = [answer["connector"], *answer["tasks"]]
        if failed := [part for part in parts if part["state"] == "FAILED"]:
            raise EnvironmentFault(f"connector {name}", failed[0].get("trace", "no reason given"), f"read {self.log}")
        return len(parts) > 1 and all(part["state"] == "RUNNING" for part in parts)

    def remove(self, name: str) -> None:
        """Stop a connector and forget it. Returns before its tasks have ended."""
        self._call("DELETE", f"/connectors/{name}")

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


def _link(jars: Sequence[Path], folder: Path) -> None:
    """Make `folder` contain links to exactly these jars: Kafka Connect loads a plugin from a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    for jar in jars:
        (folder / jar.name).symlink_to(jar)
