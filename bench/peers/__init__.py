"""The peers with which Sluice is compared. The name of a peer is the key of its ratio in the result."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from bench.contestant import Contestant, PythonPeer
from bench.peers.debezium_jdbc import DebeziumJdbc
from bench.peers.debezium_source import DebeziumSource
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


PEERS: Mapping[str, Mapping[str, Callable[[], Contestant]]] = {
    "cdc": {
        "tuned": lambda: DebeziumSource("tuned", tuned=True),
        "default": lambda: DebeziumSource("default", tuned=False),
    },
    "mapper": {"quix": QuixMapper, "bytewax": BytewaxMapper, "bare": BareMapper},
    "merger": {},
    "sink": {
        "upsert": UpsertSink,
        "jdbc_avro": lambda: JdbcSink("jdbc_avro", "avro"),
        "jdbc_json": lambda: JdbcSink("jdbc_json", "json"),
    },
    "end_to_end": {
        "debezium_jdbc_tuned": lambda: DebeziumJdbc("debezium_jdbc_tuned", tuned=True),
        "debezium_jdbc_default": lambda: DebeziumJdbc("debezium_jdbc_default", tuned=False),
    },
}
"""What creates each peer, by benchmark and by the peer's name."""
FORMS: Mapping[str, str] = {
    "jdbc_avro": "jdbc",
    "jdbc_json": "jdbc",
    "debezium_jdbc_tuned": "debezium_jdbc",
    "debezium_jdbc_default": "debezium_jdbc",
}
"""Contestants that are one peer with different settings, and the name of that peer. Its fastest form counts."""


def chosen(benchmark: str, names: Sequence[str] | None) -> list[Contestant]:
    """The peers of a benchmark with these names; None stands for all. A peer's name stands for all of its forms."""
    return [
        create()
        for name, create in PEERS[benchmark].items()
        if names is None or name in names or FORMS.get(name) in names
    ]
