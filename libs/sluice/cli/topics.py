"""`sluice topics`: create and configure the pipeline's topics, or show what differs."""

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
    """The settings, and the topics that the pipeline needs."""
    settings, pipeline = chosen_pipeline(given)
    return settings, concrete(load_kinds(settings.schemas_dir / "topics"), pipeline, list(load_entities(pipeline)))


@app.command()
def apply(pipeline: PipelineOption = None, as_json: JsonOption = False) -> None:
    """Create and configure the topics.

    Missing topics are created, and configuration that differs is altered. The number of partitions never changes.
    """
    settings, topics = declared(pipeline)
    with kafka_watched(settings):
        done = Topics(clients.admin(settings.kafka)).apply(topics)
    print_result(as_json, {"topics": len(topics), "done": done}, done or [_all_right(topics)])


@app.command()
def check(pipeline: PipelineOption = None, as_json: JsonOption = False) -> None:
    """Compare the topics with the declaration.

    Exit code 1: something differs.
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
