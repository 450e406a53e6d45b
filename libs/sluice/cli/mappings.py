"""`sluice mappings`: checks an author's mappings and connectors before a stage runs them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from sluice import json_text
from sluice.cdc.slots import publication_of, slot_of
from sluice.cli.command import JsonOption, PipelineOption, chosen_pipeline, group, print_result
from sluice.entities import EntityContract
from sluice.entities import Mapping as EntityMapping
from sluice.explain.rendering import value_text
from sluice.golden.columns import columns_of
from sluice.ingress.connectors import Checked, check_connectors
from sluice.mapping_code import code_of
from sluice.pipeline import Pipeline
from sluice.pipeline.authored import load_entities, load_mappings, require_ranked_sources, unmapped, unmapped_line
from sluice.pipeline.examples import Mapped, require_example_folders, require_examples_mapped
from sluice.pipeline.record_schemas import require_examples_follow_schemas
from sluice.pipeline.secret import missing_variables

EXAMPLES_PRINTED_MAX = 3
VALUE_CHARACTERS_MAX = 60

app = group()


@app.command()
def check(pipeline: PipelineOption = None, as_json: JsonOption = False) -> None:
    """Check what an author wrote, without a server.

    The output shows how Sluice understands the entities, mappings and connectors of a pipeline.

    Mappings: each is loaded and maps its example records (sources/SOURCE/examples/STREAM/*.json). Printed: the claims
    of the first examples, and the files that count as the mapping's code (if they change, the mapping needs a new
    version). Refused: claims of fields that the entity does not have, missing fields, examples that cannot be mapped.

    Schemas: the examples of a stream are compared with sources/SOURCE/schemas/STREAM.json, if that file exists.

    Connectors: each is loaded. Printed: how each stream is read. Refused: settings that are missing, unknown or of a
    wrong type; secrets written in the file; streams that the connector does not have; examples without the stream's key
    or cursor. A setting is not checked if its environment variable is not set.

    Databases: slot, publication and tables are printed. `sluice run ingress-cdc` checks the database at its start.

    Entities: each field is printed with its column and its rule. Refused: rules that rank an unknown source.

    Exit code 2: something is refused; the error text says what.
    """
    _, loaded = chosen_pipeline(pipeline)
    found = CheckedPipeline.of(loaded)
    print_result(as_json, found.to_json(), found.lines())


@dataclass(frozen=True)
class CheckedPipeline:
    """A pipeline that passed every check of `sluice mappings check`. `examples`: the mapped examples by mapping name.
    `connectors`: the checked connectors by source. `unmapped`: streams that no mapping reads."""

    pipeline: Pipeline
    contracts: Mapping[str, EntityContract]
    mappings: Sequence[EntityMapping]
    examples: Mapping[str, Sequence[Mapped]]
    connectors: Mapping[str, Checked]
    unmapped: Sequence[str]

    @classmethod
    def of(cls, pipeline: Pipeline) -> Self:
        """Load and check the entities, mappings, examples and connectors. Raises SettingsError if one is refused."""
        mappings = load_mappings(pipeline)
        contracts = load_entities(pipeline)
        require_ranked_sources(pipeline, contracts)
        require_example_folders(pipeline)
        examples = require_examples_mapped(pipeline, mappings, json_text.decode)
        require_examples_follow_schemas(pipeline)
        return cls(pipeline, contracts, mappings, examples, check_connectors(pipeline), unmapped(pipeline, mappings))

    def to_json(self) -> dict[str, Any]:
        return {
            "entities": {name: dict(_fields(contract)) for name, contract in self.contracts.items()},
            "mappings": {
                m.name: {
                    "version": m.version,
                    "examples": len(self.examples[m.name]),
                    "code": code_of(m).sha256,
                    "counts": str(code_of(m)),
                }
                for m in self.mappings
            },
            "unmapped": self.unmapped,
            "connectors": {source: one._asdict() for source, one in self.connectors.items()},
            "followed": {source: _followed(self.pipeline, source) for source in self.pipeline.cdc_sources()},
        }

    def lines(self) -> Iterator[str]:
        yield f"sources in order: {', '.join(self.pipeline.source_order)}"
        for contract in self.contracts.values():
            yield from _entity_lines(contract)
        for mapping in self.mappings:
            yield from self._mapping_lines(mapping)
        for source, connector in self.connectors.items():
            yield f"connector of {source}: {self.pipeline.poll_sources()[source].poll}, login {connector.login}"
            yield from (f"    stream {name}: {how}" for name, how in connector.streams.items())
            if connector.unset:
                yield f"    not checked: the settings that need {', '.join(connector.unset)}"
        for source in self.pipeline.cdc_sources():
            yield from _database_lines(source, _followed(self.pipeline, source))
        if self.unmapped:
            yield unmapped_line(self.unmapped)
        if not_set := sorted(missing_variables(self.pipeline.model_dump())):
            yield f"not set here: {', '.join(not_set)}"

    def _mapping_lines(self, mapping: EntityMapping) -> Iterator[str]:
        """Lines about a mapping: what it reads, the claims that it makes of its first examples, and its code."""
        examples, stream = self.examples[mapping.name], f"{mapping.source}.{mapping.stream}"
        reads = f"{stream} → {mapping.entity.name}"
        yield f"mapping {mapping.name} version {mapping.version}: {reads}, {len(examples)} examples mapped"
        if not examples:
            yield f"    no examples: write records to sources/{stream.replace('.', '/examples/', 1)}/*.json"
        for one in examples[:EXAMPLES_PRINTED_MAX]:
            result = ", ".join(f"{claim.entity} {claim.entity_id}" for claim in one.claims) or "nothing: it is filtered"
            yield f"    {one.file.relative_to(self.pipeline.root)} → {result}"
            for claim in one.claims:
                for name, value in claim.fields.items():
                    yield f"        {name} {_shortened(mapping.entity, name, value)}"
        if (more := len(examples) - EXAMPLES_PRINTED_MAX) > 0:
            yield f"    and {more} more examples, mapped"
        yield f"    its code: {code_of(mapping)}"


def _followed(pipeline: Pipeline, source: str) -> dict[str, Any]:
    """How a source database is followed: its slot, publication and tables, as JSON.

    `publication_is_ours`: Sluice creates the publication, because the pipeline file names none.
    """
    declared = pipeline.cdc_sources()[source]
    return {
        "slot": slot_of(pipeline, source),
        "publication": publication_of(pipeline, source),
        "publication_is_ours": declared.publication is None,
        "tables": declared.tables,
    }


def _database_lines(source: str, database: Mapping[str, Any]) -> Iterator[str]:
    by = ", created by Sluice" if database["publication_is_ours"] else ""
    yield f"database of {source}: slot {database['slot']}, publication {database['publication']}{by}"
    yield from (f"    table {table}" for table in database["tables"])


def _entity_lines(contract: EntityContract) -> Iterator[str]:
    """Lines about an entity: each field with its golden column (or columns) and its survivorship rule."""
    yield f"entity {contract.name}"
    rows = [(name, one["column"], one["rule"]) for name, one in _fields(contract)]
    widths = [max(len(row[place]) for row in rows) for place in (0, 1)]
    yield from (f"    {name:<{widths[0]}}  {column:<{widths[1]}}  {rule}" for name, column, rule in rows)


def _fields(contract: EntityContract) -> Iterator[tuple[str, dict[str, str]]]:
    """Each field of an entity, with the SQL type of its golden column and its survivorship rule.

    A field with several columns has their types in brackets.
    """
    for field, kind in contract.fields.items():
        types = [column.sql_type for column in columns_of(field, kind)]
        columns = types[0] if len(types) == 1 else f"({', '.join(types)})"
        rule = "identity" if field == contract.identity else contract.rules[field].name
        yield field, {"column": f"{columns}{' or null' if kind.nullable else ''}", "rule": rule}


def _shortened(contract: EntityContract, field: str, value: Any) -> str:
    text = value_text(contract.fields[field].kind, value)
    return text if len(text) <= VALUE_CHARACTERS_MAX else f"{text[:VALUE_CHARACTERS_MAX]}…"
