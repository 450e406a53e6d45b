"""The hash of a mapping's code. With it, the mapper notices that the code changed while the mapping's version did not.

The hash covers the authored files that the mapping's module imports, directly or indirectly, and the installed packages
that these files import. Comments, docstrings and layout do not count. Other mappings, other entities and fields of the
mapping's entity do not count if the counted code does not contain their names. In doubt, code counts: an unnecessary
new version is better than a change without notice.
"""

import ast
import hashlib
import json
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from pydantic import BaseModel

from sluice.entities import Mapping
from sluice.entities.authored_files import PIPELINE_PACKAGE
from sluice.entities.authored_imports import AuthoredFile, path_of, reached_from
from sluice.errors import SettingsError

# This number is increased if a change of Sluice lets the same mapping code make other claims of the same record.
CODE_HASH_VERSION = 1
# Code that contains one of these words may set a field of an entity without containing the field's name.
_ANY_FIELD = re.compile(r"\b(\w*copy|\w*construct|\w*validat\w*|parse_obj\w*|parse_raw\w*|from_orm|type(?=\())\b")
# Code that contains one of these words may use a definition or a field without containing the name of it.
_ANY_NAME = re.compile(
    r"\b([gs]etattr|attrgetter|methodcaller|__(?!(?:name|main|file|doc|future|all)__)\w+__|eval|exec|globals|locals|vars|dir"
    r"|modules|gc|inspect|pkgutil|runpy|importlib|metaclass)\b"
)
# Code that contains one of these words may read data files of its folder without containing their names.
_READS_FOLDER = re.compile(r"\b(open|__file__|read_text|read_bytes|resources|get_data)\b")
# Code that contains one of these words, or a file that it imports, may read data files that a text of the code names.
_READS_FILES = re.compile(r"\b(open\w*|__file__|read\w*|load\w*|resources|get_data|connect|Path|glob|\w+dir)\b")
# No data: files with these suffixes are code, and Sluice alone reads the pipeline file, the schemas and the examples.
_NO_DATA = re.compile(r".*\.(py|pyc|so)|pipeline\.yaml|schemas/.*|sources/[^/]+/examples/.*")


@dataclass(frozen=True)
class MappingCode:
    """The code of a mapping. `files`: the texts that count of each file, by its path in the pipeline's folder.
    `packages`: "name version" of each installed package that counts."""

    files: dict[str, list[str]] = field(default_factory=dict)
    packages: set[str] = field(default_factory=set)

    @cached_property
    def sha256(self) -> str:
        """The hash of the code as 64 hex digits. Python's minor version counts, because values are read with it."""
        facts = [CODE_HASH_VERSION, list(sys.version_info[:2]), sorted(self.packages), sorted(self.files.items())]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()

    def __str__(self) -> str:
        """The names of the files and packages that count, and the Python version, as a text for people."""
        return ", ".join([*sorted(self.files), *sorted(self.packages), "Python {}.{}".format(*sys.version_info[:2])])


@cache
def code_of(mapping: Mapping) -> MappingCode:
    """The code of a mapping, which the first call reads. Raises SettingsError if the mapping has no source file."""
    module = mapping.function.__module__
    if path_of(module) is None:
        raise SettingsError(
            f"{module}.{mapping.function.__name__}: has no source file, so its code has no hash. "
            "Next: define it in a file of the pipeline"
        )
    found_in = mapping.found_in or module  # not `module` if a function in another file created the mapping
    files, packages = reached_from([found_in, module, mapping.raw_model.__module__, mapping.entity_class.__module__])
    code = MappingCode(packages=packages)
    for part in _counted([part for file in files for part in _parts(file, mapping)]):
        code.files.setdefault(part.file, []).append(part.text)
    code.files.update(_data_files(files))
    return code


class _CodePart(NamedTuple):
    """A part of an authored file, such as a statement. It counts if `name` is empty or is a word of the counted code.

    `text`: the part's code. `is_field`: the part is a field of the mapping's entity. `any_field`: the part's code may
    set fields of the entity without containing their names.
    """

    file: str
    name: str
    text: str
    is_field: bool = False
    any_field: bool = False


