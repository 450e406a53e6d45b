"""Settings of the sink: a stage's, and which of the pipeline's sinks this process is."""

from sluice.stage.settings import StageSettings


class SinkSettings(StageSettings):
    """`SLUICE_SINK` names a sink of the pipeline file; not needed where there is only one."""

    sink: str = ""

    @property
    def process_name(self) -> str:
        return f"{self.sink}.{self.instance}" if self.sink else self.instance
