"""What the text of a mapping claims, and where: mistakes that can be seen without a record are told when it is loaded.

Seen are calls of the entity (`Worker(…)`, `Worker(…)`) with named fields, in the mapping and in every helper of
the author's that it reaches. What arrives through `**` is not; the mapping's example records find that.
"""

import ast
import difflib
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from pydantic import TypeAdapter, ValidationError

from sluice.entities.authored_files import file_name
from sluice.entities.code_references import chain_of
from sluice.entities.entity import Entity
from sluice.errors import DeadRecord

if TYPE_CHECKING:
    from sluice.entities.mapping_code import MappingCode


_COPIES = frozenset({"model_copy", "copy"})


class Spelled(NamedTuple):
    """A place in an author's file: `sources/hr/mapping.py`, line from 1."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


class _Call(NamedTuple):
    """A call that makes the entity. `whole`: nothing comes through `*` or `**`."""

    at: Spelled
    fields: dict[str, ast.keyword]
    whole: bool


def mistakes(code: "MappingCode", entity: type[Entity]) -> list[str]:
    """What can never work, each as `file:line: what`; empty if nothing is seen."""
    return [told for call in _calls(code, entity) for told in _mistakes_of(call, entity)]


def all_claimed(code: "MappingCode", entity: type[Entity]) -> set[str] | None:
    """The fields that the code claims; None where it may claim others, because it does anything else with the entity
    than to call it with named fields, or changes a copy of what may be one."""
    calls = list(_calls(code, entity))
    mentions = 0
    for module, statement in code.statements():
        nodes = list(_outside_annotations(statement))
        if any(isinstance(node, ast.Attribute) and node.attr in _COPIES for node in nodes):
            return None
        mentions += sum(_is_entity(node, module, code, entity) for node in nodes)
    if not calls or mentions != len(calls) or not all(call.whole for call in calls):
        return None
    return {name for call in calls for name in call.fields}


def _outside_annotations(node: ast.AST) -> Iterator[ast.AST]:
    yield node
    for name, value in ast.iter_fields(node):
        if name not in ("annotation", "returns"):
            for one in value if isinstance(value, list) else [value]:
                if isinstance(one, ast.AST):
                    yield from _outside_annotations(one)


def spelled_words(code: "MappingCode", entity: type[Entity]) -> dict[str, Spelled]:
    """Every word that the code itself spells as a field, a keyword or a text, and where: it is no record's content."""
    words: dict[str, Spelled] = {}
    for call in _calls(code, entity):
        for name, keyword in call.fields.items():
            words.setdefault(name, Spelled(call.at.file, keyword.lineno))
    for module, statement in code.statements():
        nodes = list(ast.walk(statement))
        texts = [key for node in nodes if isinstance(node, ast.Dict) for key in node.keys]
        for node in [*texts, *nodes]:
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                words.setdefault(node.value, Spelled(file_name(module), node.lineno))
            elif isinstance(node, ast.keyword) and node.arg:
                words.setdefault(node.arg, Spelled(file_name(module), node.lineno))
    return words


def _mistakes_of(call: _Call, entity: type[Entity]) -> Iterator[str]:
    contract = entity.contract()
    for name, keyword in call.fields.items():
        where = f"{call.at.file}:{keyword.lineno}"
        if name not in contract.fields:
            near = difflib.get_close_matches(name, contract.fields, 1)
            meant = f"; {near[0]} was meant?" if near else f"; it has {', '.join(contract.fields)}"
            yield f"{where}: claims {contract.name}.{name}, a field that the entity does not have{meant}"
        elif isinstance(keyword.value, ast.Constant) and (why := _refused(entity, name, keyword.value.value)):
            yield f"{where}: claims {contract.name}.{name} as a constant that it does not take: {why}"
    if call.whole:
        missing = [name for name, info in entity.model_fields.items() if info.is_required() and name not in call.fields]
        if missing:
            hint = "give them, or let the entity say that a mapping may leave them out: = UNCLAIMED"
            yield f"{call.at}: makes a {contract.name} without {', '.join(missing)}; {hint}"


def _refused(entity: type[Entity], name: str, value: object) -> str:
    """Why the field does not take the constant; empty if it does, or if a validator of the author's has a say."""
    validators = entity.__pydantic_decorators__.field_validators.values()
    if any(name in one.info.fields or "*" in one.info.fields for one in validators):
        return ""
    try:
        checked = TypeAdapter(entity.model_fields[name].rebuild_annotation()).validate_python(value)
        entity.contract().encode(name, checked)
    except ValidationError as error:
        return str(error.errors(include_url=False, include_context=False, include_input=False)[0]["type"])
    except DeadRecord as error:
        return error.reason
    return ""


def _calls(code: "MappingCode", entity: type[Entity]) -> Iterator[_Call]:
    for module, statement in code.statements():
        for node in ast.walk(statement):
            if isinstance(node, ast.Call) and _is_entity(node.func, module, code, entity):
                fields = {keyword.arg: keyword for keyword in node.keywords if keyword.arg}
                whole = not node.args and len(fields) == len(node.keywords)
                yield _Call(Spelled(file_name(module), node.lineno), fields, whole)


def _is_entity(node: ast.AST, module: str, code: "MappingCode", entity: type[Entity]) -> bool:
    """Whether a dotted name in `module` stands for the entity: `Worker`, `W` imported as such, `entities.Worker`."""
    chain = tuple(chain_of(node))
    return bool(chain) and (entity.__module__, entity.__qualname__) in code.resolved(module, chain)
