"""The broker killed under the poller and started again: it waits, takes its shard over again, and nothing is lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sluice.embedded import Servers
from sluice.position import Position
from sluice_ingress_poller.polled_stream import shard_of
from support.polling import Polled, Things, as_published, headers_of
from support.scripted_source import scripted_source
from support.servers import kill
from support.waiting import eventually


@pytest.fixture
def own_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    state_dir = tmp_path_factory.mktemp("servers")
    state_dir.chmod(0o755)
    with Servers.start(state_dir, registry=False, postgres=False, durable=False) as running:
        yield running


def test_a_broker_that_dies_and_returns_loses_nothing(own_servers: Servers, topic_prefix: str, tmp_path: Path) -> None:
    things = Things(40)
    with scripted_source(things) as source:
        polled = Polled(own_servers.kafka.bootstrap_servers, topic_prefix, source.url)
        with polled.poller(tmp_path) as health:
            eventually(lambda: polled.newest() == as_published(things))
            kill(own_servers, "kafka")
            for number in range(20):
                things.put(number)
            things.delete(30)
            eventually(lambda: f"shard {shard_of('shop/things', 2)}" in health.faults)
            own_servers.restart("kafka")
            eventually(lambda: polled.newest() == as_published(things), deadline_s=120)
            eventually(lambda: not health.faults)
        positions = [Position.parse(headers_of(m)["sluice-position"]) for m in polled.raw()]
        assert len(set(positions)) == len(positions)
        polled.close()
