"""Owners of a shard: fenced, replaced, restarted without their disk, or started with a log that has no watermark."""

from __future__ import annotations

import shutil
import threading
from collections import defaultdict
from pathlib import Path

import pytest

from sluice.ingress.backpressure import LagBounds
from sluice.kafka import TransactionalProducer, clients
from sluice.position import Position
from sluice.telemetry import Health
from sluice_ingress_poller.lag import BackPressure, DownstreamLag
from sluice_ingress_poller.polled_stream import polled_streams, shard_of
from sluice_ingress_poller.shard import Shard, ShardContext
from support.memory_store import MemoryStore
from support.pace import within
from support.polling import OpenPolled, Polled, ThingConnector, Things, as_published, headers_of
from support.scripted_source import ScriptedSource
from support.waiting import eventually

NUMBER = shard_of("shop/things", 2)


def shard(polled: Polled, tmp_path: Path, health: Health) -> Shard:
    """An owner of the shard that does not ask the group."""
    settings = polled.settings(tmp_path)
    streams = polled_streams(polled.pipeline, settings.poller, lambda pipeline, source: ThingConnector)
    around = ShardContext(
        polled.kafka,
        polled.names,
        "0",
        MemoryStore(),
        clients.admin(polled.kafka),
        polled.pipeline.partitions,
        BackPressure(DownstreamLag(polled.kafka, {}), LagBounds(), 1.0),
        health,
        threading.Semaphore(2),
    )
    return Shard(NUMBER, streams, around)


def check_positions(polled: Polled) -> None:
    """No position is used twice, and the positions of each key rise with its offsets."""
    found: set[Position] = set()
    newest: dict[bytes | None, Position] = defaultdict(lambda: Position(0, 0, 0))
    for message in polled.raw():
        position = Position.parse(headers_of(message)["sluice-position"])
        assert position not in found
        found.add(position)
        assert position > newest[message.key()]
        newest[message.key()] = position


def test_two_owners_never_give_two_contents_one_position(
    polled: Polled, source: ScriptedSource, things: Things, tmp_path: Path
) -> None:
    owners = [shard(polled, tmp_path / str(n), Health()) for n in range(2)]
    owners[0].start()
    eventually(lambda: polled.newest() == as_published(things))
    owners[1].start()
    for number in range(60):
        asked = len(source.asked)
        things.put(number % 25)
        eventually(lambda asked=asked: len(source.asked) > asked, "an owner to poll after the edit")  # type: ignore[misc]
    owners[0].ask_to_stop()
    owners[0].join(within(60))
    last = things.put(1)
    eventually(lambda: polled.newest().get(b'{"id":1}') == last)
    eventually(lambda: polled.newest() == as_published(things))
    owners[1].ask_to_stop()
    owners[1].join(within(60))
    assert [owner.bug for owner in owners] == [None, None]
    check_positions(polled)
    incarnations = {Position.parse(headers_of(m)["sluice-position"]).major for m in polled.raw()}
    assert len(incarnations) >= 2


def test_the_open_transaction_of_a_dead_owner_is_never_visible_and_its_page_is_published_once(
    polled: Polled, things: Things, tmp_path: Path
) -> None:
    transactional_id = polled.names.transactional_id("ingress-poller", NUMBER)
    dead = TransactionalProducer(polled.kafka, transactional_id)
    dead.fence()
    dead.begin()
    dead.produce(polled.names.raw("shop", "things"), b'{"id":1}', b"half a page")
    with polled.poller(tmp_path):
        eventually(lambda: polled.newest() == as_published(things))
    dead.discard()
    assert len(polled.raw()) == 25
    check_positions(polled)


def test_a_restart_republishes_nothing(polled: Polled, things: Things, tmp_path: Path) -> None:
    for _ in range(3):
        with polled.poller(tmp_path):
            eventually(lambda: polled.newest() == as_published(things))
            things.put(9)
            eventually(lambda: polled.newest() == as_published(things))
    assert len(polled.raw()) == 25 + 3


def test_lost_local_state_is_rebuilt_from_raw_before_any_request(
    polled: Polled, things: Things, tmp_path: Path
) -> None:
    with polled.poller(tmp_path / "state"):
        eventually(lambda: polled.newest() == as_published(things))
    shutil.rmtree(tmp_path / "state")
    things.delete(11)
    with polled.poller(tmp_path / "state"):
        edited = things.put(2)
        eventually(lambda: polled.newest() == as_published(things))
    values = [m.value() for m in polled.raw()]
    assert len(values) == 25 + 2
    assert values.count(None) == 1
    assert values.count(edited) == 1


def test_a_raw_topic_that_is_re_created_under_a_running_poller_is_filled_again(
    open_polled: OpenPolled, things: Things, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    polled = open_polled(enumerate_every="1h")
    with polled.poller(tmp_path) as health:
        eventually(lambda: polled.newest() == as_published(things))
        polled.recreate(polled.names.raw("shop", "things"))
        eventually(lambda: polled.newest() == as_published(things))
        eventually(lambda: not health.faults)
    output = capsys.readouterr().out
    assert "wait: Sluice lists and publishes the streams of the shard again by itself" in output
    assert "restart the stage" not in output


def test_a_missing_watermark_of_a_topic_with_records_is_a_stop(
    polled: Polled, things: Things, source: ScriptedSource, tmp_path: Path
) -> None:
    with polled.poller(tmp_path):
        eventually(lambda: polled.newest() == as_published(things))
    producer = TransactionalProducer(polled.kafka, polled.names.transactional_id("ingress-poller", NUMBER))
    producer.fence()
    producer.begin()
    producer.produce(polled.names.watermarks, b"shop/things", None)
    producer.commit()
    asked = len(source.asked)
    with polled.poller(tmp_path) as health:
        eventually(lambda: "there is none in" in health.faults.get(f"shard {NUMBER}", ""))
        why = health.faults[f"shard {NUMBER}"]
    assert "Next: restore" in why
    assert len(source.asked) == asked
    assert len(polled.raw()) == 25


def test_a_group_gives_each_shard_to_one_poller_and_moves_it_when_that_leaves(
    polled: Polled, things: Things, tmp_path: Path
) -> None:
    with polled.poller(tmp_path / "a"):
        eventually(lambda: polled.newest() == as_published(things))
        with polled.poller(tmp_path / "b"):
            things.put(1)
            eventually(lambda: polled.newest() == as_published(things))
        things.put(2)
        eventually(lambda: polled.newest() == as_published(things))
    check_positions(polled)
