"""The environment variables that Sluice knows.

An unknown `SLUICE_…` variable is an error. If a misspelt variable were ignored, its default would be used without
notice.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Literal, NamedTuple, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

PREFIX = "SLUICE_"
# Variables of the command line, the embedded servers, the demo, the examples and the tests.
OTHER_VARIABLES = (
    "SLUICE_ARTIFACTS_DIR",
    "SLUICE_CACHE_DIR",
    "SLUICE_POSTGRES_DSN",
    "SLUICE_SCENARIO_LOGS",
    "SLUICE_SEED",
)
TEST_PREFIX = "SLUICE_TEST_"
# Variables that only one stage reads. Every stage accepts all of them, because one environment often serves all stages.
STAGE_VARIABLES = (
    "SLUICE_FEEDBACK_INTERVAL_S",
    "SLUICE_LINGER_S",
    "SLUICE_POLLER",
    "SLUICE_RECHECK_INTERVAL_S",
    "SLUICE_RECORD_BYTES_MAX",
    "SLUICE_SINK",
    "SLUICE_WATCH_INTERVAL_S",
    "SLUICE_WAL_WARN_BYTES",
    "SLUICE_WAL_LIMIT_BYTES",
    "SLUICE_WAL_LIMIT_ACTION",
    "SLUICE_STUCK_AFTER_S",
    "SLUICE_WATERMARK_INTERVAL_S",
)
# Kubernetes gives each container variables with the addresses of its namespace's services. A service `sluice-kafka` has
# SLUICE_KAFKA_PORT=tcp://…. These variables are not settings.
_SERVICE = re.compile(r"\w+_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?)")
_SERVICE_ADDRESS = re.compile(r"(tcp|udp|sctp)://.*")


class Variable(NamedTuple):
    """An environment variable of a settings class. `default` and `allowed`: values as a person writes them. `what`: the
    effect of the variable."""

    name: str
    default: str
    allowed: str
    what: str


def variables_of(kind: type[BaseModel]) -> Iterator[Variable]:
    """The environment variables of a settings class and of its nested classes, in the order of the fields."""
    for variable, field in _fields(kind):
        if _part(field) is None:
            default = field.get_default(call_default_factory=True)
            yield Variable(variable, _spelled(default), _allowed(field), field.description or "")


def known_variables(kind: type[BaseModel]) -> Iterator[str]:
    """The names of the environment variables of a settings class and of its nested classes.

    A field with a nested class is also a variable, whose value is a JSON object.
    """
    return (variable for variable, _ in _fields(kind))


def _fields(kind: type[BaseModel], prefix: str = PREFIX) -> Iterator[tuple[str, FieldInfo]]:
    for name, field in kind.model_fields.items():
        variable = f"{prefix}{name.upper()}"
        yield variable, field
        if (part := _part(field)) is not None:
            yield from _fields(part, f"{variable}__")


def _part(field: FieldInfo) -> type[BaseModel] | None:
    """The nested settings class of a field; None if the field is a plain value."""
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _spelled(default: object) -> str:
    if isinstance(default, Path) and default.is_absolute():
        return f"{default.name} next to the code"
    return json.dumps(default) if isinstance(default, dict | list) else str(default)


def _allowed(field: FieldInfo) -> str:
    """The allowed values of a settings field as text: the choices, or the bounds of a number; empty if any value is
    allowed."""
    if get_origin(field.annotation) is Literal:
        return ", ".join(map(str, get_args(field.annotation)))
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    bounds = [(sign, getattr(mark, name, None)) for mark in field.metadata for name, sign in signs.items()]
    return ", ".join(f"{sign} {bound:,}" for sign, bound in bounds if bound is not None)


def unknown_variables(kind: type[BaseModel], environment: Mapping[str, str], pipeline: Path) -> Iterator[str]:
    """An error text for each variable `SLUICE_…` that neither Sluice nor the pipeline file knows.

    A pipeline file may use such a name for a variable with a secret of its own.
    """
    known = {*known_variables(kind), *OTHER_VARIABLES, *STAGE_VARIABLES}
    maps = [variable for variable, field in _fields(kind) if get_origin(field.annotation) is dict]
    parts = {variable for variable, field in _fields(kind) if _part(field) is not None}
    other_parts = {name.partition("__")[0] for name in known} - parts
    for variable, value in environment.items():
        name = variable.upper()
        if not name.startswith(PREFIX) or name.startswith(TEST_PREFIX) or name in known or _is_service(name, value):
            continue
        if any(name.startswith(f"{variables}__") for variables in maps):
            continue  # the variable is an entry of a setting that is a map: SLUICE_KAFKA__OPTIONS__sasl.password
        if "__" in name and name.partition("__")[0] in other_parts:
            continue  # the variable is for a nested settings class of another stage
        if not _names(pipeline, variable):
            yield unknown_text(variable, known)


def unknown_text(variable: str, known: Iterable[str]) -> str:
    close = get_close_matches(variable.upper(), known, 1)
    return f"{variable}: no such setting" + (f"; is {close[0]} meant?" if close else "")


def unreadable_variables(kind: type[BaseModel], environment: Mapping[str, str]) -> Iterator[str]:
    """An error text for each variable whose value must be a JSON object or list, and is not JSON."""
    given = {name.upper(): value for name, value in environment.items()}
    for variable, field in _fields(kind):
        origin = get_origin(field.annotation)
        if _part(field) is not None or origin in (dict, list):
            try:
                json.loads(given.get(variable) or "null")
            except ValueError:
                example = '["a", "b"]' if origin is list else '{"name": "value"}'
                yield f"{variable}: is not JSON; it is written as {example}"


def _is_service(name: str, value: str) -> bool:
    return bool(_SERVICE.fullmatch(name) or (name.endswith("_PORT") and _SERVICE_ADDRESS.fullmatch(value)))


def _names(pipeline: Path, variable: str) -> bool:
    file = pipeline / "pipeline.yaml" if pipeline.is_dir() else pipeline
    try:
        return variable in file.read_text("utf-8", "replace")
    except OSError:
        return False
