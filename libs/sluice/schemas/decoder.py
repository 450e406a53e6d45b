"""The decoder of canonical records: Confluent wire format in, fields and provenance out, by the writer's schema id."""

from collections.abc import Callable
from typing import Any, NamedTuple

from sluice.errors import DeadRecord
from sluice.provenance.canonical import CanonicalRecord, Contributor, Winner
from sluice.schemas.avro import PROVENANCE_FIELD, UnreadableSchema
from sluice.schemas.reader import NotAvro, Read, compile_reader

_HEADER_BYTES = 5
VALUE_BYTES_MAX = 8 * 1024 * 1024


class DecodedCanonical(NamedTuple):
    """A canonical value: `fields` by the writer's names as JSON values, `sluice` the provenance as plain JSON."""

    fields: dict[str, Any]
    sluice: dict[str, Any]

    def record(self) -> CanonicalRecord:
        """Equal to the record that was encoded."""
        contributors = [Contributor(**one) for one in self.sluice["contributors"]]
        winners = [Winner(**one) for one in self.sluice["winners"]]
        return CanonicalRecord(self.fields, self.sluice["revision"], self.sluice["updated_at"], contributors, winners)


Decode = Callable[[bytes], DecodedCanonical]


def make_decoder(schema_by_id: Callable[[int], dict[str, Any]]) -> Decode:
    """A decoder that calls `schema_by_id` (`Registry.by_id`) once for every schema id.

    It raises DeadRecord (bad-avro) for bytes that are no canonical record, and the errors of `schema_by_id`.
    """
    readers: dict[int, Read] = {}

    def decode(value: bytes) -> DecodedCanonical:
        schema_id = _schema_id(value)
        read = readers.get(schema_id)
        if read is None:
            read = readers[schema_id] = _reader(schema_id, schema_by_id(schema_id))
        try:
            fields, end = read(value, _HEADER_BYTES)
        except (NotAvro, IndexError, UnicodeDecodeError) as error:
            raise DeadRecord("bad-avro", f"does not fit schema {schema_id}: {type(error).__name__}") from None
        if end != len(value):
            raise DeadRecord("bad-avro", f"more bytes than a record of schema {schema_id} has")
        return DecodedCanonical(fields, fields.pop(PROVENANCE_FIELD))

    return decode


def _schema_id(value: bytes) -> int:
    if len(value) > VALUE_BYTES_MAX:
        raise DeadRecord("too-large", f"a canonical value of more than {VALUE_BYTES_MAX} bytes")
    if len(value) <= _HEADER_BYTES or value[0] != 0:
        raise DeadRecord("bad-avro", "the value does not begin with 0x00 and a schema id")
    return int.from_bytes(value[1:_HEADER_BYTES], "big")


def _reader(schema_id: int, schema: dict[str, Any]) -> Read:
    members = [member.get("name") for member in schema.get("fields", [])]
    if PROVENANCE_FIELD not in members:
        raise DeadRecord("bad-avro", f"schema {schema_id} is not of a canonical record: it has no {PROVENANCE_FIELD}")
    try:
        return compile_reader(schema)
    except UnreadableSchema as error:
        raise DeadRecord("bad-avro", f"schema {schema_id}: {error}") from None
