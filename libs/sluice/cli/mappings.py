"""`sluice mappings`: what an author can know of mappings and connectors before a stage runs them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Self

import orjson
import typer

from sluice import json_text
from sluice.cdc.slots import publication_of, slot_of
from sluice.cli.options import JsonOption, PipelineOption
from sluice.entities import EntityContract
from sluice.explain.rendering import value_text
from sluice.golden.columns import columns_of
from sluice.ingress.connectors import check_connectors
from sluice.mapping_code import code_of
from sluice.pipeline import Pipeline, load_pipeline
from sluice.pipeline.authored import load_entities, load_mappings, require_ranked_sources, unmapped, unmapped_line
from sluice.pipeline.examples import Mapped, require_example_folders, require_examples_mapped
from sluice.pipeline.record_schemas import require_examples_follow_schemas
from sluice.pipeline.secret import missing_variables
from sluice.settings.stage import StageSettings, read_settings

EXAMPLES_PRINTED_MAX = 3
VALUE_CHARACTERS_MAX = 60

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Mappings: check them without a server.")


@app.callback()
def _root() -> None:
    """Mappings: check them without a server."""


@app.command()
def check(pipeline: PipelineOption = None, as_json: JsonOption = False) -> None:
    """Check what you wrote, without a server, and print how it was understood. Exit code 2: something is refused.

    Mappings: each is loaded and maps its example records (sources/SOURCE/examples/STREAM/*.json). Refused are claims of
    fields that an entity lacks, constants of a wrong type, and examples that cannot be mapped. Printed are what the
    first examples become and what counts as the mapping's code: a change of that needs a new version.

    Schemas: where sources/SOURCE/schemas/STREAM.json exists, the stream's examples are compared with it.

    Connectors: each is loaded. Refused are settings that are missing, unknown or of a wrong type, secrets that stand in
    the file, streams that the connector lacks, and examples without the stream's key or cursor. Printed is how each
    stream is read. What a variable would give that is not set here is not checked.

    Databases: printed are slot, publication and tables. `sluice run ingress-cdc` tells at its start whether the
    database lets them be followed.

    Entities: each field is printed with its column and its rule. Refused are rules that rank an unknown source.
    """
    settings = read_settings(StageSettings, pipeline)
    loaded = load_pipeline(pipeline or settings.pipeline)
    mappings = load_mappings(loaded)
    contracts = load_entities(loaded)
    require_ranked_sources(loaded, contracts)
    require_example_folders(loaded)
    examples = require_examples_mapped(loaded, mappings, json_text.decode)
    require_examples_follow_schemas(loaded)
    connectors = check_connectors(loaded)
    unread = unmapped(loaded, mappings)
    if as_json:
        facts = {
            m.name: {
                "version": m.version,
                "examples": len(examples[m.name]),
                "code": code_of(m).sha256,
                "counts": str(code_of(m)),
            }
            for m in mappings
        }
        entities = {name: dict(_fields(contract)) for name, contract in contracts.items()}
        read = {source: one._asdict() for source, one in connectors.items()}
        followed = {source: FollowedDatabase.of(loaded, source)._asdict() for source in loaded.cdc_sources()}
        found = {"entities": entities, "mappings": facts, "unmapped": unread, "connectors": read, "followed": followed}
        print(orjson.dumps(found).decode())
        return
    print(f"sources in order: {', '.join(loaded.source_order)}")
    for contract in contracts.values():
        print("\n".join(_entity_lines(contract)))
    for mapping in mappings:
        done = examples[mapping.name]
        stream = f"{mapping.source}.{mapping.stream} → {mapping.entity.name}"
        print(f"mapping {mapping.name} version {mapping.version}: {stream}, {len(done)} examples mapped")
        print("\n".join(_example_lines(loaded, mapping.entity, f"{mapping.source}.{mapping.stream}", done)))
        print(f"    its code: {code_of(mapping)}")
    for source, one in connectors.items():
        print(f"connector of {source}: {loaded.poll_sources()[source].poll}, login {one.login}")
        print("\n".join(f"    stream {name}: {how}" for name, how in one.streams.items()))
        if one.unset:
            print(f"    not checked: the settings that {', '.join(one.unset)} would give")
    for source in loaded.cdc_sources():
        print("\n".join(_database_lines(source, FollowedDatabase.of(loaded, source))))
    if unread:
        print(unmapped_line(unread))
    if not_set := sorted(missing_variables(loaded.model_dump())):
        print(f"not set here: {', '.join(not_set)}")


class FollowedDatabase(NamedTuple):
    """How a database is followed. `publication_is_ours`: Sluice makes it, as the pipeline file names none."""

    slot: str
    publication: str
    publication_is_ours: bool
    tables: list[str]

    @classmethod
    def of(cls, pipeline: Pipeline, source: str) -> Self:
        declared = pipeline.cdc_sources()[source]
        ours = declared.publication is None
        return cls(slot_of(pipeline, source), publication_of(pipeline, source), ours, declared.tables)


def _database_lines(source: str, database: FollowedDatabase) -> Iterator[str]:
    by = ", made by Sluice" if database.publication_is_ours else ""
    yield f"database of {source}: slot {database.slot}, publication {database.publication}{by}"
    yield from (f"    table {table}" for table in database.tables)


def _entity_lines(contract: EntityContract) -> Iterator[str]:
    """Each field with its column (or columns), and what decides between several sources."""
    yield f"entity {contract.name}"
    rows = [(name, one["column"], one["rule"]) for name, one in _fields(contract)]
    widths = [max(len(row[place]) for row in rows) for place in (0, 1)]
    yield from (f"    {name:<{widths[0]}}  {column:<{widths[1]}}  {rule}" for name, column, rule in rows)


def _fields(contract: EntityContract) -> Iterator[tuple[str, dict[str, str]]]:
    """By field: the types of its column, or of its columns in brackets, and its rule."""
    for field, kind in contract.fields.items():
        types = [column.sql_type for column in columns_of(field, kind)]
        columns = types[0] if len(types) == 1 else f"({', '.join(types)})"
        rule = "identity" if field == contract.identity else contract.rules[field].name
        yield field, {"column": f"{columns}{' or null' if kind.nullable else ''}", "rule": rule}


def _shortened(contract: EntityContract, field: str, value: Any) -> str:
    text = value_text(contract.fields[field].kind, value)
    return text if len(text) <= VALUE_CHARACTERS_MAX else f"{text[:VALUE_CHARACTERS_MAX]}…"


def _example_lines(
    pipeline: Pipeline, contract: EntityContract, stream: str, mapped: Sequence[Mapped]
) -> Iterator[str]:
    """What the first examples become: entity, id, and the values that are claimed."""
    if not mapped:
        yield f"    records of the source in sources/{stream.replace('.', '/examples/', 1)}/*.json would be tried here"
    for one in mapped[:EXAMPLES_PRINTED_MAX]:
        became = ", ".join(f"{claim.entity} {claim.entity_id}" for claim in one.claims) or "nothing: it is filtered"
        yield f"    {one.file.relative_to(pipeline.root)} → {became}"
        for claim in one.claims:
            yield from (f"        {name} {_shortened(contract, name, value)}" for name, value in claim.fields.items())
    if (more := len(mapped) - EXAMPLES_PRINTED_MAX) > 0:
        yield f"    and {more} more examples, mapped"
