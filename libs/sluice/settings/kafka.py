"""How to reach Kafka: `SLUICE_KAFKA__*` as typed, frozen values."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from typing import Literal

from confluent_kafka import KafkaException, Producer
from pydantic import BaseModel, ConfigDict, Field, field_validator

RESERVED = frozenset(
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
"""Options that Sluice sets itself: with another value records are lost, doubled or out of order."""

_SERVER = re.compile(r"(\w+://)?(\[[0-9A-Fa-f:.%]+\]|[\w.-]+)(:[0-9]{1,5})?")
_MASKED_LENGTH_MIN = 4  # a shorter value could be part of any word
_silent = logging.getLogger("sluice.settings.kafka")
_silent.disabled = True


class KafkaSettings(BaseModel):
    """`options` are settings of librdkafka, passed to every client (TLS, SASL, …)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bootstrap_servers: str = Field(
        default="127.0.0.1:9092",
        description="Brokers to connect to first, `host:port`, separated by commas.",
    )
    group_protocol: Literal["consumer", "classic"] = Field(
        default="consumer", description="`classic` for brokers without KIP-848 (before Kafka 4.0)."
    )
    transaction_timeout_ms: int = Field(
        default=10_000,
        ge=1_000,
        le=900_000,
        description="When a broker aborts the open transaction of a process that died. Readers wait until then.",
    )
    fetch_queue_kib: int = Field(
        default=16_384, ge=1_024, description="The most that a consumer fetches ahead: a bound of its memory."
    )
    options: dict[str, str] = Field(
        default_factory=dict,
        description="Settings of librdkafka as a JSON object (TLS, SASL, …), or one by one: "
        "`SLUICE_KAFKA__OPTIONS__sasl.password`.",
    )

    @field_validator("options")
    @classmethod
    def _accepted(cls, options: dict[str, str]) -> dict[str, str]:
        require_accepted(options)
        return options

    @field_validator("bootstrap_servers")
    @classmethod
    def _addresses(cls, servers: str) -> str:
        for server in servers.split(","):
            if not _SERVER.fullmatch(server.strip()):
                raise ValueError("it is host:port, several with commas between")
        return servers


def require_accepted(options: Mapping[str, str]) -> None:
    """Raises ValueError for a reserved option, and for one that librdkafka refuses. The text quotes no value, because a
    password may be among them."""
    for name in options:
        if name in RESERVED:
            raise ValueError(f"{name} is Sluice's own to set: otherwise records could be lost or doubled; take it out")
    try:
        if options:
            Producer({**options, "logger": _silent})  # without an address it connects to no broker
    except KafkaException as error:
        raise ValueError(f"librdkafka refuses it: {_masked(str(error.args[0].str()), options.values())}") from None
    except Exception as error:  # an option that is no text, such as a callback
        raise ValueError(f"librdkafka refuses it ({type(error).__name__})") from None


def _masked(text: str, values: Iterable[str]) -> str:
    for value in sorted(values, key=len, reverse=True):
        text = text.replace(f'"{value}"', "…")
        if len(value) >= _MASKED_LENGTH_MIN:
            text = text.replace(value, "…")
    return text
