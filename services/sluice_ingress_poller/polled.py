"""The polled streams of a pipeline: their connectors, plans and topics, and the shard that each belongs to."""

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
from sluice.pipeline import Pipeline, StreamSettings, reveal_all
from sluice_ingress_poller.enumeration import ShrinkGuard
from sluice_ingress_poller.records import Names
from sluice_ingress_poller.schedule import patience_s
from sluice_ingress_poller.settings import PollerPart
from sluice_ingress_poller.stream_poll import Plan


@dataclass(slots=True)
class Patience:
    """What a source asked of its account: no request before `until_s` (monotonic), by any of its streams here.

    Rate limits are an account's as a rule, and a server that says 503 says it of itself: whoever goes on asking for
    other streams is let in later still. `why`: what it answered, to which request, and until when it is left alone.
    """

    until_s: float = 0.0
    why: str = ""

    def asked_for(self, asked_s: float, answer: str, now_s: float, now_us: int) -> None:
        """`answer` tells the request and the status."""
        wait_s = patience_s(asked_s)
        if now_s + wait_s <= self.until_s:
            return
        self.until_s = now_s + wait_s
        until = datetime.fromtimestamp(now_us / 1e6 + wait_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        self.why = (
            f"not asked for {wait_s:.0f} s, until {until}: the source answered {answer} and Retry-After "
            f"({asked_s:.0f} s), and all its streams wait"
        )


@dataclass(frozen=True)
class PolledStream:
    """One stream of the pipeline; `key` is `source/stream`, the key of its watermark."""

    key: str
    stream: Stream[Any]
    fetcher: Fetcher
    plan: Plan
    names: Names
    secrets: Callable[[], frozenset[str]]
    """The texts that must not be stored or logged now; a login changes them."""
    patience: Patience


def shard_of(key: str, shards: int) -> int:
    """The shard of `source/stream`: stable over processes and releases."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") % shards


def polled_streams(pipeline: Pipeline, part: PollerPart, load: Callable[[Pipeline, str], Any]) -> list[PolledStream]:
    """Every polled stream; `load` finds a source's connector class. Raises SettingsError, which names the place."""
    found = []
    for source, declared in pipeline.poll_sources().items():
        kind = connector_class(pipeline, source, load)
        with authored_place(pipeline, "sources", source, "settings"):
            connector = kind(source, reveal_all(declared.settings))
            fetcher, patience = connector.fetcher(), Patience()
        for name, settings in declared.streams.items():
            with authored_place(pipeline, "sources", source, "streams", name):
                stream = connector.stream(name)
            names = _names(pipeline, source, name)
            plan = _plan(f"{source}/{name}", stream, settings, part)
            key = f"{source}/{name}"
            found.append(PolledStream(key, stream, fetcher, plan, names, connector.secrets, patience))
    return found


def _plan(name: str, stream: Stream[Any], settings: StreamSettings, part: PollerPart) -> Plan:
    return Plan(
        freshness_s=settings.freshness,
        enumerate_every_s=settings.enumerate_every or stream.enumerate_every.total_seconds(),
        guard=ShrinkGuard(part.shrink_keys_min, part.shrink_fraction_max),
        attempts_max=part.page_attempts_max,
        name=name,
    )


def _names(pipeline: Pipeline, source: str, stream: str) -> Names:
    names = pipeline.names
    return Names(
        pipeline.pipeline, source, stream, names.raw(source, stream), names.responses(source), names.dlq(INGRESS_POLLER)
    )
