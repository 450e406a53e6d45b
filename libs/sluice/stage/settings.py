"""Settings of a stage's process, from the environment (`SLUICE_*`), validated once and frozen."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

import sluice
from sluice.errors import SettingsError
from sluice.kafka.settings import KafkaSettings


class RegistrySettings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str = "http://127.0.0.1:8081"


class TelemetrySettings(BaseModel):
    """Where `/healthz`, `/readyz` and `/metrics` are served; port 0 takes a free one, told in `<state>/run`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = "127.0.0.1"
    port: int = 0


def default_schemas_dir() -> Path:
    """The repository's `schemas` folder where Sluice runs from a checkout."""
    return Path(sluice.__file__).resolve().parents[2] / "schemas"


class StageSettings(BaseSettings):
    """What every stage is told. A stage's own settings inherit from this.

    `instance` is stable over restarts and unique among the processes of a stage: transactional ids and local state
    are named after it. A batch, which is one transaction, is cut at `batch_bytes_max` of output; `batch_records_max`
    records (librdkafka's limit is a million) are asked for at a time. A partition's record is written anew every
    `renew_records_after_s`, whether anything happened in it or not.
    """

    model_config = SettingsConfigDict(
        env_prefix="SLUICE_", env_nested_delimiter="__", frozen=True, extra="ignore", env_ignore_empty=True
    )

    pipeline: Path = Path("pipeline.yaml")
    state_dir: Path = Path(".sluice")
    instance: str = "0"
    kafka: KafkaSettings = KafkaSettings()
    registry: RegistrySettings = RegistrySettings()
    schemas_dir: Path = default_schemas_dir()
    telemetry: TelemetrySettings = TelemetrySettings()
    batch_bytes_max: int = Field(default=3 * 1024 * 1024, ge=1)
    batch_records_max: int = Field(default=5_000, ge=1, le=1_000_000)
    renew_records_after_s: float = Field(default=3_600.0, ge=0)

    @property
    def process_name(self) -> str:
        """Which process of its stage this is."""
        return self.instance


S = TypeVar("S", bound=StageSettings)


def read_settings(kind: type[S]) -> S:
    """The process's settings; SettingsError names the variables that are wrong, never their values."""
    try:
        return kind()
    except ValidationError as error:
        problems = (f"SLUICE_{'__'.join(str(p) for p in e['loc']).upper()}: {e['msg']}" for e in error.errors())
        raise SettingsError("; ".join(problems)) from None
