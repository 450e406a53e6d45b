"""`sluice dev`: Kafka, Postgres and a schema registry for the development of a pipeline, without Docker.

The servers run until `sluice dev down`. Each pipeline has its own servers and data, in its state directory:
`--state-dir`, else `SLUICE_STATE_DIR`, else `.sluice` next to the pipeline file.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from sluice.cdc.slots import drop_statements
from sluice.cli.command import (
    DEFAULT_PIPELINE,
    JsonOption,
    PipelineFile,
    StateDir,
    group,
    print_result,
    report_progress,
    state_directory,
)
from sluice.embedded import Servers, running
from sluice.embedded.ports import LOOPBACK, forget
from sluice.embedded.tools import CONSOLE_CONSUMER, CONSUMER_GROUPS, kafka_tool
from sluice.errors import ExitCode, SettingsError
from sluice.local.stage_variables import sink_databases, stage_variables
from sluice.pipeline import load_pipeline
from sluice.pipeline.secret import missing_variables

app = group()


@app.command()
def up(
    pipeline: PipelineFile = DEFAULT_PIPELINE,
    state_dir: StateDir = None,
    new_ports: Annotated[
        bool, typer.Option("--new-ports", help="choose new ports for the servers that are stopped")
    ] = False,
) -> None:
    """Start the development servers of a pipeline.

    The servers are Kafka, Postgres and a schema registry. They run until `sluice dev down`.
    """
    directory = state_directory(pipeline, state_dir)
    if new_ports:
        forget(directory)
    servers = Servers.start(directory, progress=report_progress, detach=True)
    typer.echo(f"kafka     {servers.kafka.bootstrap_servers}")
    typer.echo(f"postgres  {LOOPBACK}:{servers.postgres.port}")
    typer.echo(f"registry  {servers.registry.url}")
    typer.echo(
        f"data in   {directory}; `sluice dev env` prints variables for programs, `sluice dev down` stops the servers"
    )


@app.command()
def down(pipeline: PipelineFile = DEFAULT_PIPELINE, state_dir: StateDir = None) -> None:
    """Stop the development servers of a pipeline.

    The data of the servers is kept.
    """
    directory = state_directory(pipeline, state_dir)
    stopped = running.down(directory, report_progress)
    typer.echo(f"stopped {', '.join(stopped)}; the data is kept in {directory}" if stopped else "no server was running")


@app.command()
def status(pipeline: PipelineFile = DEFAULT_PIPELINE, state_dir: StateDir = None, as_json: JsonOption = False) -> None:
    """Show which development servers run.

    Exit code 1: a server does not run.
    """
    directory = state_directory(pipeline, state_dir)
    servers = running.status(directory)
    by_name = {server.name: asdict(server) | {"running": server.pid is not None} for server in servers}
    lines = []
    for server in servers:
        runs = f"runs as process {server.pid} on port {server.port}, {server.pss_mib} MiB"
        lines.append(f"{server.name:<9} {runs if server.pid else 'is stopped'}")
    stopped = any(server.pid is None for server in servers)
    print_result(as_json, {"state_dir": str(directory), "servers": by_name}, lines, is_finding=stopped)


@app.command()
def reset(
    pipeline: PipelineFile = DEFAULT_PIPELINE,
    state_dir: StateDir = None,
    yes: Annotated[bool, typer.Option("--yes", help="delete without asking for confirmation")] = False,
) -> None:
    """Delete the data of the development servers.

    Running servers are stopped first. Then all topics, schemas and databases of the servers are deleted, and the local
    state of the stages.
    """
    directory = state_directory(pipeline, state_dir)
    if not yes:
        typer.confirm(f"Delete all topics, schemas and databases in {directory}?", abort=True)
    running.reset(directory, report_progress)
    typer.echo(f"{directory} is empty; `sluice dev up` starts servers without data")
    for line in _left_in_sources(pipeline):
        typer.echo(line)


def _left_in_sources(file: Path) -> Iterator[str]:
    """A line for each followed source, with the SQL that drops the source's replication slot and publication.

    `sluice dev reset` cannot drop them if the source's database is on another server than the development servers.
    """
    try:
        pipeline = load_pipeline(file)
    except SettingsError:
        return  # the servers are reset even without a pipeline file
    for source in pipeline.cdc_sources():
        statements = drop_statements(pipeline, source)
        yield (
            f"if the database of {source} is elsewhere and was followed, its slot still keeps its log. "
            f"Next: run there: {statements}"
        )


@app.command()
def env(pipeline: PipelineFile = DEFAULT_PIPELINE, state_dir: StateDir = None, as_json: JsonOption = False) -> None:
    """Print the variables that programs need.

    With these environment variables, `sluice run` and other programs use the development servers of the pipeline.
    `eval "$(sluice dev env)"` sets them in a terminal.

    Each sink whose DSN is `{env: …}` in the pipeline file gets a database in the embedded Postgres. Variables of the
    sources that are not set are listed on stderr, because only you know their values.
    """
    directory = state_directory(pipeline, state_dir)
    variables = {**running.environment(directory), **_of_pipeline(pipeline, directory)}
    print_result(as_json, variables, (f"export {name}={shlex.quote(value)}" for name, value in variables.items()))


def _of_pipeline(file: Path, directory: Path) -> dict[str, str]:
    """The environment variables that a pipeline's stages and sinks need, without the addresses of the servers.

    Creates a database for each sink that has none. Prints on stderr which variables of the pipeline file are not set.
    """
    if not file.exists():
        report_progress(f"there is no {file}: only the variables of the servers are printed")
        return {}
    pipeline = load_pipeline(file)
    created = {variable: running.database(directory, name) for variable, name in sink_databases(pipeline).items()}
    if missing := sorted(missing_variables(pipeline.model_dump()) - set(created)):
        report_progress(f"not set, and {pipeline.file} refers to them: {', '.join(missing)}")
    return {**stage_variables(pipeline, directory), **created}


_PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True}


@app.command("kafka-consumer-groups", context_settings=_PASSED_ON)
def kafka_consumer_groups(
    arguments: typer.Context, pipeline: PipelineFile = DEFAULT_PIPELINE, state_dir: StateDir = None
) -> None:
    """Run Kafka's tool for consumer groups.

    Error messages of Sluice name this tool. It uses the brokers in SLUICE_KAFKA__BOOTSTRAP_SERVERS, else the
    development servers of the pipeline.

    Example: the mapper reads a topic again from its start. Stop the mapper first, then run with the arguments
    `--group mapper --topic raw.hr.workers --reset-offsets --to-earliest --execute`.
    """
    _kafka_tool(CONSUMER_GROUPS, arguments.args, pipeline, state_dir)


@app.command("kafka-console-consumer", context_settings=_PASSED_ON)
def kafka_console_consumer(
    arguments: typer.Context, pipeline: PipelineFile = DEFAULT_PIPELINE, state_dir: StateDir = None
) -> None:
    """Run Kafka's tool that prints a topic.

    The tool uses the brokers in SLUICE_KAFKA__BOOTSTRAP_SERVERS, else the development servers of the pipeline.

    Example: the dead letters of the mapper, with the arguments
    `--topic dlq.mapper --from-beginning --timeout-ms 3000 --formatter-property print.headers=true`
    """
    _kafka_tool(CONSOLE_CONSUMER, arguments.args, pipeline, state_dir)


def _kafka_tool(main_class: str, arguments: list[str], pipeline: Path, state_dir: Path | None) -> None:
    variable = "SLUICE_KAFKA__BOOTSTRAP_SERVERS"
    servers = os.environ.get(variable) or running.environment(state_directory(pipeline, state_dir))[variable]
    done = kafka_tool(main_class, "--bootstrap-server", servers, *arguments)
    typer.echo(done.stdout.rstrip())
    typer.echo(done.stderr.rstrip(), err=True)
    # Kafka's command-line tools exit with 0 even after they printed an error.
    if done.returncode or done.stdout.lstrip().startswith("Error"):
        raise typer.Exit(ExitCode.ENVIRONMENT)
