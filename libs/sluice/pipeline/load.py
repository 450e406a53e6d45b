"""Reads `pipeline.yaml`. An error about the file names the file, line and member, and never quotes the value."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from sluice.errors import SettingsError
from sluice.pipeline.model import (
    CdcSource,
    DebeziumSource,
    KafkaPart,
    Pipeline,
    PollSource,
    PostgresSink,
    StreamSettings,
)
from sluice.pipeline.yaml_file import YamlFile, read_yaml

# Members of `Pipeline` that Sluice adds. An author must not write them in `pipeline.yaml`.
OURS = {"root", "file"}

# Error texts by pydantic's error type. They replace pydantic's own messages, which are written for programmers.
WORDS = {
    "bool_type": "true or false is expected",
    "dict_type": "members are expected, each with a name",
    "finite_number": "a finite number is expected",
    "float_parsing": "a number is expected",
    "float_type": "a number is expected",
    "int_parsing": "a whole number is expected",
    "int_type": "a whole number is expected",
    "list_type": "a list is expected",
    "missing": "it is required, and missing",
    "model_type": "members are expected, each with a name",
    "string_type": "a text is expected; put it in quotes if it looks like something else",
    "too_short": "it is empty; at least one is required",
}


def load_pipeline(path: Path) -> Pipeline:
    """The pipeline in the file `path`, or in `pipeline.yaml` of the folder `path`.

    Raises SettingsError with file, line and member for each mistake in the file.
    """
    file = path / "pipeline.yaml" if path.is_dir() else path
    try:
        read = read_yaml(file)
    except OSError as error:
        raise SettingsError(
            f"{file}: {error.strerror}. Next: point --pipeline or SLUICE_PIPELINE at a pipeline.yaml"
        ) from None
    if not isinstance(read.value, dict):
        raise SettingsError(f"{file}:1: a pipeline file is a mapping that starts with pipeline: <name>")
    for name in sorted(read.value.keys() & OURS):
        raise SettingsError(_problem(read, (name,), "no such member"))
    _choose_source_kinds(read)
    try:
        pipeline = Pipeline.model_validate({**read.value, "root": file.parent.resolve(), "file": file.resolve()})
    except ValidationError as error:
        raise _refused(read, error) from None
    for location, problem in _conflicts(pipeline):
        raise SettingsError(_problem(read, location, problem))
    return pipeline


def place_in_file(pipeline: Pipeline, *location: int | str) -> str:
    """The place of a member in the pipeline file as text, such as `pipeline.yaml:5: sources.hr.poll`.

    It is for mistakes that are found after the file was loaded. `location`: the names on the way to the member.
    """
    try:
        return _problem(read_yaml(pipeline.file), location, "").removesuffix(": ")
    except (OSError, SettingsError):
        return f"{pipeline.file}: {'.'.join(map(str, location))}"


def _choose_source_kinds(read: YamlFile) -> None:
    """Replace each source in `read` by the model of its kind, so that an error is about one kind, not about all.

    Raises SettingsError if a source is of no kind or is not valid.
    """
    sources = read.value.get("sources")
    if not isinstance(sources, dict):
        return
    for name, source in sources.items():
        model: type[PollSource] | type[CdcSource] | type[DebeziumSource] | None = None
        if isinstance(source, dict):
            model = PollSource if "poll" in source else CdcSource if "cdc" in source else None
            model = DebeziumSource if source.get("cdc") == "debezium" and model is CdcSource else model
        if model is None:
            raise SettingsError(_problem(read, ("sources", name), "a source says poll: or cdc:"))
        try:
            sources[name] = model.model_validate(source, context={"root": read.file.parent})
        except ValidationError as error:
            raise _refused(read, error, ("sources", name)) from None


def _conflicts(pipeline: Pipeline) -> Iterator[tuple[tuple[int | str, ...], str]]:
    """The location and the problem of each member of the pipeline file that conflicts with another member."""
    for name, source in pipeline.cdc_sources().items():
        for index, table in enumerate(source.tables):
            if table in source.tables[:index]:
                yield ("sources", name, "tables", index), f"{table} is listed twice"
        wrong = _wrong_topic_prefix(pipeline, name, source)
        if wrong:
            yield ("sources", name, "debezium"), wrong
    taken: dict[tuple[Any, str], str] = {}
    for name, sink in pipeline.sinks.items():
        first = taken.setdefault((sink.postgres, sink.schema_), name)
        if first != name:
            yield (
                ("sinks", name),
                f"sink {first} writes to schema {sink.schema_} of the same database, and each would take the "
                "other's rows for its own. Next: give it a schema: of its own",
            )


def _wrong_topic_prefix(pipeline: Pipeline, name: str, source: CdcSource) -> str:
    """What is wrong with Debezium's `topic.prefix` of a source; empty if nothing is."""
    needed = pipeline.names.raw(name, "").rstrip(".")
    if source.debezium is None or source.debezium.text("topic.prefix") in (None, needed):
        return ""
    return (
        f"topic.prefix: it is {needed}, because every raw topic of this source is named so. Next: leave it out, or "
        "name the source after it"
    )


def _refused(read: YamlFile, error: ValidationError, within: tuple[int | str, ...] = ()) -> SettingsError:
    return SettingsError("; ".join(_problem(read, (*within, *e["loc"]), _message(e)) for e in error.errors()))


def _message(error: ErrorDetails) -> str:
    if error["type"] != "extra_forbidden":
        return WORDS.get(error["type"], error["msg"].removeprefix("Value error, "))
    near = get_close_matches(str(error["loc"][-1]), _members(), 1)
    return f"no such member; is {near[0]} meant?" if near else "no such member"


def _members() -> list[str]:
    parts: list[type[BaseModel]] = [
        Pipeline,
        KafkaPart,
        PollSource,
        StreamSettings,
        CdcSource,
        DebeziumSource,
        PostgresSink,
    ]
    return [field.alias or name for part in parts for name, field in part.model_fields.items() if name not in OURS]


def _problem(read: YamlFile, location: tuple[int | str, ...], message: str) -> str:
    member = ".".join(str(part) for part in location) or "pipeline"
    return f"{read.file}:{read.line(location)}: {member}: {message}"
