"""Kafka: clients that lose nothing by default, transactions whose end is known, logs read to their ends, topics."""

from sluice.kafka.log import LogReader, read_to_end
from sluice.kafka.partitioner import murmur2_partition
from sluice.kafka.producer import TransactionalProducer
from sluice.settings.kafka import KafkaSettings

__all__ = ["KafkaSettings", "LogReader", "TransactionalProducer", "murmur2_partition", "read_to_end"]
