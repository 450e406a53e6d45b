"""`sluice sink`: rebuilds the golden tables of a Postgres sink."""

from __future__ import annotations

from typing import Annotated

import typer

from sluice.cli.command import JsonOption, PipelineOption, chosen_pipeline, group, print_result, require_known
from sluice.cli.server_access import kafka_watched
from sluice.errors import EnvironmentFault
from sluice.golden.connection import connect
from sluice.golden.rebuild import Span, prepare_rebuild
from sluice.golden.sinks import chosen_sink, golden_tables
from sluice.kafka import LogReader, clients
from sluice.kafka.groups import members_of, set_offsets
from sluice.kafka.topics import Topics
from sluice.pipeline.authored import load_entities

app = group()


@app.command()
def rebuild(
    entities: Annotated[
        list[str] | None, typer.Argument(help="entities whose tables are rebuilt; default: all entities")
    ] = None,
    sink: Annotated[
        str, typer.Option(envvar="SLUICE_SINK", help="the sink's name; needed if the pipeline has several sinks")
    ] = "",
    pipeline: PipelineOption = None,
    as_json: JsonOption = False,
) -> None:
    """Rebuild golden tables from their canonical topics. Stop the sink first.

    This is needed if a topic was re-created, or if another program changed a table. The command starts the next epoch
    of each topic. After the sink is started again, it reads each topic from its first offset. Rows stay readable
    meanwhile. At the end, the sink deletes the rows of entities that the topic no longer has.
    """
    settings, loaded = chosen_pipeline(pipeline)
    name, chosen = chosen_sink(loaded, sink)
    contracts = load_entities(loaded)
    for entity in sorted(entities or ()):
        require_known(entity, contracts, f"no entity {entity}")
    group_id = loaded.sink_group(name)
    admin = clients.admin(settings.kafka)
    with kafka_watched(settings):
        running = members_of(admin, group_id)
    if running:
        raise EnvironmentFault(
            f"group {group_id}", "the sink is running", "stop all its instances, then run this again"
        )
    tables = golden_tables(loaded, chosen, {e: c for e, c in contracts.items() if not entities or e in entities})
    done = {}
    connection = connect(chosen.postgres.reveal(), f"sink {name}")
    with LogReader(settings.kafka) as reader, connection:
        for topic, pinned in Topics(admin).pinned(list(tables)).items():
            partitions = [(topic, partition) for partition in range(pinned.partitions)]
            first, end = reader.beginnings(partitions), reader.ends(partitions)
            spans = {at[1]: Span(first[at], end[at]) for at in partitions}
            epoch = prepare_rebuild(connection, tables[topic], topic, pinned.topic_id, spans)
            set_offsets(admin, group_id, first)
            done[topic] = {"epoch": epoch, "offsets": sum(span.end - span.first for span in spans.values())}
    lines = [f"{topic}: epoch {one['epoch']}, {one['offsets']} offsets to read" for topic, one in done.items()]
    print_result(as_json, done, [*lines, "Next: start the sink"])
