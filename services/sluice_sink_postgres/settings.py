"""Settings of the sink: a stage's, and which of the pipeline's sinks this process is."""

from sluice.errors import SettingsError
from sluice.pipeline import Pipeline, PostgresSink
from sluice.stage.settings import StageSettings


class SinkSettings(StageSettings):
    """`SLUICE_SINK` names a sink of the pipeline file; not needed where there is only one."""

    sink: str = ""


def chosen_sink(pipeline: Pipeline, name: str) -> tuple[str, PostgresSink]:
    """The sink that `name` means; the only one where it is empty. Raises SettingsError."""
    if name:
        found = pipeline.sinks.get(name)
        if found is None:
            raise SettingsError(f"SLUICE_SINK={name}: the pipeline declares {', '.join(pipeline.sinks) or 'no sinks'}")
        return name, found
    if len(pipeline.sinks) != 1:
        known = ", ".join(pipeline.sinks) or "none"
        raise SettingsError(f"set SLUICE_SINK to one of the pipeline's sinks: {known}")
    return next(iter(pipeline.sinks.items()))


def sink_group(stage: str, pipeline: Pipeline, sink: str) -> str:
    """The consumer group: the stage's name; of every sink but the first, the sink's name behind it."""
    first = next(iter(pipeline.sinks))
    return pipeline.names.group(stage if sink == first else f"{stage}.{sink}")