def _parts(file: AuthoredFile, mapping: Mapping) -> Iterator[_CodePart]:
    """The parts of an authored file.

    Each imported name, model, other mapping and field of the mapping's entity is a part with a name. Each other
    statement is a part without a name, which always counts.
    """
    if file.tree is None or file.source is None:
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
            case ast.ClassDef(name=name, decorator_list=[]), type() as value if _only_declares(statement, value):
                yield part(statement, name)
            case ast.FunctionDef(name=name, decorator_list=[_]), Mapping(function=own) if own is not mapping.function:
                yield part(statement, name)
            case _:
                yield part(statement)


def _with(statement: ast.stmt, **changes: list[Any]) -> ast.stmt:
    return type(statement)(**(vars(statement) | changes))


def _only_declares(statement: ast.ClassDef, value: type) -> bool:
    """Whether the statement of a class only declares a model, so that code which does not contain the model's
    name cannot depend on it."""
    for one in statement.body:
        declares = isinstance(one, ast.AnnAssign | ast.FunctionDef | ast.Pass)
        if not declares and not (isinstance(one, ast.Assign) and all(isinstance(to, ast.Name) for to in one.targets)):
            return False
    return issubclass(value, BaseModel | msgspec.Struct) and not _ANY_NAME.search(ast.unparse(statement))


def _handed_on(code: ast.AST, name: str) -> bool:
    """Whether `code` uses the class `name` in other ways than in a function's signature and in calls with named fields.

    Such code may pass the class on to other code, which may set any field. A member of a model that has the class as
    its type does this.
    """
    plain: set[int] = set()
    for node in ast.walk(code):
        if isinstance(node, ast.Call) and all(keyword.arg for keyword in node.keywords):
            plain.add(id(node.func))
        signature = node.annotation if isinstance(node, ast.arg) else getattr(node, "returns", None)
        plain.update(map(id, ast.walk(signature)) if signature is not None else ())
    names = ((id(node), getattr(node, "id", getattr(node, "attr", ""))) for node in ast.walk(code))
    return any(used == name and node not in plain for node, used in names)


def _counted(parts: list[_CodePart]) -> list[_CodePart]:
    """The parts that count: those without a name, and those whose name is a word of another part that counts.

    If a part that counts may use definitions or fields without their names, all parts or all fields count.
    """
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


def _data_files(files: list[AuthoredFile]) -> dict[str, list[str]]:
    """The hash of each data file that the code of `files` may read, by path in the pipeline's folder.

    If the code may read files, a data file counts if a text of the code contains its name, or the name of a folder on
    its path. It also counts if it is in the folder of a file that reads data. Folders outside of the pipeline are
    searched only for such files.
    """
    if not any(_READS_FILES.search(file.source or "") for file in files):
        return {}
    nodes = (node for file in files for node in ast.walk(file.tree or ast.Pass()))
    texts = (node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str))
    words = {word for text in texts for word in text.split("/")}
    readers = [file for file in files if _READS_FOLDER.search(file.source or "")]
    folders = {file.path.parent for file in readers}
    roots = {file.root for file in files if file in readers or file.module.startswith(PIPELINE_PACKAGE)}
    found = {}
    for root in sorted(roots):
        for path in _files_below(root):
            name = path.relative_to(root)
            near_or_named = path.parent in folders or not words.isdisjoint(name.parts)
            if near_or_named and not _NO_DATA.fullmatch(name.as_posix()):
                found[str(name)] = [_sha256(path)]
    return found


def _files_below(root: Path) -> Iterator[Path]:
    """The files of a folder and its folders, with those behind links, but without hidden files."""
    seen: set[Path] = set()
    for at, folders, names in os.walk(root, followlinks=True):
        folder = Path(at).resolve()
        if folder in seen:  # a link to a folder that was searched, or that contains the link
            folders.clear()
            continue
        seen.add(folder)
        folders[:] = [one for one in folders if not one.startswith((".", "__"))]
        yield from (Path(at, name) for name in names if not name.startswith("."))


def _sha256(file: Path) -> str:
    """The SHA-256 of a file's content in hex; `unreadable` if the file cannot be read. A mapping cannot read it then
    either."""
    try:
        with file.open("rb") as data:
            return hashlib.file_digest(data, "sha256").hexdigest()
    except OSError:
        return "unreadable"
