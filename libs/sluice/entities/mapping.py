"""`mapping`: from one raw record of one source stream to claims about one entity.

An author writes a pure, typed function; the decorator makes a `Mapping` of it, which the mapper applies to every raw
record. Whatever goes wrong inside is a `DeadRecord` that names places and types, and never quotes the record.
"""

import operator
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Generic, NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError

from sluice.entities import mapping_source
from sluice.entities.authored_files import file_name
from sluice.entities.claims_in_text import Spelled, mistakes, spelled_words
from sluice.entities.codec import Json, encoder, instant, microseconds
from sluice.entities.contract import EntityContract
from sluice.entities.entity import Entity
from sluice.entities.failures import known_members, raised_at, validation_reason
from sluice.entities.field_types import FieldType
from sluice.entities.mapping_code import MappingCode, mapping_code
from sluice.entities.rules import MostRecent
from sluice.errors import DeadRecord, SettingsError

AnyEntity = TypeVar("AnyEntity", bound=Entity)
Function = Callable[[Any], Any]
_OUTPUT_KEY = encoder("the key of an output", FieldType("string", nullable=False))


class Output(NamedTuple, Generic[AnyEntity]):
    """One of several outputs of a record. `key` is the item's own key in the record, never its index."""

    key: str
    entity: AnyEntity


class Claim(NamedTuple):
    """What one raw record says about one entity: field values in the contract's JSON, effective time in µs UTC."""

    entity: str
    entity_id: str
    output: str
    fields: dict[str, Json]
    effective_at: int | None


