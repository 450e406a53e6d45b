"""`sluice topics`: creates and configures a pipeline's topics, or shows how they differ from the declaration."""

from __future__ import annotations

from pathlib import Path

from sluice.cli.command import JsonOption, PipelineOption, chosen_pipeline, group, print_result
from sluice.cli.server_access import kafka_watched
from sluice.kafka import clients
from sluice.kafka.topics import Topic, Topics, concrete, load_kinds
from sluice.pipeline.authored import load_entities
from sluice.settings.stage import StageSettings

app = group()


def declared(given: Path | None) -> tuple[StageSettings, list[Topic]]:
    """The settings from the environment, and the topics that the pipeline needs, as `schemas/topics` declares them.

    `given`: the pipeline's file or folder, None for the one that SLUICE_PIPELINE names. Raises SettingsError.
    """
    settings, pipeline = chosen_pipeline(given)
    return settings, concrete(load_kinds(settings.schemas_dir / "topics"), pipeline, list(load_entities(pipeline)))


@app.command()
def apply(pipeline: PipelineOption = None, as_json: JsonOption = False) -> None:
    """Create and configure the pipeline's topics.

    Missing topics are created. Configuration that differs from the declaration is altered. The number of partitions of
    an existing topic never changes.
    """
    settings, topics = declared(pipeline)
    with kafka_watched(settings):
        done = Topics(clients.admin(settings.kafka)).apply(topics)
    print_result(as_json, {"topics": len(topics), "done": done}, done or [_all_right(topics)])


@app.command()
def check(pipeline: PipelineOption = None, as_json: JsonOption = False) -> None:
    """Compare the pipeline's topics with their declaration.

    Exit code 1: a topic is missing or differs.
    """
    settings, topics = declared(pipeline)
    with kafka_watched(settings):
        findings = Topics(clients.admin(settings.kafka)).check(topics)
    print_result(
        as_json,
        {"topics": len(topics), "findings": findings},
        findings or [_all_right(topics)],
        is_finding=bool(findings),
    )


def _all_right(topics: list[Topic]) -> str:
    return f"all {len(topics)} topics are as declared"
