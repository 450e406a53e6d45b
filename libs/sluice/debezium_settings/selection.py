"""Which tables Debezium's include and exclude lists choose. Their parts are regular expressions for whole names."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sluice.debezium_settings.read import DebeziumSettings

# A plain name: letters, digits, `_`, `-` and `$`, with one dot, which may be escaped.
_PLAIN = re.compile(r"[\w$-]+\\?\.[\w$-]+")


def matches(patterns: Sequence[str], name: str) -> bool:
    """Whether one of the regular expressions matches the whole name. The case of letters does not matter."""
    return any(re.fullmatch(pattern, name, re.IGNORECASE) for pattern in patterns)


def wrong_pattern(settings: DebeziumSettings, name: str) -> str:
    """The number of the first part of the list `name` that is no regular expression, as a clause; empty if none is."""
    for number, pattern in enumerate(settings.names(name), start=1):
        try:
            re.compile(pattern)
        except re.error:
            return f"{name}: part {number} is not a regular expression"
    return ""


def plain_tables(settings: DebeziumSettings) -> list[str] | None:
    """The tables that `table.include.list` names; None if it is not set, or contains a pattern."""
    listed = settings.names("table.include.list")
    if not listed or not all(_PLAIN.fullmatch(part) for part in listed):
        return None
    return [part.replace("\\.", ".") for part in listed]


def not_selected(settings: DebeziumSettings, table: str) -> str:
    """The list that does not choose `table` (`schema.table`); empty if all lists choose it."""
    schema = table.partition(".")[0]
    for name, subject, wanted in (
        ("table.include.list", table, True),
        ("table.exclude.list", table, False),
        ("schema.include.list", schema, True),
        ("schema.exclude.list", schema, False),
    ):
        patterns = settings.names(name)
        if patterns and matches(patterns, subject) is not wanted:
            return name
    return ""
