"""Reading `pipeline.yaml`: every mistake is told with its line and without the value that stands there."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from sluice.errors import SettingsError
from sluice.pipeline.model import CdcSource, KafkaPart, Pipeline, PollSource, PostgresSink, StreamSettings
from sluice.pipeline.yaml_file import YamlFile, read_yaml

# What Sluice adds to what the file says.
OURS = {"root", "file"}

# pydantic speaks to programmers.
WORDS = {
    "bool_type": "true or false stands here",
    "dict_type": "members stand here, each with a name",
    "finite_number": "a number with an end stands here",
    "float_parsing": "a number stands here",
    "float_type": "a number stands here",
    "int_parsing": "a whole number stands here",
    "int_type": "a whole number stands here",
    "list_type": "a list stands here",
    "missing": "it is needed, and left out",
    "model_type": "members stand here, each with a name",
    "string_type": "a text stands here; in quotes, if it looks like something else",
    "too_short": "it is empty; at least one is needed",
}


def load_pipeline(path: Path) -> Pipeline:
    """The pipeline in `path` (the file, or the folder that holds `pipeline.yaml`).

    Raises SettingsError naming file, line and member for anything wrong.
    """
    file = path / "pipeline.yaml" if path.is_dir() else path
    try:
        read = read_yaml(file)
    except OSError as error:
        raise SettingsError(
            f"{file}: {error.strerror}; point --pipeline or SLUICE_PIPELINE at a pipeline.yaml"
        ) from None
    if not isinstance(read.value, dict):
        raise SettingsError(f"{file}:1: a pipeline file is a mapping that begins with pipeline: <name>")
    for name in sorted(read.value.keys() & OURS):
        raise SettingsError(_problem(read, (name,), "there is no such member"))
    _choose_source_kinds(read)
    try:
        made = Pipeline.model_validate({**read.value, "root": file.parent.resolve(), "file": file.resolve()})
    except ValidationError as error:
        raise _refused(read, error) from None
    for location, told in _against_each_other(made):
        raise SettingsError(_problem(read, location, told))
    return made


def place_in_file(pipeline: Pipeline, *location: int | str) -> str:
    """`pipeline.yaml:5: sources.hr.poll`, for what turns out wrong later."""
    try:
        return _problem(read_yaml(pipeline.file), location, "").removesuffix(": ")
    except (OSError, SettingsError):
        return f"{pipeline.file}: {'.'.join(map(str, location))}"


def _choose_source_kinds(read: YamlFile) -> None:
    """Turn each source into its own model first, so that errors speak of one kind, not of a union of both."""
    sources = read.value.get("sources")
    if not isinstance(sources, dict):
        return
    for name, source in sources.items():
        model: type[PollSource] | type[CdcSource] | None = None
        if isinstance(source, dict):
            model = PollSource if "poll" in source else CdcSource if "cdc" in source else None
        if model is None:
            raise SettingsError(_problem(read, ("sources", name), "a source says poll: or cdc:"))
        try:
            sources[name] = model.model_validate(source)
        except ValidationError as error:
            raise _refused(read, error, ("sources", name)) from None


def _against_each_other(pipeline: Pipeline) -> Iterator[tuple[tuple[int | str, ...], str]]:
    """What is right by itself and wrong beside something else: where, and why."""
    for name, source in pipeline.cdc_sources().items():
        for index, table in enumerate(source.tables):
            if table in source.tables[:index]:
                yield ("sources", name, "tables", index), f"{table} stands twice"
    taken: dict[tuple[Any, str], str] = {}
    for name, sink in pipeline.sinks.items():
        first = taken.setdefault((sink.postgres, sink.schema_), name)
        if first != name:
            yield (
                ("sinks", name),
                f"sink {first} writes to schema {sink.schema_} of the same database, and each would take the "
                "other's rows for its own; give it a schema: of its own",
            )


def _refused(read: YamlFile, error: ValidationError, within: tuple[int | str, ...] = ()) -> SettingsError:
    return SettingsError("; ".join(_problem(read, (*within, *e["loc"]), _told(e)) for e in error.errors()))


def _told(error: ErrorDetails) -> str:
    if error["type"] != "extra_forbidden":
        return WORDS.get(error["type"], error["msg"].removeprefix("Value error, "))
    meant = get_close_matches(str(error["loc"][-1]), _members(), 1)
    return f"no such member; is {meant[0]} meant?" if meant else "no such member"


def _members() -> list[str]:
    parts: list[type[BaseModel]] = [Pipeline, KafkaPart, PollSource, StreamSettings, CdcSource, PostgresSink]
    return [field.alias or name for part in parts for name, field in part.model_fields.items() if name not in OURS]


def _problem(read: YamlFile, location: tuple[int | str, ...], message: str) -> str:
    member = ".".join(str(part) for part in location) or "pipeline"
    return f"{read.file}:{read.line(location)}: {member}: {message}"
