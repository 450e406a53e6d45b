"""The pipeline's Postgres sinks: which one is meant, its consumer group, its golden tables."""

from sluice.entities.contract import EntityContract
from sluice.errors import SettingsError
from sluice.names import SINK_POSTGRES
from sluice.pipeline import Pipeline, PostgresSink
from sluice.postgres.golden_columns import GoldenTable


def chosen_sink(pipeline: Pipeline, name: str) -> tuple[str, PostgresSink]:
    """The sink that `name` means; the only one where it is empty. Raises SettingsError."""
    known = ", ".join(pipeline.sinks) or "none"
    if name:
        if name not in pipeline.sinks:
            raise SettingsError(f"no sink {name}; the pipeline declares {known}")
        return name, pipeline.sinks[name]
    if len(pipeline.sinks) != 1:
        raise SettingsError(f"say which sink (SLUICE_SINK): the pipeline declares {known}")
    return next(iter(pipeline.sinks.items()))


def sink_group(pipeline: Pipeline, sink: str) -> str:
    """The consumer group: the stage's name; of every sink but the first, the sink's name behind it."""
    first = next(iter(pipeline.sinks))
    return pipeline.names.group(SINK_POSTGRES if sink == first else f"{SINK_POSTGRES}.{sink}")


def golden_tables(
    pipeline: Pipeline, sink: PostgresSink, contracts: dict[str, EntityContract]
) -> dict[str, GoldenTable]:
    """The golden tables by canonical topic."""
    return {pipeline.names.canonical(name): GoldenTable(sink.schema_, made) for name, made in contracts.items()}
