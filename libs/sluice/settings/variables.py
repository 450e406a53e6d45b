"""The environment variables that Sluice knows. A misspelt one is an error, because its default would run unnoticed."""

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
# Of the command line, the embedded servers, the demo, the examples and the tests.
OTHER_VARIABLES = (
    "SLUICE_ARTIFACTS_DIR",
    "SLUICE_CACHE_DIR",
    "SLUICE_POSTGRES_DSN",
    "SLUICE_SCENARIO_LOGS",
    "SLUICE_SEED",
)
TEST_PREFIX = "SLUICE_TEST_"
# Settings of single stages: one environment often serves all stages.
STAGE_VARIABLES = (
    "SLUICE_FEEDBACK_INTERVAL_S",
    "SLUICE_LINGER_S",
    "SLUICE_POLLER",
    "SLUICE_RECHECK_INTERVAL_S",
    "SLUICE_RECORD_BYTES_MAX",
    "SLUICE_SINK",
    "SLUICE_WATCH_INTERVAL_S",
    "SLUICE_WATERMARK_INTERVAL_S",
)
# Kubernetes gives each container the addresses of its namespace's services: `sluice-kafka` is SLUICE_KAFKA_PORT=tcp://….
_SERVICE = re.compile(r"\w+_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?)")
_SERVICE_ADDRESS = re.compile(r"(tcp|udp|sctp)://.*")


class Variable(NamedTuple):
    """A variable of a settings class: `default` and `allowed` as a person writes them, `what` it does."""

    name: str
    default: str
    allowed: str
    what: str


def variables_of(kind: type[BaseModel]) -> Iterator[Variable]:
    """Every variable of a settings class in the order of its fields, with those of its parts."""
    for variable, field in _fields(kind):
        if _part(field) is None:
            default = field.get_default(call_default_factory=True)
            yield Variable(variable, _spelled(default), _allowed(field), field.description or "")


def known_variables(kind: type[BaseModel]) -> Iterator[str]:
    """The variables of a settings class and of its parts. A part is also a variable, whose value is a JSON object."""
    return (variable for variable, _ in _fields(kind))


def _fields(kind: type[BaseModel], prefix: str = PREFIX) -> Iterator[tuple[str, FieldInfo]]:
    for name, field in kind.model_fields.items():
        variable = f"{prefix}{name.upper()}"
        yield variable, field
        if (part := _part(field)) is not None:
            yield from _fields(part, f"{variable}__")


def _part(field: FieldInfo) -> type[BaseModel] | None:
    """The class of a field that has fields of its own."""
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _spelled(default: object) -> str:
    if isinstance(default, Path) and default.is_absolute():
        return f"{default.name} next to the code"
    return json.dumps(default) if isinstance(default, dict | list) else str(default)


def _allowed(field: FieldInfo) -> str:
    """The allowed values: a choice, or the bounds of a number."""
    if get_origin(field.annotation) is Literal:
        return ", ".join(map(str, get_args(field.annotation)))
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    bounds = [(sign, getattr(mark, name, None)) for mark in field.metadata for name, sign in signs.items()]
    return ", ".join(f"{sign} {bound:,}" for sign, bound in bounds if bound is not None)


def unknown_variables(kind: type[BaseModel], environment: Mapping[str, str], pipeline: Path) -> Iterator[str]:
    """An error text for each `SLUICE_…` that nothing reads. The pipeline file may name its own secrets so."""
    known = {*known_variables(kind), *OTHER_VARIABLES, *STAGE_VARIABLES}
    maps = [variable for variable, field in _fields(kind) if get_origin(field.annotation) is dict]
    parts = {variable for variable, field in _fields(kind) if _part(field) is not None}
    other_parts = {name.partition("__")[0] for name in known} - parts
    for variable, value in environment.items():
        name = variable.upper()
        if not name.startswith(PREFIX) or name.startswith(TEST_PREFIX) or name in known or _is_service(name, value):
            continue
        if any(name.startswith(f"{variables}__") for variables in maps):
            continue  # a member of a map: SLUICE_KAFKA__OPTIONS__sasl.password
        if "__" in name and name.partition("__")[0] in other_parts:
            continue  # a part of another stage's settings
        if not _names(pipeline, variable):
            yield unknown_text(variable, known)


def unknown_text(variable: str, known: Iterable[str]) -> str:
    close = get_close_matches(variable.upper(), known, 1)
    return f"{variable}: no such setting" + (f"; is {close[0]} meant?" if close else "")


def unreadable_variables(kind: type[BaseModel], environment: Mapping[str, str]) -> Iterator[str]:
    """An error text for each variable that should contain JSON (an object or a list) and does not."""
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
