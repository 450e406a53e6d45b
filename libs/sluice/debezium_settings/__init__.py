"""Settings of Debezium's PostgreSQL connector that the pipeline file may contain: the table of all, and their reader.

It stands below the pipeline file and knows neither Kafka nor Postgres.
"""

from sluice.debezium_settings.read import DebeziumSettings, read_settings

__all__ = ["DebeziumSettings", "read_settings"]
