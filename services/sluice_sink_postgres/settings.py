"""Settings of the sink: a stage's, and which of the pipeline's sinks this process is."""

from pydantic import Field

from sluice.settings.stage import StageSettings


class SinkSettings(StageSettings):
    """What sink-postgres is told beside what every stage is."""

    sink: str = Field(
        default="", description="Which sink of the pipeline file this is; not needed where there is only one."
    )

    @property
    def process_name(self) -> str:
        return f"{self.sink}.{self.instance}" if self.sink else self.instance
