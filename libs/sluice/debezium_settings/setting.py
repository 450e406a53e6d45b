"""One setting of Debezium's PostgreSQL connector: its values, its default, and what Sluice does with it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["text", "bool", "int", "list"]
Effect = Literal["supported", "ignored", "refused"]


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting as Debezium names it.

    `effect`: `supported`; `ignored`, which is accepted and changes nothing; or `refused`. `text`: what a supported
    setting does, why an ignored one has no effect, what to do instead of a refused one. `default`: Debezium's default
    as text, None if it has none. `choices`: the values that Debezium knows, empty for any. `refused_values`: values
    that Sluice does not support, with what to do instead. `pattern`: matches the name if a part of it varies.

    A refused setting is accepted with Debezium's default value, because it then asks for nothing.
    """

    name: str
    effect: Effect
    text: str
    kind: Kind = "text"
    default: str | None = None
    choices: tuple[str, ...] = ()
    refused_values: Mapping[str, str] = field(default_factory=dict)
    pattern: re.Pattern[str] | None = None

    def problem(self, value: str) -> str:
        """What is wrong with `value`, as a clause; empty if nothing is. The clause never contains the value."""
        if self.effect == "refused":
            return "" if self._is_default(value) else f"it is not supported. Next: {self.text}"
        if self.kind == "bool" and value.lower() not in ("true", "false"):
            return "true or false is expected"
        if self.kind == "int" and not re.fullmatch(r"-?\d{1,18}", value):
            return "a whole number is expected"
        if self.choices and value.lower() not in self.choices:
            return f"one of {', '.join(self.choices)} is expected"
        reason = self.refused_values.get(value.lower())
        return f"{value.lower()} is not supported. Next: {reason}" if reason else ""

    def _is_default(self, value: str) -> bool:
        return value.strip() == "" or (self.default is not None and value.lower() == self.default.lower())


def supported(
    name: str,
    text: str,
    default: str | bool | int | None = None,
    *choices: str,
    kind: Kind | None = None,
    refused_values: Mapping[str, str] | None = None,
) -> Setting:
    """A setting that does in Sluice what it does in Debezium."""
    return Setting(
        name, "supported", text, kind or _kind(default), _text(default), choices, refused_values or {}, _pattern(name)
    )


def ignored(name: str, text: str, default: str | bool | int | None = None) -> Setting:
    """A setting that is accepted without effect. Its value is not looked at."""
    return Setting(name, "ignored", text, "text", _text(default), pattern=_pattern(name))


def refused(name: str, text: str, default: str | bool | int | None = None) -> Setting:
    """A setting that is refused, unless it has Debezium's default value."""
    return Setting(name, "refused", text, _kind(default), _text(default), pattern=_pattern(name))


def _kind(default: str | bool | int | None) -> Kind:
    return "bool" if isinstance(default, bool) else "int" if isinstance(default, int) else "text"


def _text(default: str | bool | int | None) -> str | None:
    return default if default is None or isinstance(default, str) else str(default).lower()


def _pattern(name: str) -> re.Pattern[str] | None:
    """The pattern of a name with varying parts, such as `column.truncate.to.<length>.chars` or `transforms.*`."""
    if "<" not in name and "*" not in name:
        return None
    pattern = re.escape(name).replace(re.escape("*"), ".+")
    return re.compile(re.sub(r"<(\w+)>", lambda part: rf"(?P<{part[1]}>{_PARTS[part[1]]})", pattern))


_PARTS = {"length": r"\d{1,9}", "algorithm": r"[^.]+", "salt": r".+"}
