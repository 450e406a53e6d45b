"""Settings of ingress-poller; the stage's own ones are `SLUICE_POLLER__*`."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from sluice.names import MAPPER
from sluice.settings.stage import StageSettings


class PollerPart(BaseModel):
    """An enumeration that lacks more keys than the greater of `shrink_keys_min` and `shrink_fraction_max` publishes no
    deletes until `sluice deletes accept`. If there are few keys, `shrink_keys_min` allows a quarter of them and at
    least one. An empty enumeration never publishes deletes by itself.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    pages_max: int = Field(
        default=4,
        ge=1,
        description="Pages in memory at once, over all streams: with the connector's body limit, the bound in bytes.",
    )
    page_attempts_max: int = Field(
        default=8, ge=1, description="How often a page is requested before its listing starts again."
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
