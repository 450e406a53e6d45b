"""`sluice skips`: an operator confirms that a consumer group was moved forward on purpose."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from sluice.cli.command import JsonOption, PipelineOption, chosen_pipeline, group, print_result
from sluice.cli.server_access import kafka_watched
from sluice.errors import SettingsError
from sluice.kafka import LogReader, clients
from sluice.kafka.control import write_request
from sluice.kafka.topics import Topics
from sluice.lag.groups import StageInputs, committed_offsets, stage_inputs
from sluice.lag.not_read import read_input_facts, require_acceptable
from sluice.pipeline.authored import load_entities
from sluice.stage.start import skip_key

app = group()


@app.command()
def accept(
    group_id: Annotated[str, typer.Argument(metavar="group", help="the consumer group that was moved forward")],
    topic: Annotated[str, typer.Argument(help="the input topic in which records are skipped")],
    partition: Annotated[int, typer.Argument(min=0, help="the number of the blocked partition")],
    to: Annotated[int, typer.Option(min=0, help="the group's committed offset, as the stage's fault names it")],
    pipeline: PipelineOption = None,
    as_json: JsonOption = False,
) -> None:
    """Accept that a consumer group skips records.

    If a group was moved forward, its stage does not read the partition, because records would be lost. After this
    command the stage continues by itself at offset --to of the partition. The skipped records stay unread.

    Exit code 2: the command is refused, because it would not let the stage continue. Either the partition is not
    blocked, or the group committed another offset than --to.
    """
    settings, loaded = chosen_pipeline(pipeline)
    at = (topic, partition)
    inputs = inputs_of(stage_inputs(loaded, None, load_entities(loaded)), group_id, topic)
    with kafka_watched(settings), LogReader(settings.kafka) as reader:
        pinned = Topics(clients.admin(settings.kafka)).pinned(list(inputs.topics))
        places = [(name, p) for name, about in pinned.items() for p in range(about.partitions)]
        if at not in places:
            raise SettingsError(f"{topic} has {pinned[topic].partitions} partitions, numbered from 0; not {partition}")
        committed = committed_offsets(settings.kafka, group_id, places)
        found = read_input_facts(reader, loaded, inputs, pinned, reader.beginnings(places), committed)
        require_acceptable(found, at, to)
        write_request(settings.kafka, loaded.names.control, skip_key(group_id, at), {"to": to})
    facts = {"group": group_id, "topic": topic, "partition": partition, "to": to}
    print_result(as_json, facts, [f"accepted: {group_id} continues at {topic}/{partition}@{to}"])


def inputs_of(stages: Sequence[StageInputs], group_id: str, topic: str) -> StageInputs:
    """The stage whose consumer group is `group_id`. Raises SettingsError if there is none, or if it does not read
    `topic`."""
    found = next((one for one in stages if one.group == group_id), None)
    if found is None:
        raise SettingsError(f"no group {group_id}; there are {', '.join(one.group for one in stages)}")
    if topic not in found.topics:
        raise SettingsError(f"{group_id} does not read {topic}; it reads {', '.join(found.topics)}")
    return found
