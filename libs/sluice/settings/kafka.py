"""The settings of Kafka clients, from the environment variables `SLUICE_KAFKA__*`, as typed and frozen values."""

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
"""librdkafka's options that only Sluice sets. With other values, records would be lost, doubled or out of order."""

_SERVER = re.compile(r"(\w+://)?(\[[0-9A-Fa-f:.%]+\]|[\w.-]+)(:[0-9]{1,5})?")
# A value of an option is masked in error texts from this length on. A shorter value could be part of any word.
_MASKED_LENGTH_MIN = 4
_silent = logging.getLogger("sluice.settings.kafka")
_silent.disabled = True


class KafkaSettings(BaseModel):
    """How a process connects to Kafka. `options`: librdkafka's settings for every client, such as TLS and SASL."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bootstrap_servers: str = Field(
        default="127.0.0.1:9092",
        description="The Kafka brokers to connect to first, each as `host:port`, separated by commas.",
    )
    group_protocol: Literal["consumer", "classic"] = Field(
        default="consumer",
        description="The protocol of consumer groups: `classic` for brokers without KIP-848 (before Kafka 4.0).",
    )
    transaction_timeout_ms: int = Field(
        default=10_000,
        ge=1_000,
        le=900_000,
        description="A broker aborts the open transaction of a process that died after this time. Readers wait until "
        "then.",
    )
    fetch_queue_kib: int = Field(
        default=4_096,
        ge=1_024,
        description="The most that a consumer fetches ahead. The setting limits the memory of the process.",
    )
    options: dict[str, str] = Field(
        default_factory=dict,
        description="Settings of librdkafka, such as TLS and SASL, as a JSON object, or each in a variable of its own: "
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
                raise ValueError("an address is written host:port; commas separate several addresses")
        return servers


def require_accepted(options: Mapping[str, str]) -> None:
    """Check options of librdkafka. Raises ValueError if one is reserved for Sluice, or if librdkafka refuses one.

    The error text quotes no value of an option, because a value may be a password.
    """
    for name in options:
        if name in RESERVED:
            raise ValueError(
                f"only Sluice sets {name}, because with other values records could be lost or doubled. Next: remove it"
            )
    try:
        if options:
            Producer({**options, "logger": _silent})  # without a broker's address, the producer connects to nothing
    except KafkaException as error:
        raise ValueError(f"librdkafka refuses it: {_masked(str(error.args[0].str()), options.values())}") from None
    except Exception as error:  # the value of an option is not a text, such as a callback
        raise ValueError(f"librdkafka refuses it ({type(error).__name__})") from None


def _masked(text: str, values: Iterable[str]) -> str:
    for value in sorted(values, key=len, reverse=True):
        text = text.replace(f'"{value}"', "…")
        if len(value) >= _MASKED_LENGTH_MIN:
            text = text.replace(value, "…")
    return text
