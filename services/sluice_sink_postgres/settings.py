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

    # Two batches are in memory. With fewer than 3,000 rows in a batch, Postgres waits for its disk between them.
    batch_bytes_max: int = Field(
        default=12 * 1024 * 1024,
        ge=1,
        description="A batch ends when its records and rows have this many bytes. A batch is one transaction of "
        "Postgres. The sink reads the next batch while Postgres writes this one, so that two are in memory.",
    )

    @property
    def process_name(self) -> str:
        return f"{self.sink}.{self.instance}" if self.sink else self.instance
