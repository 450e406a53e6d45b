"""What the commands share: options, groups, the pipeline that a command is about, and the output of a result."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from sluice.errors import ExitCode, SettingsError
from sluice.pipeline import Pipeline, load_pipeline
from sluice.settings.stage import StageSettings, read_settings

PipelineOption = Annotated[Path | None, typer.Option(help="pipeline.yaml, or its folder; else SLUICE_PIPELINE")]
SecondsOption = Annotated[
    float | None, typer.Option(min=0, help="so long after the first golden record, check and stop")
]
JsonOption = Annotated[bool, typer.Option("--json", help="one JSON object, last on stdout")]


def single() -> typer.Typer:
    """A command without sub-commands. Its help is plain text: Rich keeps the line breaks of a docstring."""
    return typer.Typer(add_completion=False, rich_markup_mode=None)


def group() -> typer.Typer:
    """A group of sub-commands; its help text is in `main.GROUPS`."""
    app = typer.Typer(add_completion=False, no_args_is_help=True, rich_markup_mode=None)
    app.callback()(lambda: None)  # without a callback, a single sub-command would become the command itself
    return app


def chosen_pipeline(given: Path | None) -> tuple[StageSettings, Pipeline]:
    """The process's settings, and the pipeline `given` or named by SLUICE_PIPELINE. Raises SettingsError."""
    settings = read_settings(StageSettings, given)
    return settings, load_pipeline(given or settings.pipeline)


def require_known(name: str, known: Collection[str], unknown: str) -> None:
    """Raises SettingsError with the text `unknown` and the known names, unless `name` is one of them."""
    if name not in known:
        raise SettingsError(f"{unknown}; there are {', '.join(known) or 'none'}")


def print_result(as_json: bool, facts: Any, lines: Iterable[str], *, is_finding: bool = False) -> None:
    """Print `facts` as one JSON object for programs, or `lines` for people. A finding then ends the command with 1."""
    print(orjson.dumps(facts).decode() if as_json else "\n".join(lines))
    if is_finding:
        raise typer.Exit(int(ExitCode.FINDING))
