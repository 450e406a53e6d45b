"""Secrets of a pipeline file. The file contains the place of a secret, never the secret itself."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from sluice.errors import SettingsError

_ONE_PLACE = "a secret is {env: NAME} or {file: path}, never the secret itself"


class Secret(BaseModel):
    """A reference to a secret: an environment variable, `{env: NAME}`, or a file, `{file: path}`.

    The secret is read only when `reveal` is called, and `repr` does not contain it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    env: str | None = None
    file: Path | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Secret:
        if not self._is_whole():
            raise ValueError(_ONE_PLACE)
        return self

    def _is_whole(self) -> bool:
        return (self.env is None) != (self.file is None) and self.env != "" and self.file != Path()

    def reveal(self) -> str:
        """The secret's text. Raises SettingsError if the variable or file is missing or empty; the error names it."""
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
    """A copy of `value` in which the secret's text replaces each reference `{env: …}` or `{file: …}`.

    Raises SettingsError if a secret's variable or file is missing or empty.
    """
    if _is_reference(value):
        return Secret.model_validate(value).reveal()
    if isinstance(value, dict):
        return {key: reveal_all(item) for key, item in value.items()}
    return [reveal_all(item) for item in value] if isinstance(value, list) else value


def require_secrets(value: Any) -> None:
    """Raises ValueError if `value` contains a malformed reference to a secret."""
    for reference in _references(value):
        try:
            Secret.model_validate(reference)
        except ValidationError:
            raise ValueError(_ONE_PLACE) from None


def variables_in(value: Any) -> set[str]:
    """The names of the environment variables to which secrets in `value` refer. `value`: a pipeline as plain data."""
    return {reference["env"] for reference in _references(value) if isinstance(reference.get("env"), str)}


def missing_variables(value: Any) -> set[str]:
    """The names of the environment variables that are not set, but to which secrets in `value` refer."""
    return {name for name in variables_in(value) if not os.environ.get(name)}


def _references(value: Any) -> Iterator[dict[str, Any]]:
    """Each reference to a secret, `{env: …}` or `{file: …}`, that `value` contains."""
    if _is_reference(value):
        yield value
    elif isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _references(item)


def _is_reference(value: Any) -> bool:
    return isinstance(value, dict) and bool(value) and value.keys() <= {"env", "file"}
