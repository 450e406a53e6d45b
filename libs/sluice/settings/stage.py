"""The settings that the process of every stage has, from environment variables (`SLUICE_*`)."""

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
        default="http://127.0.0.1:8081",
        description="The URL of the schema registry's Confluent-compatible API, without `/subjects`.",
    )

    @field_validator("url")
    @classmethod
    def _address(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("an address starts with http:// or https:// and names a host")
        return url


class TelemetrySettings(BaseModel):
    """The address at which a stage serves `/healthz`, `/readyz` and `/metrics`.

    With port 0, the stage chooses a free port and writes it to a file in `<state directory>/run`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = Field(
        default="127.0.0.1", description="The host address at which `/healthz`, `/readyz` and `/metrics` are served."
    )
    port: int = Field(
        default=0,
        ge=0,
        le=65_535,
        description="The port at which `/healthz`, `/readyz` and `/metrics` are served. With 0, the stage chooses a "
        "free port and writes it to a file in `<state directory>/run`.",
    )


def default_schemas_dir() -> Path:
    """The folder `schemas` of the repository, if Sluice runs from a checkout."""
    return Path(sluice.__file__).resolve().parents[2] / "schemas"


class StageSettings(BaseSettings):
    """The settings that every stage has. A stage's own settings class inherits from this class.

    Operators read each field's `description` in `sluice settings` and in docs/reference/variables.md.
    """

    model_config = SettingsConfigDict(
        env_prefix="SLUICE_", env_nested_delimiter="__", frozen=True, extra="ignore", env_ignore_empty=True
    )

    pipeline: Path = Field(default=Path("pipeline.yaml"), description="The pipeline's file, or the file's folder.")
    state_dir: Path = Field(
        default=Path(".sluice"),
        description="The folder for local state. Its files may be lost: the stage restores them from Kafka.",
    )
    instance: str = Field(
        default="0",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$",
        description="The name of this process among the processes of its stage. It must be unique and stay the same "
        "after a restart, because transactional ids and local state are named after it.",
    )
    kafka: KafkaSettings = KafkaSettings()
    registry: RegistrySettings = RegistrySettings()
    schemas_dir: Path = Field(
        default=default_schemas_dir(),
        description="The path of Sluice's folder `schemas`, if it is not next to the installed code.",
    )
    telemetry: TelemetrySettings = TelemetrySettings()
    batch_bytes_max: int = Field(
        default=8 * 1024 * 1024,
        ge=1,
        description="A batch ends when its output has this many bytes. A batch is one transaction.",
    )
    batch_records_max: int = Field(
        default=10_000, ge=1, le=1_000_000, description="The most records that a stage reads from Kafka at once."
    )
    state_memory_bytes: int = Field(
        default=32 * 1024 * 1024,
        ge=1024 * 1024,
        description="The memory of the local state's store: half for blocks that were read, half for writes that are "
        "not on disk yet.",
    )
    renew_records_after_s: float = Field(
        default=3_600.0,
        ge=0,
        description="The stage writes the partition record of an idle partition again after this time.",
    )

    @property
    def process_name(self) -> str:
        """The name of this process among the processes of its stage."""
        return self.instance


S = TypeVar("S", bound=StageSettings)


def read_settings(kind: type[S], pipeline: Path | None = None) -> S:
    """The settings of class `kind`, read from the environment variables of the process.

    `pipeline`: the pipeline file that a command got as an option, used in place of SLUICE_PIPELINE. Raises
    SettingsError, which names the variables that are wrong, but never their values.
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
    """Create `folder` if it does not exist. Raises SettingsError if no file can be written in it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return
    except OSError as error:
        raise SettingsError(
            f"SLUICE_STATE_DIR: nothing can be written to {folder} ({error.strerror}); name a folder that this user "
            "may write to"
        ) from None
