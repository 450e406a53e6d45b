"""How to reach Kafka: `SLUICE_KAFKA__*` as typed, frozen values."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from sluice.settings.kafka_options import require_taken

_SERVER = re.compile(r"(\w+://)?(\[[0-9A-Fa-f:.%]+\]|[\w.-]+)(:[0-9]{1,5})?")


class KafkaSettings(BaseModel):
    """`options` are librdkafka settings handed through as they are (TLS, SASL, …)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bootstrap_servers: str = Field(
        default="127.0.0.1:9092", description="Brokers to begin with, `host:port`, several with commas between."
    )
    group_protocol: Literal["consumer", "classic"] = Field(
        default="consumer", description="`classic` for brokers without KIP-848 (before Kafka 4.0)."
    )
    transaction_timeout_ms: int = Field(
        default=10_000,
        ge=1_000,
        le=900_000,
        description="After which a broker aborts the open transaction of a process that died. Readers wait so long.",
    )
    fetch_queue_kib: int = Field(
        default=16_384, ge=1_024, description="What a consumer fetches ahead, at most: a bound of its memory."
    )
    options: dict[str, str] = Field(
        default_factory=dict,
        description="Settings of librdkafka as a JSON object (TLS, SASL, …), or one by one: "
        "`SLUICE_KAFKA__OPTIONS__sasl.password`.",
    )

    @field_validator("options")
    @classmethod
    def _taken(cls, options: dict[str, str]) -> dict[str, str]:
        require_taken(options)
        return options

    @field_validator("bootstrap_servers")
    @classmethod
    def _addresses(cls, servers: str) -> str:
        for server in servers.split(","):
            if not _SERVER.fullmatch(server.strip()):
                raise ValueError("it is host:port, several with commas between")
        return servers
