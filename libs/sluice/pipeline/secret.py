"""Secrets by reference: a pipeline file names the place of a secret and never contains the secret."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from sluice.errors import SettingsError

_ONE_PLACE = "a secret is {env: NAME} or {file: path}, never the secret itself"


class Secret(BaseModel):
    """`{env: NAME}` or `{file: path}`. The secret is read when it is needed; repr shows the reference only."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    env: str | None = None
    file: Path | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Secret:
        if (self.env is None) == (self.file is None) or self.env == "" or self.file == Path():
            raise ValueError(_ONE_PLACE)
        return self

    def reveal(self) -> str:
        """The secret's text. Raises SettingsError that names the variable or file that is missing."""
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
        raise SettingsError(f"secret file {file}: {error.strerror}, and the pipeline refers to it") from None
    except UnicodeDecodeError:
        raise SettingsError(f"secret file {file}: not UTF-8, and the pipeline refers to it") from None
    if not content:
        raise SettingsError(f"secret file {file}: is empty, and the pipeline refers to it")
    return content


def reveal_all(value: Any) -> Any:
    """`value` with every `{env: …}` and `{file: …}` within it replaced by the secret's text. Raises SettingsError."""
    if _is_reference(value):
        return Secret.model_validate(value).reveal()
    if isinstance(value, dict):
        return {key: reveal_all(item) for key, item in value.items()}
    return [reveal_all(item) for item in value] if isinstance(value, list) else value


def require_secrets(value: Any) -> None:
    """Raises ValueError if a reference to a secret within `value` is malformed."""
    for reference in _references(value):
        try:
            Secret.model_validate(reference)
        except ValidationError:
            raise ValueError(_ONE_PLACE) from None


def variables_in(value: Any) -> set[str]:
    """Names of the environment variables that `value`, a pipeline as plain data, refers to."""
    return {reference["env"] for reference in _references(value) if isinstance(reference.get("env"), str)}


def missing_variables(value: Any) -> set[str]:
    """Names of the environment variables that `value` refers to and that are not set."""
    return {name for name in variables_in(value) if not os.environ.get(name)}


def _references(value: Any) -> Iterator[dict[str, Any]]:
    """Each `{env: …}` and `{file: …}` within `value`."""
    if _is_reference(value):
        yield value
    elif isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _references(item)


def _is_reference(value: Any) -> bool:
    return isinstance(value, dict) and bool(value) and value.keys() <= {"env", "file"}
