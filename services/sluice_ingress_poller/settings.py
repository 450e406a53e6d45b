"""Settings of ingress-poller: the stage's own stand under `SLUICE_POLLER__*`."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from sluice.names import MAPPER
from sluice.settings.stage import StageSettings


class PollerPart(BaseModel):
    """An enumeration in which more than the greater of `shrink_keys_min` and `shrink_fraction_max` is missing publishes
    no deletes until `sluice deletes accept`; of few keys the first allows only a quarter, and always one. An empty
    enumeration is never taken at its word.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    pages_max: int = Field(
        default=4,
        ge=1,
        description="Pages in memory at once, over all streams: with the connector's body limit, the bound in bytes.",
    )
    page_attempts_max: int = Field(
        default=8, ge=1, description="How often a page is asked for before its pass begins again."
    )
    shrink_keys_min: int = Field(
        default=10,
        ge=0,
        description="Keys that a listing may lack before its deletes wait for `sluice deletes accept`.",
    )
    shrink_fraction_max: float = Field(
        default=0.2, ge=0, le=1, description="The same as a fraction of the known keys; the greater of both counts."
    )
    downstream_groups: list[str] = Field(
        default=[MAPPER], description="Groups whose lag slows polling down, without the prefix; a JSON list."
    )
    lag_records_throttle: int = Field(default=50_000, ge=1, description="Lag from which on polling is slowed down.")
    lag_records_pause: int = Field(default=200_000, ge=1, description="Lag from which on polling pauses.")
    lag_interval_s: float = Field(default=5.0, gt=0, description="How often that lag is measured.")
    stop_deadline_s: float = Field(default=20.0, gt=0, description="How long a stop waits for what is being published.")


class PollerSettings(StageSettings):
    poller: PollerPart = PollerPart()
