"""The peers with which Sluice is compared. Each benchmark has its table: the name of a ratio → the peer's class."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from bench.contestant import Contestant, PythonPeer
from bench.peers.debezium_jdbc import DebeziumJdbc
from bench.peers.jdbc_sink import JdbcSink


class BareMapper(PythonPeer):
    """consume → typed decode → straight-line mapping → encode → transactions of 20,000 records. The bare limit."""

    name, script, share = "bare", "bare_mapper.py", 2.0
    requirements = ("confluent-kafka==2.16.1", "msgspec==0.22.0")


class QuixMapper(PythonPeer):
    """Quix Streams with its exactly-once guarantee, and the same mapping."""

    name, script = "quix", "quix_mapper.py"
    requirements = ("quixstreams==3.28.0", "msgspec==0.22.0")


class BytewaxMapper(PythonPeer):
    """Bytewax with the same mapping. It commits nothing, so it guarantees nothing."""

    name, script, share = "bytewax", "bytewax_mapper.py", 2.0
    requirements = ("bytewax==0.21.1", "confluent-kafka==2.16.1", "msgspec==0.22.0")
    commits = False


class UpsertSink(PythonPeer):
    """Binary COPY and INSERT … ON CONFLICT of the same rows over one connection. The bare limit."""

    name, script = "upsert", "upsert_sink.py"
    requirements = ("confluent-kafka==2.16.1", "psycopg==3.3.9", "psycopg-binary==3.3.9")


MAPPER: Mapping[str, Callable[[], Contestant]] = {"quix": QuixMapper, "bytewax": BytewaxMapper, "bare": BareMapper}
MERGER: Mapping[str, Callable[[], Contestant]] = {}
SINK: Mapping[str, Callable[[], Contestant]] = {
    "upsert": UpsertSink,
    "jdbc_avro": lambda: JdbcSink("jdbc_avro", "avro"),
    "jdbc_json": lambda: JdbcSink("jdbc_json", "json"),
}
END_TO_END: Mapping[str, Callable[[], Contestant]] = {
    "debezium_jdbc_tuned": lambda: DebeziumJdbc("debezium_jdbc_tuned", tuned=True),
    "debezium_jdbc_default": lambda: DebeziumJdbc("debezium_jdbc_default", tuned=False),
}
FORMS: Mapping[str, str] = {
    "jdbc_avro": "jdbc",
    "jdbc_json": "jdbc",
    "debezium_jdbc_tuned": "debezium_jdbc",
    "debezium_jdbc_default": "debezium_jdbc",
}
"""Contestants that are one peer with different settings, and the name of that peer. Its fastest form counts."""


def is_chosen(name: str, chosen: Sequence[str] | None) -> bool:
    """Whether a peer is in a list of names; None stands for all. A peer's name stands for all of its forms."""
    return chosen is None or name in chosen or FORMS.get(name) in chosen
