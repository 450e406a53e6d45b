"""Embedded servers keep their data and their ports through stops, kills and restarts, and leave nothing behind."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import psycopg
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from sluice.embedded import Servers, ports, running
from sluice.embedded.kafka import Kafka
from sluice.embedded.layout import Layout
from sluice.embedded.postgres import Postgres, processes_in
from sluice.embedded.processes import find
from sluice.embedded.tools import CONSUMER_GROUPS, kafka_tool
from sluice.errors import EnvironmentFault
from support.pace import within
from support.servers import kill
from support.topics import make_topics
from support.waiting import eventually

SCHEMA = {"schema": json.dumps({"type": "record", "name": "kept", "fields": [{"name": "id", "type": "long"}]})}


def write_something(servers: Servers) -> int:
    """Write one record, one row and one schema. Returns the schema's id."""
    admin = AdminClient({"bootstrap.servers": servers.kafka.bootstrap_servers})
    make_topics(admin, {"kept": 1})
    producer = Producer({"bootstrap.servers": servers.kafka.bootstrap_servers, "acks": "all"})
    producer.produce("kept", b"record")
    assert producer.flush(within(60)) == 0
    with psycopg.connect(servers.postgres.dsn()) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 'row' AS value")
    answer = httpx2.post(f"{servers.registry.url}/subjects/kept-value/versions", json=SCHEMA)
    return int(answer.raise_for_status().json()["id"])


def read_it_back(servers: Servers) -> tuple[bytes | None, str, str]:
    consumer = Consumer({"bootstrap.servers": servers.kafka.bootstrap_servers, "group.id": "reader"})
    consumer.assign([TopicPartition("kept", 0, 0)])
    message = consumer.poll(within(60))
    consumer.close()
    assert message is not None
    with psycopg.connect(servers.postgres.dsn()) as connection:
        row = connection.execute("SELECT value FROM kept").fetchone()
    assert row is not None
    return message.value(), str(row[0]), subject(servers.registry.url)


def subject(registry_url: str) -> str:
    """The subject, read from the registry. After the registry's database was restarted, one request fails for each
    connection that the registry had."""
    deadline = time.monotonic() + within(60)
    while (answer := httpx2.get(f"{registry_url}/subjects/kept-value/versions/latest")).is_server_error:
        assert time.monotonic() < deadline, answer.text
    return str(answer.json()["subject"])


KEPT = (b"record", "row", "kept-value")


@pytest.fixture(scope="module")
def state_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A state directory below a private directory, such as a home: as root, Postgres then keeps its data elsewhere. The
    directory's name contains characters that have a meaning in settings files."""
    above = tmp_path_factory.mktemp("servers")
    above.chmod(0o700)
    path = above / "Zustände, b\\s $x 'y' #%"
    path.mkdir()
    yield path
    Layout(path).delete()


@pytest.fixture(scope="module")
def own_servers(state_dir: Path) -> Iterator[Servers]:
    """Servers with some data, which a test may kill."""
    with Servers.start(state_dir, durable=False) as running:
        write_something(running)
        yield running


@pytest.mark.parametrize("name", ["kafka", "postgres", "registry"])
def test_a_killed_server_comes_back_on_its_port_with_its_data(own_servers: Servers, name: str) -> None:
    before, address = own_servers.pids, (own_servers.kafka.bootstrap_servers, own_servers.registry.url)
    kill(own_servers, name)
    assert name not in own_servers.pids
    own_servers.restart(name)
    after = own_servers.pids
    assert {n for n in after if after[n] != before[n]} == {name}
    assert (own_servers.kafka.bootstrap_servers, own_servers.registry.url) == address
    assert read_it_back(own_servers) == KEPT


def test_what_a_registry_unpacks_at_its_start_does_not_add_up(own_servers: Servers, state_dir: Path) -> None:
    unpacked = Layout(state_dir).home("registry") / "tmp"
    before = len(list(unpacked.iterdir()))
    kill(own_servers, "registry")
    own_servers.restart("registry")
    assert 0 < before == len(list(unpacked.iterdir()))


