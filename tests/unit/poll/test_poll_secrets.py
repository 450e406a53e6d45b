"""A source may repeat a credential anywhere in its answer. No fault and no log line contains it."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Mapping
from io import BufferedIOBase
from typing import Any, ClassVar, cast

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from sluice.connector import ApiKeyAuth, Auth, Connector, ConnectorSettings, Limits, NextLink, RestStream
from sluice.connector.fetch import failure
from sluice.errors import SluiceError
from sluice.ingress.backpressure import Flow
from sluice.telemetry import Health
from sluice_ingress_poller.faults import StreamFaults
from sluice_ingress_poller.fetch_thread import FetchThread
from sluice_ingress_poller.leased_stream import LeasedStream
from sluice_ingress_poller.polled_stream import PolledStream, SourceBackoff
from sluice_ingress_poller.records import StreamNames
from sluice_ingress_poller.stream_poll import Plan, StreamPoll
from sluice_ingress_poller.watermark import Watermark
from support.scripted_source import Answer, Asked, Raw, ScriptedSource, in_turn, scripted_source

SECRET = "s3cret-Key+b"
KEY = "hr/workers"


class Settings(ConnectorSettings):
    key: SecretStr = SecretStr(SECRET)


class Workers(RestStream[dict[str, Any]]):
    path, records, key = "/workers", "data", "id"
    paging = NextLink("next")


class Hr(Connector[Settings]):
    streams: ClassVar = {"workers": Workers}
    limits: ClassVar = Limits(deadline_s=2.0)

    def auth(self) -> Auth:
        return ApiKeyAuth(self.settings.key)


class NoKeys:
    def get(self, key: bytes) -> bytes | None:
        return None

    def keys(self) -> Iterator[bytes]:
        return iter(())

    def learn(self, changes: Mapping[bytes, bytes | None]) -> None:
        pass


def leased_from(source: ScriptedSource, health: Health) -> LeasedStream:
    connector = Hr("hr", {"base_url": source.url})
    stream, plan = connector.stream("workers"), Plan(1.0, 60.0, "hr/workers")
    names = StreamNames("p", "hr", "workers", "raw", "responses", "dlq")
    polled = PolledStream(KEY, stream, connector.fetcher(), plan, names, connector.secrets, SourceBackoff())
    poll = StreamPoll(stream, plan, Watermark(None, 1, 1), cast(Any, NoKeys()), 0.0, 0)
    thread = FetchThread(KEY, polled.fetcher, threading.Semaphore(1), queue.SimpleQueue())
    return LeasedStream(polled, poll, cast(Any, None), thread, StreamFaults(KEY, health, polled.secrets))


def poll_once(leased: LeasedStream) -> None:
    """What a shard does for one request, without Kafka."""
    try:
        response = leased.polled.fetcher.fetch(leased.poll.request(0.0))
        if (refusal := failure("hr", response, leased.polled.secrets())) is not None:
            raise refusal
        leased.committed(leased.poll.decide(response, 0), Flow.FLOWING)
    except SluiceError as error:
        leased.failed(error)


def cut_off(wire: BufferedIOBase) -> None:
    wire.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")


def after(first: Answer, then: Answer | Raw) -> Any:
    """`first` to the stream's first request, `then` to every other."""

    def script(asked: Asked) -> Answer | Raw:
        return first if asked.path == "/workers" else then

    return script


def redirect(location: str) -> Answer:
    return Answer(status=302, headers={"Location": location})


NEXT = Answer(b'{"data":[{"id":1}],"next":"/cb/%s/y"}' % SECRET.encode())


@pytest.mark.parametrize(
    "script",
    [
        in_turn(redirect(f"http://localhost:1/cb/{SECRET}/y")),
        in_turn(redirect(f"http://{SECRET}.localhost:1/y")),
        in_turn(redirect(f"http://localhost:1/cb/s3cret-Key%2bb/{'a' * 70_000}")),
        after(redirect(f"/cb/{SECRET}/y"), cut_off),
        after(redirect(f"/cb/{SECRET}/y"), Answer(b"<html>")),
        after(redirect(f"/cb/{SECRET}/y"), redirect("http://[::1")),
        after(redirect(f"/cb/{SECRET}/y"), Answer(status=429, headers={"Retry-After": "9999"})),
        after(NEXT, cut_off),
        after(NEXT, Answer(b"<html>")),
        after(NEXT, NEXT),
        in_turn(Answer(headers={"Content-Encoding": SECRET})),
        in_turn(Answer(b"<html>", headers={"Content-Type": SECRET})),
        in_turn(Answer(b"<html>", headers={"Content-Type": "a" * 55 + SECRET})),
        in_turn(Answer(b"<html>", headers={"Content-Type": "a" * 90 + SECRET})),
    ],
)
def test_a_credential_that_the_source_repeats_is_in_no_fault_and_no_log_line(script: Any) -> None:
    health = Health()
    with scripted_source(script) as source, capture_logs() as lines:
        leased = leased_from(source, health)
        for _ in range(5):
            poll_once(leased)
        leased.polled.backoff.until_s = max(leased.polled.backoff.until_s, 10.0**12)
        leased.report_waits(0.0)
        leased.polled.fetcher.close()
        leased.fetch_thread.close()
    assert [about for about in health.faults if about.endswith(" request")], "the failure is a fault"
    reported = f"{health.faults} {lines}"
    for secret in (SECRET, "s3cret-Key", "s3cret-key"):
        assert secret not in reported
