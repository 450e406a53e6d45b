"""Raw models: what a mapping reads of a raw record. A raw model is a pydantic model, or a msgspec Struct, which is read
in half the time.

A Struct takes the types in `sluice.entities` for dates of change events, as members of the outermost Struct. Nothing
else that only pydantic knows has an effect in a Struct, so it is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import msgspec
from pydantic import BaseModel, BeforeValidator

from sluice.entities.debezium_types import FROM_NUMBERS
from sluice.errors import SettingsError

RawModel = BaseModel | msgspec.Struct
Read = Callable[[dict[str, Any]], Any]


def reader(model: type[RawModel]) -> Read:
    """The function that creates an instance of `model` from a row. It raises a ValidationError of pydantic or msgspec,
    or what the author's code raises."""
    if issubclass(model, BaseModel):
        return model.__pydantic_validator__.validate_python
    conversions = _conversions(model)
    if not conversions:
        return partial(msgspec.convert, type=model)

    def read(row: dict[str, Any]) -> Any:
        given = dict(row)
        for name, convert in conversions:
            if name in given:
                try:
                    given[name] = convert(given[name])
                except ValueError as error:
                    raise msgspec.ValidationError(f"{error} - at `$.{name}`") from error
        return msgspec.convert(given, model)

    return read


def require_readable(where: str, model: type[RawModel]) -> None:
    """Raises SettingsError if `model` is a Struct with members that msgspec cannot read."""
    if issubclass(model, BaseModel):
        return
    try:
        unreadable = list(_markers(model, model.__name__, set()))
        markers = [one for one in unreadable if isinstance(one[1], BeforeValidator) and one[1].func in FROM_NUMBERS]
        for place, part in unreadable:
            if (place, part) not in markers:
                raise SettingsError(
                    f"{where}: {place}: msgspec cannot read {_shown(part)}. "
                    "Next: use a type that msgspec reads, or msgspec.Meta, or make the raw model a pydantic model"
                )
        msgspec.json.Decoder(model)
    except (TypeError, NameError) as error:
        raise SettingsError(
            f"{where}: msgspec cannot read {model.__name__}: {error}. "
            "Next: use a type that msgspec reads, or make the raw model a pydantic model"
        ) from None
    if len(dict(markers)) != len(_conversions(model)):
        raise SettingsError(
            f"{where}: a date or time of a change event must be a member of {model.__name__} itself. "
            "Next: make the raw model a pydantic model"
        )


def _markers(part: Any, place: str, done: set[Any]) -> Iterator[tuple[str, Any]]:
    """What only pydantic knows in a Struct and the Structs inside it, with the place of each: models, markers, and
    types that msgspec takes only as they are, although no JSON contains them."""
    if isinstance(part, type) and part not in (object, msgspec.UnsetType) and _is_custom(part):
        yield place, part
    if isinstance(part, type) and issubclass(part, msgspec.Struct):
        if part not in done:
            done.add(part)
            for name, hint in get_type_hints(part, include_extras=True).items():
                yield from _markers(hint, f"{part.__name__}.{name}", done)
        return
    if get_origin(part) is Annotated:
        for marker in part.__metadata__:
            if type(marker).__module__.split(".")[0] in ("pydantic", "annotated_types"):
                yield place, marker
    for inside in get_args(part)[: 1 if get_origin(part) is Annotated else None]:
        yield from _markers(inside, place, done)


def _is_custom(part: type) -> bool:
    return isinstance(msgspec.inspect.type_info(part), msgspec.inspect.CustomType)


def _shown(part: Any) -> str:
    return part.__name__ if isinstance(part, type) else f"pydantic's {part!r}"


def _conversions(model: type[msgspec.Struct]) -> list[tuple[str, Callable[[Any], Any]]]:
    """The members of the row that are numbers in a change event, each with the function that reads it."""
    hints = get_type_hints(model, include_extras=True)
    return [
        (field.encode_name, marker.func)
        for field in msgspec.structs.fields(model)
        for marker in _own_markers(hints[field.name])
        if isinstance(marker, BeforeValidator) and marker.func in FROM_NUMBERS
    ]


def _own_markers(hint: Any) -> Iterator[Any]:
    """The markers of a type and of the parts of a union, but not of types inside other types."""
    if get_origin(hint) is Annotated:
        yield from hint.__metadata__
        yield from _own_markers(hint.__origin__)
    elif get_origin(hint) in (Union, UnionType):
        for part in get_args(hint):
            yield from _own_markers(part)
