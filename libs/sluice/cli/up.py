"""`sluice up`: one's own pipeline in one terminal: servers, topics, schemas, every stage, and what they do."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from sluice.cli.dev import DEFAULT_PIPELINE, PipelineFile, state_directory
from sluice.cli.options import JsonOption
from sluice.cli.session import run_session
from sluice.errors import SettingsError
from sluice.names import STAGES

app = typer.Typer(add_completion=False)


@app.command()
def up(
    pipeline: PipelineFile = DEFAULT_PIPELINE,
    stage: Annotated[
        list[str] | None, typer.Option(help="a stage to run, again for each; all, if none is named")
    ] = None,
    servers: Annotated[bool, typer.Option(help="start the embedded servers, or use those that are set")] = True,
    seconds: Annotated[
        float | None, typer.Option(min=0, help="check and stop so long after the first golden record")
    ] = None,
    state_dir: Annotated[
        Path | None, typer.Option(envvar="SLUICE_STATE_DIR", help="where data stays; default .sluice beside the file")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Run a pipeline: servers, topics, schemas and all stages, with what each does, until Ctrl-C.

    The embedded Kafka, registry and Postgres are started beside the pipeline file, and their data stays for the next
    time; servers that `sluice dev up` started are used and left running. A sink whose variable is not set gets a
    database there. With --no-servers, SLUICE_KAFKA__BOOTSTRAP_SERVERS and SLUICE_REGISTRY__URL name the servers.
    Variables that the pipeline file refers to are taken from the environment.

    Exit codes with --seconds: 0, verified; 1, something is wrong or could not be looked at; 4, nothing is wrong, and no
    golden record came within five minutes.
    """
    began = time.monotonic()
    stages = tuple(stage or ())
    if unknown := [name for name in stages if name not in STAGES]:
        raise SettingsError(f"no stage {unknown[0]}; there are {', '.join(STAGES)}")
    from sluice.local.session import Wanted

    file = pipeline.expanduser().resolve()
    wanted = Wanted(file, state_directory(pipeline, state_dir), stages, servers=servers, seconds=seconds)
    run_session(wanted, started_at=began, as_json=as_json)
