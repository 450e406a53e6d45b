"""`sluice explain`: shows where every value of an entity's golden record comes from."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from sluice.cli.command import JsonOption, PipelineOption, print_result, require_known, single
from sluice.cli.server_access import pipeline_of_servers, servers_reached
from sluice.explain import explain as run_explanation
from sluice.explain import rendering
from sluice.pipeline.authored import load_entities

app = single()


@app.command()
def explain(
    entity: Annotated[str, typer.Argument(help="the entity's name, as in the topic canonical.ENTITY")],
    entity_id: Annotated[
        str,
        typer.Argument(metavar="ID", help="the entity's id, as any of its sources spells it"),
    ],
    field: Annotated[str | None, typer.Argument(help="the field to explain; default: all fields")] = None,
    pipeline: PipelineOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show where the value of each field of an entity comes from, and which claims lost.

    Shown for each field: its value, source record, mapping, raw record, stored response and rule, and the claims that
    lost.

    The output starts with source records that are newer than the claims: they were parked as dead letters, or the
    mapper has not read them yet. Values that come from an older record of the same source key are out of date.

    Exit code 1: no contribution has a claim about this id.
    """
    settings, loaded = pipeline_of_servers(pipeline)
    contracts = load_entities(loaded)
    require_known(entity, contracts, f"no entity {entity}")
    contract = contracts[entity]
    if field is not None:
        require_known(field, contract.fields, f"{entity} has no field {field}")
    with servers_reached(loaded, settings):
        found = run_explanation(loaded, contract, settings, entity_id, field)
    is_unknown = found.state == "unknown"
    if is_unknown:
        print(
            f"contributions have no claim to {entity} {entity_id}. Next: `sluice lag` shows what the mapper "
            "has not read and what it parked",
            file=sys.stderr,
        )
    lines = [] if is_unknown else rendering.lines(found)
    print_result(as_json, rendering.to_json(found), lines, is_finding=is_unknown)
