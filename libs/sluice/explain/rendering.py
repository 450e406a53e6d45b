"""Renders an explanation as text for people and as JSON for programs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
from msgspec.structs import asdict

from sluice.explain.explanation import ClaimOrigin, Explanation, FieldExplained
from sluice.explain.raw_places import RawPlace
from sluice.provenance import RawRef
from sluice.times import text_of_us


def to_json(one: Explanation) -> dict[str, Any]:
    """The whole explanation as the object that `sluice explain --json` prints."""
    return {
        "entity": one.entity,
        "id": one.entity_id,
        "state": one.state,
        "golden": one.golden,
        "missing": list(one.missing),
        "newer": [
            {**dict(zip(("source", "stream", "source_key", "mapping"), claim, strict=True)), **newer.to_json()}
            for claim, newer in one.newer.items()
        ],
        "fields": [_field_json(field, one) for field in one.fields],
    }


def lines(one: Explanation) -> Iterator[str]:
    """Yields a heading, one or two lines for each newer record, then a paragraph for each field."""
    yield _heading(one)
    yield from _newer_lines(one)
    for field in one.fields:
        yield from _field_lines(field, one)


def _heading(one: Explanation) -> str:
    name = f"{one.entity} {one.entity_id}"
    if one.golden is not None:
        place = f"{one.golden['topic']}/{one.golden['partition']}@{one.golden['offset']}"
        return f"{name}: {one.golden['where']}, revision {one.golden['revision']}, from {place}"
    if one.state == "withheld":
        return f"{name}: withheld, no value for required {', '.join(one.missing)}. Claims so far:"
    if one.state == "not-stored":
        return f"{name}: complete, and not stored yet. Claims:"
    return f"{name}: deleted: every source record of it is deleted"


def _newer_lines(one: Explanation) -> Iterator[str]:
    """Yields one or two lines for each source record that is newer than a claim."""
    shown: set[RawRef] = set()
    for (source, stream, source_key, _), newer in one.newer.items():
        if newer.raw in shown:
            continue
        shown.add(newer.raw)
        since = "" if newer.since_ms is None else f" since {text_of_us(newer.since_ms * 1_000)}"
        yield f"{source}.{stream} {source_key}: a newer record {newer.raw.place} is {newer.state}{since}: {newer.why}"
        if newer.dead_letter is not None:
            yield f"    its dead letter is {newer.dead_letter.place}, cause {newer.cause}"


def _field_lines(field: FieldExplained, one: Explanation) -> Iterator[str]:
    value = value_text(field.kind, field.value)
    if field.origin is None:
        yield f"\n{field.name}: {value}\n    no mapped record claims it"
    else:
        yield f"\n{field.name}: {value}\n    from {_origin(field.origin)}"
        place = one.places.get(field.origin.raw)
        if place is not None:
            yield from _place_lines(place)
        yield f"    rule {field.rule}"
        if field.origin.claimed_by in one.newer:
            yield "    older than its source: see the newer record above"
    for losing in field.losing:
        yield f"    lost: {value_text(field.kind, losing.value)} from {_origin(losing.origin)}"
    if field.superseded and one.golden is not None:
        yield "    contributions have another value: a change is on its way, or the table was changed; see `sluice lag`"


def value_text(kind: str, value: Any) -> str:
    """The value of a contribution's field as text for people: a timestamp as a time, any other value as JSON. `kind`:
    the type of the field; the value of a JSON field is JSON text already."""
    if kind == "timestamp" and isinstance(value, int):
        return text_of_us(value)
    return printable(value if kind == "json" and isinstance(value, str) else orjson.dumps(value).decode())


def printable(text: str) -> str:
    """`text` for a terminal: control characters and characters that reverse the writing direction are escaped."""
    return "".join(one if one.isprintable() or one in "\n\t" else ascii(one)[1:-1] for one in text)


def _origin(origin: ClaimOrigin) -> str:
    effective = f", effective {text_of_us(origin.effective_at)}" if origin.effective_at is not None else ""
    return (
        f"{origin.source}.{origin.stream} {origin.source_key}, mapping {origin.mapping} v{origin.mapping_version}, "
        f"raw record {origin.raw.place}, observed {text_of_us(origin.observed_at)}{effective}"
    )


def _place_lines(place: RawPlace) -> Iterator[str]:
    if place.state == "compacted":
        yield f"    that raw record was compacted away; the newest of its key is at offset {place.newest_offset}"
    elif place.state == "missing":
        yield "    that raw record is not in the log, nor a newer one of its key. Next: run `sluice verify`"
    response = place.response
    if response is not None:
        where = "expired" if response.expired else f"{response.topic}/{response.partition}@{response.offset}"
        yield f"    response {response.response_id}: {where}, fetched {text_of_us(response.fetched_ms * 1000)}"


def _field_json(field: FieldExplained, one: Explanation) -> dict[str, Any]:
    origin = field.origin
    newer = None if origin is None else one.newer.get(origin.claimed_by)
    return {
        "field": field.name,
        "value": field.value,
        "rule": field.rule,
        "origin": None if origin is None else _origin_json(origin),
        "raw": None if origin is None else _raw_json(one.places.get(origin.raw)),
        "losing": [{"value": lost.value, "origin": _origin_json(lost.origin)} for lost in field.losing],
        "superseded": field.superseded,
        "newer": None if newer is None else newer.state,
    }


def _raw_json(place: RawPlace | None) -> dict[str, Any] | None:
    if place is None:
        return None
    response = place.response
    return {
        **place._asdict(),
        "response": None if response is None else {**response._asdict(), "expired": response.expired},
    }


def _origin_json(origin: ClaimOrigin) -> dict[str, Any]:
    return {**origin._asdict(), "raw": asdict(origin.raw)}
