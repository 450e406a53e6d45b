"""Contributions to ledger entries, as the mapper writes them for the bench's pipeline. The harness writes a million of
them in 15 seconds, where a mapper needs minutes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import orjson

from bench.ledger import Entry, EntryRange, entry
from bench.topics import Message
from sluice.kafka.partitioner import murmur2_partition
from sluice.position import Position
from sluice.provenance import ContributionWriter, Origin

OBSERVED_AT_US = 1_782_907_200_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def contributions(of: EntryRange, size: int, prefix: str, partitions: int, sequence: int) -> Iterator[Message]:
    """The contributions of a range of entries, in the partitions of their entities. `sequence`: their positions start
    after it."""
    source = of.source
    writers = [
        ContributionWriter(source, "entries", (f"{prefix}raw.{source}.entries", number), f"{source}_entry", 1, 1)
        for number in range(partitions)
    ]
    for number in of.numbers():
        one = entry(number, of.version, size)
        sequence += 1
        partition = murmur2_partition(one.id.encode(), partitions)
        origin = Origin(f'{{"id":"{one.id}"}}', Position(1, 0, sequence), sequence, OBSERVED_AT_US)
        key, value = writers[partition].write(origin, one.id, "main", fields(one), None)
        yield Message(key, value, [("sluice-origin-ms", b"1782907200000")], partition)


def fields(of: Entry) -> bytes:
    """The claimed fields of an entry, in canonical JSON."""
    changed_at = (datetime.fromisoformat(of.changed_at) - EPOCH) // MICROSECOND
    return orjson.dumps(
        {
            "amount": {"amount": f"{of.amount}00", "currency": of.currency},
            "booked_on": of.booked_on,
            "changed_at": changed_at,
            "cost_centre": of.cost_centre,
            "employee_number": of.employee,
            "entry_number": of.id,
            "quantity": of.quantity,
            "rate": of.rate,
            "text": of.text,
        }
    )
