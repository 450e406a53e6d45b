"""Real servers without Docker: Apache Kafka, PostgreSQL and the Apicurio registry, from pinned artifacts."""

from sluice.embedded.servers import Servers
from sluice.embedded.status import ServerStatus, database, environment, status, stopped_broker
from sluice.embedded.stopping import down, reset
from sluice.embedded.tools import kafka_tool

__all__ = [
    "ServerStatus",
    "Servers",
    "database",
    "down",
    "environment",
    "kafka_tool",
    "reset",
    "status",
    "stopped_broker",
]
