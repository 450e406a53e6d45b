"""`sluice demo`: all servers, all stages and a live source, with a golden record and the source of each field."""

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
    """The folder of an example: a name under the checkout's `examples/`, or a path."""
    for folder in (default_schemas_dir().parent / "examples" / name, Path(name)):
        if (folder / "pipeline.yaml").is_file():
            return folder.resolve()
    raise SettingsError(f"no example {name}: a folder with pipeline.yaml and source.py; there are workforce and tryton")


@app.command()
def demo(
    example: Annotated[str, typer.Option(help="workforce, tryton, or a folder")] = "workforce",
    seconds: SecondsOption = None,
    rate: Annotated[float, typer.Option(min=0, help="live edits per second in the sources")] = 20.0,
    state_dir: Annotated[Path | None, typer.Option(help="where data is kept; default: .sluice in the example")] = None,
    as_json: JsonOption = False,
) -> None:
    """Start everything, show a golden record with the source of each field, and run until Ctrl-C.

    With --seconds the run ends with a check that nothing was lost. Exit codes then: 0, verified; 1, something is wrong
    or could not be checked; 4, nothing is wrong, but no golden record came within five minutes.

    `latency_s` in --json is the time from just before a live edit is sent to its source until the golden row that shows
    it is committed, so it is never too small. Not counted: edits before the first golden record, deletes, edits that
    another edit overwrote before they were measured, and edits that change nothing.
    """
    started_at = time.monotonic()
    from sluice.local.session import Wanted

    folder = example_folder(example)
    state = (state_dir or folder / ".sluice").resolve()
    wanted = Wanted(folder, state, seconds=seconds, example=True, edits_per_s=rate)
    run_session(wanted, started_at=started_at, as_json=as_json)
