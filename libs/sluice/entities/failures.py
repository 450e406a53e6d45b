"""Why a mapping could not read or map a record, told without a word of the record.

pydantic quotes the input in its messages, and exceptions of an author's function may; so only member names that the
model itself declares, kinds of error, class names and line numbers get through.
"""

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.errors import PydanticUserError

_PROBLEMS_MAX = 5


@lru_cache(maxsize=512)
def known_members(model: type[BaseModel]) -> frozenset[str]:
    """All member names and aliases in a model and in the models inside it."""
    try:
        return frozenset(_properties(model.model_json_schema(mode="validation")))
    except PydanticUserError:  # a type without a JSON schema inside: only the outer names are known then
        return frozenset(model.model_fields)


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
    """The first problems of a validation as `path: kind`; parts of a path that are no declared names become `*`."""
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    told = [f"{_path(problem['loc'], known)}: {problem['type']}" for problem in problems[:_PROBLEMS_MAX]]
    more = len(problems) - len(told)
    return "; ".join(told) + (f"; and {more} more" if more else "")


def _path(location: tuple[int | str, ...], known: frozenset[str]) -> str:
    parts = (f"[{part}]" if isinstance(part, int) else part if part in known else "*" for part in location)
    return ".".join(parts) or "record"


def line_in(function: Callable[..., Any], error: Exception) -> int:
    """The line of the mapping's own file in which an exception arose."""
    code = getattr(function, "__code__", None)
    file, line = (code.co_filename, code.co_firstlineno) if code else ("", 0)
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == file:
            line = trace.tb_lineno
        trace = trace.tb_next
    return line
