"""The Kafka library of Sluice: clients whose settings lose no data, a transactional producer, readers of whole
partitions, and the declared topics."""

from sluice.kafka.log import LogReader, read_to_end
from sluice.kafka.partitioner import murmur2_partition
from sluice.kafka.producer import TransactionalProducer
from sluice.settings.kafka import KafkaSettings

__all__ = ["KafkaSettings", "LogReader", "TransactionalProducer", "murmur2_partition", "read_to_end"]
