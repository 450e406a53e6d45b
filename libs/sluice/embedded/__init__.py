"""Real servers without Docker: Apache Kafka, PostgreSQL and the Apicurio registry, from pinned artifacts."""

from sluice.embedded.servers import Servers

__all__ = ["Servers"]
