"""A stream that stops without an answer or an error of its source is a fault, too."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from sluice.connector import Limits, NextLink
from sluice.kafka import clients
from sluice_ingress_poller import fetch_thread
from support.listings import People, connector, listed
from support.pace import within
from support.polling import OpenPolled, Polled, ThingConnector, Things, as_published
from support.scripted_source import ScriptedSource
from support.waiting import eventually

HOST = "source.test"


class Hasty(ThingConnector):
    limits: ClassVar = Limits(deadline_s=0.5)


@pytest.fixture
def name_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """A name server that answers for `HOST` only after the event is set."""
    answers, look_up = threading.Event(), socket.getaddrinfo

    def slow(host: Any, *more: Any, **options: Any) -> Any:
        if host != HOST:
            return look_up(host, *more, **options)
        answers.wait()
        return look_up("127.0.0.1", *more, **options)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    yield answers
    answers.set()


def test_a_look_up_of_a_name_that_hangs_is_a_fault_until_it_ends(
    open_polled: OpenPolled,
    things: Things,
    source: ScriptedSource,
    name_server: threading.Event,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fetch_thread, "HANGS_AFTER_S", 0.5)
    polled = open_polled(url=f"http://{HOST}:{source.port}")
    with polled.poller(tmp_path, Hasty) as health:
        why = eventually(
            lambda: health.faults.get("shop/things hangs", ""), "the fault", state=lambda: str(health.faults)
        )
        assert f"http://{HOST}:{source.port}/things: neither an answer nor an error" in why
        assert "Next: " in why
        name_server.set()
        eventually(lambda: polled.newest() == as_published(things), "the records")
        eventually(lambda: not health.faults, "the fault to end", state=lambda: str(health.faults))


def test_requests_that_cannot_be_read_are_a_fault_while_another_fault_waits_for_one(
    polled: Polled, people: People, tmp_path: Path
) -> None:
    with polled.poller(tmp_path, connector(NextLink("next"), 50)) as health:
        eventually(lambda: polled.newest() == people.as_published(), "the records")
        people.spoil = lambda asked: listed({"value": []})
        eventually(lambda: health.faults.get("shop/things enumeration"), "the fault of the listing")
        control = polled.names.control
        polled.delete(control)
        why = eventually(lambda: health.faults.get("shop/things requests", ""), "the fault", 30.0)
        assert control in why
        assert "then `sluice topics apply`" in why
        polled.create(control)
        eventually(lambda: "shop/things requests" not in health.faults, "the fault to end", 30.0)


def test_a_watermark_that_others_wrote_is_a_fault_and_nothing_is_guessed(
    polled: Polled, things: Things, tmp_path: Path
) -> None:
    producer = clients.producer(polled.kafka)
    producer.produce(polled.names.watermarks, b"garbage", b"shop/things", 0)
    assert producer.flush(within(30)) == 0
    with polled.poller(tmp_path) as health:
        why = eventually(
            lambda: " ".join(w for w in health.faults.values() if "watermark shop/things" in w), "the fault"
        )
        assert "was not written by Sluice" in why
        assert "Next: " in why
    assert not polled.raw()
