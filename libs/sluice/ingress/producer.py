"""Ingress's producer: records and the new watermark in one transaction, behind a fence.

The order is KIP-618's: fence the earlier owner first, then read the watermarks to the end of their log, then take
records from the source.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from sluice.errors import EnvironmentFault, Transient
from sluice.kafka import KafkaSettings, LogReader, TransactionalProducer
from sluice.kafka.control import json_object, requests_in_force
from sluice.kafka.log import newest_by_key
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
        """The newest committed watermark of each of `keys`, and of every key that begins with `prefix`; keys without
        one are left out. Raises EnvironmentFault for a watermark that Sluice did not write."""
        wanted = {key.encode() for key in keys}
        below = None if prefix is None else prefix.encode()
        with LogReader(self._settings) as reader:
            newest = newest_by_key(reader, self._names.watermarks)
        return {
            key.decode(): self._read(key.decode(), value)
            for key, value in newest.items()
            if key in wanted or (below is not None and key.startswith(below))
        }

    def _read(self, key: str, value: bytes) -> dict[str, Any]:
        if (read := json_object(value)) is not None:
            return read
        raise EnvironmentFault(
            f"watermark {key} in {self._names.watermarks}",
            "was not written by Sluice",
            "find who wrote it, and produce the newest older value of that key again (kafka-console-consumer with "
            "--from-beginning shows those that are left), or restore the topic from its backup",
        )

    def read_control(self, keys: Iterable[str]) -> dict[str, dict[str, Any]]:
        """The newest request under each of `keys` in `sluice.control`; keys without one are left out."""
        with LogReader(self._settings) as reader:
            return requests_in_force(reader, self._names.control, keys)

    def publish(self, records: Sequence[RawRecord], watermarks: Mapping[str, Mapping[str, Any] | None]) -> None:
        """Write all `records` and `watermarks` (None deletes one) in one transaction; returns when it is committed.

        The caller bounds a call by bytes. Raises Transient if nothing was written, TransactionLost if that is not
        known: then call `fence` and `read_watermarks`, and go on from these.
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
