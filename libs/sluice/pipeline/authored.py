"""Imports the author's Python code from a pipeline's folder: entities, mappings and connectors.

All files of the folder are imported as one package.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import os
import re
import sys
import traceback
from collections.abc import Iterable
from collections.abc import Mapping as Mapping_
from dataclasses import replace
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from sluice.entities import Entity, EntityContract, Mapping, Prefer
from sluice.entities.authored_files import PIPELINE_PACKAGE
from sluice.entities.declaration import declared_in
from sluice.errors import SettingsError, SluiceError, suggestion
from sluice.mapping_code import code_of
from sluice.pipeline.import_errors import Place, attribute_hint, import_hint, missing_module
from sluice.pipeline.load import place_in_file
from sluice.pipeline.model import Pipeline, PollSource


def load_entities(pipeline: Pipeline) -> dict[str, EntityContract]:
    """The contracts of a pipeline's entities by entity name, in the order in which the author wrote the entities.

    Raises SettingsError if the module cannot be imported, contains no entity, or contains two of one name.
    """
    module = _import(pipeline, pipeline.entities, "entities")
    found: dict[str, EntityContract] = {}
    classes = [
        one for one in vars(module).values() if isinstance(one, type) and issubclass(one, Entity) and one is not Entity
    ]
    for name in {module.__name__, *(one.__module__ for one in classes)}:
        _require_one_definition(sys.modules[name])
    for one in classes:
        contract = one.contract()
        other = found.setdefault(contract.name, contract)
        if other is not contract:
            raise SettingsError(
                f"{module.__file__}: {other.record_name} and {contract.record_name} are both called {contract.name}. "
                'Next: give one of them another name: class Book(Entity, name="…")'
            )
    if not found:
        raise SettingsError(
            f"{module.__file__}: it contains no entity. Next: write a class that inherits sluice.entities.Entity"
        )
    return found


def load_mappings(pipeline: Pipeline) -> list[Mapping]:
    """All mappings of a pipeline, from `sources/<source>/mapping.py` of each source.

    Raises SettingsError if a mapping reads an unknown stream, if two mappings have the same name, or if a mapping
    claims a field in a way that the entity does not allow.
    """
    streams = {(s.source, s.stream) for s in pipeline.streams()}
    found: dict[str, Mapping] = {}
    for source in pipeline.sources:
        module = _import(pipeline, f"sources.{source}.mapping", "sources", source)
        _require_reachable(module)
        for value in vars(module).values():
            if not isinstance(value, Mapping):
                continue
            if value.name in found:
                if found[value.name].function is value.function:
                    continue
                raise SettingsError(
                    f"{module.__file__}: two mappings are called {value.name}. Next: give one of them another name"
                )
            if (value.source, value.stream) not in streams:
                read = f"{value.source}.{value.stream}"
                declared = [f"{one.source}.{one.stream}" for one in pipeline.streams()]
                raise SettingsError(
                    f"{module.__file__}: mapping {value.name} reads {read}, which {pipeline.file} does not "
                    f"declare ({suggestion(read, declared)})"
                )
            found[value.name] = replace(value, found_in=module.__name__)
    for mapping in found.values():
        code_of(mapping)  # reads and caches the code now, while the files are still equal to the imported code
        mapping.check_claims()
    return list(found.values())


def _require_one_definition(module: ModuleType) -> None:
    """Raises SettingsError if a class of an entity lost its name to a later definition, so that it would not exist."""
    names = vars(module)
    for lost in declared_in(module):
        name = getattr(lost, "__qualname__", "")
        if names.get(name) is not None and not any(one is lost for one in names.values()):
            raise SettingsError(
                f"{_first_definition(module, name)}: this class {name} does not exist, because {name} is later "
                "redefined. Next: give each class a name of its own"
            )


def _first_definition(module: ModuleType, name: str) -> str:
    """The place of the first class `name` in a module's file, as `file:line`."""
    tree = ast.parse(Path(module.__file__ or "").read_bytes())
    lines = [node.lineno for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and node.name == name]
    return f"{module.__file__}:{lines[0]}" if lines else str(module.__file__)


