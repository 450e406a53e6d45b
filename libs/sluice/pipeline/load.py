"""Reading `pipeline.yaml`: every mistake is told with its line and without the value that stands there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from sluice.errors import SettingsError
from sluice.pipeline.model import CdcSource, Pipeline, PollSource


def load_pipeline(path: Path) -> Pipeline:
    """The pipeline in `path` (the file, or the folder that holds `pipeline.yaml`).

    Raises SettingsError naming file, line and member for anything wrong.
    """
    file = path / "pipeline.yaml" if path.is_dir() else path
    try:
        text = file.read_text("utf-8")
    except OSError as error:
        raise SettingsError(
            f"{file}: {error.strerror}; point --pipeline or SLUICE_PIPELINE at a pipeline.yaml"
        ) from None
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise SettingsError(f"{file}{line}: not YAML: {getattr(error, 'problem', 'unreadable')}") from None
    if not isinstance(value, dict) or "root" in value:
        raise SettingsError(f"{file}:1: a pipeline file is a mapping that begins with pipeline: <name>")
    _choose_source_kinds(file, node, value)
    try:
        return Pipeline.model_validate({**value, "root": file.parent.resolve()})
    except ValidationError as error:
        raise SettingsError("; ".join(_problem(file, node, e["loc"], e["msg"]) for e in error.errors())) from None


def _choose_source_kinds(file: Path, node: Any, value: dict[str, Any]) -> None:
    """Turn each source into its own model first, so that errors speak of one kind, not of a union of both."""
    sources = value.get("sources")
    if not isinstance(sources, dict):
        return
    for name, source in sources.items():
        model: type[PollSource] | type[CdcSource] | None = None
        if isinstance(source, dict):
            model = PollSource if "poll" in source else CdcSource if "cdc" in source else None
        if model is None:
            raise SettingsError(_problem(file, node, ("sources", name), "a source says poll: or cdc:"))
        try:
            sources[name] = model.model_validate(source)
        except ValidationError as error:
            problems = (_problem(file, node, ("sources", name, *e["loc"]), e["msg"]) for e in error.errors())
            raise SettingsError("; ".join(problems)) from None


def _problem(file: Path, node: Any, location: tuple[int | str, ...], message: str) -> str:
    member = ".".join(str(part) for part in location) or "pipeline"
    return f"{file}:{_line(node, location)}: {member}: {message}"


def _line(node: Any, location: tuple[int | str, ...]) -> int:
    """The line of the deepest node on the way to `location`, from 1."""
    line = int(node.start_mark.line)
    for part in location:
        found = None
        if isinstance(node, yaml.MappingNode):
            found = next((pair for pair in node.value if pair[0].value == str(part)), None)
            if found:
                line, node = found[0].start_mark.line, found[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = found = node.value[part]
            line = node.start_mark.line
        if found is None:
            break
    return line + 1
