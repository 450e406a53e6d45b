"""One Kafka Connect worker for all tests of the folder."""

from __future__ import annotations

import os
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench.connect.worker import ConnectWorker, fetched
from sluice.embedded import Servers
from sluice.embedded.layout import Layout
from sluice.errors import EnvironmentFault
from support.differential import Profile, Published, Readers, Workload
from support.servers import new_database

REQUIRED = "SLUICE_TEST_DEBEZIUM"
HEAP = "384m"
Run = Callable[[Profile, list[Workload]], Published]


@pytest.fixture(scope="session")
def connect_worker(kafka: str) -> Iterator[ConnectWorker]:
    try:
        fetched(lambda _line: None)
    except EnvironmentFault as fault:
        if os.environ.get(REQUIRED) == "required":
            raise
        pytest.skip(f"the jars of Kafka Connect and Debezium could not be downloaded: {fault}")
    with tempfile.TemporaryDirectory(prefix="sluice-connect-") as folder:
        worker = ConnectWorker(Layout(Path(folder)), kafka, heap=HEAP)
        worker.start(detach=False, cancelled=threading.Event())
        yield worker
        worker.stop(worker.layout, 20.0)


@pytest.fixture(scope="module")
def published(connect_worker: ConnectWorker, servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Runs workloads under a profile in a new database, and returns what both readers published."""

    def run(profile: Profile, workloads: list[Workload]) -> Published:
        with new_database(servers) as dsn:
            folder, prefix = tmp_path_factory.mktemp(profile.name), f"d{uuid.uuid4().hex[:8]}."
            return Readers(connect_worker, dsn, servers.kafka.bootstrap_servers, prefix, folder).run(profile, workloads)

    return run
