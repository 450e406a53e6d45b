"""Back-pressure from the lag of a real group: polling is paused and resumed, and a rewound group is no overload."""

from __future__ import annotations

from pathlib import Path

import pytest
from confluent_kafka import Consumer, TopicPartition

from sluice.ingress.backpressure import Flow, LagBounds
from sluice_ingress_poller.lag import BackPressure, DownstreamLag
from support.polling import Polled, Things, as_published
from support.scripted_source import ScriptedSource
from support.waiting import eventually

pytestmark = pytest.mark.parametrize("things", [40], indirect=True)  # twice what pauses the poller


def commit(polled: Polled, offsets: dict[int, int]) -> None:
    """Commit the offsets of the mapper's group, as a mapper does that has processed the records before them."""
    consumer = Consumer({"bootstrap.servers": polled.kafka.bootstrap_servers, "group.id": polled.names.group("mapper")})
    topic = polled.names.raw("shop", "things")
    consumer.commit(offsets=[TopicPartition(topic, p, o) for p, o in offsets.items()], asynchronous=False)
    consumer.close()


def ends(polled: Polled) -> dict[int, int]:
    found: dict[int, int] = {0: 0, 1: 0}
    for message in polled.raw():
        found[message.partition() or 0] = (message.offset() or 0) + 1
    return found


def test_lag_beyond_the_setting_pauses_polling_until_it_is_worked_off(
    polled: Polled, things: Things, source: ScriptedSource, tmp_path: Path
) -> None:
    commit(polled, {0: 0, 1: 0})
    with polled.poller(tmp_path, lag_records_throttle=10, lag_records_pause=20):
        eventually(lambda: len(polled.raw()) >= 20)
        counts: list[int] = []

        def quiet() -> bool:
            counts.append(len(source.asked))
            return len(counts) > 40 and len(set(counts[-20:])) == 1

        eventually(quiet)
        commit(polled, ends(polled))
        things.put(3)

        def caught_up() -> bool:
            commit(polled, ends(polled))
            return polled.newest() == as_published(things)

        eventually(caught_up)


def test_a_rewound_group_is_not_overloaded(polled: Polled, things: Things, tmp_path: Path) -> None:
    with polled.poller(tmp_path):
        eventually(lambda: polled.newest() == as_published(things))
    pressure = measured(polled)
    assert pressure.measure() is Flow.FLOWING  # never committed: expired history is no lag either
    commit(polled, ends(polled))
    assert pressure.measure() is Flow.FLOWING
    commit(polled, {0: 0, 1: 0})
    assert pressure.measure() is Flow.FLOWING
    fresh = measured(polled)
    assert fresh.measure() is Flow.PAUSED
    pressure.close()
    fresh.close()


def measured(polled: Polled) -> BackPressure:
    partitions = [(polled.names.raw("shop", "things"), p) for p in range(2)]
    return BackPressure(DownstreamLag(polled.kafka, {polled.names.group("mapper"): partitions}), LagBounds(10, 20), 1.0)
