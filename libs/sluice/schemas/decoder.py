"""The decoder of canonical records: Confluent wire format in, fields and provenance out.

It reads each record with the schema whose id the record contains, which is the schema of the record's writer.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from sluice.errors import DeadRecord
from sluice.provenance.canonical import CanonicalRecord, Contributor, Winner
from sluice.schemas.avro import PROVENANCE_FIELD, UnreadableSchema
from sluice.schemas.reader import NotAvro, Read, compile_reader

HEADER_BYTES = 5
VALUE_BYTES_MAX = 8 * 1024 * 1024


class DecodedCanonical(NamedTuple):
    """The decoded value of a canonical record. `fields`: the entity's fields as JSON values, named as in the writer's
    schema. `sluice`: the provenance as JSON."""

    fields: dict[str, Any]
    sluice: dict[str, Any]

    def record(self) -> CanonicalRecord:
        """The canonical record; it equals the record that was encoded."""
        contributors = [Contributor(**one) for one in self.sluice["contributors"]]
        winners = [Winner(**one) for one in self.sluice["winners"]]
        return CanonicalRecord(self.fields, self.sluice["revision"], self.sluice["updated_at"], contributors, winners)


Decode = Callable[[bytes], DecodedCanonical]


def make_decoder(schema_by_id: Callable[[int], dict[str, Any]]) -> Decode:
    """A decoder of canonical records. It calls `schema_by_id` (normally `Registry.by_id`) once for each schema id.

    The decoder raises DeadRecord if the bytes are no canonical record (bad-avro) or too many (too-large). It also
    raises the errors of `schema_by_id`.
    """
    readers: dict[int, Read] = {}

    def decode(value: bytes) -> DecodedCanonical:
        schema_id = schema_id_of(value)
        read = readers.get(schema_id)
        if read is None:
            read = readers[schema_id] = _reader(schema_id, schema_by_id(schema_id))
        try:
            fields, end = read(value, HEADER_BYTES)
        except (NotAvro, IndexError, UnicodeDecodeError) as error:
            raise DeadRecord("bad-avro", f"does not fit schema {schema_id}: {type(error).__name__}") from None
        if end != len(value):
            raise DeadRecord("bad-avro", f"more bytes than a record of schema {schema_id} has")
        return DecodedCanonical(fields, fields.pop(PROVENANCE_FIELD))

    return decode


def schema_id_of(value: bytes) -> int:
    """The id of the schema with which a canonical value was written. Raises DeadRecord if the value cannot have one."""
    if len(value) > VALUE_BYTES_MAX:
        raise DeadRecord("too-large", f"a canonical value of more than {VALUE_BYTES_MAX} bytes")
    if len(value) <= HEADER_BYTES or value[0] != 0:
        raise DeadRecord("bad-avro", "the value does not begin with 0x00 and a schema id")
    return int.from_bytes(value[1:HEADER_BYTES], "big")


def _reader(schema_id: int, schema: dict[str, Any]) -> Read:
    members = [member.get("name") for member in schema.get("fields", [])]
    if PROVENANCE_FIELD not in members:
        raise DeadRecord("bad-avro", f"schema {schema_id} is not of a canonical record: it has no {PROVENANCE_FIELD}")
    try:
        return compile_reader(schema)
    except UnreadableSchema as error:
        raise DeadRecord("bad-avro", f"schema {schema_id}: {error}") from None
