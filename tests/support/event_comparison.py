"""Compares the records of two readers of the same changes, record by record and member by member.

Before the comparison only this is removed: wall-clock times (`ts_*` of the envelope), the version of the connector, and
the reader's own topic prefix. What only Sluice writes is left out too: a Debezium consumer does not look for it (the
headers `sluice-*`, and the sweep marker that ends a snapshot). What a snapshot states about its own slot
(`SLOT_MEMBERS`) differs between two slots.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

OWN_HEADERS = ("sluice-", "content-type")
RUN_HEADER = "__debezium.context.runId"
# Sweep markers, and logical messages by which Sluice marks places in the log: Debezium publishes these, too.
KEYS_OF_SLUICE = (b'{"$sweep":', b'{"prefix":"sluice.')
SLOT_MEMBERS = ("lsn", "txId", "sequence", "ts_ms", "ts_us", "ts_ns", "xmin")
WALL_CLOCK = ("ts_ms", "ts_us", "ts_ns")
_JAVA_OBJECT = re.compile(rb"(?<=\[Ljava\.lang\.String;)@[0-9a-f]+")  # the address of an array, in a text
NONE = "(no record)"
ABSENT = "(absent)"


class Event(NamedTuple):
    """One record of a topic. `value`: None for a tombstone."""

    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()


class Difference(NamedTuple):
    """A place where two records differ. `record`: the index in the topic. `path`: the member, such as
    `value.after.amount`."""

    topic: str
    record: int
    path: str
    debezium: str
    sluice: str

    def __str__(self) -> str:
        return f"{self.topic}[{self.record}] {self.path}: Debezium {self.debezium}, Sluice {self.sluice}"


def differences(topic: str, debezium: Sequence[Event], sluice: Sequence[Event]) -> list[Difference]:
    """All differences of a topic. Records are compared in their order."""
    found = []
    debezium, sluice = (
        [event for event in events if not (event.key or b"").startswith(KEYS_OF_SLUICE)]
        for events in (debezium, sluice)
    )
    for at in range(max(len(debezium), len(sluice))):
        if at >= len(debezium) or at >= len(sluice):
            texts = [_text(events[at]) if at < len(events) else NONE for events in (debezium, sluice)]
            found.append(Difference(topic, at, "record", *texts))
            continue
        theirs, ours = normalised(debezium[at]), normalised(sluice[at])
        found += [Difference(topic, at, *place) for place in _compared("", theirs, ours)]
    return found


def normalised(event: Event) -> dict[str, Any]:
    """The record without what may differ. Numbers stay as they are spelled."""
    value = _decoded(event.value)
    if isinstance(value, dict):
        body = value.get("payload", value)
        if isinstance(body, dict) and isinstance(body.get("source"), dict):
            _normalise_envelope(body)
    headers = {
        name: "of the run" if name == RUN_HEADER else (text or b"").decode()
        for name, text in event.headers
        if not name.startswith(OWN_HEADERS)
    }
    return {"key": _decoded(event.key), "value": value, "headers": headers}


def _normalise_envelope(body: dict[str, Any]) -> None:
    for name in WALL_CLOCK:
        if name in body:
            body[name] = "wall clock"
    source = body["source"]
    source["version"] = "any"
    if source.get("snapshot") not in (None, "false"):
        for name in SLOT_MEMBERS:
            if source.get(name) is not None:
                source[name] = "of the slot"


class Spelled(str):
    """A JSON number. Numbers with a fraction or an exponent are equal if they are the same 64-bit float: Java spells
    them otherwise (`1.0E7`). `1.0` and `1` differ."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Spelled) or self.is_integer != other.is_integer:
            return False
        return str(self) == str(other) if self.is_integer else float(self) == float(other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = str.__hash__

    @property
    def is_integer(self) -> bool:
        return self.lstrip("-").isdigit()


def _decoded(text: bytes | None) -> Any:
    if text is None:
        return None
    text = _JAVA_OBJECT.sub(b"@hash", text)
    try:
        return json.loads(text, parse_int=Spelled, parse_float=Spelled, parse_constant=Spelled)
    except ValueError:
        return text.hex()


def _compared(path: str, theirs: Any, ours: Any) -> Iterator[tuple[str, str, str]]:
    if isinstance(theirs, Mapping) and isinstance(ours, Mapping):
        if list(theirs) != list(ours) and set(theirs) == set(ours):
            yield f"{path}(order)", str(list(theirs)), str(list(ours))
        for name in {**theirs, **ours}:
            at = f"{path}.{name}" if path else name
            if name not in theirs or name not in ours:
                yield at, *_texts(theirs, ours, name)
            else:
                yield from _compared(at, theirs[name], ours[name])
    elif type(theirs) is not type(ours) or theirs != ours:
        yield path, repr(theirs), repr(ours)


def _texts(theirs: Mapping[str, Any], ours: Mapping[str, Any], name: str) -> tuple[str, str]:
    return repr(theirs[name]) if name in theirs else ABSENT, repr(ours[name]) if name in ours else ABSENT


def _text(event: Event) -> str:
    return f"{event.key!r} {event.value!r}"
