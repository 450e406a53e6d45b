"""How ingress publishes: records and the new watermark in one transaction, behind a fence.

The order is KIP-618's: fence the earlier owner first, then read the watermarks to the end of their log, then take
records from the source.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from sluice.errors import EnvironmentFault, Transient
from sluice.kafka import KafkaSettings, LogReader, TransactionalProducer, read_to_end
from sluice.kafka.control import json_object, requests_in_force
from sluice.names import Names
from sluice.raw.record import RawRecord


class IngressProducer:
    """The producer of one shard or slot; `transactional_id` is stable over restarts."""

    def __init__(self, settings: KafkaSettings, names: Names, transactional_id: str) -> None:
        self._settings = settings
        self._names = names
        self._producer = TransactionalProducer(settings, transactional_id)

    def fence(self) -> None:
        """Become the only publisher; call before `read_watermarks`, and again after TransactionLost."""
        self._producer.fence()

    def read_watermarks(self, keys: Iterable[str] = (), prefix: str | None = None) -> dict[str, dict[str, Any]]:
        """The newest committed watermark of each of `keys` that has one, and of every key that begins with `prefix`; a
        deleted one is none. Raises EnvironmentFault for one that others wrote."""
        wanted = {key.encode() for key in keys}
        below = None if prefix is None else prefix.encode()
        newest: dict[bytes, bytes | None] = {}
        for message in read_to_end(self._settings, self._names.watermarks, {0: 0}):
            key = message.key()
            if key is not None and (key in wanted or (below is not None and key.startswith(below))):
                newest[key] = message.value()
        return {key.decode(): self._read(key.decode(), value) for key, value in newest.items() if value}

    def _read(self, key: str, value: bytes) -> dict[str, Any]:
        if (read := json_object(value)) is not None:
            return read
        raise EnvironmentFault(
            f"watermark {key} in {self._names.watermarks}",
            "is not what Sluice wrote: somebody else wrote to that topic",
            "find who it was, and produce the newest older value of that key again (kafka-console-consumer with "
            "--from-beginning shows those that are left), or restore the topic from its backup",
        )

    def read_control(self, keys: Iterable[str]) -> dict[str, dict[str, Any]]:
        """The newest request under each of `keys` in `sluice.control` that has one."""
        with LogReader(self._settings) as reader:
            return requests_in_force(reader, self._names.control, keys)

    def publish(self, records: Sequence[RawRecord], watermarks: Mapping[str, Mapping[str, Any] | None]) -> None:
        """Write all `records` and `watermarks` (None takes one away) in one transaction; returns when it is committed.

        The caller bounds a call by bytes. Raises Transient when nothing was written, TransactionLost when that is
        not known: then `fence`, `read_watermarks` and go on from what they say.
        """
        producer = self._producer
        producer.begin()
        try:
            for record in records:
                partition = -1 if record.partition is None else record.partition
                producer.produce(
                    record.topic, record.key, record.value, record.headers, partition, record.timestamp_ms or 0
                )
            for key, watermark in watermarks.items():
                value = None if watermark is None else orjson.dumps(watermark)
                producer.produce(self._names.watermarks, key.encode(), value)
            producer.commit()
        except Transient:
            raise
        except BaseException:
            producer.abort()
            raise

    def write_lease(self, topic: str, partition: int, key: bytes, value: Mapping[str, Any]) -> int:
        """Write one record in a transaction of its own and return its offset (a shard's incarnation)."""
        offsets: list[int] = []
        self._producer.begin()
        self._producer.produce(
            topic,
            key,
            orjson.dumps(dict(value)),
            partition=partition,
            on_delivery=lambda error, message: None if error else offsets.append(message.offset() or 0),
        )
        self._producer.commit()
        if len(offsets) != 1:
            raise Transient(f"{topic}/{partition}: the lease was committed without a report of its offset")
        return offsets[0]

    def close(self) -> None:
        self._producer.discard()
