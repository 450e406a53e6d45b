"""`sluice explain`: where every value of an entity comes from."""

from __future__ import annotations

import sys
from typing import Annotated

import orjson
import typer

from sluice.cli.options import JsonOption, PipelineOption
from sluice.cli.server_access import chosen_pipeline, servers_reached
from sluice.errors import ExitCode, SettingsError
from sluice.explain import explain as run_explanation
from sluice.explain import rendering
from sluice.pipeline.authored import load_entities
from sluice.settings.stage import StageSettings, read_settings

app = typer.Typer(add_completion=False, help="Where every value of an entity comes from.")


@app.command()
def explain(
    entity: Annotated[str, typer.Argument(help="the entity's name, as in canonical.<entity>")],
    entity_id: Annotated[
        str,
        typer.Argument(metavar="ID", help="its id, as any source spells it"),
    ],
    field: Annotated[str | None, typer.Argument(help="one field; all, if none is named")] = None,
    pipeline: PipelineOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show where the value of each field comes from, and which claims lost.

    For each field: value, source record, mapping, raw record, stored response, rule and losing claims.

    Records that are newer than a claim come first: parked as dead letters, or not read by the mapper. Values from an
    older record of the same source key are out of date.

    Exit code 1: contributions have no claim to the id.
    """
    settings = read_settings(StageSettings, pipeline)
    loaded = chosen_pipeline(pipeline, settings)
    contracts = load_entities(loaded)
    if entity not in contracts:
        raise SettingsError(f"no entity {entity}; there are {', '.join(contracts)}")
    contract = contracts[entity]
    if field is not None and field not in contract.fields:
        raise SettingsError(f"{entity} has no field {field}; there are {', '.join(contract.fields)}")
    with servers_reached(loaded, settings):
        found = run_explanation(loaded, contract, settings, entity_id, field)
    if as_json:
        print(orjson.dumps(rendering.to_json(found)).decode())
    elif found.state != "unknown":
        print("\n".join(rendering.lines(found)))
    if found.state == "unknown":
        print(
            f"contributions have no claim to {entity} {entity_id}. Next: `sluice lag` shows what the mapper "
            "has not read and what it parked",
            file=sys.stderr,
        )
        raise typer.Exit(int(ExitCode.FINDING))
