"""Things that are polled: a source whose contents a test edits, its connector, its topics, and a poller in a thread."""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

from confluent_kafka import Message

from sluice.connector import Connector, ConnectorSettings, Cursor, NextLink, RestStream
from sluice.kafka import KafkaSettings, LogReader, clients
from sluice.kafka.log import Partition
from sluice.kafka.topics import Pinned, Topics, concrete, load_kinds
from sluice.pipeline import Pipeline
from sluice.settings.stage import TelemetrySettings, default_schemas_dir
from sluice.stage.signals import Stop
from sluice.telemetry import Health
from sluice_ingress_poller.polled_stream import polled_streams
from sluice_ingress_poller.poller import Poller
from sluice_ingress_poller.settings import PollerSettings, PollingSettings
from support.pace import within
from support.scripted_source import Answer, Asked, Raw
from support.waiting import eventually

EPOCH = datetime(2024, 5, 1, tzinfo=UTC)
DEADLINE_S = 60.0


class Things:
    """Rows by id, each with a version `v` that rises over all of them. Pages follow the id. `fault` may spoil any
    request: what it returns is answered instead.
    """

    def __init__(self, count: int = 0) -> None:
        self.rows: dict[int, bytes] = {}
        self.fault: Callable[[Asked], Answer | Raw | None] = lambda asked: None
        self._version = 0
        self._lock = threading.Lock()
        for number in range(count):
            self.put(number)

    def put(self, number: int, **more: Any) -> bytes:
        with self._lock:
            self._version += 1
            at = (EPOCH + timedelta(seconds=self._version)).isoformat().replace("+00:00", "Z")
            # Spaces and a trailing zero: what arrives must be these bytes, not their meaning.
            row = json.dumps({"id": number, "at": at, "v": self._version, **more}, indent=1)
            self.rows[number] = row.replace('"v":', '"pay": 1.10, "v":').encode()
            return self.rows[number]

    def delete(self, number: int) -> None:
        with self._lock:
            del self.rows[number]

    def __call__(self, asked: Asked) -> Answer | Raw:
        if (spoiled := self.fault(asked)) is not None:
            return spoiled
        limit, after, since = int(asked.query["limit"]), int(asked.query.get("after", -1)), asked.query.get("since", "")
        with self._lock:
            rows = [(n, row) for n, row in sorted(self.rows.items()) if n > after]
        page = [(n, row) for n, row in rows if json.loads(row)["at"] >= since][:limit]
        link = None
        if len(page) == limit:
            link = f"/things?limit={limit}&after={page[-1][0]}&since={since}&api_key=k1"
        body = b'{"data":[' + b" ,\n".join(row for _, row in page) + b'],"next":' + json.dumps(link).encode() + b"}"
        return Answer(body, headers={"Content-Type": "application/json", "Set-Cookie": "session=s1"})


class ThingStream(RestStream[dict[str, Any]]):
    path, records, key = "/things", "data", "id"
    cursor = Cursor("at", param="since", lookback=timedelta(seconds=3))
    paging = NextLink("next")
    page_size = 10


class Others(ThingStream):
    path = "/others"


class ThingConnector(Connector[ConnectorSettings]):
    streams: ClassVar = {"things": ThingStream, "others": Others}