def test_a_second_session_on_the_same_state_directory_is_refused(own_servers: Servers, state_dir: Path) -> None:
    with pytest.raises(EnvironmentFault, match=r"is using its servers"):
        Servers.start(state_dir)
    assert len(own_servers.pids) == 3


def test_kafkas_own_tool_reads_a_group(own_servers: Servers) -> None:
    consumer = Consumer({"bootstrap.servers": own_servers.kafka.bootstrap_servers, "group.id": "asked"})
    consumer.commit(offsets=[TopicPartition("kept", 0, 1)], asynchronous=False)
    consumer.close()
    done = kafka_tool(CONSUMER_GROUPS, "--bootstrap-server", own_servers.kafka.bootstrap_servers, "--list")
    assert "asked" in done.stdout.split()


def test_a_restart_of_all_keeps_data_and_moves_a_taken_port_of_a_session(own_servers: Servers, state_dir: Path) -> None:
    own_servers.stop()
    assert own_servers.pids == {}
    taken = ports.remembered(Layout(state_dir).ports)["kafka"]
    with socket.socket() as squatter:
        # Connections that the broker closed linger in TIME_WAIT on its port.
        squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        squatter.bind((ports.LOOPBACK, taken))
        squatter.listen()
        with Servers.start(state_dir, durable=False) as again:
            assert again.kafka.bootstrap_servers != f"{ports.LOOPBACK}:{taken}"
            assert read_it_back(again) == KEPT
            assert again.download_s == 0.0
    assert again.pids == {}


SESSION = """
import sys, time
from pathlib import Path
from sluice.embedded import Servers
from sluice.embedded.postgres import Postgres
servers = Servers.start(Path(sys.argv[1]), [Postgres], durable=False)
print("ready", flush=True)
time.sleep(300)  # until the test kills it
"""


def test_a_killed_session_leaves_no_process_and_its_data_serve_the_next_one(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", SESSION, str(tmp_path)], stdout=subprocess.PIPE, text=True) as session:
        assert session.stdout is not None
        assert session.stdout.readline() == "ready\n"
        session.kill()
    with Servers.start(tmp_path, [Postgres], durable=False) as again:
        again.postgres.create_database("after")
        home = Layout(tmp_path).home_for_other_user("postgres") / "data"
        with psycopg.connect(again.postgres.dsn("after")):
            pass
    assert find(Layout(tmp_path).marker("postgres")) is None
    assert processes_in(home) == []
    Layout(tmp_path).delete()


def test_a_server_that_cannot_start_takes_the_others_down_with_it(tmp_path: Path) -> None:
    layout = Layout.of(tmp_path)
    layout.home("kafka").mkdir()
    (layout.home("kafka") / "data").write_text("not a directory")
    with pytest.raises(EnvironmentFault, match="kafka"):
        Servers.start(tmp_path, [Kafka, Postgres], durable=False)
    assert find(layout.marker("postgres")) is None
    layout.delete()


def test_kafka_and_postgres_are_used_while_the_registry_starts(tmp_path: Path) -> None:
    with Servers.start(tmp_path, durable=False, await_registry=False) as servers:
        assert servers.kafka.is_ready()
        assert servers.postgres.is_ready()
        servers.await_ready("registry")
        assert servers.registry.is_ready()
        assert set(servers.started) == {"kafka", "postgres", "registry"}
        admin = AdminClient({"bootstrap.servers": servers.kafka.bootstrap_servers})
        internal = {"__consumer_offsets", "__transaction_state"}
        eventually(lambda: internal <= admin.list_topics(timeout=5).topics.keys(), "the internal topics")
    assert servers.pids == {}


def test_servers_are_stopped_while_the_registry_starts(tmp_path: Path) -> None:
    servers = Servers.start(tmp_path, durable=False, await_registry=False)
    servers.stop()
    assert servers.pids == {}
    assert running.status(tmp_path)[2].pid is None
