"""The polled streams of a pipeline: their connectors, plans and topics, and the shard of each."""

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
from sluice_ingress_poller.settings import PollerPart
from sluice_ingress_poller.stream_poll import Plan


@dataclass(slots=True)
class SourceBackoff:
    """A wait that a source requested: no stream of the source sends a request before `until_s` (monotonic).

    A rate limit is usually one for the whole account, and a 503 is about the whole server: requests of other streams
    would only prolong the wait. `why`: what the source answered, to which request, and when the wait ends.
    """

    until_s: float = 0.0
    why: str = ""

    def extend(self, requested_s: float, answer: str, now_s: float, now_us: int) -> None:
        """Wait for `requested_s` from now, unless the wait is longer already. `answer` names the request and status."""
        wait_s = bounded_wait_s(requested_s)
        if now_s + wait_s <= self.until_s:
            return
        self.until_s = now_s + wait_s
        until = datetime.fromtimestamp(now_us / 1e6 + wait_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        self.why = (
            f"not asked for {wait_s:.0f} s, until {until}: the source answered {answer} and Retry-After "
            f"({requested_s:.0f} s), and all its streams wait"
        )


@dataclass(frozen=True)
class PolledStream:
    """One stream of the pipeline. `key` is `source/stream`, the key of its watermark. `backoff` is its source's.

    `secrets` returns the texts that must not be stored or logged; a new login changes them.
    """

    key: str
    stream: Stream[Any]
    fetcher: Fetcher
    plan: Plan
    names: StreamNames
    secrets: Callable[[], frozenset[str]]
    backoff: SourceBackoff


def shard_of(key: str, shards: int) -> int:
    """The shard of `source/stream`, the same in every process and release."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") % shards


def polled_streams(pipeline: Pipeline, part: PollerPart, load: Callable[[Pipeline, str], Any]) -> list[PolledStream]:
    """Every polled stream. `load` returns a source's connector class. Raises SettingsError, which names file and
    line."""
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
            plan = Plan(settings.freshness, every_s, guard, part.page_attempts_max, key)
            dlq_topic = topics.dlq(INGRESS_POLLER)
            names = StreamNames(pipeline.pipeline, source, name, raw_topic, topics.responses(source), dlq_topic)
            found.append(PolledStream(key, stream, fetcher, plan, names, connector.secrets, backoff))
    return found
