"""Settings of the sink: those of every stage, and the name of the pipeline's sink."""

from pydantic import Field

from sluice.settings.stage import StageSettings


class SinkSettings(StageSettings):
    """The settings of sink-postgres in addition to those of every stage."""

    sink: str = Field(
        default="",
        description="The name, in the pipeline file, of the sink that this process writes. Not needed if there is only "
        "one sink.",
    )

    @property
    def process_name(self) -> str:
        return f"{self.sink}.{self.instance}" if self.sink else self.instance
