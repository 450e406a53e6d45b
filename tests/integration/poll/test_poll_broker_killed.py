"""The broker is killed under the poller and started again: the poller waits, takes its shard over again, and loses
nothing."""

from __future__ import annotations

from pathlib import Path

from sluice.embedded import Servers
from sluice.position import Position
from sluice_ingress_poller.polled_stream import shard_of
from support.polling import Polled, Things, as_published, headers_of
from support.scripted_source import ScriptedSource
from support.servers import kill
from support.waiting import eventually


def test_a_broker_that_dies_and_returns_loses_nothing(
    own_broker: Servers, source: ScriptedSource, things: Things, tmp_path: Path
) -> None:
    polled = Polled(own_broker.kafka.bootstrap_servers, "killed.", source.url)
    with polled.poller(tmp_path) as health:
        eventually(lambda: polled.newest() == as_published(things))
        kill(own_broker, "kafka")
        for number in range(20):
            things.put(number)
        things.delete(23)
        eventually(lambda: f"shard {shard_of('shop/things', 2)}" in health.faults)
        own_broker.restart("kafka")
        eventually(lambda: polled.newest() == as_published(things), deadline_s=120)
        eventually(lambda: not health.faults)
    positions = [Position.parse(headers_of(m)["sluice-position"]) for m in polled.raw()]
    assert len(set(positions)) == len(positions)
    polled.close()
