"""What a mapping returns for a raw record, and what it claims about an entity."""

from typing import Generic, NamedTuple, TypeVar

from sluice.entities.encoders import Json
from sluice.entities.entity import Entity

AnyEntity_co = TypeVar("AnyEntity_co", bound=Entity, covariant=True)


class Output(NamedTuple, Generic[AnyEntity_co]):
    """One of several entities that a mapping returns for a record.

    `key` identifies the output within the record: a key of the source, never the index in a list.
    """

    key: str
    entity: AnyEntity_co


class Claim(NamedTuple):
    """What one raw record says about one entity: field values in the contract's JSON, effective time in µs UTC."""

    entity: str
    entity_id: str
    output: str
    fields: dict[str, Json]
    effective_at: int | None


class EncodedClaim(NamedTuple):
    """A `Claim` whose fields are canonical JSON bytes; None retracts the claim."""

    entity: str
    entity_id: str
    output: str
    fields: bytes | None
    effective_at: int | None


AnyClaim = TypeVar("AnyClaim", Claim, EncodedClaim)
