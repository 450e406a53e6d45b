"""`sluice sink`: what an operator does about the golden tables."""

from __future__ import annotations

from typing import Annotated

import orjson
import typer

from sluice.cli.options import JsonOption, PipelineOption
from sluice.cli.server_access import kafka_watched
from sluice.errors import EnvironmentFault, SettingsError
from sluice.golden.connection import connect
from sluice.golden.rebuild import Span, begin_rebuild
from sluice.golden.sinks import chosen_sink, golden_tables, sink_group
from sluice.kafka import LogReader, clients
from sluice.kafka.groups import members_of, set_offsets
from sluice.kafka.topics import Topics
from sluice.pipeline import load_pipeline
from sluice.pipeline.authored import load_entities
from sluice.settings.stage import StageSettings, read_settings

app = typer.Typer(add_completion=False, no_args_is_help=True, help="The sink: rebuild its tables.")


@app.callback()
def _root() -> None:
    """The sink: rebuild its tables."""


@app.command()
def rebuild(
    entities: Annotated[list[str] | None, typer.Argument(help="entities; all, if none is named")] = None,
    sink: Annotated[str, typer.Option(envvar="SLUICE_SINK", help="needed where the pipeline has several")] = "",
    pipeline: PipelineOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fill golden tables anew from their topics, under the topics' next epoch. The sink must be stopped.

    Needed when a topic was re-created, or others changed a table. When the sink runs again, it reads everything
    from the first offset; rows stay readable, and those that the topic does not have any more are deleted at the end.
    """
    settings = read_settings(StageSettings, pipeline)
    loaded = load_pipeline(pipeline or settings.pipeline)
    name, chosen = chosen_sink(loaded, sink)
    contracts = load_entities(loaded)
    unknown = sorted(set(entities or ()) - contracts.keys())
    if unknown:
        raise SettingsError(f"no entity {unknown[0]}; there are {', '.join(contracts)}")
    group = sink_group(loaded, name)
    admin = clients.admin(settings.kafka)
    with kafka_watched(settings):
        running = members_of(admin, group)
    if running:
        raise EnvironmentFault(f"group {group}", "the sink is running", "stop all its instances, then run this again")
    tables = golden_tables(loaded, chosen, {e: c for e, c in contracts.items() if not entities or e in entities})
    done = {}
    connection = connect(chosen.postgres.reveal(), f"sink {name}")
    with LogReader(settings.kafka) as reader, connection:
        for topic, pinned in Topics(admin).pinned(list(tables)).items():
            partitions = [(topic, partition) for partition in range(pinned.partitions)]
            first, end = reader.beginnings(partitions), reader.ends(partitions)
            spans = {at[1]: Span(first[at], end[at]) for at in partitions}
            epoch = begin_rebuild(connection, tables[topic], topic, pinned.topic_id, spans)
            set_offsets(admin, group, first)
            done[topic] = {"epoch": epoch, "offsets": sum(span.end - span.first for span in spans.values())}
    if as_json:
        print(orjson.dumps(done).decode())
        return
    for topic, facts in done.items():
        print(f"{topic}: epoch {facts['epoch']}, {facts['offsets']} offsets to read; start the sink")