@dataclass(frozen=True, eq=False)
class Mapping:
    """A mapping: the author's function and what it declares. Calling it calls the function."""

    function: Function
    name: str
    source: str
    stream: str
    version: int
    entity: EntityContract
    raw_model: type[BaseModel]
    output: str
    effective_at: str | None

    def __call__(self, raw: Any) -> Any:
        return self.function(raw)

    @cached_property
    def code(self) -> MappingCode:
        """What decides what this mapping claims: its function, its models, and all that they refer to."""
        return mapping_code(self.function, self.raw_model, self._entity_class)

    @property
    def at(self) -> Spelled:
        """Where it is declared."""
        return Spelled(file_name(self.function.__module__), self.function.__code__.co_firstlineno)

    def require_sense(self) -> None:
        """Raises SettingsError for what its text claims and the entity can never take."""
        found = mistakes(self.code, self._entity_class)
        if found:
            raise SettingsError("; ".join(f"{one} (mapping {self.name})" for one in found))

    def apply(self, raw: dict[str, Any]) -> list[Claim]:
        """Claims made by a raw record; none if the mapping filters it.

        Raises DeadRecord: wrong-type, missing-member, mapping-failed, or what the contract's encoders refuse.
        """
        try:
            record = self.raw_model.__pydantic_validator__.validate_python(raw)
        except ValidationError as error:
            raise self._unreadable(error) from None
        except (DeadRecord, MemoryError):
            raise
        except (Exception, SystemExit) as error:  # a validator of the author's
            raise self._failed(error, "") from None
        result = self._call(record)
        if result is None:
            return []
        effective_at = self._effective_at(record)
        if isinstance(result, Entity):
            return [self._claim(result, self.output, effective_at)]
        return self._claims(result, effective_at)

    def _call(self, record: BaseModel) -> Any:
        try:
            result = self.function(record)
            if result is None or isinstance(result, Entity):
                return result
            if isinstance(result, Iterable):
                return list(result)  # one that is made while it is read is made here
        except (DeadRecord, MemoryError):
            raise
        except ValidationError as error:
            raise self._misfit(error) from None
        except (Exception, SystemExit) as error:
            raise self._failed(error, "") from None
        told = f"returns a {type(result).__name__}, neither {self.entity.name} nor a list of Output"
        raise DeadRecord("mapping-failed", f"mapping {self.name}, {self.at}: {told}")

    def _claims(self, outputs: Iterable[Any], effective_at: int | None) -> list[Claim]:
        claims: dict[str, Claim] = {}
        for output in outputs:
            if not isinstance(output, Output) or not isinstance(output.entity, Entity):
                raise DeadRecord("mapping-failed", f"mapping {self.name}, {self.at}: lists what is not an Output")
            try:
                key = _OUTPUT_KEY(output.key)
            except DeadRecord as refused:
                raise DeadRecord(refused.code, f"{refused.reason} (mapping {self.name}, {self.at})") from None
            if key in claims:
                raise DeadRecord("duplicate-output", f"mapping {self.name}, {self.at}: gives two outputs one key")
            claims[key] = self._claim(output.entity, key, effective_at)
        return list(claims.values())

    def _claim(self, entity: Entity, output: str, effective_at: int | None) -> Claim:
        contract, values = self.entity, entity.__dict__
        if entity.contract() is not contract:
            raise DeadRecord("mapping-failed", f"mapping {self.name}, {self.at}: returns another entity than it says")
        given = entity.model_fields_set
        try:
            fields = {name: encode(values[name]) for name, encode in contract.encoders.items() if name in given}
            entity_id = contract.entity_id(values[contract.identity])
        except DeadRecord as refused:
            raise self._refused(refused, values, given) from None
        except MemoryError:
            raise
        except Exception as error:  # the author made the entity past pydantic's checks
            raise self._unchecked(error, values, given) from None
        if self.effective_at is None and not self._recent.isdisjoint(given):
            (name, *_) = sorted(self._recent.intersection(given))
            raise DeadRecord(
                "no-effective-time",
                f"mapping {self.name}, {self._place_of(name)}: claims {contract.name}.{name}, whose rule is "
                "most_recent, and states no effective_at",
            )
        fields[contract.identity] = entity_id
        return Claim(contract.name, entity_id, output, fields, effective_at)

    def _effective_at(self, record: BaseModel) -> int | None:
        if self.effective_at is None:
            return None
        where = f"effective_at={self.effective_at}"
        try:
            value = self._effective_getter(record)
            if value is None:
                return None
            if type(value) is int:
                return instant(value, where)
            if isinstance(value, datetime):
                return microseconds(value, where)
        except (DeadRecord, MemoryError):
            raise
        except (Exception, SystemExit) as error:  # a property of the author's, or a zone
            raise self._failed(error, f": {where}") from None
        raise DeadRecord("wrong-type", f"{where} is {type(value).__name__}, not a time")

    @cached_property
    def _effective_getter(self) -> Callable[[Any], Any]:
        return operator.attrgetter(self.effective_at or "")

    @cached_property
    def _recent(self) -> frozenset[str]:
        return frozenset(name for name, rule in self.entity.rules.items() if isinstance(rule, MostRecent))

    @cached_property
    def _entity_class(self) -> type[Entity]:
        return mapping_source.signature(self.function)[1]

    def _unreadable(self, error: ValidationError) -> DeadRecord:
        missing = all(problem["type"] == "missing" for problem in error.errors(include_url=False, include_input=False))
        reason = validation_reason(error, known_members(self.raw_model))
        told = f"{self.source}.{self.stream}: {reason} (mapping {self.name}, {self.at})"
        return DeadRecord("missing-member" if missing else "wrong-type", told)

    def _failed(self, error: BaseException, details: str) -> DeadRecord:
        """The author's function raised: its mapping and the author's line in which it did."""
        raised = raised_at(error)
        at = self.at if raised is None else Spelled(file_name(raised[0]), raised[1])
        return DeadRecord("mapping-failed", f"{type(error).__name__} in mapping {self.name}, {at}{details}")

    def _misfit(self, error: ValidationError) -> DeadRecord:
        """A model made by the function does not take what it was given: names that the code spells may be told."""
        spelled = self._spelled
        details = validation_reason(error, known_members(self._entity_class) | spelled.keys())
        failed = self._failed(error, f": {self.entity.name}: {details}")
        location = error.errors(include_url=False, include_context=False, include_input=False)[0]["loc"]
        at = spelled.get(str(location[0])) if location else None
        if at is None or str(at) in failed.reason:
            return failed
        return DeadRecord(failed.code, f"{failed.reason} (spelled in {at})")

    def _refused(self, dead: DeadRecord, values: dict[str, Any], given: set[str]) -> DeadRecord:
        """The contract's encoders refuse a value: its field, and where the mapping spells it."""
        name = self._refusing(values, given)
        return DeadRecord(dead.code, f"{dead.reason} (mapping {self.name}, {self._place_of(name)})")

    def _unchecked(self, error: Exception, values: dict[str, Any], given: set[str]) -> DeadRecord:
        """A field has no value at all, or one that raises when it is read."""
        name = self._refusing(values, given)
        field = f"{self.entity.name}.{name}"
        told = f"{type(error).__name__} in {field}" if name in values else f"{field} has no value"
        return DeadRecord("mapping-failed", f"{told} (mapping {self.name}, {self._place_of(name)})")

    def _refusing(self, values: dict[str, Any], given: set[str]) -> str:
        """The first field whose value cannot be encoded; the identity if each can."""
        for name, encode in self.entity.encoders.items():
            try:
                if name in given:
                    encode(values[name])
            except Exception:
                return name
        return self.entity.identity

    def _place_of(self, field: str) -> Spelled:
        return self._spelled.get(field, self.at)

    @cached_property
    def _spelled(self) -> dict[str, Spelled]:
        try:
            return spelled_words(self.code, self._entity_class)
        except SettingsError:  # no source text: no mapper runs it, but a record must not fail for that
            return {}


