"""`sluice cdc`: commands for sources that ingress-cdc, the stage that follows databases, follows.

A request to read tables again is a Kafka record in the control topic. ingress-cdc reads it and carries it out.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from sluice.cli.cdc_check import check
from sluice.cli.cdc_connector import begin_epoch, sweep
from sluice.cli.cdc_repair import repair
from sluice.cli.cdc_setup import setup
from sluice.cli.cdc_status import status
from sluice.cli.command import JsonOption, PipelineOption, chosen_pipeline, group, print_result, require_known
from sluice.cli.resnapshots import Resnapshots
from sluice.cli.server_access import kafka_watched
from sluice.errors import SettingsError

app = group()
for command in (check, setup, status, repair, sweep):
    app.command()(command)
app.command("epoch")(begin_epoch)


@app.command()
def resnapshot(
    source: Annotated[str, typer.Argument(help="the source's name in the pipeline file")],
    table: Annotated[
        list[str] | None, typer.Option(help="read only this table again, written schema.table; may be repeated")
    ] = None,
    epoch: Annotated[
        int | None, typer.Option(min=1, help="number of the new epoch; needed only if the source's watermark is lost")
    ] = None,
    pipeline: PipelineOption = None,
    as_json: JsonOption = False,
) -> None:
    """Request that tables of a followed source are read again.

    Rows that a table no longer has are retracted. Unchanged rows are not written again.

    With --table: read only these tables again, through the current replication slot. This repairs a blocked table and a
    followed table with a fault. The changes of all tables are published meanwhile.

    Without --table: read all tables again under a new epoch, through a new slot. This is needed after the slot was lost
    or re-created.

    ingress-cdc begins to read within seconds if it runs, else at its next start.
    """
    settings, loaded = chosen_pipeline(pipeline)
    require_known(source, loaded.cdc_sources(), f"no source {source} that is followed by CDC")
    for name in table or ():
        require_known(name, loaded.cdc_sources()[source].tables, f"source {source} has no table {name}")
    if table and epoch is not None:
        raise SettingsError("--epoch is for a whole source; leave it out with --table")
    with kafka_watched(settings):
        requests = Resnapshots(settings.kafka, loaded.names, source)
        if table:
            facts: dict[str, Any] = {"source": source, "tables": requests.tables(table)}
            line = f"requested: ingress-cdc reads {', '.join(table)} of {source} again"
        else:
            new_epoch = requests.source(epoch)
            facts = {"source": source, "resnapshot_epoch": new_epoch}
            line = f"requested: ingress-cdc reads {source} again as epoch {new_epoch}"
    print_result(as_json, facts, [line])
