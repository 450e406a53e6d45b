"""The author's Python: entities, mappings and connectors, imported from the pipeline's folder as one package."""

from __future__ import annotations

import hashlib
import importlib
import os
import re
import sys
import traceback
from collections.abc import Iterable
from collections.abc import Mapping as Mapping_
from difflib import get_close_matches
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from sluice.entities import Entity, EntityContract, Mapping, Prefer
from sluice.entities.authored_files import PIPELINE_PACKAGE
from sluice.errors import SettingsError, SluiceError, suggestion
from sluice.mapping_code import code_of
from sluice.pipeline.load import place_in_file
from sluice.pipeline.model import Pipeline, PollSource


def load_entities(pipeline: Pipeline) -> dict[str, EntityContract]:
    """Contracts by entity name, in the order in which the author wrote them."""
    module = _import(pipeline, pipeline.entities, "entities")
    found: dict[str, EntityContract] = {}
    for value in vars(module).values():
        if isinstance(value, type) and issubclass(value, Entity) and value is not Entity:
            contract = value.contract()
            found[contract.name] = contract
    if not found:
        raise SettingsError(
            f"{module.__file__}: it contains no entity. Next: write a class that inherits sluice.entities.Entity"
        )
    return found


def load_mappings(pipeline: Pipeline) -> list[Mapping]:
    """Every mapping in `sources/<source>/mapping.py`. Raises SettingsError for an unknown stream, for a name that two
    mappings have, and for a claim that the entity cannot take."""
    streams = {(s.source, s.stream) for s in pipeline.streams()}
    found: dict[str, Mapping] = {}
    for source in pipeline.sources:
        module = _import(pipeline, f"sources.{source}.mapping", "sources", source)
        for value in vars(module).values():
            if not isinstance(value, Mapping) or found.get(value.name) is value:
                continue
            if value.name in found:
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
            found[value.name] = value
    for mapping in found.values():
        code_of(mapping)  # read now, before the files can differ from the imported code
        mapping.check_claims()
    return list(found.values())


def require_ranked_sources(pipeline: Pipeline, contracts: Mapping_[str, EntityContract]) -> None:
    """Raises SettingsError for a rule that ranks a source which the pipeline file does not declare. A misspelt source
    ranks nothing, and another source wins without notice."""
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
    """The connector class that a polled source names as `module:Class`. Raises SettingsError if it cannot be
    imported."""
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
    """The name of the package that a pipeline's folder is imported as; the package is created at the first call.

    The name consists of the folder's name and a hash of its path: one process can load several pipelines, and several
    copies of one, without touching `sys.path`.
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
    """The error's text on one line, with modules named as in the pipeline's folder."""
    package = package_of(pipeline.root)
    return " ".join(str(error).replace(f"{package}.", "").replace(package, pipeline.root.name).split())


def _import(pipeline: Pipeline, name: str, *location: str) -> ModuleType:
    """Import the module `name`, which the pipeline file names at `location`.

    Raises SettingsError, with file and line, for every mistake of the author.
    """
    importlib.invalidate_caches()
    try:
        return importlib.import_module(f"{package_of(pipeline.root)}.{name}")
    except ModuleNotFoundError as error:
        raise SettingsError(_missing(pipeline, error, *location)) from error
    except SyntaxError as error:
        where = f"{error.filename}:{error.lineno}" if error.filename else _importing(pipeline, name, error)
        raise SettingsError(f"{where}: not Python: {error.msg}") from None
    except SettingsError as error:  # of a class or decorator of ours, within the author's file
        raise SettingsError(f"{_authored_line(pipeline, error)}: {error_text(pipeline, error)}") from None
    except SluiceError:
        raise
    except ImportError as error:
        raise author_error(pipeline, f"importing {name}", error, hint=_importable(error)) from error
    except (Exception, SystemExit) as error:
        raise author_error(pipeline, f"importing {name}", error) from error


def _missing(pipeline: Pipeline, error: ModuleNotFoundError, *location: str) -> str:
    """An error text that names the missing module and what the author can do."""
    package, missing = package_of(pipeline.root), error.name or ""
    where = _authored_line(pipeline, error)
    if where == str(pipeline.root):
        where = place_in_file(pipeline, *location)
        return f"{where}: no module {missing.removeprefix(f'{package}.')}; it is expected next to pipeline.yaml"
    own = find_spec(f"{package}.{missing.partition('.')[0]}") if not missing.startswith(package) else None
    if own is None:
        return f"{where}: no module {missing.removeprefix(f'{package}.')}. Next: install it, or correct its name"
    dots = "." * len(Path(where).relative_to(pipeline.root).parts)
    return f"{where}: a pipeline's files import each other relatively. Next: write from {dots}{missing} import …"


def _importable(error: ImportError) -> str:
    """A suggestion for a name that the imported module does not have."""
    asked = re.match(r"cannot import name '(\w+)'", str(error))
    module = sys.modules.get(error.name or "")
    close = get_close_matches(asked[1], dir(module), 1) if asked and module else []
    return f"; is {close[0]} meant?" if close else ""


def author_error(
    pipeline: Pipeline, doing: str, error: BaseException, *, quoted: bool = True, hint: str = ""
) -> SettingsError:
    """An error in the author's code as a SettingsError with the author's line. `quoted`: the message is shown; leave it
    out where it may contain a secret. `hint` is appended."""
    words = f": {error_text(pipeline, error)}" if quoted else ""
    return SettingsError(f"{_authored_line(pipeline, error)}: {doing} failed with {type(error).__name__}{words}{hint}")


def _authored_line(pipeline: Pipeline, error: BaseException) -> str:
    """The author's innermost file and line in the traceback; the pipeline's folder if there is none."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [f"{one.filename}:{one.lineno}" for one in frames if one.filename.startswith(f"{pipeline.root}/")]
    return lines[-1] if lines else str(pipeline.root)


def _importing(pipeline: Pipeline, name: str, error: BaseException) -> str:
    """The author's line that imports a faulty file which the error does not name; else the file of module `name`."""
    line = _authored_line(pipeline, error)
    if line != str(pipeline.root):
        return f"{line}: the file that is imported here"
    spec = find_spec(f"{package_of(pipeline.root)}.{name}")
    return spec.origin if spec is not None and spec.origin else f"importing {name}"


def unmapped(pipeline: Pipeline, mappings: Iterable[Mapping]) -> list[str]:
    """Streams and tables, as `source.stream`, that ingress publishes and no mapping reads."""
    read = {(mapping.source, mapping.stream) for mapping in mappings}
    return [f"{s.source}.{s.stream}" for s in pipeline.streams() if (s.source, s.stream) not in read]


def unmapped_line(streams: Iterable[str]) -> str:
    """A notice about streams that no mapping reads. This is no mistake, but an author easily forgets a mapping."""
    return f"no mapping reads {', '.join(streams)}: its records reach no entity"
