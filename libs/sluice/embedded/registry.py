"""The embedded schema registry: Apicurio with the Confluent API. It stores schemas and their ids in the embedded
Postgres."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from itertools import chain
from pathlib import Path

from sluice.embedded.java import find_java
from sluice.embedded.layout import Layout
from sluice.embedded.ports import LOOPBACK
from sluice.embedded.postgres import SUPERUSER, Postgres
from sluice.embedded.processes import Command
from sluice.embedded.server import Server

DATABASE = "sluice_registry"
API = "/apis/ccompat/v7"
# The JVM uses only its first compiler (C1): the registry is nearly always idle, and so starts in two thirds of the
# time.
JVM = (
    "-Xms32m",
    "-Xmx256m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:-UsePerfData",
    # quarkus-run.jar has these two in its manifest.
    "--add-opens=java.base/java.lang=ALL-UNNAMED",
    "--enable-native-access=ALL-UNNAMED",
)
MAIN_CLASS = "io.quarkus.runner.GeneratedMain"


class RegistryServer(Server):
    """The registry. `postgres`: the server for its schemas; None means that it keeps them in memory."""

    name = "registry"

    def __init__(
        self,
        layout: Layout,
        ports: Mapping[str, int],
        application: Path,
        postgres: Postgres | None,
        aot_flags: Sequence[str] = (),
    ) -> None:
        super().__init__(layout, ports)
        self.aot_flags = aot_flags
        self.management_port = ports["registry-management"]
        self.application = application
        self.postgres = postgres
        self.scratch = self.home / "tmp"
        # The base URL of the registry's Confluent-compatible API.
        self.url = f"http://{LOOPBACK}:{self.port}{API}"

    def prepare(self) -> None:
        # A library of Apicurio unpacks a megabyte here at every start, and deletes it only if the registry is not
        # killed.
        shutil.rmtree(self.scratch, ignore_errors=True)
        self.scratch.mkdir(parents=True, exist_ok=True)
        if self.postgres is not None:
            self.postgres.create_database(DATABASE)

    def command(self, definitions: Sequence[str]) -> Command:
        flags = [f"-Djava.io.tmpdir={self.scratch}", *(f"-D{definition}" for definition in definitions)]
        program = ["-jar", str(self.application / "quarkus-run.jar")]
        if self.aot_flags:
            program = [*self.aot_flags, "-cp", ":".join(map(str, class_path(self.application))), MAIN_CLASS]
        argv = [str(find_java().path), *JVM, *flags, *program]
        return Command(self.name, argv, cwd=self.home, log=self.log, env=self._env())

    def _env(self) -> dict[str, str]:
        return {
            "QUARKUS_HTTP_HOST": LOOPBACK,
            "QUARKUS_HTTP_PORT": str(self.port),
            "QUARKUS_MANAGEMENT_HOST": LOOPBACK,
            "QUARKUS_MANAGEMENT_PORT": str(self.management_port),
            "QUARKUS_BANNER_ENABLED": "false",
            "QUARKUS_LOG_LEVEL": "WARN",
            "QUARKUS_LOG_CATEGORY__IO_APICURIO__LEVEL": "WARN",
            "QUARKUS_HTTP_ACCESS_LOG_ENABLED": "false",
            "APICURIO_STORAGE_KIND": "sql",
            **self._storage(),
            # By default, the registry opens twenty database connections at its start.
            "APICURIO_DATASOURCE_JDBC_INITIAL_SIZE": "1",
            "APICURIO_DATASOURCE_JDBC_MIN_SIZE": "1",
            "APICURIO_DATASOURCE_JDBC_MAX_SIZE": "5",
        }

    def _storage(self) -> dict[str, str]:
        if self.postgres is None:
            return {"APICURIO_STORAGE_SQL_KIND": "h2", "APICURIO_DATASOURCE_URL": "jdbc:h2:mem:registry"}
        return {
            "APICURIO_STORAGE_SQL_KIND": "postgresql",
            "APICURIO_DATASOURCE_URL": f"jdbc:postgresql://{LOOPBACK}:{self.postgres.port}/{DATABASE}",
            "APICURIO_DATASOURCE_USERNAME": SUPERUSER,
            "APICURIO_DATASOURCE_PASSWORD": self.postgres.password,
        }

    def is_ready(self) -> bool:
        # Use the HTTP client of the standard library: httpx2 prepares TLS for every call. That costs a whole core while
        # the start of the registry is awaited.
        connection = HTTPConnection(LOOPBACK, self.port, timeout=2.0)
        try:
            connection.request("GET", f"{API}/subjects")
            return connection.getresponse().status == HTTPStatus.OK
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()


def class_path(application: Path) -> list[Path]:
    """The jars of the unpacked registry for a start without the class loader of Quarkus, whose classes no
    ahead-of-time cache can contain. The transformed classes come first, because they replace classes of other jars."""
    quarkus = application / "quarkus"
    jars = [sorted((application / folder).glob("*.jar")) for folder in ("app", "lib/main", "lib/boot")]
    return [quarkus / "transformed-bytecode.jar", quarkus / "generated-bytecode.jar", *chain.from_iterable(jars)]
