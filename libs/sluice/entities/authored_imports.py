"""Finds the authored files and the installed packages that modules import, directly or indirectly.

The imports are read from the files' text, so no module is imported for this.
"""

import ast
import importlib.util
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import cache
from importlib import metadata
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import NamedTuple

from sluice.entities.authored_files import is_given, is_installed, name_in_pipeline
from sluice.errors import SettingsError

# Code that contains one of these words may read docstrings, so docstrings are code.
_READS_DOCSTRINGS = re.compile(rb"\b(__doc__|getdoc)\b")


class AuthoredFile(NamedTuple):
    """A file of an author. `module`: its full module name. `name`: its path in the pipeline's folder.

    `tree`: its Python code, without docstrings unless it reads docstrings; None if the file is not Python text, such as
    a compiled module. `source`: the code as a text; None if the file is not Python text, or nested too deeply.
    """

    module: str
    name: str
    path: Path
    tree: ast.Module | None
    source: str | None

    @property
    def root(self) -> Path:
        """The pipeline's folder, or the folder from which a file outside of the pipeline is imported."""
        return self.path.parents[len(Path(self.name).parts) - 1]


def reached_from(modules: Iterable[str]) -> tuple[list[AuthoredFile], set[str]]:
    """The authored files of `modules` and of all modules that these import, and the installed packages among them.

    A package is given as "name version". Modules of Python and of Sluice are left out.
    """
    files: list[AuthoredFile] = []
    packages: set[str] = set()
    todo, done = list(modules), {""}
    while todo:
        module = todo.pop()
        if module in done or is_given(module):
            continue
        done.add(module)
        todo.append(module.rpartition(".")[0])  # Python runs the packages that contain a module before the module
        spec = _spec(module)
        path = _path(spec)
        if spec is None or path is None:
            continue
        if is_installed(path) and (versions := _versions(module.partition(".")[0])):
            packages |= versions
            continue
        package = spec.parent or ""
        name = Path(*name_in_pipeline(package).split("."), path.name)
        tree = _parsed(path)
        files.append(AuthoredFile(module, str(name), path, tree, _source(tree)))
        todo += _imported(files[-1].tree, package)
    return sorted(files), packages


def path_of(module: str) -> Path | None:
    """The file of a module; None if the module has no file, because it is a folder, built in or made at run time."""
    return _path(_spec(module))


def _spec(module: str) -> ModuleSpec | None:
    """The spec of a module, found without importing the module or the packages that contain it; None if not found."""
    if module in sys.modules:
        return getattr(sys.modules[module], "__spec__", None)
    parent = module.rpartition(".")[0]
    if not parent:
        return importlib.util.find_spec(module)
    package = _spec(parent)
    folders = package.submodule_search_locations if package is not None else None
    return PathFinder.find_spec(module, folders) if folders else None


def _path(spec: ModuleSpec | None) -> Path | None:
    return Path(spec.origin) if spec is not None and spec.has_location and spec.origin else None


def _imported(tree: ast.Module | None, package: str) -> Iterator[str]:
    """The names that the import statements of a file name. A name is a module, or a name in a module, which may be a
    module as well. `package`: the package from which the file's relative imports start."""
    for node in ast.walk(tree) if tree is not None else ():
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            with suppress(ImportError):  # raised if a relative import has more dots than there are packages
                module = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
                yield from (module, *(f"{module}.{alias.name}" for alias in node.names))


_distributions = cache(metadata.packages_distributions)


@cache
def _versions(top: str) -> frozenset[str]:
    """The installed packages that contain the top-level module `top`, each as "name version"; empty if none does."""
    return frozenset(f"{name} {metadata.version(name)}" for name in _distributions().get(top, ()))


def _parsed(file: Path) -> ast.Module | None:
    """The Python code of a file, without its docstrings unless it reads docstrings; None if the file is not Python
    text. Raises SettingsError if the file cannot be read, because a change of it would not be noticed."""
    try:
        code = file.read_bytes()
    except OSError as error:
        raise SettingsError(
            f"{file}: this code of a mapping cannot be read ({type(error).__name__}), so no change of it would be "
            "noticed. Next: put it into a folder, not into an archive, and allow reading it"
        ) from None
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    for node in ast.walk(tree) if not _READS_DOCSTRINGS.search(code) else ():
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [one for one in node.body if not _is_text(one)] or [ast.Pass()]
    return tree


def _source(tree: ast.Module | None) -> str | None:
    try:
        return ast.unparse(tree) if tree is not None else None
    except RecursionError:
        return None


def _is_text(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
