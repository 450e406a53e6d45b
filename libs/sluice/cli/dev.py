"""`sluice dev`: Kafka, Postgres and the registry for working on a pipeline, without Docker; they go on until `down`.

Each pipeline has servers and data of its own, in its state directory: `--state-dir`, else `SLUICE_STATE_DIR`, else
`.sluice` beside the pipeline file.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from sluice.errors import ExitCode, SettingsError

app = typer.Typer(
    add_completion=False, help="Embedded Kafka, Postgres and schema registry for development.", no_args_is_help=True
)

PipelineFile = Annotated[
    Path, typer.Option("--pipeline", envvar="SLUICE_PIPELINE", help="The pipeline's file or folder.")
]
StateDir = Annotated[
    Path | None, typer.Option("--state-dir", envvar="SLUICE_STATE_DIR", help="Default: .sluice beside the pipeline.")
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")]
DEFAULT_PIPELINE = Path("pipeline.yaml")


@app.command()
def up(
    pipeline: PipelineFile = DEFAULT_PIPELINE,
    state_dir: StateDir = None,
    new_ports: Annotated[bool, typer.Option("--new-ports", help="Choose other ports for servers at rest.")] = False,
) -> None:
    """Start the servers that do not run, and leave them running."""
    from sluice.embedded import Servers
    from sluice.embedded.ports import forget

    directory = state_directory(pipeline, state_dir)
    if new_ports:
        forget(directory)
    servers = Servers.start(directory, progress=_tell, detach=True)
    typer.echo(f"kafka     {servers.bootstrap_servers}")
    typer.echo(f"postgres  {servers.postgres_address}")
    typer.echo(f"registry  {servers.registry_url}")
    typer.echo(f"data in   {directory}; `sluice dev env` prints what programs need, `sluice dev down` ends them")


@app.command()
def down(pipeline: PipelineFile = DEFAULT_PIPELINE, state_dir: StateDir = None) -> None:
    """End the servers; their data stays."""
    from sluice import embedded

    directory = state_directory(pipeline, state_dir)
    ended = embedded.down(directory, _tell)
    typer.echo(f"ended {', '.join(ended)}; the data stays in {directory}" if ended else "no server was running")


@app.command()
def status(pipeline: PipelineFile = DEFAULT_PIPELINE, state_dir: StateDir = None, as_json: AsJson = False) -> None:
    """Tell which servers run. Exit code 1 when one does not."""
    from sluice import embedded

    directory = state_directory(pipeline, state_dir)
    servers = embedded.status(directory)
    if as_json:
        by_name = {server.name: asdict(server) | {"running": server.pid is not None} for server in servers}
        typer.echo(json.dumps({"state_dir": str(directory), "servers": by_name}))
    else:
        for server in servers:
            what = (
                f"runs as process {server.pid} on port {server.port}, {server.pss_mib} MiB" if server.pid else "rests"
            )
            typer.echo(f"{server.name:<9} {what}")
    if any(server.pid is None for server in servers):
        raise typer.Exit(ExitCode.FINDING)


@app.command()
def reset(
    pipeline: PipelineFile = DEFAULT_PIPELINE,
    state_dir: StateDir = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """End the servers and delete topics, schemas, databases and the stages' state, all together."""
    from sluice import embedded

    directory = state_directory(pipeline, state_dir)
    if not yes:
        typer.confirm(f"Delete all topics, schemas and databases in {directory}?", abort=True)
    embedded.reset(directory, _tell)
    typer.echo(f"{directory} is empty; `sluice dev up` starts afresh")
    for line in _left_in_sources(pipeline):
        typer.echo(line)


def _left_in_sources(file: Path) -> Iterator[str]:
    """What a reset cannot reach: the slots and publications in source databases elsewhere, and how they are dropped."""
    from sluice.cdc.slots import drop_statements
    from sluice.pipeline import load_pipeline

    try:
        pipeline = load_pipeline(file)
    except SettingsError:
        return  # there may be none; servers are reset all the same
    for source in pipeline.cdc_sources():
        statements = drop_statements(pipeline, source)
        yield (
            f"if the database of {source} was followed and lies elsewhere, its slot still keeps its log. "
            f"Next: run there: {statements}"
        )


