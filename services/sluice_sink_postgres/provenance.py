"""The provenance of a canonical record: Avro in, the JSON of the column `_provenance` out.

The JSON is assembled from texts that repeat. With dicts and a JSON encoder, two contributors and eleven winners cost
four times as much. Members have the order in which jsonb stores them (by size, then by name), so that Postgres has
nothing to sort: that saves it 1.3 of 10 µs.
"""

from __future__ import annotations

from collections.abc import Callable
from json.encoder import encode_basestring as json_text
from typing import Any

import orjson

from sluice.schemas.avro import UnreadableSchema, provenance_type, resolved
from sluice.schemas.reader import Read, compile_members, compile_reader, read_long, read_time

ReadProvenance = Callable[[bytes, int], tuple[int, int, bytes, int]]
"""(bytes, index of the provenance) -> (revision, updated at in Unix µs, JSON, index of the first byte after it)."""

_CACHED_MAX = 4096
_CACHED_BYTES_MAX = 4096
# Bits of the first byte of a size in Avro: the size has more bytes (128 or more), or is negative (odd).
_LARGE, _UNUSUAL = 0x80, 0x81


def provenance_reader(schema: Any, *, last: bool) -> ReadProvenance:
    """The reader of a provenance of type `schema`. `last`: it is the last member of the record.

    Raises UnreadableSchema if the type lacks a member that the row needs.
    """
    members = compile_members(schema)
    if last and _shape(schema) == _SHAPE:
        return _fast(members["contributors"], members["winners"])
    missing = {"revision", "updated_at", "contributors", "winners"} - members.keys()
    if missing:
        raise UnreadableSchema(f"its provenance has no {min(missing)}")
    return _plain_provenance(compile_reader(schema))


def _shape(schema: Any) -> Any:
    """An Avro type without the names of its types."""
    if isinstance(schema, list):
        return [_shape(branch) for branch in schema]
    if not isinstance(schema, dict):
        return schema, None
    if schema["type"] == "record":
        return [(member["name"], _shape(member["type"])) for member in schema["fields"]]
    return schema["type"], schema.get("logicalType"), _shape(schema.get("items"))


_SHAPE = _shape(resolved(provenance_type("any"))[0])


def _plain_provenance(read: Read) -> ReadProvenance:
    def read_provenance(data: bytes, at: int) -> tuple[int, int, bytes, int]:
        found, at = read(data, at)
        text = orjson.dumps({"contributors": found["contributors"], "winners": found["winners"]})
        return found["revision"], found["updated_at"], text, at

    return read_provenance


def _fast(read_contributors: Read, read_winners: Read) -> ReadProvenance:
    """Reads a provenance that ends the record and has the members that `avro_schema` writes.

    `read_contributors`, `read_winners`: the plain readers of the two arrays, for arrays of an unusual form.
    """
    contributor = _ContributorReader()
    all_winners: dict[bytes, str] = {}

    def read_provenance(data: bytes, at: int) -> tuple[int, int, bytes, int]:
        revision, at = read_long(data, at)
        updated_at, at = read_time(data, at)
        contributors, at = contributors_at(data, at)
        rest = data[at:]
        # The winners end the record, and a pipeline has few combinations of them.
        winners = all_winners.get(rest)
        if winners is None:
            winners, at = _plain(read_winners, data, at)
            if at == len(data) and len(rest) <= _CACHED_BYTES_MAX and len(all_winners) < _CACHED_MAX:
                all_winners[rest] = winners
        else:
            at = len(data)
        return revision, updated_at, f'{{"winners":{winners},"contributors":{contributors}}}'.encode(), at

    def contributors_at(data: bytes, start: int) -> tuple[str, int]:
        count, at = data[start], start + 1
        try:
            if count == 0:
                return "[]", at
            if count & _UNUSUAL:
                raise _Unusual
            texts = []
            for _ in range(count >> 1):
                text, at = contributor.read(data, at)
                texts.append(text)
            if data[at] != 0:
                raise _Unusual  # a second block of contributors follows
            return f"[{','.join(texts)}]", at + 1
        except (_Unusual, IndexError):
            return _plain(read_contributors, data, start)

    return read_provenance


class _Unusual(Exception):
    """Bytes that only the plain reader can read or refuse."""


class _ContributorReader:
    """Reads one contributor as JSON. `_texts`: by the Avro bytes of source and stream, then by those of mapping,
    version, topic and partition: the parts of the JSON around the other values."""

    def __init__(self) -> None:
        self._texts: dict[bytes, dict[bytes, tuple[str, str, str]]] = {}
        self._count = 0

    def read(self, data: bytes, at: int) -> tuple[str, int]:
        """Raises _Unusual or IndexError if a text has more than 63 bytes, or the bytes are not Avro."""
        start = at
        sizes = source = data[at]
        at += 1 + (source >> 1)
        stream = data[at]
        at += 1 + (stream >> 1)
        origin = data[start:at]
        size = data[at]
        sizes |= stream | size
        start = at + 1
        at = start + (size >> 1)
        source_key = data[start:at]
        start = at
        mapping = data[at]
        at += 1 + (mapping >> 1)
        version = data[at]
        topic = data[at + 1]
        at += 2 + (topic >> 1)
        partition = data[at]
        at += 1
        if (sizes | mapping | topic) & _UNUSUAL or (version | partition) & _LARGE:
            raise _Unusual
        place = data[start:at]
        try:
            before_offset, before_key, last = self._texts[origin][place]
        except KeyError:
            before_offset, before_key, last = self._add(origin, place)
        offset, at = read_long(data, at)
        observed_at, at = read_time(data, at)
        effective_at: int | str = "null"
        branch = data[at]
        at += 1
        if branch == 2:
            effective_at, at = read_time(data, at)
        elif branch:
            raise _Unusual
        key = json_text(source_key.decode())
        return (
            f'{before_offset}{offset}{before_key}{key},"observed_at":{observed_at},"effective_at":{effective_at}{last}',
            at,
        )

    def _add(self, origin: bytes, place: bytes) -> tuple[str, str, str]:
        source, stream = _two_texts(origin, 0)
        mapping, topic = _two_texts(place, 1)
        version, partition = place[1 + (place[0] >> 1)], place[-1]
        texts = (
            f'{{"topic":{topic},"offset":',
            f',"source":{source},"stream":{stream},"mapping":{mapping},"partition":{_small(partition)},"source_key":',
            f',"mapping_version":{_small(version)}}}',
        )
        if self._count == _CACHED_MAX:
            self._texts.clear()
            self._count = 0
        self._count += 1
        self._texts.setdefault(origin, {})[place] = texts
        return texts


def _two_texts(data: bytes, between: int) -> tuple[str, str]:
    """Two Avro strings of `data` as JSON. `between`: the number of bytes between them."""
    end = 1 + (data[0] >> 1)
    second = end + between
    end_of_second = second + 1 + (data[second] >> 1)
    return json_text(data[1:end].decode()), json_text(data[second + 1 : end_of_second].decode())


def _small(byte: int) -> int:
    """The Avro integer of one byte."""
    return (byte >> 1) ^ -(byte & 1)


def _plain(read: Read, data: bytes, at: int) -> tuple[str, int]:
    """The items of an array as JSON, by the plain reader."""
    items, at = read(data, at)
    return orjson.dumps([_in_jsonb_order(one) for one in items]).decode(), at


def _in_jsonb_order(item: dict[str, Any]) -> dict[str, Any]:
    return dict(sorted(item.items(), key=lambda member: (len(member[0]), member[0])))
