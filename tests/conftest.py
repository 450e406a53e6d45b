"""Fixtures that every test may use."""

from support.servers import kafka, postgres_dsn, registry_url, servers, servers_state_dir, topic_prefix

__all__ = ["kafka", "postgres_dsn", "registry_url", "servers", "servers_state_dir", "topic_prefix"]
