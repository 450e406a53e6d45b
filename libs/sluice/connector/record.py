"""One record of a page: its bytes as the source sent them, its source key, and single members of it."""

from __future__ import annotations

import json
from typing import Any

from sluice import json_text


class UnreadableKey(ValueError):
    """A record's source key is missing, or is neither text nor a whole number. The error text names the field, but
    never quotes its value."""


class SourceRecord:
    """A record of a page. `raw`: its bytes, which Sluice publishes. `get` decodes one member and not the others."""

    __slots__ = ("raw",)

    def __init__(self, raw: bytes) -> None:
        self.raw = raw

    def get(self, path: json_text.Path) -> Any:
        """The value of the member at `path`, such as `"links.next"`; None if the record has no such member.

        Raises NotJson if the record is not a JSON object.
        """
        try:
            return json_text.decode(json_text.member(self.raw, path))
        except json_text.Missing:
            return None

    @property
    def value(self) -> Any:
        """The whole record, decoded; fractions are `Decimal`s."""
        return json_text.decode(self.raw)


def source_key(record: SourceRecord, fields: tuple[str, ...]) -> bytes:
    """The source key of `record` as compact JSON, as Debezium writes it: `{"id":"W-7"}`. `fields`: in declared order.

    Raises UnreadableKey if a field is missing or empty, or is neither text nor a whole number.
    """
    key: dict[str, str | int] = {}
    for field in fields:
        try:
            value = record.get(field)
        except json_text.NotJson as error:
            raise UnreadableKey(f"key field {field} cannot be read: {error}") from None
        if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
            raise UnreadableKey(f"key field {field} is missing, empty, or neither text nor a whole number")
        key[field] = value
    try:
        return json.dumps(key, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    except UnicodeEncodeError:
        raise UnreadableKey(f"key field {'/'.join(fields)} contains half of a surrogate pair") from None
