"""The peers with which Sluice is compared. Each benchmark has its table: the name of a ratio → the peer's class."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from bench.contestant import Contestant, PythonPeer


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
    requirements = ("confluent-kafka==2.16.1", "psycopg==3.3.9", "psycopg-binary==3.3.9", "msgspec==0.22.0")


MAPPER: Mapping[str, Callable[[], Contestant]] = {"quix": QuixMapper, "bytewax": BytewaxMapper, "bare": BareMapper}
MERGER: Mapping[str, Callable[[], Contestant]] = {}
SINK: Mapping[str, Callable[[], Contestant]] = {"upsert": UpsertSink}
END_TO_END: Mapping[str, Callable[[], Contestant]] = {}
