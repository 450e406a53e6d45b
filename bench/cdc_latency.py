"""When records arrive at a consumer that reads only what is committed."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import orjson
from confluent_kafka import Consumer, TopicPartition

from bench.topics import WAIT_S


class Arrivals:
    """Consumes a topic on a thread while the context is open. `begin`: the offset of each partition to start at."""

    def __init__(self, bootstrap_servers: str, topic: str, begin: Mapping[int, int]) -> None:
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap_servers,
                "group.id": "bench-latency",
                "enable.auto.commit": False,
                "auto.offset.reset": "error",
                "isolation.level": "read_committed",
            }
        )
        self._consumer.assign([TopicPartition(topic, partition, offset) for partition, offset in begin.items()])
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._consume, daemon=True)
        self._seen: list[tuple[bytes, float]] = []
        self._failed: Exception | None = None

    @property
    def count(self) -> int:
        """The number of records so far. Raises the error that ended the consumer."""
        if self._failed is not None:
            raise self._failed
        return len(self._seen)

    def times_by_id(self) -> dict[str, list[float]]:
        """When the records of each entry arrived: seconds since 1970, by the member `id` of their keys."""
        found: dict[str, list[float]] = defaultdict(list)
        for key, at in self._seen:
            found[str(orjson.loads(key)["id"])].append(at)
        return found

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed.set()
        self._thread.join(WAIT_S)
        self._consumer.close()

    def _consume(self) -> None:
        while not self._closed.is_set():
            message = self._consumer.poll(0.2)
            if message is None:
                continue
            failed: Any = message.error()
            if failed is not None:
                self._failed = RuntimeError(f"the consumer of latencies failed: {failed}")
                return
            self._seen.append((message.key() or b"", time.time()))
