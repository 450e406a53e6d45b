"""What a mapping's source text and signature say: its types, the fields it claims."""

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator
from typing import Any, get_args, get_type_hints

from pydantic import BaseModel

from sluice.entities.entity import Entity
from sluice.errors import SettingsError

Function = Callable[[Any], Any]


def signature(function: Function) -> tuple[type[BaseModel], type[Entity]]:
    """The raw model and the entity in a mapping's annotations. Raises SettingsError where they are not there."""
    where = f"{function.__module__}.{function.__name__}"
    try:
        hints = get_type_hints(function)
    except NameError as error:
        raise SettingsError(f"{where}: its annotation names {error.name}, which the module does not define") from None
    parameters = list(inspect.signature(function).parameters)
    raw_model = hints.get(parameters[0]) if len(parameters) == 1 else None
    if not (isinstance(raw_model, type) and issubclass(raw_model, BaseModel)) or issubclass(raw_model, Entity):
        raise SettingsError(f"{where}: takes one argument, annotated with the raw record's pydantic model")
    entities = {part for part in _parts(hints.get("return")) if isinstance(part, type) and issubclass(part, Entity)}
    if len(entities) != 1:
        raise SettingsError(f"{where}: annotate what it returns: `-> Worker`, `-> Worker | None` or a list of Output")
    return raw_model, entities.pop()


def _parts(annotation: Any) -> Iterator[Any]:
    yield annotation
    for part in get_args(annotation):
        yield from _parts(part)


def claimed_fields(function: Function, entity: type[Entity]) -> set[str]:
    """Fields that the function's own text gives to the entity; what it hands to other functions is not seen."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, SyntaxError):
        return set()
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call) and _makes(node.func, entity.__name__))
    return {keyword.arg for call in calls for keyword in call.keywords if keyword.arg}


def _makes(called: ast.expr, class_name: str) -> bool:
    name = called.id if isinstance(called, ast.Name) else called.attr if isinstance(called, ast.Attribute) else ""
    return name == class_name
