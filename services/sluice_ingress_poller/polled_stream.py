"""The polled streams of a pipeline, each with its connector, its settings, its topics and its shard."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sluice.connector import Stream
from sluice.connector.fetch import Fetcher
from sluice.ingress.connectors import authored_place, connector_class
from sluice.names import INGRESS_POLLER
from sluice.pipeline import Pipeline, reveal_all
from sluice_ingress_poller.enumeration import ShrinkGuard
from sluice_ingress_poller.records import StreamNames
from sluice_ingress_poller.schedule import bounded_wait_s
from sluice_ingress_poller.settings import PollingSettings
from sluice_ingress_poller.stream_poll import Plan


@dataclass(slots=True)
class SourceBackoff:
    """A wait that a source requested: no stream of the source sends a request before `until_s` (monotonic).

    All streams wait, because a rate limit is usually that of the account, and a 503 that of the server. Requests of
    other streams would prolong the wait. `why`: what the source answered, to which request, and when the wait ends.
    """

    until_s: float = 0.0
    why: str = ""

    def extend(self, requested_s: float, answer: str, now_s: float, now_us: int) -> None:
        """Extend the wait to `requested_s` seconds from now, if it is shorter. `answer`: the request and its status."""
        wait_s = bounded_wait_s(requested_s)
        if now_s + wait_s <= self.until_s:
            return
        self.until_s = now_s + wait_s
        until = datetime.fromtimestamp(now_us / 1e6 + wait_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        self.why = (
            f"no requests for {wait_s:.0f} s, until {until}: the source answered {answer} and Retry-After "
            f"({requested_s:.0f} s), and all its streams wait"
        )


@dataclass(frozen=True)
class PolledStream:
    """One polled stream of the pipeline. `key`: `source/stream`, which is the key of its watermark.

    `fetcher` and `backoff`: shared by all streams of the source. `secrets`: returns the texts that must not be stored
    or logged; they change with each login.
    """

    key: str
    stream: Stream[Any]
    fetcher: Fetcher
    plan: Plan
    names: StreamNames
    secrets: Callable[[], frozenset[str]]
    backoff: SourceBackoff


def shard_of(key: str, shards: int) -> int:
    """The number of the shard to which the stream `key` belongs; equal in all processes and releases."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") % shards


def polled_streams(
    pipeline: Pipeline, part: PollingSettings, load: Callable[[Pipeline, str], Any]
) -> list[PolledStream]:
    """The polled streams of `pipeline`. `load`: returns the connector class of a source.

    Raises SettingsError, with file and line, if a connector or its settings are wrong.
    """
    found = []
    topics, guard = pipeline.names, ShrinkGuard(part.shrink_keys_min, part.shrink_fraction_max)
    for source, declared in pipeline.poll_sources().items():
        kind = connector_class(pipeline, source, load)
        with authored_place(pipeline, "sources", source, "settings"):
            connector = kind(source, reveal_all(declared.settings))
            fetcher, backoff = connector.fetcher(), SourceBackoff()
        for name, settings in declared.streams.items():
            with authored_place(pipeline, "sources", source, "streams", name):
                stream = connector.stream(name)
            key, raw_topic = f"{source}/{name}", topics.raw(source, name)
            every_s = settings.enumerate_every or stream.enumerate_every.total_seconds()
            plan = Plan(settings.freshness, every_s, key, guard, part.page_attempts_max)
            dlq_topic = topics.dlq(INGRESS_POLLER)
            names = StreamNames(pipeline.pipeline, source, name, raw_topic, topics.responses(source), dlq_topic)
            found.append(PolledStream(key, stream, fetcher, plan, names, connector.secrets, backoff))
    return found
