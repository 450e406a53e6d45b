"""An explanation as text for people and as JSON for programs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
from msgspec.structs import asdict

from sluice.explain.explanation import ClaimOrigin, Explanation, FieldExplained
from sluice.explain.raw_places import RawPlace
from sluice.provenance import RawRef
from sluice.times import from_us, rfc3339


def to_json(one: Explanation) -> dict[str, Any]:
    """Everything, with the place of each winner's raw record."""
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
    """A paragraph per field."""
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
        return f"{name}: withheld, no value for required {', '.join(one.missing)}. What is claimed so far:"
    if one.state == "not-stored":
        return f"{name}: complete, and not stored yet. What is claimed:"
    return f"{name}: deleted; every source record that spoke of it is gone"


def _newer_lines(one: Explanation) -> Iterator[str]:
    """A line or two for each source record of which something newer than the claims is known."""
    told: set[RawRef] = set()
    for (source, stream, source_key, _), newer in one.newer.items():
        if newer.raw in told:
            continue
        told.add(newer.raw)
        since = "" if newer.since_ms is None else f" since {_time(newer.since_ms * 1_000)}"
        yield f"{source}.{stream} {source_key}: a newer record {_ref(newer.raw)} is {newer.state}{since}: {newer.why}"
        if newer.dead_letter is not None:
            yield f"    its dead letter is {_ref(newer.dead_letter)}, cause {newer.cause}"


def _ref(raw: RawRef) -> str:
    return f"{raw.topic}/{raw.partition}@{raw.offset}"


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
        if field.origin[:4] in one.newer:
            yield "    older than its source: a newer record is told of above"
    for losing in field.losing:
        yield f"    lost: {value_text(field.kind, losing.value)} from {_origin(losing.origin)}"
    if field.superseded and one.golden is not None:
        yield "    contributions say otherwise: a change is on its way, or others changed the table (see `sluice lag`)"


def value_text(kind: str, value: Any) -> str:
    """A field's value, as contributions hold it, for people: JSON, which a JSON field's text is already; a timestamp as
    a time."""
    if kind == "timestamp" and isinstance(value, int):
        return _time(value)
    return shown(value if kind == "json" and isinstance(value, str) else orjson.dumps(value).decode())


def shown(text: str) -> str:
    """`text` as a terminal may have it: what would steer it, or turn the text around, is escaped."""
    return "".join(one if one.isprintable() or one in "\n\t" else ascii(one)[1:-1] for one in text)


def _origin(origin: ClaimOrigin) -> str:
    raw = origin.raw
    effective = f", effective {_time(origin.effective_at)}" if origin.effective_at is not None else ""
    return (
        f"{origin.source}.{origin.stream} {origin.source_key}, mapping {origin.mapping} v{origin.mapping_version}, "
        f"raw record {_ref(raw)}, observed {_time(origin.observed_at)}{effective}"
    )


def _place_lines(place: RawPlace) -> Iterator[str]:
    if place.state == "compacted":
        yield f"    that raw record was compacted away; the newest of its key stands at offset {place.newest_offset}"
    elif place.state == "missing":
        yield "    that raw record is not in the log, and no newer one of its key is; run `sluice verify`"
    response = place.response
    if response is not None:
        where = "expired" if response.expired else f"{response.topic}/{response.partition}@{response.offset}"
        yield f"    response {response.response_id}: {where}, fetched {_time(response.fetched_ms * 1000)}"


def _field_json(field: FieldExplained, one: Explanation) -> dict[str, Any]:
    told: dict[str, Any] = {"field": field.name, "value": field.value, "rule": field.rule}
    told["origin"] = None if field.origin is None else _origin_json(field.origin)
    place = None if field.origin is None else one.places.get(field.origin.raw)
    told["raw"] = None
    if place is not None:
        response = place.response
        told["raw"] = {"state": place.state, "newest_offset": place.newest_offset, "response": None}
        if response is not None:
            told["raw"]["response"] = {**response._asdict(), "expired": response.expired}
    told["losing"] = [{"value": lost.value, "origin": _origin_json(lost.origin)} for lost in field.losing]
    told["superseded"] = field.superseded
    newer = None if field.origin is None else one.newer.get(field.origin[:4])
    told["newer"] = None if newer is None else newer.state
    return told


def _origin_json(origin: ClaimOrigin) -> dict[str, Any]:
    return {**origin._asdict(), "raw": asdict(origin.raw)}


def _time(micros: int) -> str:
    """RFC 3339; outside of the calendar the number."""
    try:
        return rfc3339(from_us(micros))
    except OverflowError:
        return f"{micros} µs"
