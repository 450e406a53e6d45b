"""`mapping`: the decorator that turns an author's pure, typed function into a `Mapping`."""

from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar, overload

from sluice.entities import declaration
from sluice.entities.claims import Output
from sluice.entities.entity import Entity
from sluice.entities.mapping import Mapping, Time
from sluice.entities.mapping_source import MappingText, signature
from sluice.entities.raw_models import RawModel, require_readable

Raw = TypeVar("Raw", bound=RawModel)
Result = TypeVar("Result", bound=Entity | Iterable[Output[Entity]] | None)


class TypedMapping(Mapping, Generic[Raw, Result]):
    """A mapping that can be called like the author's function, with the function's types."""

    def __call__(self, raw: Raw) -> Result:
        result: Result = self.function(raw)
        return result


@overload
def mapping(
    source: str, version: int, *, name: str | None = None, output: str = "main"
) -> Callable[[Callable[[Raw], Result]], TypedMapping[Raw, Result]]: ...
@overload
def mapping(
    source: str, version: int, *, effective_at: Callable[[Raw], Time], name: str | None = None, output: str = "main"
) -> Callable[[Callable[[Raw], Result]], TypedMapping[Raw, Result]]: ...
def mapping(
    source: str,
    version: int,
    *,
    effective_at: Any = None,
    name: str | None = None,
    output: str = "main",
) -> Callable[[Callable[[Raw], Result]], TypedMapping[Raw, Result]]:
    """Declare a mapping for the records of `source` ("workday.workers", "erp.public.employee").

    The function takes the raw model and returns the entity, None to filter the record, or a list of `Output`.
    Every change of the code needs a higher `version`. `effective_at` returns when the source changed the record: a time
    with a zone, µs UTC, or None. It is a method of the raw model (`HrWorker.changed_at`) or a function of the record.
    Type checkers cannot infer the argument of a lambda here. Raises SettingsError for a declaration that cannot work.
    """

    def declare(function: Callable[[Raw], Result]) -> TypedMapping[Raw, Result]:
        where = declaration.require_function(function)
        source_name, stream = declaration.split_source(where, source)
        declaration.require_version(where, version)
        raw_model, entity = signature(function)
        require_readable(where, raw_model)
        own_name = function.__name__ if name is None else name
        declaration.require_name(where, "name", own_name)
        declaration.require_name(where, "output", output)
        if effective_at is not None:
            declaration.require_time_function(where, effective_at, raw_model)
        declared: TypedMapping[Raw, Result] = TypedMapping(
            function,
            own_name,
            source_name,
            stream,
            version,
            entity.contract(),
            entity,
            raw_model,
            output,
            effective_at,
            MappingText(function, entity),
        )
        declaration.remember(function.__globals__, declared)
        return declared

    return declare
