"""`sluice up`: your own pipeline in one terminal: servers, topics, schemas, every stage, and what they do."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import orjson
import typer

from sluice.cli.command import JsonOption, SecondsOption, require_known, single
from sluice.cli.dev import DEFAULT_PIPELINE, PipelineFile, state_directory
from sluice.names import STAGES
from sluice.stage.signals import Stop

if TYPE_CHECKING:
    from sluice.local.session import Wanted

app = single()


@app.command()
def up(
    pipeline: PipelineFile = DEFAULT_PIPELINE,
    stage: Annotated[list[str] | None, typer.Option(help="a stage to run; may be repeated; default: all")] = None,
    servers: Annotated[
        bool, typer.Option(help="start the embedded servers, or use the ones in the environment")
    ] = True,
    seconds: SecondsOption = None,
    state_dir: Annotated[
        Path | None,
        typer.Option(envvar="SLUICE_STATE_DIR", help="where data is kept; default: .sluice next to the file"),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Run a pipeline with its servers, topics, schemas and all stages, and show what each does, until Ctrl-C.

    The embedded Kafka, registry and Postgres start with data next to the pipeline file; the data is kept for the next
    start. Servers that `sluice dev up` started are used, and left running. A sink whose variable is not set gets a
    database there. With --no-servers, SLUICE_KAFKA__BOOTSTRAP_SERVERS and SLUICE_REGISTRY__URL name the servers.
    Variables that the pipeline file refers to are read from the environment.

    Exit codes with --seconds: 0, verified; 1, something is wrong or could not be checked; 4, nothing is wrong, but no
    golden record came within five minutes.
    """
    started_at = time.monotonic()
    stages = tuple(stage or ())
    for name in stages:
        require_known(name, STAGES, f"no stage {name}")
    from sluice.local.session import Wanted

    file = pipeline.expanduser().resolve()
    wanted = Wanted(file, state_directory(pipeline, state_dir), stages, servers=servers, seconds=seconds)
    run_session(wanted, started_at=started_at, as_json=as_json)


def run_session(wanted: Wanted, *, started_at: float, as_json: bool) -> None:
    """Run until the time is over or a signal comes. `started_at`: monotonic seconds, when the command started.

    Raises typer.Exit with the exit code.
    """
    from sluice.local.screen import Screen
    from sluice.local.session import Session

    with Screen(quiet=as_json) as screen:
        session = Session(wanted, screen, started_at=started_at)
        session.check()  # imports the author's code, before signals are handled here: Ctrl-C then ends a loop in it
        result = session.run(Stop.on_signals())
        screen.stopped()
    if as_json:
        print(orjson.dumps(result).decode())
    if code := result.ending.exit_code:
        raise typer.Exit(int(code))
