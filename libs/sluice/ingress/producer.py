"""The producer of the ingress stages: it writes records and the new watermark in one transaction.

A new owner follows the order of KIP-618: it fences the previous owner, reads the watermarks to the end of their topic,
and only then reads records from the source.
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
from sluice.raw.writing import RawRecord


class IngressProducer:
    """The producer of one shard or replication slot. `transactional_id`: the same after each restart."""

    def __init__(self, settings: KafkaSettings, names: Names, transactional_id: str) -> None:
        self._settings = settings
        self._names = names
        self._producer = TransactionalProducer(settings, transactional_id)

    def fence(self) -> None:
        """Fence every other producer with this transactional id. Call it before `read_watermarks`, and again after a
        TransactionLost."""
        self._producer.fence()

    def read_watermarks(self, keys: Iterable[str] = (), prefix: str | None = None) -> dict[str, dict[str, Any]]:
        """The newest committed watermarks, by key: those of `keys`, and those of all keys that begin with `prefix`.

        A key without a watermark is left out. Raises EnvironmentFault if a watermark was not written by Sluice.
        """
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
        """The newest operator's request for each of `keys` in `sluice.control`. A key without a request is left out."""
        with LogReader(self._settings) as reader:
            return requests_in_force(reader, self._names.control, keys)

    def publish(self, records: Sequence[RawRecord], watermarks: Mapping[str, Mapping[str, Any] | None]) -> None:
        """Write all `records` and `watermarks` (None deletes a watermark) in one transaction, and wait for its commit.

        The caller limits the bytes of one call. Raises Transient if nothing was written. Raises TransactionLost if it
        is not known whether the records were written: then call `fence`, and continue from the result of
        `read_watermarks`.
        """
        producer = self._producer
        with producer.transaction():
            produce = producer.produce
            for topic, key, value, headers, partition, timestamp_ms in records:
                produce(topic, key, value, headers, -1 if partition is None else partition, timestamp_ms or 0)
            for name, watermark in watermarks.items():
                produce(self._names.watermarks, name.encode(), None if watermark is None else orjson.dumps(watermark))
            producer.commit()

    def write_lease(self, topic: str, partition: int, key: bytes, value: Mapping[str, Any]) -> int:
        """Write the record of a lease in a transaction of its own. Returns its offset, the incarnation of the lease.

        Raises Transient if the offset of the committed record is not known.
        """
        offsets: list[int] = []
        with self._producer.transaction():
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
