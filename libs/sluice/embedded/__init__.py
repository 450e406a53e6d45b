"""Runs Apache Kafka, PostgreSQL and the Apicurio registry on this machine without Docker, from files of fixed
versions."""

from sluice.embedded.servers import Servers

__all__ = ["Servers"]