def _require_reachable(module: ModuleType) -> None:
    """Raises SettingsError if a mapping lost its name to a later definition, so that it would not exist.

    All modules are checked whose mappings `module` has, because it may import mappings.
    """
    mappings = [value for value in vars(module).values() if isinstance(value, Mapping)]
    for name in {module.__name__, *(mapping.function.__module__ for mapping in mappings)}:
        names = vars(sys.modules[name])
        reachable = {id(value.function) for value in names.values() if isinstance(value, Mapping)}
        for lost in declared_in(sys.modules[name]):
            if not isinstance(lost, Mapping):
                continue
            function = lost.function.__qualname__
            now = names.get(function)
            if now is None or id(lost.function) in reachable:
                continue
            why = f"{now.at} defines {function} again" if isinstance(now, Mapping) else f"{function} is later redefined"
            raise SettingsError(
                f"{lost.at}: mapping {lost.name} does not exist, because {why}. Next: give each function a name of "
                "its own, and write @mapping above all other decorators"
            )


def require_ranked_sources(pipeline: Pipeline, contracts: Mapping_[str, EntityContract]) -> None:
    """Raises SettingsError if a survivorship rule ranks a source that the pipeline file does not declare.

    Without this check, a misspelt source would have no rank, and another source would win without notice.
    """
    for contract in contracts.values():
        for field, rule in contract.rules.items():
            for source in rule.sources if isinstance(rule, Prefer) else ():
                if source not in pipeline.sources:
                    raise SettingsError(
                        f"{pipeline.entities}.{contract.record_name}.{field}: {rule.name} ranks source {source}, which "
                        f"{pipeline.file} does not declare ({suggestion(source, pipeline.sources)}). Next: "
                        "correct the rule; if the source was removed, remove it from the rule"
                    )


def load_connector(pipeline: Pipeline, source: str) -> Any:
    """The connector class of a polled source, which the pipeline file names as `module:Class`.

    Raises SettingsError if the source is not polled, or if the class cannot be imported.
    """
    declared = pipeline.sources[source]
    if not isinstance(declared, PollSource):
        raise SettingsError(f"source {source} is not polled, so it has no connector")
    module_name, _, class_name = declared.poll.partition(":")
    module = _import(pipeline, module_name, "sources", source, "poll")
    try:
        return getattr(module, class_name)
    except AttributeError:
        own = [n for n, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__]
        place = place_in_file(pipeline, "sources", source, "poll")
        raise SettingsError(
            f"{place}: no class {class_name} in {module.__file__} ({suggestion(class_name, own)})"
        ) from None


def package_of(root: Path) -> str:
    """The name of the Python package as which a pipeline's folder is imported. The first call creates the package.

    The name consists of the folder's name and a hash of its path. So one process can load several pipelines, or several
    copies of one pipeline, without a change of `sys.path`.
    """
    root = root.resolve()
    digest = hashlib.sha256(os.fsencode(root)).hexdigest()[:8]
    name = f"{PIPELINE_PACKAGE}{re.sub('[^A-Za-z0-9]', '_', root.name)}_{digest}"
    if name not in sys.modules:
        spec = ModuleSpec(name, None, is_package=True)
        spec.submodule_search_locations = [str(root)]
        sys.modules[name] = module_from_spec(spec)
    return name


def error_text(pipeline: Pipeline, error: BaseException) -> str:
    """The message of an error on one line. Modules of the author have the names that they have in the pipeline's
    folder."""
    package = package_of(pipeline.root)
    return " ".join(str(error).replace(f"{package}.", "").replace(package, pipeline.root.name).split())


