"""Runs Apache Kafka, PostgreSQL and the Apicurio registry on this machine without Docker, from files of fixed
versions."""

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
