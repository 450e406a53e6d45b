"""Bytewax with the mapping of `ledger_mapping`. It reads from the beginning and commits nothing. Argument 1: the file
with the job."""

import json
import sys

import bytewax.operators as op
from bytewax.connectors.kafka import KafkaSink, KafkaSinkMessage, KafkaSource, KafkaSourceMessage
from bytewax.dataflow import Dataflow
from bytewax.testing import run_main
from confluent_kafka import OFFSET_BEGINNING
from ledger_mapping import decoder, with_provenance


def main() -> None:
    with open(sys.argv[1]) as file:
        job = json.load(file)
    brokers = [job["bootstrap_servers"]]
    flow = Dataflow("mapper")
    source = KafkaSource(
        brokers,
        job["inputs"],
        starting_offset=OFFSET_BEGINNING,
        batch_size=1_000,
        add_config={"queued.min.messages": "200000"},
    )
    messages = op.input("raw", flow, source)
    decode = decoder(job["inputs"][0])

    def mapped(message: KafkaSourceMessage) -> KafkaSinkMessage:
        raw = decode(message.value)
        key, value = with_provenance(
            message.key, raw, message.headers, message.topic, message.partition, message.offset
        )
        return KafkaSinkMessage(key, value)

    results = op.map("map", messages, mapped)
    sink = KafkaSink(brokers, job["output"], add_config={"linger.ms": "20", "compression.type": "lz4"})
    op.output("contributions", results, sink)
    run_main(flow)


main()
