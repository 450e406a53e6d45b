"""The hash of a mapping's code, by which the mapper notices changed code with an unchanged version.

The hash covers the authored files that the mapping's module imports, directly or indirectly, and the installed packages
that these files import. Comments, docstrings and layout do not count. Other mappings, other entities and fields of the
entity do not count if the counted code does not contain their names. In doubt code counts: an unnecessary new version
is better than a change without notice.
"""

import ast
import hashlib
import importlib.util
import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib import metadata
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel

from sluice.entities import Mapping
from sluice.entities.authored_files import is_given, is_installed, name_in_pipeline
from sluice.errors import SettingsError

# Increased by a change of Sluice after which the same mapping code would make other claims of the same record.
READING_RULES = 1
# Code with one of these words may set a field of an entity without containing the field's name.
_ANY_FIELD = re.compile(r"\b(\w*copy|\w*construct|\w*validate\w*|parse_obj\w*|parse_raw\w*|from_orm)\b")
# Code with one of these words may use a definition or a field without containing its name.
_ANY_NAME = re.compile(
    r"\b([gs]etattr|attrgetter|methodcaller|__(set|get)\w+__|__dict__|eval|exec|globals|locals|vars|dir|modules|gc|inspect|pkgutil|runpy"
    r"|importlib|__import__|__subclasses__|__init_subclass__|metaclass)\b"
)
_READS_FILES = re.compile(r"\b(open|__file__|read_text|read_bytes|resources|get_data)\b")
_NO_DATA = frozenset({".py", ".pyc", ".so"})


@dataclass(frozen=True)
class MappingCode:
    """`files`: what counts of each file, by its path in the pipeline's folder. `packages`: "name version" of each."""

    files: dict[str, list[str]] = field(default_factory=dict)
    packages: set[str] = field(default_factory=set)

    @cached_property
    def sha256(self) -> str:
        """64 hex digits. Python's minor version counts, since values are read and written with it."""
        facts = [READING_RULES, list(sys.version_info[:2]), sorted(self.packages), sorted(self.files.items())]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()

    def __str__(self) -> str:
        """The files, packages and Python version that count, for messages."""
        return ", ".join([*sorted(self.files), *sorted(self.packages), "Python {}.{}".format(*sys.version_info[:2])])


@cache
def code_of(mapping: Mapping) -> MappingCode:
    """The code of a mapping, read at the first call. Raises SettingsError for a mapping without a source file."""
    module = mapping.function.__module__
    if _path(_spec(module)) is None:
        raise SettingsError(f"{module}.{mapping.function.__name__}: has no source file, so its code has no hash")
    files, packages = _reached([module, mapping.raw_model.__module__, mapping.entity_class.__module__])
    code = MappingCode(packages=packages)
    for part in _counted([part for file in files for part in _parts(file, mapping)]):
        code.files.setdefault(part.file, []).append(part.text)
    for file in files:
        code.files.update(_data_files(file))
    return code


class _AuthoredFile(NamedTuple):
    """An authored file. `name`: its path in the pipeline's folder. `tree`: None if it is not Python's text."""

    module: str
    name: str
    path: Path
    tree: ast.Module | None


class _CodePart(NamedTuple):
    """A part of a file. The part counts if its name is empty, or is a word of the counted code.

    `is_field`: it is a field of the mapping's entity. `any_field`: its code may set fields without containing their
    names.
    """

    file: str
    name: str
    text: str
    is_field: bool = False
    any_field: bool = False


def _reached(roots: list[str]) -> tuple[list[_AuthoredFile], set[str]]:
    """The authored files of the modules and of all that they import, and "name version" of the installed packages."""
    files: list[_AuthoredFile] = []
    packages: set[str] = set()
    todo, done = list(roots), {""}
    while todo:
        module = todo.pop()
        if module in done or is_given(module):
            continue
        done.add(module)
        todo.append(module.rpartition(".")[0])  # importing a module runs its packages first
        spec = _spec(module)
        path = _path(spec)
        if spec is None or path is None:
            continue
        installed = _versions(module.partition(".")[0]) if is_installed(path) else frozenset()
        packages |= installed
        if not installed:
            package = spec.parent or ""
            name = Path(*name_in_pipeline(package).split("."), path.name)
            files.append(_AuthoredFile(module, str(name), path, _parsed(path)))
            todo += _imported(files[-1].tree, package)
    return sorted(files), packages


def _spec(module: str) -> ModuleSpec | None:
    """Where the module is, without importing it or the packages that it lies in; None if there is none."""
    if module in sys.modules:
        return getattr(sys.modules[module], "__spec__", None)
    parent = module.rpartition(".")[0]
    if not parent:
        return importlib.util.find_spec(module)
    package = _spec(parent)
    folders = package.submodule_search_locations if package is not None else None
    return PathFinder.find_spec(module, folders) if folders else None


def _path(spec: ModuleSpec | None) -> Path | None:
    """The module's file; None for a folder of modules and for what is built into Python."""
    return Path(spec.origin) if spec is not None and spec.has_location and spec.origin else None


