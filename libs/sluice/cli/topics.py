"""`sluice topics`: create and configure the pipeline's topics, or say what differs."""

from __future__ import annotations

from pathlib import Path

import orjson
import typer

from sluice.cli.options import JsonOption, PipelineOption
from sluice.cli.server_access import kafka_watched
from sluice.errors import ExitCode
from sluice.kafka import clients
from sluice.kafka.topics import Topic, Topics, concrete, load_kinds
from sluice.pipeline import load_pipeline
from sluice.pipeline.authored import load_entities
from sluice.settings.stage import StageSettings, read_settings

app = typer.Typer(add_completion=False, no_args_is_help=True, help="The pipeline's topics.")


def declared(pipeline_path: Path, settings: StageSettings) -> list[Topic]:
    """The topics that a pipeline needs."""
    pipeline = load_pipeline(pipeline_path)
    return concrete(load_kinds(settings.schemas_dir / "topics"), pipeline, list(load_entities(pipeline)))


@app.command()
def apply(pipeline: PipelineOption = None, as_json: JsonOption = False) -> None:
    """Create missing topics, alter configuration that differs. Never changes a number of partitions."""
    settings = read_settings(StageSettings, pipeline)
    topics = declared(pipeline or settings.pipeline, settings)
    with kafka_watched(settings):
        done = Topics(clients.admin(settings.kafka)).apply(topics)
    if as_json:
        print(orjson.dumps({"topics": len(topics), "done": done}).decode())
    else:
        print("\n".join(done) or f"all {len(topics)} topics stand as declared")


@app.command()
def check(pipeline: PipelineOption = None, as_json: JsonOption = False) -> None:
    """Say what differs from the declaration; exit code 1 if anything does."""
    settings = read_settings(StageSettings, pipeline)
    topics = declared(pipeline or settings.pipeline, settings)
    with kafka_watched(settings):
        findings = Topics(clients.admin(settings.kafka)).check(topics)
    if as_json:
        print(orjson.dumps({"topics": len(topics), "findings": findings}).decode())
    else:
        print("\n".join(findings) or f"all {len(topics)} topics stand as declared")
    if findings:
        raise typer.Exit(int(ExitCode.FINDING))
