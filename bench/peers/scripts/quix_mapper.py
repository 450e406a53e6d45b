"""Quix Streams, exactly-once, with the mapping of `ledger_mapping`. It writes the fields without provenance.

Argument 1: the file with the job.
"""

import json
import sys
from typing import Any

from ledger_mapping import Fields, Plain, decoder, encode, fields
from quixstreams import Application
from quixstreams.models.serializers import SerializationContext, Serializer


class FieldsSerializer(Serializer):
    def __call__(self, value: Any, ctx: SerializationContext) -> bytes:
        return encode(Plain(value))


def key_of(found: Fields) -> bytes:
    return found.entry_number.encode()


def main() -> None:
    with open(sys.argv[1]) as file:
        job = json.load(file)
    app = Application(
        broker_address=job["bootstrap_servers"],
        consumer_group=job["group"],
        processing_guarantee="exactly-once",
        auto_offset_reset="earliest",
        auto_create_topics=False,
        # By default it commits every five seconds, and a run would wait for the last commit.
        commit_interval=1.0,
        commit_every=20_000,
        consumer_extra_config={"queued.min.messages": 100_000},
        producer_extra_config={"linger.ms": 20, "compression.type": "lz4", "batch.size": 2**20},
        state_dir=job["folder"] + "/state",
        loglevel="WARNING",
    )
    raw = app.topic(job["inputs"][0], key_deserializer="bytes", value_deserializer="bytes")
    mapped = app.topic(job["output"], key_serializer="bytes", value_serializer=FieldsSerializer())
    decode = decoder(job["inputs"][0])
    app.dataframe(raw).apply(lambda value: fields(decode(value))).to_topic(mapped, key=key_of)
    app.run()


main()
