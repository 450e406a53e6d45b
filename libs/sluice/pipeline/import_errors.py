"""The reasons of imports that fail in an author's files, each with the import to write instead."""

from __future__ import annotations

import ast
import inspect
import re
import sys
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel

from sluice.entities import Entity

Import = ast.Import | ast.ImportFrom

# Names that older versions of Sluice had for authors, and the step that replaces each of them.
_REPLACED = {
    ("sluice.connector", "Record"): "write SourceRecord",
    ("sluice.connector.paging", "Concluded"): "write ImplicitEnd",
    ("sluice.connector.record", "Record"): "write SourceRecord",
    ("sluice.entities", "FieldType"): "remove it; the types are in contract().fields of the entity",
    ("sluice.entities", "MostRecent"): "write most_recent()",
    ("sluice.entities", "Rule"): "write prefer(…) or most_recent() instead of a rule's class",
    ("sluice.entities", "SourceOrder"): "remove it; this is the rule of every field without a rule",
}


class Place(NamedTuple):
    """The author's line that an error comes from. `root`: the pipeline's folder. `package`: the name of its package."""

    root: Path
    package: str
    file: Path
    line: int

    @property
    def folder(self) -> tuple[str, ...]:
        return self.file.parent.relative_to(self.root).parts


def missing_module(place: Place, error: ModuleNotFoundError) -> str:
    """Why a module was not found, and what the author can do."""
    missing = error.name or ""
    name = missing.removeprefix(f"{place.package}.")
    statement = _statement(place, missing)
    own = missing.startswith(place.package)
    right = _corrected(place, statement)
    if right:
        why = f"no module {name}" if own else "a pipeline's files import each other relatively"
        return f"{why}. Next: write {right}"
    *folder, last = name.split(".") if own else ["", name]
    folders = [place.root.joinpath(*folder)] if own else [place.file.parent, place.root]
    close = get_close_matches(last, [file.stem for one in folders for file in one.glob("[!_.]*")], 1)
    steps = "correct its name, or write the file" if own else "install it, or correct its name"
    return f"no module {name}. Next: {steps}" + (f"; is {close[0]} meant?" if close else "")


def import_hint(place: Place | None, error: ImportError) -> str:
    """The next step, or else the most similar name, if a module does not have an imported name; else empty."""
    asked = re.match(r"cannot import name '(\w+)'", str(error))
    beyond = "beyond top-level package" in str(error)
    if place is not None and (asked or beyond):
        right = _corrected(place, _statement(place, ""), asked[1] if asked else "")
        if right:
            return f". Next: write {right}"
    replaced = _REPLACED.get((error.name or "", asked[1])) if asked else None
    if replaced:
        return f". Next: {replaced}"
    module = sys.modules.get(error.name or "")
    names = getattr(module, "__all__", dir(module))
    close = get_close_matches(asked[1], names, 1) if asked and module else []
    return f"; is {close[0]} meant?" if close else ""


def attribute_hint(error: BaseException) -> str:
    """The next step if code reads a field of a raw model, or a misspelt name, from the model's class; else empty."""
    model, name = (error.obj, error.name or "") if isinstance(error, AttributeError) else (None, "")
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        return ""
    if issubclass(model, Entity) and name == "claim" and name not in model.model_fields:
        return f". Next: give the claims to the constructor, {model.__name__}(…)"
    field = model.model_fields.get(name)
    if field is None:
        close = get_close_matches(name, [*vars(model), *model.model_fields], 1)
        return f"; is {close[0]} meant?" if close else ""
    kind = field.annotation
    shown = kind.__name__ if isinstance(kind, type) else inspect.formatannotation(kind)
    method = "changed_at" if "changed_at" not in model.model_fields else "effective_time"
    return (
        f". {name} is a field: records of {model.__name__} have it, and the class does not. Next: add the method "
        f"`def {method}(self) -> {shown}: return self.{name}` to the class, and write {model.__name__}.{method}"
    )


def _statement(place: Place, missing: str) -> Import | None:
    """The import statement in the line of `place`, with the one name that needs the module `missing`."""
    try:
        tree = ast.parse(place.file.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError):
        return None
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.lineno <= place.line <= (node.end_lineno or node.lineno):
            return node
        if isinstance(node, ast.Import) and node.lineno <= place.line <= (node.end_lineno or node.lineno):
            names = [one for one in node.names if f"{one.name}.".startswith(f"{missing}.")]
            return ast.Import(names[:1] or node.names[:1])
    return None


def _corrected(place: Place, statement: Import | None, asked: str = "") -> str:
    """The relative import of the file that `statement` means; empty if the pipeline has no such file.

    `asked`: the imported name that was not found, empty if the module was not found. The file is searched in the
    folder of `place`, and in the folders above it.
    """
    match statement:
        case ast.ImportFrom(module=str(meant), names=names):
            pass
        case ast.ImportFrom(names=names):
            names = [one for one in names if one.name == asked] or names
            meant = names[0].name
        case ast.Import(names=[name]):
            meant = name.name
            names = [ast.alias(meant.rpartition(".")[2], name.asname)]
        case _:
            return ""
    target = _found(place, meant)
    if not target:
        return ""
    shared = 0
    while shared < len(target) - 1 and place.folder[shared : shared + 1] == target[shared : shared + 1]:
        shared += 1
    of_module = isinstance(statement, ast.ImportFrom) and statement.module
    rest = target[shared:] if of_module else target[shared:-1]
    right = ast.unparse(ast.ImportFrom(".".join(rest) or None, names, len(place.folder) - shared + 1))
    return right if right != ast.unparse(statement) else ""


def _found(place: Place, module: str) -> tuple[str, ...]:
    """The path of a module within the pipeline's folder, without the suffix; empty if no file or folder has it."""
    for up in range(len(place.folder) + 1):
        parts = (*place.folder[: len(place.folder) - up], *module.split("."))
        path = place.root.joinpath(*parts)
        if path.is_dir() or path.with_name(f"{path.name}.py").is_file():
            return parts
    return ()
