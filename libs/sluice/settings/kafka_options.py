"""librdkafka settings that a person hands through: which are Sluice's own, and whether librdkafka takes the rest."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

from confluent_kafka import KafkaException, Producer

OURS = frozenset(
    {
        "acks",
        "allow.auto.create.topics",
        "auto.commit.enable",
        "auto.offset.reset",
        "bootstrap.servers",
        "check.crcs",
        "enable.auto.commit",
        "enable.auto.offset.store",
        "enable.idempotence",
        "enable.partition.eof",
        "group.id",
        "group.instance.id",
        "group.protocol",
        "group.remote.assignor",
        "isolation.level",
        "max.in.flight",
        "max.in.flight.requests.per.connection",
        "metadata.broker.list",
        "partition.assignment.strategy",
        "partitioner",
        "request.required.acks",
        "transaction.timeout.ms",
        "transactional.id",
    }
)
"""Set by Sluice, or by a setting of its own: otherwise set, records are lost, doubled or out of order."""

SHORT = 4  # a value of fewer characters could be part of any word
_silent = logging.getLogger("sluice.settings.kafka_options")
_silent.disabled = True


def require_taken(options: Mapping[str, str]) -> None:
    """Raises ValueError naming what is wrong, without the values: a password may be among them."""
    for name in options:
        if name in OURS:
            raise ValueError(f"{name} is Sluice's own to set: otherwise records could be lost or doubled; take it out")
    try:
        if options:
            Producer({**options, "logger": _silent})  # without an address it connects to nobody
    except KafkaException as error:
        raise ValueError(f"librdkafka refuses it: {_without(options.values(), str(error.args[0].str()))}") from None
    except Exception as error:  # what Python is to give it, such as a callback, no text can be
        raise ValueError(f"librdkafka refuses it ({type(error).__name__})") from None


def _without(values: Iterable[str], told: str) -> str:
    for value in sorted(values, key=len, reverse=True):
        told = told.replace(f'"{value}"', "…")
        if len(value) >= SHORT:
            told = told.replace(value, "…")
    return told
