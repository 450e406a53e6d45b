"""`sluice skips`: an operator moved a group forward on purpose, and says so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import orjson
import typer

from sluice.cli.options import JsonOption, PipelineOption
from sluice.cli.server_access import kafka_watched
from sluice.errors import SettingsError
from sluice.kafka import LogReader, clients
from sluice.kafka.control import write_request
from sluice.kafka.topics import Topics
from sluice.lag.groups import StageInputs, committed_offsets, stage_inputs
from sluice.lag.not_read import read_input_facts, require_acceptable
from sluice.pipeline import load_pipeline
from sluice.pipeline.authored import load_entities
from sluice.settings.stage import StageSettings, read_settings
from sluice.stage.start import skip_key

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Accept that records were skipped on purpose.")


@app.callback()
def _group() -> None:
    """Accept that records were skipped on purpose."""


@app.command()
def accept(
    group: Annotated[str, typer.Argument(help="the consumer group that was moved forward")],
    topic: Annotated[str, typer.Argument(help="the topic")],
    partition: Annotated[int, typer.Argument(min=0, help="the partition")],
    to: Annotated[int, typer.Option(min=0, help="the committed offset, as the stage named it")],
    pipeline: PipelineOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let `group` go on from offset `to`, leaving what lies before it unread. The stage goes on by itself.

    Refused (code 2) is what would let no stage go on: a group, topic or partition that is not held, or another offset.
    """
    settings = read_settings(StageSettings, pipeline)
    loaded = load_pipeline(pipeline or settings.pipeline)
    at = (topic, partition)
    inputs = inputs_of(stage_inputs(loaded, None, load_entities(loaded)), group, topic)
    with kafka_watched(settings), LogReader(settings.kafka) as reader:
        pinned = Topics(clients.admin(settings.kafka)).pinned(list(inputs.topics))
        places = [(name, p) for name, about in pinned.items() for p in range(about.partitions)]
        if at not in places:
            raise SettingsError(
                f"{topic} has {pinned[topic].partitions} partitions, from 0 on; there is no {partition}"
            )
        committed = committed_offsets(settings.kafka, group, places)
        facts = read_input_facts(reader, loaded, inputs, pinned, reader.beginnings(places), committed)
        require_acceptable(facts, at, to)
        write_request(settings.kafka, loaded.names.control, skip_key(group, at), {"to": to})
    if as_json:
        print(orjson.dumps({"group": group, "topic": topic, "partition": partition, "to": to}).decode())
    else:
        print(f"accepted: {group} goes on at {topic}/{partition}@{to}")


def inputs_of(stages: Sequence[StageInputs], group: str, topic: str) -> StageInputs:
    """Those of `group`, which must read `topic`. Raises SettingsError."""
    found = next((one for one in stages if one.group == group), None)
    if found is None:
        raise SettingsError(f"no group {group}; there are {', '.join(one.group for one in stages)}")
    if topic not in found.topics:
        raise SettingsError(f"{group} does not read {topic}; it reads {', '.join(found.topics)}")
    return found