def mapping(
    source: str,
    version: int,
    *,
    effective_at: str | None = None,
    name: str | None = None,
    output: str = "main",
) -> Callable[[Function], Mapping]:
    """Declare a mapping for the records of `source` ("workday.workers", "erp.public.employee").

    `version` counts up with every change of the code. `effective_at` names the raw model's member (dotted path,
    property allowed) that says since when the record holds: a time with a zone, or an integer of µs UTC.
    The function takes the raw model and returns the entity, None to filter the record, or a list of `Output`.
    Raises SettingsError for a declaration that cannot work.
    """

    def declare(function: Function) -> Mapping:
        return _declare(function, source, version, effective_at, name or function.__name__, output)

    return declare


def _declare(
    function: Function, source: str, version: int, effective_at: str | None, name: str, output: str
) -> Mapping:
    where = f"{function.__module__}.{function.__name__}"
    source_name, dot, stream = source.partition(".")
    if not (source_name and dot and stream):
        raise SettingsError(f'{where}: source={source!r} reads "<source>.<stream>"')
    if version < 1:
        raise SettingsError(f"{where}: version={version}; versions count from 1")
    raw_model, entity = mapping_source.signature(function)
    contract = entity.contract()
    made = Mapping(function, name, source_name, stream, version, contract, raw_model, output, effective_at)
    if effective_at is not None and not has_member(raw_model, effective_at.partition(".")[0]):
        raise SettingsError(f"{where}: effective_at={effective_at!r} is no member of {raw_model.__name__}")
    claimed = mapping_source.claimed_fields(function, entity)
    undated = sorted(field for field in claimed if isinstance(contract.rules.get(field), MostRecent))
    if effective_at is None and undated:
        raise SettingsError(
            f"{where}: claims {contract.name}.{undated[0]}, whose rule is most_recent, and states no effective_at; "
            "name the raw record's own time of change, or choose another rule"
        )
    return made


def has_member(model: type[BaseModel], member: str) -> bool:
    """Whether a model has a field or a property of this name."""
    return member in model.model_fields or hasattr(model, member)