def _import(pipeline: Pipeline, name: str, *location: str) -> ModuleType:
    """Import the author's module `name`. `location`: the member of the pipeline file that names the module.

    Raises SettingsError with file and line for each mistake of the author.
    """
    importlib.invalidate_caches()
    try:
        return importlib.import_module(f"{package_of(pipeline.root)}.{name}")
    except ModuleNotFoundError as error:
        raise SettingsError(_missing(pipeline, error, *location)) from error
    except SyntaxError as error:
        where = f"{error.filename}:{error.lineno}" if error.filename else _importing(pipeline, name, error)
        raise SettingsError(f"{where}: not Python: {error.msg}") from None
    except SettingsError as error:  # raised by a class or decorator of Sluice that the author's file uses
        raise SettingsError(f"{_authored_line(pipeline, error)}: {error_text(pipeline, error)}") from None
    except SluiceError:
        raise
    except ImportError as error:
        raise author_error(
            pipeline, f"importing {name}", error, hint=import_hint(_place(pipeline, error), error)
        ) from error
    except (Exception, SystemExit) as error:
        raise author_error(pipeline, f"importing {name}", error, hint=attribute_hint(error)) from error


def _missing(pipeline: Pipeline, error: ModuleNotFoundError, *location: str) -> str:
    """The error text for a module that cannot be found: where it is imported, its name, and what the author can do."""
    place = _place(pipeline, error)
    if place is None:
        name = (error.name or "").removeprefix(f"{package_of(pipeline.root)}.")
        return f"{place_in_file(pipeline, *location)}: no module {name}; it is expected next to pipeline.yaml"
    return f"{place.file}:{place.line}: {missing_module(place, error)}"


def _place(pipeline: Pipeline, error: BaseException) -> Place | None:
    """The innermost line of the author's code in an error's traceback; None if the traceback contains none."""
    frames = [one for one in traceback.extract_tb(error.__traceback__) if one.filename.startswith(f"{pipeline.root}/")]
    if not frames:
        return None
    return Place(pipeline.root, package_of(pipeline.root), Path(frames[-1].filename), frames[-1].lineno or 1)


def author_error(
    pipeline: Pipeline, doing: str, error: BaseException, *, quoted: bool = True, hint: str = "", place: str = ""
) -> SettingsError:
    """An error in the author's code as a SettingsError that names the author's file and line.

    `doing`: the action that failed. `quoted`: whether the text contains the message of `error`; False if the message
    may contain a secret. `hint`: a text that is appended. `place`: the place in the pipeline file, which is named if
    Sluice's code raised the error because of a wrong declaration.
    """
    words = f": {error_text(pipeline, error)}" if quoted else ""
    where = _authored_line(pipeline, error)
    if place and where == str(pipeline.root):
        at = traceback.extract_tb(error.__traceback__)[-1]
        where = place
        hint = f" at {Path(at.filename).name}:{at.lineno}. Next: compare the class with docs/reference/connectors.md"
    return SettingsError(f"{where}: {doing} failed with {type(error).__name__}{words}{hint}")


def _authored_line(pipeline: Pipeline, error: BaseException) -> str:
    """The innermost line of the author's code in an error's traceback, as `file:line`; the pipeline's folder if the
    traceback contains none."""
    place = _place(pipeline, error)
    return str(pipeline.root) if place is None else f"{place.file}:{place.line}"


def _importing(pipeline: Pipeline, name: str, error: BaseException) -> str:
    """The place of a faulty file that a SyntaxError does not name: the author's line that imports the file, else the
    file of module `name`."""
    line = _authored_line(pipeline, error)
    if line != str(pipeline.root):
        return f"{line}: the file that is imported here"
    spec = find_spec(f"{package_of(pipeline.root)}.{name}")
    return spec.origin if spec is not None and spec.origin else f"importing {name}"


def unmapped(pipeline: Pipeline, mappings: Iterable[Mapping]) -> list[str]:
    """The streams and tables, as `source.stream`, that ingress publishes but no mapping reads."""
    read = {(mapping.source, mapping.stream) for mapping in mappings}
    return [f"{s.source}.{s.stream}" for s in pipeline.streams() if (s.source, s.stream) not in read]


def unmapped_line(streams: Iterable[str]) -> str:
    """A notice about streams that no mapping reads. This may be intended, but an author easily forgets a mapping."""
    return f"no mapping reads {', '.join(streams)}: its records reach no entity"
