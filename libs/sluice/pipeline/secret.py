"""Secrets by reference: a pipeline file names where a secret is, never what it is."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from sluice.errors import SettingsError

_ONE_PLACE = "a secret is {env: NAME} or {file: path}, never the secret itself"


class Secret(BaseModel):
    """`{env: NAME}` or `{file: path}`. Its text is read when it is needed and never shown by repr."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    env: str | None = None
    file: Path | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Secret:
        if (self.env is None) == (self.file is None) or self.env == "" or self.file == Path():
            raise ValueError(_ONE_PLACE)
        return self

    def reveal(self) -> str:
        """The secret's text; SettingsError names the variable or file that is missing."""
        match self.env, self.file:
            case str() as name, _:
                return _variable(name)
            case _, Path() as file:
                return _content(file)
        raise SettingsError(_ONE_PLACE)


def _variable(name: str) -> str:
    value = os.environ.get(name)
    if not value:
        raise SettingsError(f"environment variable {name} is not set, and the pipeline refers to it")
    return value


def _content(file: Path) -> str:
    try:
        content = file.read_text("utf-8").strip()
    except OSError as error:
        raise SettingsError(f"secret file {file}: {error.strerror}; the pipeline refers to it") from None
    except UnicodeDecodeError:
        raise SettingsError(f"secret file {file}: not UTF-8; the pipeline refers to it") from None
    if not content:
        raise SettingsError(f"secret file {file}: is empty; the pipeline refers to it")
    return content


def reveal_all(value: Any) -> Any:
    """`value` with every `{env: …}` and `{file: …}` within it replaced by the secret's text."""
    if isinstance(value, Secret):
        return value.reveal()
    if isinstance(value, dict):
        if value and value.keys() <= {"env", "file"}:
            return Secret.model_validate(value).reveal()
        return {key: reveal_all(item) for key, item in value.items()}
    if isinstance(value, list):
        return [reveal_all(item) for item in value]
    return value


def missing_variables(value: Any) -> set[str]:
    """Names of the environment variables that `value` refers to and that are not set."""
    return {name for name in variables_in(value) if not os.environ.get(name)}


def require_secrets(value: Any) -> None:
    """Raises ValueError if what looks like a secret's place within `value` is none."""
    if isinstance(value, dict):
        if value and value.keys() <= {"env", "file"}:
            try:
                Secret.model_validate(value)
            except ValidationError:
                raise ValueError(_ONE_PLACE) from None
        for item in value.values():
            require_secrets(item)
    elif isinstance(value, list):
        for item in value:
            require_secrets(item)


def variables_in(value: Any) -> set[str]:
    """Names of the environment variables that `value`, a pipeline as plain data, refers to."""
    if isinstance(value, dict):
        if value and value.keys() <= {"env", "file"}:
            return {value["env"]} if isinstance(value.get("env"), str) else set()
        return set().union(*map(variables_in, value.values()))
    if isinstance(value, list | tuple):
        return set().union(*map(variables_in, value))
    return set()
