"""The checks of declared entities and mappings: what cannot work is refused before any record is read."""

import inspect
from collections.abc import Callable
from functools import cached_property
from types import ModuleType
from typing import Any

from sluice.errors import SettingsError
from sluice.names import name_problem

VERSION_MAX = 2**31 - 1
_DECLARED = "sluice_declared"


def require_function(function: Any) -> str:
    """The module and name of an author's function, for error texts. Raises SettingsError for anything else."""
    where = f"{function.__module__}.{getattr(function, '__name__', type(function).__name__)}"
    if not hasattr(function, "__code__"):
        raise SettingsError(
            f"{where}: @mapping declares one function, and this is a {type(function).__name__}. "
            "Next: write a function of its own for each mapping"
        )
    if _is_async(function):
        raise SettingsError(f"{where}: a mapping is no async function. Next: write def instead of async def")
    return where


def split_source(where: str, source: Any) -> tuple[str, str]:
    """The source and the stream in `source`. Raises SettingsError if it does not name both."""
    name, dot, stream = source.partition(".") if isinstance(source, str) else ("", "", "")
    if not (name and dot and stream):
        raise SettingsError(
            f"{where}: source={source!r} names no stream of a source. "
            'Next: write source="<source>.<stream>", as in pipeline.yaml'
        )
    return name, stream


def require_version(where: str, version: Any) -> None:
    """Raises SettingsError if `version` is not an integer that every place of storage has room for."""
    if type(version) is not int or not 1 <= version <= VERSION_MAX:
        raise SettingsError(
            f"{where}: version={version!r}: a version is a whole number from 1 to {VERSION_MAX}. "
            "Next: write such a number, 1 for the first version"
        )


def require_name(where: str, argument: str, name: Any) -> None:
    """Raises SettingsError if `name`, which was given as `argument`, cannot be a name."""
    problem = name_problem(name)
    if problem:
        raise SettingsError(f"{where}: {argument}={name!r}: {problem}. Next: give one with {argument}=")


def require_time_function(where: str, effective_at: Any, raw_model: type[Any]) -> None:
    """Raises SettingsError if `effective_at` cannot be called with a record."""
    getter = None
    if isinstance(effective_at, property | cached_property):
        getter = effective_at.fget if isinstance(effective_at, property) else effective_at.func
    if getter is not None:
        name, kind = getter.__name__, type(effective_at).__name__
        raise SettingsError(
            f"{where}: effective_at is the property {name}, and must be a function. "
            f"Next: remove @{kind} above {name} in {raw_model.__name__}"
        )
    if not callable(effective_at):
        raise SettingsError(
            f"{where}: effective_at is {type(effective_at).__name__}, and must be a function. "
            f"Next: give a method of {raw_model.__name__}, or a function of the record"
        )
    if _is_async(effective_at) or _is_async(type(effective_at).__call__):
        raise SettingsError(f"{where}: effective_at is no async function. Next: write def instead of async def")


def remember(names: dict[str, Any], declared: object) -> None:
    """Add an entity's class or a mapping to those that a module declares. `names`: the names of the module.

    The list belongs to the module's spec, because each import of a module has a spec of its own, also a repeated one.
    """
    spec = names.get("__spec__")
    if spec is not None:
        vars(spec).setdefault(_DECLARED, []).append(declared)


def declared_in(module: ModuleType) -> list[Any]:
    """The entities and mappings that were declared in `module` at its last import, also those without a name now."""
    return list(vars(module.__spec__).get(_DECLARED, ())) if module.__spec__ is not None else []


def _is_async(function: Callable[..., Any]) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)
