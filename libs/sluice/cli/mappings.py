"""`sluice mappings`: what an author can know of mappings and connectors before a stage runs them."""

from __future__ import annotations

import orjson
import typer

from sluice.cli.options import JsonOption, PipelineOption
from sluice.connector import json_text
from sluice.pipeline import load_pipeline
from sluice.pipeline.authored import load_mappings, unmapped, unmapped_line
from sluice.pipeline.examples import examples_of, require_examples_mapped
from sluice.stage.connectors import check_connectors
from sluice.stage.settings import StageSettings, read_settings

app = typer.Typer(no_args_is_help=True, help="Mappings: check them without a server.")


@app.callback()
def _root() -> None:
    """Mappings: check them without a server."""


@app.command()
def check(pipeline: PipelineOption = None, as_json: JsonOption = False) -> None:
    """Load all mappings and map their example records, as a mapper does before it begins. Needs no server.

    Refused (code 2) are claims of fields that an entity lacks, constants of a wrong type, and examples
    (sources/SOURCE/examples/STREAM/*.json) that their mapping cannot map. Told for each mapping: what counts as its
    code. A change of that needs a new version. Told, too: streams that no mapping reads, which is no mistake.

    Connectors are loaded as a poller does it: a class that is not there, settings that are missing, unknown or of a
    wrong type, and streams that the connector does not have are refused. What a variable holds that is not set here is
    not checked, and that is told.
    """
    settings = read_settings(StageSettings, pipeline)
    loaded = load_pipeline(pipeline or settings.pipeline)
    mappings = load_mappings(loaded)
    require_examples_mapped(loaded, mappings, json_text.decode)
    unset = check_connectors(loaded)
    examples = {mapping.name: len(examples_of(loaded, mapping)) for mapping in mappings}
    unread = unmapped(loaded, mappings)
    if as_json:
        facts = {
            m.name: {"version": m.version, "examples": examples[m.name], "code": m.code_hash, "counts": m.code.told()}
            for m in mappings
        }
        print(orjson.dumps({"mappings": facts, "unmapped": unread, "connectors": unset}).decode())
        return
    for mapping in mappings:
        stream = f"{mapping.source}.{mapping.stream} → {mapping.entity.name}"
        print(f"{mapping.name} version {mapping.version}: {stream}, {examples[mapping.name]} examples mapped")
        print(f"    its code: {mapping.code.told()}")
    for source, variables in unset.items():
        streams = ", ".join(loaded.poll_sources()[source].streams)
        print(f"connector of {source}: {loaded.poll_sources()[source].poll}, streams {streams}")
        if variables:
            print(f"    not checked: the settings that {', '.join(variables)} would give; not set here")
    if unread:
        print(unmapped_line(unread))
