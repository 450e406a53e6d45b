"""Code that the commands of `sluice` share: common options, groups, the choice of the pipeline, output of a result."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from sluice.errors import ExitCode, SettingsError
from sluice.pipeline import Pipeline, load_pipeline
from sluice.settings.stage import StageSettings, read_settings

PipelineOption = Annotated[
    Path | None, typer.Option(help="the file pipeline.yaml or its folder; default: the variable SLUICE_PIPELINE")
]
# For commands that start servers or find embedded servers: their state directory depends on the pipeline file.
PipelineFile = Annotated[
    Path, typer.Option("--pipeline", envvar="SLUICE_PIPELINE", help="The pipeline's file or folder.")
]
DEFAULT_PIPELINE = Path("pipeline.yaml")
StateDir = Annotated[
    Path | None,
    typer.Option(
        "--state-dir",
        envvar="SLUICE_STATE_DIR",
        help="The folder for all data of servers and stages. Default: .sluice next to the pipeline file.",
    ),
]
SecondsOption = Annotated[
    float | None,
    typer.Option(min=0, help="end this many seconds after the first golden record, and check that nothing is lost"),
]
JsonOption = Annotated[bool, typer.Option("--json", help="print the result as one JSON object, last on stdout")]


def single() -> typer.Typer:
    """A Typer app for one command without sub-commands.

    The command's help is plain text, because Rich would keep the line breaks of the docstring.
    """
    return typer.Typer(add_completion=False, rich_markup_mode=None)


def group() -> typer.Typer:
    """A Typer app for a group of sub-commands, such as `sluice topics`. `main.GROUPS` has the group's help text."""
    app = typer.Typer(add_completion=False, no_args_is_help=True, rich_markup_mode=None)
    app.callback()(lambda: None)  # without a callback, Typer makes a group's only sub-command the command itself
    return app


def chosen_pipeline(given: Path | None) -> tuple[StageSettings, Pipeline]:
    """The settings from the environment, and the pipeline in file `given`, else in the file that SLUICE_PIPELINE names.

    Raises SettingsError if a variable or the pipeline file is wrong.
    """
    settings = read_settings(StageSettings, given)
    return settings, load_pipeline(given or settings.pipeline)


def state_directory(pipeline: Path, given: Path | None) -> Path:
    """A pipeline's state directory, in which its embedded servers keep their data: `given`, or `.sluice` next to the
    pipeline file."""
    folder = pipeline if pipeline.is_dir() else pipeline.parent
    chosen = (given or folder / ".sluice").expanduser().resolve()
    # The file `env` of a demo sets SLUICE_STATE_DIR to `stages`, a folder inside the state directory.
    return chosen.parent if chosen.name == "stages" and (chosen.parent / "servers").is_dir() else chosen


def require_known(name: str, known: Collection[str], unknown: str) -> None:
    """Raises SettingsError if `known` does not contain `name`. The error text is `unknown` and all known names."""
    if name not in known:
        raise SettingsError(f"{unknown}; there are {', '.join(known) or 'none'}")


def report_progress(line: str) -> None:
    """Print a line for people on stderr, because stdout is for the result."""
    print(line, file=sys.stderr)


def print_result(as_json: bool, facts: Any, lines: Iterable[str], *, is_finding: bool = False) -> None:
    """Print a command's result: `facts` as one JSON object for programs if `as_json`, else `lines` for people.

    `is_finding`: something is wrong, so the command ends with exit code 1 after the result is printed.
    """
    for line in [orjson.dumps(facts).decode()] if as_json else lines:
        print(line)
    if is_finding:
        raise typer.Exit(int(ExitCode.FINDING))
