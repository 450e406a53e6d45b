"""Settings of a stage's process, from the environment (`SLUICE_*`), validated once and frozen."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict

import sluice
from sluice.errors import SettingsError
from sluice.settings.kafka import KafkaSettings
from sluice.settings.variables import known_variables, unknown_text, unknown_variables, unreadable_variables


class RegistrySettings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str = Field(
        default="http://127.0.0.1:8081", description="The schema registry: base of its Confluent-compatible API."
    )

    @field_validator("url")
    @classmethod
    def _address(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("an address starts with http:// or https:// and names a host")
        return url


class TelemetrySettings(BaseModel):
    """Where `/healthz`, `/readyz` and `/metrics` are served. Port 0 takes a free one, written to `<state>/run`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = Field(default="127.0.0.1", description="Where `/healthz`, `/readyz` and `/metrics` are served.")
    port: int = Field(default=0, ge=0, le=65_535, description="Its port; 0 takes a free one, see `<state>/run`.")


def default_schemas_dir() -> Path:
    """The repository's `schemas` folder where Sluice runs from a checkout."""
    return Path(sluice.__file__).resolve().parents[2] / "schemas"


class StageSettings(BaseSettings):
    """The settings of every stage; those of a single stage inherit from them. Operators read each `description`."""

    model_config = SettingsConfigDict(
        env_prefix="SLUICE_", env_nested_delimiter="__", frozen=True, extra="ignore", env_ignore_empty=True
    )

    pipeline: Path = Field(default=Path("pipeline.yaml"), description="The pipeline's file, or its folder.")
    state_dir: Path = Field(
        default=Path(".sluice"), description="Local state. It may be lost: it is restored from Kafka."
    )
    instance: str = Field(
        default="0",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$",
        description="The name of this process among those of its stage: unique, and stable over restarts, because "
        "transactional ids and local state are named after it.",
    )
    kafka: KafkaSettings = KafkaSettings()
    registry: RegistrySettings = RegistrySettings()
    schemas_dir: Path = Field(
        default=default_schemas_dir(), description="The folder `schemas`, if it is not next to the installed code."
    )
    telemetry: TelemetrySettings = TelemetrySettings()
    batch_bytes_max: int = Field(
        default=3 * 1024 * 1024, ge=1, description="Bytes of output at which a batch ends. A batch is one transaction."
    )
    batch_records_max: int = Field(
        default=5_000, ge=1, le=1_000_000, description="The most records that are read at once."
    )
    renew_records_after_s: float = Field(
        default=3_600.0,
        ge=0,
        description="How often the record of an idle partition is written again.",
    )

    @property
    def process_name(self) -> str:
        """The name of this process among those of its stage."""
        return self.instance


S = TypeVar("S", bound=StageSettings)


def read_settings(kind: type[S], pipeline: Path | None = None) -> S:
    """The process's settings. SettingsError names the variables that are wrong, never their values.

    `pipeline`: the pipeline that a command was given, in place of SLUICE_PIPELINE.
    """
    chosen = pipeline or Path(os.environ.get("SLUICE_PIPELINE") or "pipeline.yaml")
    wrong = [*unreadable_variables(kind, os.environ), *unknown_variables(kind, os.environ, chosen)]
    if wrong:
        raise SettingsError("; ".join(wrong))
    try:
        return kind()
    except ValidationError as error:
        raise SettingsError("; ".join(_problem(kind, e) for e in error.errors())) from None


def _problem(kind: type[S], error: ErrorDetails) -> str:
    known, parts = set(known_variables(kind)), [str(part) for part in error["loc"]]
    if error["type"] == "extra_forbidden":
        return unknown_text(variable_of(parts), known)
    length = max((n for n in range(len(parts) + 1) if variable_of(parts[:n]) in known), default=len(parts))
    return ": ".join([variable_of(parts[:length]), *parts[length:], error["msg"].removeprefix("Value error, ")])


def variable_of(parts: list[str]) -> str:
    return f"SLUICE_{'__'.join(parts).upper()}"


def require_writable(folder: Path) -> None:
    """Raises SettingsError where no file can be written in `folder`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return
    except OSError as error:
        raise SettingsError(
            f"SLUICE_STATE_DIR: nothing can be written to {folder} ({error.strerror}); name a folder that this user "
            "may write to"
        ) from None
