"""Why a mapping could not read or map a record, without any content of the record.

pydantic quotes the input in its messages, and so may the exceptions of an author's function. A reason therefore has
only member names that the model declares, kinds of error, class names and line numbers.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec
from pydantic import BaseModel, ValidationError
from pydantic.errors import PydanticUserError
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaWarningKind, NoDefault
from pydantic_core.core_schema import WithDefaultSchema

from sluice.entities.authored_files import SourceLine, file_name, is_authored
from sluice.entities.raw_models import RawModel
from sluice.entities.values import RAW_JSON_LEVELS_MAX, TOO_DEEP

_PROBLEMS_MAX = 5
_PARTS_MAX = 20
_WORDS = {"extra_forbidden": "no such field", TOO_DEEP: f"nested more than {RAW_JSON_LEVELS_MAX} deep"}


class _MemberNames(GenerateJsonSchema):
    """Only the member names of the schema are read: defaults and warnings do not count."""

    def get_default_value(self, schema: WithDefaultSchema) -> Any:
        return NoDefault  # pydantic would format the default UNCLAIMED, which has no text

    def emit_warning(self, kind: JsonSchemaWarningKind, detail: str) -> None:
        pass


@lru_cache(maxsize=512)
def known_members(model: type[RawModel]) -> frozenset[str]:
    """All member names and aliases in a model and in the models inside it."""
    try:
        if issubclass(model, BaseModel):
            return frozenset(_properties(model.model_json_schema(schema_generator=_MemberNames)))
        return frozenset(_properties(msgspec.json.schema(model)))
    except (PydanticUserError, TypeError):  # a type inside has no JSON schema: only the outer names are known
        if issubclass(model, BaseModel):
            return frozenset(model.model_fields)
        return frozenset(field.encode_name for field in msgspec.structs.fields(model))


def _properties(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        properties = schema.get("properties")
        if isinstance(properties, dict):
            yield from properties
        for part in schema.values():
            yield from _properties(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from _properties(part)


def validation_reason(error: ValidationError, known: frozenset[str]) -> str:
    """The first problems of a validation as `path: kind`. A part of a path that is not in `known` becomes `*`."""
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    shown = [
        f"{_path(problem['loc'], known)}: {_WORDS.get(problem['type'], problem['type'])}"
        for problem in problems[:_PROBLEMS_MAX]
    ]
    more = len(problems) - len(shown)
    return "; ".join(shown) + (f"; and {more} more" if more else "")


# What msgspec says about the type of a value. Its other texts may quote the value.
_KINDS = re.compile(
    r"Expected `[\w |]+`, got `\w+`"
    r"|Expected `\w+` (?:of length )?[<>=]{1,2} [-\d.e+]+"  # a limit that the model declares
    r"|Invalid (?:decimal string|UUID|base64 encoded string|RFC3339 encoded \w+|ISO8601 duration)"
    r"|(?:Integer value|Timestamp|Duration|Number) (?:is )?out of range"
)
_MEMBER = re.compile(r"Object (missing required|contains unknown) field `(.*)`", re.DOTALL)


def struct_reason(error: msgspec.ValidationError, known: frozenset[str]) -> tuple[str, bool]:
    """As `validation_reason`: the problem of reading a Struct; and whether a member is missing."""
    text, _, place = str(error).rpartition(" - at `")
    location = [
        int(part) if part.isdigit() else part for part in re.findall(r"[^.\[\]`]+|\.\.\.", place.rpartition("$")[2])
    ]
    if not text:
        text, location = place, []
    member = _MEMBER.fullmatch(text)
    if error.__cause__ is not None:  # raised by the author's code
        kind = "value_error"
    elif member is not None:
        location.append(member[2])
        kind = "missing" if member[1] == "missing required" else "no such field"
    else:
        kind = text.replace("`", "") if _KINDS.fullmatch(text) else "invalid"
    return f"{_path(tuple(location), known)}: {kind}", kind == "missing"


def _path(location: tuple[int | str, ...], known: frozenset[str]) -> str:
    shown = location[:_PARTS_MAX]
    parts = [f"[{part}]" if isinstance(part, int) else part if part in known else "*" for part in shown]
    return ".".join(parts + ["…"] * (len(shown) < len(location))) or "record"


def raised_at(error: BaseException) -> SourceLine | None:
    """The innermost line of the author's code in which an exception was raised; None if there is none."""
    found = None
    trace: TracebackType | None = error.__traceback__
    while trace is not None:
        module = str(trace.tb_frame.f_globals.get("__name__", ""))
        if is_authored(module, Path(trace.tb_frame.f_code.co_filename)):
            found = SourceLine(file_name(module), trace.tb_lineno)
        trace = trace.tb_next
    return found
