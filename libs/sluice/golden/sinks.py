"""The pipeline's Postgres sinks: which one a process runs, and its golden tables."""

import psycopg
from psycopg.conninfo import conninfo_to_dict

from sluice.entities.contract import EntityContract
from sluice.errors import SettingsError
from sluice.golden.columns import GoldenTable
from sluice.pipeline import Pipeline, PostgresSink
from sluice.pipeline.load import place_in_file


def chosen_sink(pipeline: Pipeline, name: str) -> tuple[str, PostgresSink]:
    """The sink called `name`, or the only sink if `name` is empty, with its name.

    Raises SettingsError if there is no such sink, or if another sink writes to the same tables.
    """
    known = ", ".join(pipeline.sinks) or "none"
    if name:
        if name not in pipeline.sinks:
            raise SettingsError(f"no sink {name}; the pipeline declares {known}")
        _refuse_shared(pipeline, name)
        return name, pipeline.sinks[name]
    if len(pipeline.sinks) != 1:
        raise SettingsError(f"say which sink (SLUICE_SINK): the pipeline declares {known}")
    return next(iter(pipeline.sinks.items()))


def _refuse_shared(pipeline: Pipeline, name: str) -> None:
    """Raises SettingsError if another sink writes to the same tables. A sink whose dsn cannot be read is not
    compared."""
    sink, ours = pipeline.sinks[name], _database(pipeline.sinks[name])
    for other, declared in pipeline.sinks.items():
        shared = other != name and declared.schema_ == sink.schema_ and ours is not None
        if shared and _database(declared) == ours:
            raise SettingsError(
                f"{place_in_file(pipeline, 'sinks', name)}: sink {other} writes to schema {sink.schema_} of the same "
                "database, and each would change the other's rows; give it a schema: of its own"
            )


def _database(sink: PostgresSink) -> tuple[str, ...] | None:
    """The database in the sink's dsn: host, port and name; None if the dsn cannot be read."""
    try:
        given = conninfo_to_dict(sink.postgres.reveal())
    except (SettingsError, psycopg.ProgrammingError):
        return None
    return tuple(str(given.get(part) or default) for part, default in (("host", ""), ("port", "5432"), ("dbname", "")))


def golden_tables(
    pipeline: Pipeline, sink: PostgresSink, contracts: dict[str, EntityContract]
) -> dict[str, GoldenTable]:
    """The golden tables by canonical topic. Raises SettingsError if the view of one has the name of another."""
    for name in contracts:
        if f"{name}_provenance" in contracts:
            raise SettingsError(
                f"entity {name}_provenance: its table would have the name of the view of entity {name}. "
                "Next: give one of the two another name"
            )
    return {pipeline.names.canonical(name): GoldenTable(sink.schema_, contract) for name, contract in contracts.items()}
