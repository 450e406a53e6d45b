"""Golden records as any reader reads them: with plain clients and the registry, without any code of Sluice."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import Consumer, Message
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

from sluice.embedded import Servers
from sluice.embedded.tools import kafka_tool
from support.pace import within
from support.replay import Replay, key_of
from support.workforce_pipeline import PARTITIONS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
WORKFORCE = {"workers": 150, "ledger_entries": 200}
CONSOLE_CONSUMER = "org.apache.kafka.tools.consumer.ConsoleConsumer"


def consumed(servers: Servers, topic: str, *, until: Callable[[Message], bool] | None = None) -> list[Message]:
    """The records of a topic up to its ends, or up to the record for which `until` is true. The consumer belongs to no
    group."""
    settings = {
        "bootstrap.servers": servers.kafka.bootstrap_servers,
        "group.id": f"reader-{uuid.uuid4().hex}",
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "enable.partition.eof": until is None,
    }
    consumer, found, ended = Consumer(settings), list[Message](), set[int]()
    consumer.subscribe([topic])
    try:
        while len(ended) < PARTITIONS:
            message = consumer.poll(within(60))
            assert message is not None, f"nothing came from {topic} for a minute"
            if message.error() is not None:
                assert message.error().name() == "_PARTITION_EOF", message.error()  # type: ignore[union-attr]
                ended.add(int(message.partition() or 0))
                continue
            found.append(message)
            if until is not None and until(message):
                break
    finally:
        consumer.close()
    return found


def newest_decoded(servers: Servers, topic: str) -> dict[str, dict[str, Any]]:
    """The newest value of each key, decoded with the registry's schema. Deleted keys are left out."""
    deserialize = AvroDeserializer(SchemaRegistryClient({"url": servers.registry.url, "timeout": within(30)}))
    context = SerializationContext(topic, MessageField.VALUE)
    newest = {key_of(m): m for m in consumed(servers, topic)}
    values = {key: deserialize(m.value(), context) for key, m in newest.items() if m.value() is not None}
    return {key: value for key, value in values.items() if isinstance(value, dict)}


def test_a_plain_avro_consumer_reads_workers_as_the_sources_call_for_them(replay: Replay, servers: Servers) -> None:
    expected = replay.run.driver.truth(replay.run.running)["worker"]
    workers = newest_decoded(servers, replay.names.canonical("worker"))
    assert workers.keys() == expected.keys()
    for key, worker in workers.items():
        wanted = expected[key]
        pay: Any = wanted["base_pay"]
        assert worker["employee_number"] == key
        assert worker["full_name"] == wanted["full_name"]
        assert worker["cost_centre"] == wanted["cost_centre"]
        assert (worker["base_pay"] and str(worker["base_pay"]["amount"])) == (pay and pay["amount"])


def test_a_value_says_which_source_record_each_field_came_from(replay: Replay, servers: Servers) -> None:
    known = [worker["_sluice"] for worker in newest_decoded(servers, replay.names.canonical("worker")).values()]
    merged = [one for one in known if {c["source"] for c in one["contributors"]} == {"hr", "finance"}]
    assert merged, "no worker has fields from both sources"
    for one in merged:
        source_of = {w["field"]: one["contributors"][w["contributor"]]["source"] for w in one["winners"]}
        assert source_of["full_name"] == "hr"
        assert source_of["base_pay"] == "finance"


def test_kafkas_console_consumer_shows_entity_ids_as_keys(replay: Replay, servers: Servers) -> None:
    expected = replay.run.driver.truth(replay.run.running)["cost_centre"].keys()
    topic = replay.names.canonical("cost_centre")
    count = sum(number for (name, _), number in replay.visible_records().items() if name == topic)
    shown = kafka_tool(
        CONSOLE_CONSUMER,
        *("--bootstrap-server", servers.kafka.bootstrap_servers, "--topic", topic, "--from-beginning"),
        *("--isolation-level", "read_committed", "--max-messages", str(count), "--timeout-ms", "30000"),
        *("--formatter-property", "print.key=true", "--formatter-property", "print.value=false"),
    )
    assert set(shown.stdout.split()) == expected, shown.stderr


def test_a_deleted_source_row_becomes_a_tombstone(replay: Replay, servers: Servers) -> None:
    topic = replay.names.canonical("cost_centre")
    code = key_of(consumed(servers, topic)[0])
    assert replay.finance("DELETE FROM public.cost_centre WHERE code = %s", code) == 1
    last = consumed(servers, topic, until=lambda message: message.value() is None)[-1]
    assert key_of(last) == code
    replay.scenario.await_truth()
    assert replay.scenario.verified().verified
