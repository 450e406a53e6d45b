"""`sluice demo`: runs an example pipeline with all servers, all stages and live sources, and shows a golden record."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from sluice.cli.command import JsonOption, SecondsOption, single
from sluice.cli.up import run_session
from sluice.errors import SettingsError
from sluice.settings.stage import default_schemas_dir

app = single()


def example_folder(name: str) -> Path:
    """The folder of an example pipeline. `name`: a folder in the checkout's `examples/`, or a path.

    Raises SettingsError if the folder does not exist or contains no `pipeline.yaml`.
    """
    for folder in (default_schemas_dir().parent / "examples" / name, Path(name)):
        if (folder / "pipeline.yaml").is_file():
            return folder.resolve()
    raise SettingsError(f"no example {name}: a folder with pipeline.yaml and source.py; there are workforce and tryton")


@app.command()
def demo(
    example: Annotated[str, typer.Option(help="workforce, tryton, or the folder of an example")] = "workforce",
    seconds: SecondsOption = None,
    rate: Annotated[float, typer.Option(min=0, help="live edits per second in the sources")] = 20.0,
    state_dir: Annotated[
        Path | None, typer.Option(help="folder for all data of the run; default: .sluice in the example's folder")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Run an example pipeline until Ctrl-C: all servers, all stages and live sources.

    The screen shows a golden record with the source of each field.

    With --seconds, the run ends with a check that nothing is lost. Exit codes then: 0, verified; 1, something is wrong
    or could not be checked; 4, nothing is wrong, but no golden record came within five minutes.

    `latency_s` in the output of --json is the latency of live edits: from just before an edit is sent to its source
    until the golden row with the edit is committed. So the reported latency is never too small. Not counted: edits
    before the first golden record, deletes, edits that another edit overwrote before they were measured, and edits that
    change nothing.
    """
    started_at = time.monotonic()
    from sluice.local.session import RunOptions

    folder = example_folder(example)
    state = (state_dir or folder / ".sluice").resolve()
    options = RunOptions(folder, state, seconds=seconds, example=True, edits_per_s=rate)
    run_session(options, started_at=started_at, as_json=as_json)