@app.command()
def env(pipeline: PipelineFile = DEFAULT_PIPELINE, state_dir: StateDir = None, as_json: AsJson = False) -> None:
    """Print the variables that `sluice run` and other programs need: `eval "$(sluice dev env)"`.

    Each sink that names its DSN as `{env: …}` gets a database of the embedded Postgres. Variables of sources that are
    not set are named on stderr: only you know what they are.
    """
    from sluice import embedded

    directory = state_directory(pipeline, state_dir)
    variables = {**embedded.environment(directory), **_of_pipeline(pipeline, directory)}
    if as_json:
        typer.echo(json.dumps(variables))
        return
    for name, value in variables.items():
        typer.echo(f"export {name}={shlex.quote(value)}")


def _of_pipeline(file: Path, directory: Path) -> dict[str, str]:
    """What `sluice run` needs for this pipeline beside the servers; its databases are created."""
    from sluice import embedded
    from sluice.local.pipeline_run import sink_databases, stage_variables
    from sluice.pipeline import load_pipeline
    from sluice.pipeline.secret import missing_variables

    if not file.exists():
        _tell(f"there is no {file}: only what the servers need is told")
        return {}
    pipeline = load_pipeline(file)
    made = {variable: embedded.database(directory, name) for variable, name in sink_databases(pipeline).items()}
    if missing := sorted(missing_variables(pipeline.model_dump()) - set(made)):
        _tell(f"not set, and {pipeline.file} refers to them: {', '.join(missing)}")
    return {**stage_variables(pipeline, directory), **made}


_PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True}


@app.command("kafka-consumer-groups", context_settings=_PASSED_ON)
def kafka_consumer_groups(
    arguments: typer.Context, pipeline: PipelineFile = DEFAULT_PIPELINE, state_dir: StateDir = None
) -> None:
    """Kafka's own tool, as error messages name it, on these servers (or SLUICE_KAFKA__BOOTSTRAP_SERVERS).

    `--group mapper --topic raw.hr.workers --reset-offsets --to-earliest --execute`, while the mapper does not run.
    """
    from sluice.embedded.tools import CONSUMER_GROUPS

    _kafka_tool(CONSUMER_GROUPS, arguments.args, pipeline, state_dir)


@app.command("kafka-console-consumer", context_settings=_PASSED_ON)
def kafka_console_consumer(
    arguments: typer.Context, pipeline: PipelineFile = DEFAULT_PIPELINE, state_dir: StateDir = None
) -> None:
    """Kafka's own tool, on these servers (or SLUICE_KAFKA__BOOTSTRAP_SERVERS): to read a topic, dead letters for one.

    `--topic dlq.mapper --from-beginning --timeout-ms 3000 --formatter-property print.headers=true`
    """
    from sluice.embedded.tools import CONSOLE_CONSUMER

    _kafka_tool(CONSOLE_CONSUMER, arguments.args, pipeline, state_dir)


def _kafka_tool(main_class: str, arguments: list[str], pipeline: Path, state_dir: Path | None) -> None:
    from sluice import embedded

    variable = "SLUICE_KAFKA__BOOTSTRAP_SERVERS"
    servers = os.environ.get(variable) or embedded.environment(state_directory(pipeline, state_dir))[variable]
    done = embedded.kafka_tool(main_class, "--bootstrap-server", servers, *arguments)
    typer.echo(done.stdout.rstrip())
    typer.echo(done.stderr.rstrip(), err=True)
    # These tools exit with 0 although they printed an error.
    if done.returncode or done.stdout.lstrip().startswith("Error"):
        raise typer.Exit(ExitCode.ENVIRONMENT)


def state_directory(pipeline: Path, given: Path | None) -> Path:
    """Where the servers of this pipeline keep their data."""
    folder = pipeline if pipeline.is_dir() else pipeline.parent
    chosen = (given or folder / ".sluice").expanduser().resolve()
    # A terminal that has read the demo's `env` is told of the folder in it that its stages use.
    return chosen.parent if chosen.name == "stages" and (chosen.parent / "servers").is_dir() else chosen


def _tell(line: str) -> None:
    typer.echo(line, err=True)
