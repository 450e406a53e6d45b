"""`Mapping`: from one raw record of one source stream to claims about one entity.

The mapper applies it to each raw record. Every error in it is a `DeadRecord` that names files, lines and types, and
never quotes the record.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches
from functools import cached_property
from typing import Any

import msgspec
from pydantic import ValidationError

from sluice.canonical_json import canonical_bytes
from sluice.entities.authored_files import SourceLine
from sluice.entities.claim_encoder import EncodeClaim
from sluice.entities.claims import AnyClaim, Claim, EncodedClaim, Output
from sluice.entities.contract import EntityContract
from sluice.entities.encoders import encoder, instant, microseconds
from sluice.entities.entity import Entity
from sluice.entities.failures import known_members, raised_at, struct_reason, validation_reason
from sluice.entities.field_types import FieldType
from sluice.entities.mapping_source import MappingText
from sluice.entities.raw_models import RawModel, Read, reader
from sluice.entities.rules import MostRecent
from sluice.entities.values import UsedUnclaimed
from sluice.errors import DeadRecord, SettingsError

_OUTPUT_KEY = encoder("the key of an output", FieldType("string", nullable=False))
Time = datetime | int | None


@dataclass(frozen=True, eq=False)
class Mapping:
    """An author's function and its declaration. `text` is the text of its file when the file was imported.

    `found_in`: the module from which the pipeline loads the mapping; empty before that.
    """

    function: Callable[[Any], Any]
    name: str
    source: str
    stream: str
    version: int
    entity: EntityContract
    entity_class: type[Entity]
    raw_model: type[RawModel]
    output: str
    effective_at: Callable[[Any], Time] | None
    text: MappingText
    found_in: str = ""

    @property
    def at(self) -> SourceLine:
        """The line that declares the mapping."""
        return self.text.declared_at

    def check_claims(self) -> None:
        """Raises SettingsError if the mapping's file contains claims that the entity refuses for every record."""
        found = list(self.text.mistakes(dated=self.effective_at is not None))
        if found:
            raise SettingsError("; ".join(found))

    def apply(self, raw: dict[str, Any]) -> list[Claim]:
        """The claims of a raw record; none if the mapping filters it.

        Raises DeadRecord: wrong-type, missing-member, mapping-failed, or what the contract's encoders refuse.
        """
        return self._claims(raw, self._claim)

    def apply_encoded(self, raw: dict[str, Any]) -> list[EncodedClaim]:
        """As `apply`, but with encoded fields: the hot path of the mapper."""
        return self._claims(raw, self._encoded_claim)

    @cached_property
    def fast_claim(self) -> Callable[[dict[str, Any]], tuple[str, bytes, int | None] | None]:
        """The fast path of `apply_encoded`: a function that returns entity id, encoded fields and effective time of a
        record with one claim. It returns None, and raises nothing, if `apply_encoded` must decide."""
        read, function, encode, undated = self._read, self.function, self._encode, self._undated
        entity_class, time_of = self.entity_class, self.effective_at

        def claim(raw: dict[str, Any]) -> tuple[str, bytes, int | None] | None:
            try:
                record = read(raw)
                entity = function(record)
                if type(entity) is not entity_class:
                    return None
                given = entity.__pydantic_fields_set__
                encoded = encode(entity.__dict__, given) if undated.isdisjoint(given) else None
                if encoded is None:
                    return None
                return *encoded, None if time_of is None else self._effective_at(time_of, record)
            except (Exception, SystemExit):
                return None

        return claim

    def _claims(self, raw: dict[str, Any], claim: Callable[[Entity, str, int | None], AnyClaim]) -> list[AnyClaim]:
        try:
            record = self._read(raw)
        except (ValidationError, msgspec.ValidationError) as error:
            raise self._unreadable(error) from None
        except (DeadRecord, MemoryError):
            raise
        except (Exception, SystemExit) as error:  # an author's validator may raise anything
            raise self._failed(error, "") from None
        try:
            result = self.function(record)
            if type(result) is not self.entity_class:  # pydantic's isinstance is slow
                result = self._entities(result)
        except (DeadRecord, MemoryError):
            raise
        except ValidationError as error:
            raise self._misfit(error) from None
        except (Exception, SystemExit) as error:
            raise self._failed(error, "") from None
        if result is None:
            return []
        effective_at = None if self.effective_at is None else self._effective_at(self.effective_at, record)
        if type(result) is not list:
            return [claim(result, self.output, effective_at)]
        claims: dict[str, AnyClaim] = {}
        for output in result:
            key = self._output_key(output)
            if key in claims:
                raise self._dead("duplicate-output", "two outputs have the same key")
            claims[key] = claim(output.entity, key, effective_at)
        return list(claims.values())

    def _entities(self, result: Any) -> Any:
        """What the author's function returned: None, an entity, or else a list."""
        if result is None or isinstance(result, Entity):
            return result
        if isinstance(result, Iterable):
            return list(result)  # runs the author's function if it is a generator
        raise self._dead(
            "mapping-failed", f"{type(result).__name__} is neither {self.entity.name} nor a list of Output"
        )

    def _output_key(self, output: Any) -> str:
        if not isinstance(output, Output) or not isinstance(output.entity, Entity):
            raise self._dead("mapping-failed", "an item of the returned list is not an Output")
        try:
            return str(_OUTPUT_KEY(output.key))
        except DeadRecord as refused:
            raise self._dead(refused.code, refused.reason) from None

    def _encoded_claim(self, entity: Entity, output: str, effective_at: int | None) -> EncodedClaim:
        given = entity.__pydantic_fields_set__
        if entity.__class__ is self.entity_class and self._undated.isdisjoint(given):
            try:
                encoded = self._encode(entity.__dict__, given)
            except Exception:
                encoded = None  # `_claim` finds out why, or encodes the rare value
            if encoded is not None:
                return EncodedClaim(self.entity.name, encoded[0], output, encoded[1], effective_at)
        claim = self._claim(entity, output, effective_at)
        return EncodedClaim(claim.entity, claim.entity_id, output, canonical_bytes(claim.fields), effective_at)

    def _claim(self, entity: Entity, output: str, effective_at: int | None) -> Claim:
        contract, values = self.entity, entity.__dict__
        if entity.contract() is not contract:
            raise self._dead("mapping-failed", "the returned entity is not the one in the function's annotation")
        given = entity.model_fields_set
        try:
            fields = {name: encode(values[name]) for name, encode in contract.encoders.items() if name in given}
            entity_id = contract.entity_id(values[contract.identity])
        except MemoryError:
            raise
        except Exception as error:
            raise self._unencodable(error, values, given) from None
        if len(fields) != len(given):  # model_copy and model_construct accept any name
            raise self._unknown(min(given - contract.fields.keys()))
        if not self._undated.isdisjoint(given):
            name = min(self._undated.intersection(given))
            reason = f"claims {contract.name}.{name}, whose rule is most_recent, without effective_at"
            raise self._dead("no-effective-time", reason, name)
        fields[contract.identity] = entity_id
        return Claim(contract.name, entity_id, output, fields, effective_at)

    def _unknown(self, name: str) -> DeadRecord:
        """The dead letter for a field that the entity does not have.

        The name is shown only if the function's code contains it. Otherwise it may be content of the record.
        """
        known = name in self.text.words
        near = get_close_matches(name, self.entity.fields, 1) if known else []
        hint = f"; is {near[0]} meant?" if near else ""
        return self._dead("mapping-failed", f"{self.entity.name}: {name if known else '*'}: no such field{hint}", name)

    def _effective_at(self, effective_at: Callable[[Any], Time], record: RawModel) -> int | None:
        where = f"effective_at={getattr(effective_at, '__qualname__', type(effective_at).__name__)}"
        try:
            value = effective_at(record)
            if value is None:
                return None
            if type(value) is int:
                return instant(value, where)
            if isinstance(value, datetime):
                return microseconds(value, where)
        except DeadRecord as refused:
            raise self._dead(refused.code, refused.reason) from None
        except MemoryError:
            raise
        except (Exception, SystemExit) as error:  # an author's function, or its time zone class, may raise anything
            raise self._failed(error, f": {where}") from None
        raise self._dead("wrong-type", f"{where} is {type(value).__name__}, not a time")

    @cached_property
    def _read(self) -> Read:
        return reader(self.raw_model)

    @cached_property
    def _encode(self) -> EncodeClaim:
        return self.entity.claim_encoder.encode

    @cached_property
    def _undated(self) -> frozenset[str]:
        """The fields of which no claim is possible, because their rule needs an effective time and there is none."""
        if self.effective_at is not None:
            return frozenset()
        return frozenset(name for name, rule in self.entity.rules.items() if isinstance(rule, MostRecent))

    def _unreadable(self, error: ValidationError | msgspec.ValidationError) -> DeadRecord:
        known = known_members(self.raw_model)
        if isinstance(error, msgspec.ValidationError):
            reason, missing = struct_reason(error, known)
        else:
            problems = error.errors(include_url=False, include_input=False)
            reason, missing = validation_reason(error, known), all(one["type"] == "missing" for one in problems)
        return self._dead("missing-member" if missing else "wrong-type", f"{self.source}.{self.stream}: {reason}")

    def _failed(self, error: BaseException, details: str) -> DeadRecord:
        """The dead letter for an `error` that the author's code raised. It names the mapping, the line that raised, and
        a missing name if the mapping's code contains it."""
        at = raised_at(error) or self.at
        if isinstance(error, UsedUnclaimed):
            return DeadRecord("mapping-failed", f"{error} (mapping {self.name}, {at}{details})")
        kind = type(error).__name__
        if isinstance(error, AttributeError | NameError) and error.name in self.text.names:
            kind += f" ({error.name})"
        return DeadRecord("mapping-failed", f"{kind} in mapping {self.name}, {at}{details}")

    def _misfit(self, error: ValidationError) -> DeadRecord:
        """The dead letter if a model that the author's function creates refuses a value.

        Names that the function's code contains may be shown, because they are no content of the record.
        """
        words = self.text.words
        details = validation_reason(error, known_members(self.entity_class) | words.keys())
        failed = self._failed(error, f": {self.entity.name}: {details}")
        location = error.errors(include_url=False, include_context=False, include_input=False)[0]["loc"]
        at = words.get(str(location[0])) if location else None
        if at is None or str(at) in failed.reason:
            return failed
        return DeadRecord(failed.code, f"{failed.reason} (spelled in {at})")

    def _unencodable(self, error: Exception, values: dict[str, Any], given: set[str]) -> DeadRecord:
        """The dead letter, with the field's name, if the contract refuses a value or the entity skipped pydantic's
        checks."""
        name = self._refused(values, given)
        field = f"{self.entity.name}.{name}"
        if isinstance(error, DeadRecord):
            return self._dead(error.code, error.reason, name)
        reason = f"{type(error).__name__} in {field}" if name in values else f"{field} has no value"
        return self._dead("mapping-failed", reason, name)

    def _refused(self, values: dict[str, Any], given: set[str]) -> str:
        """The name of the first field whose value cannot be encoded; the identity field if all values can be
        encoded."""
        for name, encode in self.entity.encoders.items():
            try:
                if name in given:
                    encode(values[name])
            except Exception:
                return name
        return self.entity.identity

    def _dead(self, code: str, reason: str, field: str = "") -> DeadRecord:
        """A dead letter that names the mapping and the line that contains `field`, or else the mapping's
        declaration."""
        return DeadRecord(code, f"{reason} (mapping {self.name}, {self.text.words.get(field, self.at)})")
