"""Reads Debezium settings as a user writes them, checks each against the table, and answers for values and defaults."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from sluice.debezium_settings.table import SETTINGS, setting_of

_CONNECTOR = "io.debezium.connector.postgresql.PostgresConnector"
# The setting whose value may be a secret. Its value is checked where the connection is made, and never shown.
SECRET_SETTINGS = ("database.password", "database.sslpassword")


@dataclass(frozen=True, slots=True, repr=False)
class DebeziumSettings:
    """Debezium settings of a followed source. `given`: the values that the user set, as text, by Debezium's names.

    Each accessor returns the value that the user set, else Debezium's default. It raises KeyError for a name that
    is not in the table.
    """

    given: Mapping[str, str]

    def is_given(self, name: str) -> bool:
        return name in self.given

    def text(self, name: str) -> str | None:
        """The value as text; None if it is not set and has no default. One of several choices is in lower case."""
        setting = SETTINGS[name]
        value = self.given.get(name, setting.default)
        return value.lower() if value is not None and setting.choices else value

    def flag(self, name: str) -> bool:
        return (self.text(name) or "false").lower() == "true"

    def number(self, name: str) -> int:
        return int(self.text(name) or 0)

    def names(self, name: str) -> tuple[str, ...]:
        """The parts of a list that is separated by commas, without white space around them."""
        return tuple(part.strip() for part in (self.text(name) or "").split(",") if part.strip())

    def parts(self, name: str) -> Iterator[tuple[dict[str, str], str]]:
        """The varying parts of a setting such as `column.truncate.to.<length>.chars`, with the value, as often as it is
        set."""
        pattern = SETTINGS[name].pattern
        for given, value in self.given.items():
            match = pattern.fullmatch(given) if pattern is not None else None
            if match is not None and setting_of(given) is SETTINGS[name]:
                yield match.groupdict(), value

    def without(self, names: Collection[str]) -> DebeziumSettings:
        """The same settings without those that `names` contains."""
        return DebeziumSettings({name: value for name, value in self.given.items() if name not in names})

    def __repr__(self) -> str:
        return f"DebeziumSettings({', '.join(map(_without_salt, self.given))})"


def read_settings(written: Mapping[str, Any]) -> DebeziumSettings:
    """The settings in `written`: a connector's configuration, or the object with `name` and `config` around it.

    Raises ValueError that names each setting that is unknown, is refused, or has a wrong value. The text contains no
    values, and no salt.
    """
    inner = written.get("config")
    flat = inner if isinstance(inner, dict) and set(written) <= {"name", "config"} else written
    given, problems = {}, []
    for name, value in flat.items():
        text = _as_text(value)
        problem = "a text, a number, true or false is expected" if text is None else _problem(str(name), text)
        if problem:
            problems.append(f"{_without_salt(str(name))}: {problem}")
        elif text is not None:
            given[str(name)] = text
    if problems:
        raise ValueError("; ".join(problems))
    return DebeziumSettings(given)


def _problem(name: str, value: str) -> str:
    setting = setting_of(name)
    if setting is None:
        return _unknown(name)
    if name == "connector.class" and value not in (_CONNECTOR, "postgresql"):
        return f"Sluice follows PostgreSQL: {_CONNECTOR} is expected"
    return setting.problem(value)


def _unknown(name: str) -> str:
    near = get_close_matches(
        _without_salt(name), [one for one, setting in SETTINGS.items() if setting.pattern is None], 1
    )
    return f"Debezium's PostgreSQL connector has no such setting{f'; is {near[0]} meant?' if near else ''}"


def _without_salt(name: str) -> str:
    """The name of a setting for people. The name of a hash contains its salt: who knows it can guess hidden values."""
    start, salt, _ = name.partition(".with.salt.")
    return f"{start}{salt}…" if salt else name


def _as_text(value: object) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        return ",".join(value)
    return str(value) if isinstance(value, str | int | float) else None