class Polled:
    """A pipeline that polls `url`, its topics on a real cluster, and what stands in them."""

    def __init__(
        self,
        kafka: str,
        prefix: str,
        url: str,
        streams: tuple[str, ...] = ("things",),
        enumerate_every: str = "0.25s",
        **settings: str,
    ) -> None:
        self.kafka = KafkaSettings(bootstrap_servers=kafka)
        self.url = url
        declared = {
            "poll": "sources.shop.connector:Shop",
            "settings": {"base_url": url, **settings},
            "streams": {name: {"freshness": "0.2s", "enumerate_every": enumerate_every} for name in streams},
        }
        self.declared = {
            "pipeline": "shop",
            "partitions": 2,
            "shards": 2,
            "kafka": {"prefix": prefix},
            "sources": {"shop": declared},
        }
        self.pipeline = Pipeline.model_validate(self.declared)
        self.names = self.pipeline.names
        topics = Topics(clients.admin(self.kafka))
        created = concrete(load_kinds(default_schemas_dir() / "topics"), self.pipeline, [])
        self._topics = {t.name: t for t in created if ".mapper." not in t.name}
        topics.apply(list(self._topics.values()))
        self._reader = LogReader(self.kafka)
        self._read_to: dict[Partition, int] = {}
        self._messages: dict[Partition, list[Message]] = defaultdict(list)
        self.pinned: dict[str, Pinned] = topics.pinned([t.name for t in created if ".mapper." not in t.name])

    def delete(self, topic: str) -> None:
        admin = clients.admin(self.kafka)
        admin.delete_topics([topic])[topic].result(within(30))

    def create(self, topic: str) -> None:
        """Re-create a deleted topic as `sluice topics apply` does."""
        topics = Topics(clients.admin(self.kafka))
        eventually(lambda: topics.check([self._topics[topic]]) == [f"{topic}: does not exist"])
        topics.apply([self._topics[topic]])

    def recreate(self, topic: str) -> None:
        """Delete a topic and create it again."""
        self.delete(topic)
        self.create(topic)
        self._read_to = {at: offset for at, offset in self._read_to.items() if at[0] != topic}
        self._messages = defaultdict(list, {at: m for at, m in self._messages.items() if at[0] != topic})

    def settings(self, state_dir: Path, **part: Any) -> PollerSettings:
        return PollerSettings(
            state_dir=state_dir,
            kafka=self.kafka,
            telemetry=TelemetrySettings(),
            poller=PollingSettings(**{"lag_interval_s": 0.2, **part}),
        )

    @contextmanager
    def poller(
        self, state_dir: Path, connector: type[Connector[Any]] = ThingConnector, **part: Any
    ) -> Iterator[Health]:
        """A poller that runs in a thread; its bug, if it has one, is raised at the end."""
        settings = self.settings(state_dir, **part)
        streams = polled_streams(self.pipeline, settings.poller, lambda pipeline, source: connector)
        health, stop = Health(), Stop()
        bugs: list[BaseException] = []

        def run() -> None:
            try:
                with Poller(settings, self.pipeline, streams, health) as poller:
                    poller.run(stop)
            except BaseException as error:
                bugs.append(error)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        try:
            yield health
        finally:
            stop.request()
            thread.join(DEADLINE_S)
        assert not thread.is_alive()
        if bugs:
            raise bugs[0]

    def read(self, topic: str) -> list[Message]:
        """Every committed record of `topic`, partition by partition; each call reads only what has come since."""
        parts = [(topic, p) for p in range(self.pinned[topic].partitions)]
        ends = self._reader.ends(parts)
        for message in self._reader.read({at: (self._read_to.get(at, 0), ends[at]) for at in parts}):
            self._messages[topic, message.partition() or 0].append(message)
        self._read_to.update(ends)
        return [message for at in parts for message in self._messages[at]]

    def close(self) -> None:
        self._reader.close()

    def raw(self, stream: str = "things") -> list[Message]:
        return self.read(self.names.raw("shop", stream))

    def newest(self, stream: str = "things") -> dict[bytes, bytes]:
        """The newest value of each key; deleted ones and sweep markers left out."""
        found = {m.key() or b"": m.value() for m in self.raw(stream)}
        return {key: value for key, value in found.items() if value}


OpenPolled = Callable[..., Polled]


def as_published(things: Things) -> dict[bytes, bytes]:
    """What the raw topic must contain of `things`."""
    return {b'{"id":%d}' % number: row for number, row in things.rows.items()}


def headers_of(message: Message) -> dict[str, str]:
    headers: list[tuple[str, bytes | None]] = message.headers() or []  # type: ignore[assignment]
    return {name: (value or b"").decode() for name, value in headers}
