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
# Bits of the first byte of an integer in Avro: more bytes follow (the integer is 64 or more, or below -64), and the
# integer is negative.
_LONG, _LONG_OR_NEGATIVE = 0x80, 0x81


def provenance_reader(schema: Any, *, last: bool) -> ReadProvenance:
    """The reader of a provenance of type `schema`. `last`: it is the last member of the record.

    Raises UnreadableSchema if the type lacks a member that the row needs.
    """
    members = compile_members(schema)
    if last and _shape(schema) == _SHAPE:
        return _FastReader(members["contributors"], members["winners"]).read
    missing = {"revision", "updated_at", "contributors", "winners"} - members.keys()
    if missing:
        raise UnreadableSchema(f"its provenance has no {min(missing)}")
    return _reference_reader(compile_reader(schema))


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


def _reference_reader(read: Read) -> ReadProvenance:
    def read_provenance(data: bytes, at: int) -> tuple[int, int, bytes, int]:
        found, at = read(data, at)
        text = orjson.dumps({"contributors": found["contributors"], "winners": found["winners"]})
        return found["revision"], found["updated_at"], text, at

    return read_provenance


class _FastReader:
    """The fast path: reads a provenance that ends the record and has the members that `avro_schema` writes.

    `read_contributors`, `read_winners`: the reference implementation of the two arrays, for arrays of an unusual form.
    """

    def __init__(self, read_contributors: Read, read_winners: Read) -> None:
        self._read_contributors = read_contributors
        self._read_winners = read_winners
        self._read_contributor = _ContributorReader().read
        self._winners: dict[bytes, str] = {}

    def read(self, data: bytes, at: int) -> tuple[int, int, bytes, int]:
        revision, at = read_long(data, at)
        updated_at, at = read_time(data, at)
        contributors, at = self._contributors_at(data, at)
        # The winners end the record, and a pipeline has few combinations of them.
        rest, end = data[at:], len(data)
        winners = self._winners.get(rest)
        if winners is None:
            winners, end = self._winners_at(data, at, rest)
        return revision, updated_at, f'{{"winners":{winners},"contributors":{contributors}}}'.encode(), end

    def _contributors_at(self, data: bytes, start: int) -> tuple[str, int]:
        read_contributor = self._read_contributor
        count, at = data[start], start + 1
        try:
            if count == 0:
                return "[]", at
            if count & _LONG_OR_NEGATIVE:
                raise _Unusual
            texts = []
            for _ in range(count >> 1):
                text, at = read_contributor(data, at)
                texts.append(text)
            if data[at] != 0:
                raise _Unusual  # a second block of contributors follows
            return f"[{','.join(texts)}]", at + 1
        except (_Unusual, IndexError):
            return _reference_json(self._read_contributors, data, start)

    def _winners_at(self, data: bytes, at: int, rest: bytes) -> tuple[str, int]:
        winners, end = _reference_json(self._read_winners, data, at)
        if end == len(data) and len(rest) <= _CACHED_BYTES_MAX and len(self._winners) < _CACHED_MAX:
            self._winners[rest] = winners
        return winners, end


class _Unusual(Exception):
    """Bytes that only the reference implementation can read or refuse."""


class _ContributorReader:
    """Reads one contributor as JSON. `_texts`: by the Avro bytes of source and stream, then by those of mapping,
    version, topic and partition: the parts of the JSON around the other values."""

    def __init__(self) -> None:
        self._texts: dict[bytes, dict[bytes, tuple[str, str, str]]] = {}
        self._count = 0

    def read(self, data: bytes, at: int) -> tuple[str, int]:
        """Raises _Unusual or IndexError if a text has more than 63 bytes, or the bytes are not Avro."""
        # Avro: source, stream | source key | mapping, version, topic, partition | offset, times. The first and the
        # third part repeat. `source`, `stream`, `size`, `mapping` and `topic` are the sizes of the texts, as one byte.
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
        if (sizes | mapping | topic) & _LONG_OR_NEGATIVE or (version | partition) & _LONG:
            raise _Unusual
        mapping_and_place = data[start:at]
        try:
            before_offset, before_key, last = self._texts[origin][mapping_and_place]
        except KeyError:
            before_offset, before_key, last = self._add(origin, mapping_and_place)
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

    def _add(self, origin: bytes, mapping_and_place: bytes) -> tuple[str, str, str]:
        source, stream = _two_texts(origin, 0)
        mapping, topic = _two_texts(mapping_and_place, 1)
        version, partition = mapping_and_place[1 + (mapping_and_place[0] >> 1)], mapping_and_place[-1]
        texts = (
            f'{{"topic":{topic},"offset":',
            f',"source":{source},"stream":{stream},"mapping":{mapping},"partition":{_one_byte_integer(partition)},"source_key":',
            f',"mapping_version":{_one_byte_integer(version)}}}',
        )
        if self._count == _CACHED_MAX:
            self._texts.clear()
            self._count = 0
        self._count += 1
        self._texts.setdefault(origin, {})[mapping_and_place] = texts
        return texts


def _two_texts(data: bytes, between: int) -> tuple[str, str]:
    """Two Avro strings of `data` as JSON. `between`: the number of bytes between them."""
    end = 1 + (data[0] >> 1)
    second = end + between
    end_of_second = second + 1 + (data[second] >> 1)
    return json_text(data[1:end].decode()), json_text(data[second + 1 : end_of_second].decode())


def _one_byte_integer(byte: int) -> int:
    """The number that Avro writes as one byte."""
    return (byte >> 1) ^ -(byte & 1)


def _reference_json(read: Read, data: bytes, at: int) -> tuple[str, int]:
    """The items of an array as JSON. `read`: the reference implementation."""
    items, at = read(data, at)
    return orjson.dumps([_in_jsonb_order(one) for one in items]).decode(), at


def _in_jsonb_order(item: dict[str, Any]) -> dict[str, Any]:
    return dict(sorted(item.items(), key=lambda member: (len(member[0]), member[0])))