def _imported(tree: ast.Module | None, package: str) -> Iterator[str]:
    """What the imports in a file name: modules, and names in modules, which may be modules as well."""
    for node in ast.walk(tree) if tree is not None else ():
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            with suppress(ImportError):  # more dots than there are packages
                module = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
                yield from (module, *(f"{module}.{alias.name}" for alias in node.names))


_distributions = cache(metadata.packages_distributions)


@cache
def _versions(top: str) -> frozenset[str]:
    return frozenset(f"{name} {metadata.version(name)}" for name in _distributions().get(top, ()))


def _parsed(file: Path) -> ast.Module | None:
    """The file without its docstrings; None if it is not Python's text."""
    try:
        tree = ast.parse(file.read_bytes())
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                node.body = [one for one in node.body if not _is_text(one)] or [ast.Pass()]
        ast.unparse(tree)
    except (OSError, SyntaxError, ValueError, RecursionError):
        return None
    return tree


def _is_text(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _parts(file: _AuthoredFile, mapping: Mapping) -> Iterator[_CodePart]:
    """Imported names, models, mappings and fields of the entity each count by their name, the rest always."""
    if file.tree is None:
        yield _CodePart(file.name, "", _sha256(file.path))
        return
    entity = mapping.entity_class

    def part(node: ast.AST, name: str = "", is_field: bool = False) -> _CodePart:
        text = ast.unparse(node)
        renamed = f"{entity.__name__} as " in text
        any_field = renamed or bool(_ANY_FIELD.search(text)) or _handed_on(node, entity.__name__)
        return _CodePart(file.name, name, text, is_field, any_field)

    values = vars(sys.modules[file.module]) if file.module in sys.modules else {}
    for statement in file.tree.body:
        match statement, values.get(getattr(statement, "name", "")):
            case ((ast.Import() | ast.ImportFrom()), _):
                for alias in statement.names:
                    name = (alias.asname or alias.name).partition(".")[0].strip("*")
                    yield part(_with(statement, names=[alias]), name)
            case ast.ClassDef(), type() as value if value in entity.__mro__:
                fields = [one for one in statement.body if isinstance(one, ast.AnnAssign)]
                yield from (part(one, ast.unparse(one.target), is_field=True) for one in fields)
                yield part(_with(statement, body=[one for one in statement.body if one not in fields]))
            case ast.ClassDef(name=name, decorator_list=[]), type() as value if issubclass(value, BaseModel):
                yield part(statement, name)
            case ast.FunctionDef(name=name, decorator_list=[_]), Mapping() as value if value is not mapping:
                yield part(statement, name)
            case _:
                yield part(statement)


def _with(statement: ast.stmt, **changes: list[Any]) -> ast.stmt:
    return type(statement)(**(vars(statement) | changes))


def _handed_on(code: ast.AST, name: str) -> bool:
    """Whether `code` uses the class `name` other than in annotations and in calls with named fields."""
    plain: set[int] = set()
    for node in ast.walk(code):
        if isinstance(node, ast.Call) and all(keyword.arg for keyword in node.keywords):
            plain.add(id(node.func))
        for annotation in (getattr(node, "annotation", None), getattr(node, "returns", None)):
            plain.update(map(id, ast.walk(annotation)) if annotation is not None else ())
    names = ((id(node), getattr(node, "id", getattr(node, "attr", ""))) for node in ast.walk(code))
    return any(used == name and node not in plain for node, used in names)


def _counted(parts: list[_CodePart]) -> list[_CodePart]:
    """The parts whose name is empty or a word of a counted part, and those that the code can reach without a word."""
    counted: set[_CodePart] = set()
    words, any_name, any_field = {""}, False, False
    while more := {
        one for one in parts if one not in counted and (one.name in words or any_name or (one.is_field and any_field))
    }:
        counted |= more
        words.update(word for one in more for word in re.findall(r"\w+", one.text))
        any_name = any_name or any(_ANY_NAME.search(one.text) for one in more)
        any_field = any_field or any(one.any_field for one in more)
    return [one for one in parts if one in counted]


def _data_files(file: _AuthoredFile) -> dict[str, list[str]]:
    """The data that a file may read, with its hash: in its own folder, or named by a text in it, or in a folder that
    a text names."""
    if file.tree is None or not _READS_FILES.search(ast.unparse(file.tree)):
        return {}
    texts = (node.value for node in ast.walk(file.tree) if isinstance(node, ast.Constant))
    words = {word for text in texts if isinstance(text, str) for word in text.split("/")}
    root = file.path.parents[len(Path(file.name).parts) - 1]
    found = {}
    for at, folders, names in os.walk(root):
        folders[:] = (one for one in folders if not one.startswith((".", "__")))
        near = Path(at) == file.path.parent or Path(at).name in words
        for path in (Path(at, name) for name in names if near or name in words):
            if not path.name.startswith(".") and path.suffix not in _NO_DATA:
                found[str(path.relative_to(root))] = [_sha256(path)]
    return found


def _sha256(file: Path) -> str:
    """The SHA-256 of a file in hex; `unreadable` if it cannot be read, because the mapping cannot read it either."""
    try:
        with file.open("rb") as data:
            return hashlib.file_digest(data, "sha256").hexdigest()
    except OSError:
        return "unreadable"
