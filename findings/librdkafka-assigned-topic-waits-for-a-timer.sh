#!/usr/bin/env bash
# confluent-kafka 2.16.1 (librdkafka 2.16.0), seen on 2026-11-29, with the mock broker that librdkafka brings.
#
# A consumer that is assigned a topic by hand which it has not met before does not ask for the topic's leader at once, but
# when a timer of one second next comes around: the first fetch waits up to a second. A topic that
# it has met, or that was asked for by list_topics() just before, is fetched from in hundredths. Whoever reads one short
# log after another with one consumer (a state, an offset topic, a tail) waits nearly all of the time. The topic that a
# consumer meets first is not concerned: its metadata comes with the connection.
#
# Output seen (the sums over eight topics were 2.9 s, 7.8 s and 2.9 s in three runs, and 0.1 s):
#   assigned only: more than 1 s
#   asked for before: less than 1 s
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'confluent-kafka==2.16.1'
cat > "$folder/seen.py" <<'PY'
import time

from confluent_kafka import Consumer, TopicPartition


def read_to_end(consumer, topic):
    began = time.monotonic()
    consumer.assign([TopicPartition(topic, 0, 0)])
    while True:
        message = consumer.poll(1.0)
        if message is not None and message.error() is not None and message.error().name() == "_PARTITION_EOF":
            consumer.unassign()
            return time.monotonic() - began


def total(asks_before):
    settings = {
        "test.mock.num.brokers": 1,
        "group.id": "reader",
        "enable.partition.eof": True,
        "fetch.wait.max.ms": 10,
        "allow.auto.create.topics": True,
        "log_level": 3,
    }
    consumer = Consumer(settings)
    consumer.list_topics("first", 10)
    read_to_end(consumer, "first")
    seconds = 0.0
    for number in range(8):
        if asks_before:
            consumer.list_topics(f"topic-{number}", 10)
        seconds += read_to_end(consumer, f"topic-{number}")
    consumer.close()
    return seconds


only, before = total(False), total(True)
print(f"assigned only: {'more' if only > 1 else 'less'} than 1 s")
print(f"asked for before: {'more' if before > 1 else 'less'} than 1 s")
PY
seen=$("$folder/venv/bin/python" "$folder/seen.py" 2>/dev/null)
echo "$seen"
[ "$seen" = $'assigned only: more than 1 s\nasked for before: less than 1 s' ] || { echo "this has changed" >&2; exit 1; }
