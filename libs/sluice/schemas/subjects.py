"""The schemas of a pipeline's entities, as files and as subjects of the schema registry. Used by `sluice schemas`."""

from pathlib import Path
from typing import Any, NamedTuple

import orjson

from sluice.entities.contract import EntityContract
from sluice.errors import SettingsError
from sluice.pipeline.model import Pipeline
from sluice.schemas.avro import avro_schema
from sluice.schemas.compatibility import check_compatible
from sluice.schemas.registry import Registry


class Subject(NamedTuple):
    """The schema of one entity. `subject`: its name in the schema registry. `file`: its file in the pipeline's folder.
    `schema`: the schema that the entity generates now."""

    subject: str
    file: Path
    schema: dict[str, Any]


def subjects(pipeline: Pipeline, contracts: dict[str, EntityContract]) -> list[Subject]:
    """The schemas of all entities of a pipeline, in the order of `contracts`."""
    folder = pipeline.root / "schemas" / "canonical"
    return [
        Subject(
            f"{pipeline.names.canonical(name)}-value",
            folder / f"{name}.avsc",
            avro_schema(contract, pipeline.pipeline),
        )
        for name, contract in contracts.items()
    ]


def file_findings(subject: Subject) -> list[str]:
    """The reasons why a schema's file does not contain the schema that the entity generates; empty if it does.

    Raises SettingsError if the file is not an Avro record.
    """
    kept = read_file(subject.file)
    if kept is None:
        return [f"{subject.file} is missing; `sluice schemas apply` writes it"]
    if kept == subject.schema:
        return []
    reasons = check_compatible(kept, subject.schema)
    return reasons or [f"{subject.file} is not what the entity generates; `sluice schemas apply` rewrites it"]


def breaks(subject: Subject) -> list[str]:
    """The reasons why the entity's schema would break readers of the schema in its file; empty if there is no file.

    Raises SettingsError if the file is not an Avro record.
    """
    kept = read_file(subject.file)
    return [] if kept is None else check_compatible(kept, subject.schema)


def registry_findings(subject: Subject, registry: Registry) -> list[str]:
    """The reasons why the entity's schema would break readers of the newest registered schema; empty if there is none.

    Raises EnvironmentFault if the registry does not answer.
    """
    latest = registry.latest(subject.subject)
    return [] if latest is None else check_compatible(latest, subject.schema)


def apply(subject: Subject, registry: Registry) -> int:
    """Register an entity's schema, then write its file. Returns the schema's id.

    The file is written last, so it never contains a schema that the registry refused. Raises EnvironmentFault if the
    registry refuses the schema or does not answer.
    """
    schema_id = register(subject, registry)
    write_file(subject)
    return schema_id


def register(subject: Subject, registry: Registry) -> int:
    """Register an entity's schema, and let the registry refuse later schemas that would break readers.

    Returns the schema's id. Raises EnvironmentFault if the registry refuses the schema or does not answer.
    """
    schema_id = registry.register(subject.subject, subject.schema)
    registry.require_compatibility(subject.subject)
    return schema_id


def write_file(subject: Subject) -> None:
    """Write an entity's schema to its file as indented JSON, unless the file contains this schema already."""
    if read_file(subject.file) != subject.schema:
        subject.file.parent.mkdir(parents=True, exist_ok=True)
        subject.file.write_bytes(orjson.dumps(subject.schema, option=orjson.OPT_INDENT_2) + b"\n")


def read_file(file: Path) -> dict[str, Any] | None:
    """The schema in a file; None if there is no file. Raises SettingsError if the file is not an Avro record."""
    try:
        schema = orjson.loads(file.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError:
        raise SettingsError(f"{file}: is not JSON; delete it and run `sluice schemas apply`") from None
    if not isinstance(schema, dict) or not isinstance(schema.get("fields"), list):
        raise SettingsError(f"{file}: is not an Avro record; delete it and run `sluice schemas apply`")
    return schema
