"""One record of a page: its bytes as the source sent them, its source key, and single fields on demand."""

from __future__ import annotations

import json
from typing import Any

from sluice import json_text


class UnreadableKey(ValueError):
    """The source key is missing, or is neither text nor a whole number. The message names the field, not its value."""


class SourceRecord:
    """A record of a page. `raw` is what Sluice publishes; `get` reads one member without decoding the others."""

    __slots__ = ("raw",)

    def __init__(self, raw: bytes) -> None:
        self.raw = raw

    def get(self, path: json_text.Path) -> Any:
        """The value at `path`, such as `"links.next"`; None if it is missing. Raises NotJson if this is no object."""
        try:
            return json_text.decode(json_text.member(self.raw, path))
        except json_text.Missing:
            return None

    @property
    def value(self) -> Any:
        """The whole record, decoded; fractions are `Decimal`s."""
        return json_text.decode(self.raw)


def source_key(record: SourceRecord, fields: tuple[str, ...]) -> bytes:
    """The source key as compact JSON, fields in declared order: `{"id":"W-7"}`, as Debezium writes it.

    Raises UnreadableKey.
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
