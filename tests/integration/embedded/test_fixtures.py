"""The three servers of the test session answer, with what Sluice needs of them switched on."""

import httpx2
import psycopg
from confluent_kafka.admin import AdminClient

from sluice.embedded import Servers
from support.pace import within


def test_every_server_answers_where_the_fixtures_say(kafka: str, registry_url: str, postgres_dsn: str) -> None:
    assert len(AdminClient({"bootstrap.servers": kafka}).list_topics(timeout=within(30)).brokers) == 1
    assert isinstance(httpx2.get(f"{registry_url}/subjects").json(), list)
    with psycopg.connect(postgres_dsn) as connection:
        assert connection.execute("SHOW wal_level").fetchone() == ("logical",)


def test_each_server_is_one_process_of_ours(servers: Servers) -> None:
    assert set(servers.pids) == {"kafka", "postgres", "registry"}
