"""Reads a mapping's signature and source text: types, mistakes that no record is needed to find, and lines of words.

The author's mypy or pyright checks types. The text is checked when a pipeline is loaded as well, but only for mistakes
that would make every record a dead letter.
"""

import ast
import difflib
import inspect
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, get_args, get_type_hints

from sluice.entities.authored_files import SourceLine, file_name
from sluice.entities.entity import Entity
from sluice.entities.raw_models import RawModel
from sluice.entities.rules import MostRecent
from sluice.errors import SettingsError

Function = Callable[[Any], Any]


def signature(function: Function) -> tuple[type[RawModel], type[Entity]]:
    """The raw model and the entity class in a mapping's annotations. Raises SettingsError if one is missing."""
    where = f"{function.__module__}.{function.__name__}"
    try:
        hints = get_type_hints(function)
    except NameError as error:
        raise SettingsError(f"{where}: its annotation names {error.name}, which the module does not define") from None
    parameters = list(inspect.signature(function).parameters)
    raw_model = hints.get(parameters[0]) if len(parameters) == 1 else None
    if not (isinstance(raw_model, type) and issubclass(raw_model, RawModel)) or issubclass(raw_model, Entity):
        raise SettingsError(
            f"{where}: a mapping takes one argument, annotated with the raw record's model (pydantic or msgspec)"
        )
    entities = {part for part in _parts(hints.get("return")) if isinstance(part, type) and issubclass(part, Entity)}
    if len(entities) != 1:
        raise SettingsError(f"{where}: annotate what it returns: `-> Worker`, `-> Worker | None` or a list of Output")
    return raw_model, entities.pop()


def _parts(annotation: Any) -> Iterator[Any]:
    yield annotation
    for part in get_args(annotation):
        yield from _parts(part)


class MappingText:
    """The text of a mapping's file when it was imported. It is empty for a function without a file."""

    def __init__(self, function: Function, entity: type[Entity]) -> None:
        self._globals: Mapping[str, Any] = function.__globals__
        self._entity = entity
        self._file = file_name(function.__module__)
        self.declared_at = SourceLine(self._file, function.__code__.co_firstlineno)
        try:
            self._text = Path(function.__code__.co_filename).read_bytes()
        except OSError:
            self._text = b""

    def _parsed(self) -> tuple[ast.AST, ast.AST]:
        """The syntax trees of the file and of the function. They are not stored: a tree is much larger than its
        text."""
        try:
            file = ast.parse(self._text)
        except (SyntaxError, ValueError):
            file = ast.Module([], [])
        found = (node for node in ast.walk(file) if _first_line(node) == self.declared_at.line)
        return file, next(found, ast.Module([], []))

    def mistakes(self, *, dated: bool) -> Iterator[str]:
        """Claims that fail for every record, each as `file:line: what`. `dated`: the mapping has an `effective_at`."""
        contract = self._entity.contract()
        file, function = self._parsed()
        for node in ast.walk(file) if not hasattr(self._entity, "claim") else ():
            if isinstance(node, ast.Attribute) and node.attr == "claim" and self._value(node.value) is self._entity:
                name = self._entity.__name__
                yield f"{self._file}:{node.lineno}: {name}.claim is removed. Next: give the claims to {name}(…)"
        required = {name for name, info in self._entity.model_fields.items() if info.is_required()}
        for call in self._claims(file):
            given = {one.arg: one.lineno for one in call.keywords}
            for name, line in given.items():
                if name and name not in contract.fields:
                    near = difflib.get_close_matches(name, contract.fields, 1)
                    hint = f"is {near[0]} meant?" if near else f"it has {', '.join(contract.fields)}"
                    what = f"claims {contract.name}.{name}, a field that the entity does not have ({hint})"
                    yield f"{self._file}:{line}: {what}"
            if None not in given and (missing := sorted(required - given.keys())):
                what = f"creates a {contract.name} without {', '.join(missing)}"
                yield f"{self._file}:{call.lineno}: {what}. Next: {_remedy(missing, contract.identity)}"
        for one in () if dated else self._fields(function):
            if isinstance(contract.rules.get(str(one.arg)), MostRecent):
                what = f"claims {contract.name}.{one.arg}, whose rule is most_recent, without effective_at"
                yield f"{self._file}:{one.lineno}: {what}. Next: declare it in @mapping, or choose another rule"

    @cached_property
    def words(self) -> dict[str, SourceLine]:
        """The words of the code, each with its line: fields and string constants. They are no content of a record."""
        file, function = self._parsed()
        words: dict[str, SourceLine] = {}
        for node in (*self._fields(function), *ast.walk(function), *self._fields(file)):
            match node:
                case ast.keyword(arg=str(word)) | ast.Constant(value=str(word)):
                    words.setdefault(word, SourceLine(self._file, node.lineno))
        return words

    @cached_property
    def names(self) -> frozenset[str]:
        """The names and attributes that the function's code reads. They are no content of a record."""
        nodes = list(ast.walk(self._parsed()[1]))
        names = {node.id for node in nodes if isinstance(node, ast.Name)}
        return frozenset(names | {node.attr for node in nodes if isinstance(node, ast.Attribute)})

    def _claims(self, tree: ast.AST) -> Iterator[ast.Call]:
        """The calls that create the entity, under any name that the entity class has in the file."""
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and self._value(node.func) is self._entity:
                yield node

    def _fields(self, tree: ast.AST) -> Iterator[ast.keyword]:
        return (one for call in self._claims(tree) for one in call.keywords)

    def _value(self, expression: ast.expr) -> Any:
        """The value of a dotted name in the file; None for any other expression."""
        match expression:
            case ast.Name(id=name):
                return self._globals.get(name)
            case ast.Attribute(value=inside, attr=name):
                return inspect.getattr_static(self._value(inside), name, None)
        return None


def _remedy(missing: list[str], identity: str) -> str:
    """The next step for a claim that leaves out the fields `missing`. The identity cannot have a default."""
    others = ", ".join(name for name in missing if name != identity)
    steps = [f"give {identity}, which is the entity's identity"] if identity in missing else []
    steps += [f"give {others}, or make UNCLAIMED the default"] if others else []
    return "; ".join(steps)


def _first_line(node: ast.AST) -> int | None:
    """A function's first line as Python counts it: that of its first decorator."""
    if isinstance(node, ast.FunctionDef):
        return min([node.lineno, *(one.lineno for one in node.decorator_list)])
    return None
