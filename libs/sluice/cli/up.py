"""`sluice up`: runs a pipeline in one terminal, with its servers, topics, schemas and all stages."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from sluice.cli.command import (
    DEFAULT_PIPELINE,
    JsonOption,
    PipelineFile,
    SecondsOption,
    StateDir,
    print_result,
    require_known,
    single,
    state_directory,
)
from sluice.names import STAGES
from sluice.stage.signals import Stop

if TYPE_CHECKING:
    from sluice.local.session import RunOptions

app = single()


@app.command()
def up(
    pipeline: PipelineFile = DEFAULT_PIPELINE,
    stage: Annotated[
        list[str] | None, typer.Option(help="a stage to run; may be repeated; default: all stages")
    ] = None,
    servers: Annotated[
        bool, typer.Option(help="start embedded servers, or use the servers that environment variables name")
    ] = True,
    seconds: SecondsOption = None,
    state_dir: StateDir = None,
    as_json: JsonOption = False,
) -> None:
    """Run a pipeline until Ctrl-C: its servers, topics, schemas and all stages. The screen shows what each stage does.

    The embedded Kafka, schema registry and Postgres keep their data in the state directory for the next start. Servers
    that `sluice dev up` started are used, and left running. A sink gets a database in the embedded Postgres if the
    variable with its DSN is not set. With --no-servers, SLUICE_KAFKA__BOOTSTRAP_SERVERS and SLUICE_REGISTRY__URL name
    the servers. Variables that the pipeline file refers to are read from the environment.

    With --seconds, the run ends with a check that nothing is lost. Exit codes then: 0, verified; 1, something is wrong
    or could not be checked; 4, nothing is wrong, but no golden record came within five minutes.
    """
    started_at = time.monotonic()
    stages = tuple(stage or ())
    for name in stages:
        require_known(name, STAGES, f"no stage {name}")
    from sluice.local.session import RunOptions

    file = pipeline.expanduser().resolve()
    options = RunOptions(file, state_directory(pipeline, state_dir), stages, servers=servers, seconds=seconds)
    run_session(options, started_at=started_at, as_json=as_json)


def run_session(options: RunOptions, *, started_at: float, as_json: bool) -> None:
    """Run the pipeline of `sluice up` or `sluice demo` until its time is over or a signal comes. Blocks.

    `started_at`: when the command started, in monotonic seconds. Raises typer.Exit if the exit code is not 0.
    """
    from sluice.local.screen import Screen
    from sluice.local.session import Session

    with Screen(quiet=as_json) as screen:
        session = Session(options, screen, started_at=started_at)
        # The check imports the author's code. Signals are handled only after it, so Ctrl-C ends a loop in that code.
        session.check()
        result = session.run(Stop.on_signals())
        screen.stopped()
    print_result(as_json, result, [])  # for a person, the screen has shown everything
    if code := result.ending.exit_code:
        raise typer.Exit(int(code))
